"""
A session as one page for a browser: no script, nothing loaded, every text of a guest shown and
never obeyed.

The page says first whether the record is whole, for all below is only worth that. It is bounded:
what does not fit is counted, and `codecage audit show` has it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from executor.audit.record import Event
from executor.audit.report import verdict_lines
from executor.audit.review import diffs, pieces
from executor.audit.review.html import Html, element, guest, text
from executor.audit.review.sheet import Sheet
from executor.audit.review.style import POLICY, STYLE
from executor.audit.review.written import replaced


def write(path: Path, content: str) -> None:
    """
    Put the page where it is wanted, whole or not at all, for the owner's eyes; `-` is stdout.

    Raises OSError.
    """
    if str(path) == "-":
        sys.stdout.write(content)
        return
    with replaced(path) as file:
        file.write(content.encode())


def page(sheet: Sheet) -> str:
    """
    The whole file, in ASCII but for printable letters of guests.
    """
    body = element(
        "body",
        *_top(sheet),
        *_denied(sheet),
        *_timeline(sheet),
        *_commits(sheet),
        *_network(sheet),
        *_usage(sheet),
    )
    head = element(
        "head",
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="referrer" content="no-referrer">'),
        Html('<meta name="viewport" content="width=device-width">'),
        element("title", text(f"codecage: session {sheet.summary.session}")),
        element("style", Html(STYLE)),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def _top(sheet: Sheet) -> Iterator[Html]:
    short = sheet.summary
    yield element("h1", text("Session "), guest(short.session))
    lines = verdict_lines(sheet.verdict)
    kind = "verdict whole" if sheet.verdict.whole else "verdict broken"
    said = (element("p", text(line)) for line in lines)
    yield element("div", element("strong", text("codecage audit verify")), *said, kind=kind)
    yield pieces.facts(short, sheet.start)


def _denied(sheet: Sheet) -> Iterator[Html]:
    yield element("h2", text(f"Denied: {sheet.summary.denied}"))
    yield pieces.denials(sheet.denied.steps)
    yield from pieces.rest(sheet.denied, "denials")


def _timeline(sheet: Sheet) -> Iterator[Html]:
    yield element("h2", text("Timeline"))
    yield pieces.quiet(pieces.NO_CODE)
    yield from pieces.timeline(sheet.all.steps)
    yield from pieces.rest(sheet.all, "records")


def _commits(sheet: Sheet) -> Iterator[Html]:
    if not sheet.committed:
        return
    yield element("h2", text("Committed"))
    yield from diffs.section(sheet.committed, "codecage audit report --diffs")
    if not sheet.commits_are_all:
        yield pieces.quiet("There are more commits: codecage audit show --kind commit.")


def _network(sheet: Sheet) -> Iterator[Html]:
    yield element("h2", text("Network"))
    yield pieces.network(sheet.network.steps)
    yield from pieces.rest(sheet.network, "requests of the network")


def _usage(sheet: Sheet) -> Iterator[Html]:
    ends = [step.record for step in sheet.all.steps if step.record.event is Event.CELL_END]
    yield element("h2", text("Usage"))
    yield pieces.usage(ends)
