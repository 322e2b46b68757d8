"""
A session as one page for a browser: no script, nothing loaded, every text of a guest shown and
never obeyed.

The page says first whether the record is whole, for all below is only worth that. It is bounded:
what does not fit is counted, and `codecage audit show` has it.
"""

import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from executor.audit.record import Event, Record, Text
from executor.audit.report import moment, verdict_lines
from executor.audit.review.html import NOTHING, Html, element, guest, pairs, table, text
from executor.audit.review.rows import Look, asked, came_of, look
from executor.audit.review.search import Page, Step
from executor.audit.review.sheet import Sheet, by_host, ended
from executor.audit.review.style import POLICY, STYLE

_STEP_HEADINGS = ("seq", "time (UTC)", "event", "request", "decision", "rule", "outcome")
_USAGE = ("requests", "denied", "connections", "exchanges", "sent", "received", "stdout", "stderr")
_HELD = ("image", "image_key", "cage", "isolation", "isolation_parts", "labels", "boot_digest")


def write(path: Path, content: str) -> None:
    """
    Put the page where it is wanted, whole or not at all, for the owner's eyes; `-` is stdout.

    Raises OSError.
    """
    if str(path) == "-":
        sys.stdout.write(content)
        return
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def page(sheet: Sheet) -> str:
    """
    The whole file, in ASCII but for printable letters of guests.
    """
    body = element(
        "body",
        *_top(sheet),
        *_denied(sheet),
        *_timeline(sheet),
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
    short, held = sheet.summary, dict(sheet.start.detail)
    yield element("h1", text("Session "), guest(short.session))
    lines = verdict_lines(sheet.verdict)
    kind = "verdict whole" if sheet.verdict.whole else "verdict broken"
    said = (element("p", text(line)) for line in lines)
    yield element("div", element("strong", text("codecage audit verify")), *said, kind=kind)
    yield pairs(
        [
            ("policy", guest(short.policy)),
            ("its digest", guest(sheet.start.policy_digest or "-")),
            *((name.replace("_", " "), _value(held.get(name))) for name in _HELD),
            ("started", text(moment(short.started_ns))),
            ("ended", text(ended(short))),
            ("outcome", NOTHING if short.outcome is None else guest(short.outcome)),
            ("cells", text(str(short.cells))),
            ("denied", text(str(short.denied))),
            ("not recorded one by one", text(str(short.dropped)) if short.dropped else NOTHING),
        ]
    )


def _denied(sheet: Sheet) -> Iterator[Html]:
    yield element("h2", text(f"Denied: {sheet.summary.denied}"))
    if not sheet.denied.steps:
        yield _quiet("Nothing was denied.")
        return
    headings = ("seq", "cell", "request", "rule", "what the agent was told")
    yield table(headings, (("denied", _denial(step.record)) for step in sheet.denied.steps))
    yield from _rest(sheet.denied, "denials")


def _denial(record: Record) -> Sequence[Html]:
    return (
        text(str(record.sequence)),
        text("" if record.cell is None else str(record.cell)),
        _value(record.request),
        _value(record.rule_place),
        _value(dict(record.detail).get("reason")),
    )


def _timeline(sheet: Sheet) -> Iterator[Html]:
    yield element("h2", text("Timeline"))
    yield _quiet(
        "The code of a cell is not in the record: its size and SHA-256 are, so that a copy kept "
        "elsewhere can be compared with what ran."
    )
    for cell, steps in groupby(sheet.all.steps, key=lambda step: step.record.cell):
        yield from _group(cell, tuple(steps))
    yield from _rest(sheet.all, "records")


def _group(cell: int | None, steps: Sequence[Step]) -> Iterator[Html]:
    if cell is None:
        yield element("h3", text("Outside of cells"))
    else:
        yield element("h3", text(f"Cell {cell}"))
        yield pairs(_cell_facts(steps))
    shown = [step for step in steps if step.record.event not in _CELL_EVENTS]
    if shown:
        yield table(_STEP_HEADINGS, ((_KINDS[look(step)], _cells(step)) for step in shown))


_CELL_EVENTS = frozenset({Event.CELL_START, Event.CELL_END})
_KINDS = {Look.DENIED: "denied", Look.FAILED: "failed", Look.QUIET: "quiet", Look.PLAIN: ""}


def _cell_facts(steps: Sequence[Step]) -> Iterator[tuple[str, Html]]:
    for record in (step.record for step in steps):
        if record.event is Event.CELL_START:
            yield "began", text(moment(record.wall_ns))
            digest = record.digest.hex() if record.digest else "-"
            yield "code", Html(text(f"{record.size or 0} bytes, SHA-256 ") + guest(digest))
        elif record.event is Event.CELL_END:
            yield "ended", Html(text(moment(record.wall_ns) + ", ") + _value(record.outcome))
            yield "used", text(_times(record))


def _cells(step: Step) -> Sequence[Html]:
    record = step.record
    word = record.answer.value if record.answer else ""
    # `asked` and `came_of` have made their texts visible already.
    return (
        text(str(record.sequence)),
        text(moment(record.wall_ns)[11:-1]),
        text(record.event.value),
        _escaped(asked(step)),
        element("strong", text(word)),
        _value(record.rule_place),
        element("strong", _escaped(came_of(step.outcome or record))),
    )


def _network(sheet: Sheet) -> Iterator[Html]:
    yield element("h2", text("Network"))
    if not sheet.network.steps:
        yield _quiet("The session asked for nothing of the network.")
        return
    headings = ("host", "allowed", "denied", "bytes")
    counted = by_host(sheet.network.steps)
    yield table(
        headings,
        (
            (
                "denied" if denied else "",
                (guest(host), *map(text, map(str, (allowed, denied, size)))),
            )
            for host, (allowed, denied, size) in sorted(counted.items())
        ),
    )
    yield from _rest(sheet.network, "requests of the network")


def _usage(sheet: Sheet) -> Iterator[Html]:
    ends = [step.record for step in sheet.all.steps if step.record.event is Event.CELL_END]
    yield element("h2", text("Usage"))
    if not ends:
        yield _quiet("No cell has ended.")
        return
    total: Counter[str] = Counter()
    for end in ends:
        total.update({key: value for key, value in end.detail if isinstance(value, int)})
    rows = [("", _used(str(end.cell or ""), dict(end.detail))) for end in ends]
    rows.append(("quiet", _used("all", dict(total))))
    yield table(("cell", "wall ms", "cpu ms", *_USAGE), rows)


def _used(cell: str, found: dict[str, Text | int] | dict[str, int]) -> Sequence[Html]:
    times = [_milliseconds(found.get(key)) for key in ("wall_us", "cpu_us")]
    return tuple(map(text, (cell, *times, *(_count(found.get(key)) for key in _USAGE))))


def _times(end: Record) -> str:
    found = dict(end.detail)
    wall, cpu = _milliseconds(found.get("wall_us")), _milliseconds(found.get("cpu_us"))
    return f"{wall} ms, {cpu} ms of them computing" if wall else ""


def _milliseconds(value: Text | int | None) -> str:
    return f"{value / 1000:.1f}" if isinstance(value, int) else ""


def _count(value: Text | int | None) -> str:
    return str(value) if isinstance(value, int) else ""


def _rest(found: Page, what: str) -> Iterator[Html]:
    if not found.ended:
        yield _quiet(
            f"These are the first {len(found.steps)} {what}; the rest: codecage audit show, from "
            f"--after {found.reached}."
        )


def _quiet(words: str) -> Html:
    return element("p", text(words), kind="quiet")


def _value(value: Text | int | None) -> Html:
    if value is None or value == "":
        return NOTHING
    return text(str(value)) if isinstance(value, int) else guest(value)


def _escaped(shown: str) -> Html:
    return Html(f'<code dir="ltr">{text(shown)}</code>') if shown else NOTHING
