"""
The commands of `codecage audit` that show: list, show, tail, why, export, trace, report.
"""

import argparse
import sys
import time
from collections.abc import Callable
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from executor.audit import read, report, signing
from executor.audit.command import print_lines, runs
from executor.audit.escape import visible
from executor.audit.review import brief, export, page, rows, search, sheet, tail, terminal, why
from executor.audit.review.filters import Outside
from executor.audit.review.options import (
    after_option,
    filter_of,
    filter_options,
    session_of,
    session_option,
)
from executor.audit.review.rows import Look
from executor.audit.review.search import Outcomes, Page
from executor.audit.verify import Verdict, verify

if TYPE_CHECKING:
    from executor.audit.command import Subparsers
    from executor.audit.review.tracing import Sent
    from policy.types import Policy

_POLL = 0.5


def register(
    commands: "Subparsers",
    shared: argparse.ArgumentParser,
    paged: argparse.ArgumentParser,
    anchors: argparse.ArgumentParser,
) -> None:
    """
    Add the commands; the three parsers are options of several.
    """
    filters = filter_options()

    listing = commands.add_parser(
        "list", parents=[shared, paged, filters], help="list the sessions"
    )
    session_option(listing)
    runs(listing, _list)

    show = commands.add_parser(
        "show", parents=[shared, paged, filters], help="show a session, outcomes with decisions"
    )
    _named(show)
    runs(show, _show)

    last = commands.add_parser(
        "tail", parents=[shared, filters], help="show the last records of all sessions"
    )
    session_option(last)
    last.add_argument(
        "-n",
        dest="limit",
        type=int,
        default=20,
        choices=range(1, read.MAX_ROWS + 1),
        metavar="N",
        help=f"so many, 1 to {read.MAX_ROWS} (default: %(default)s)",
    )
    last.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    runs(last, _tail)

    tell = commands.add_parser("why", parents=[shared], help="tell one decision in sentences")
    _named(tell)
    tell.add_argument("sequence", type=int, metavar="SEQ", help="the number of its record")
    tell.add_argument(
        "--policy", metavar="FILE", help="the policy that decided, to show its line as well"
    )
    runs(tell, _why)

    _register_files(commands, shared, filters, anchors)


def verdict_of(args: argparse.Namespace) -> Verdict:
    """
    What `verify` says of the store, against the heads that were given.

    Raises FileNotFoundError, NoteInvalid, OSError.
    """
    heads = signing.heads(args.checkpoints, args.key)
    return verify(args.audit, head=args.head, heads=heads, progress=_progress())


def _register_files(
    commands: "Subparsers",
    shared: argparse.ArgumentParser,
    filters: argparse.ArgumentParser,
    anchors: argparse.ArgumentParser,
) -> None:
    out = commands.add_parser(
        "export", parents=[shared, filters], help="write the record for other programs"
    )
    session_option(out)
    out.add_argument(
        "--format",
        type=_form,
        default=export.Form.JSONL,
        metavar="jsonl|csv|ocsf",
        help="JSON lines, CSV, or events of OCSF, one a line (default: jsonl)",
    )
    after_option(out)
    runs(out, _export)

    trace = commands.add_parser(
        "trace", parents=[shared], help="send sessions and cells to a collector of OpenTelemetry"
    )
    trace.add_argument(
        "--to", type=_collector, required=True, metavar="URL", help="such as http://127.0.0.1:4318"
    )
    after_option(trace)
    trace.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    runs(trace, _trace)

    paper = commands.add_parser(
        "report",
        parents=[shared, anchors],
        help="tell whether a session's record is whole and what was denied, or write it as a page",
    )
    _named(paper)
    paper.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="write all of it as one page for a browser, made or replaced; - is stdout",
    )
    runs(paper, _report)


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "session",
        metavar="SESSION",
        help="the session's id, from `list`, or how it begins; none: what belongs to no session",
    )


def _form(text: str) -> export.Form:
    try:
        return export.Form(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: write jsonl, csv or ocsf") from error


def _collector(text: str) -> str:
    found = urlsplit(text)
    plain = found.scheme in {"http", "https"} and found.hostname and not found.query
    if not plain or found.fragment or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{text!r}: write http://HOST:PORT, without /v1/traces")
    return text.rstrip("/")


def _list(args: argparse.Namespace) -> int:
    which = filter_of(args)
    found = search.sessions(args.audit, which, after=args.after, limit=args.limit)
    if args.json:
        print_lines(map(report.session_json, found))
    else:
        lines = report.table(
            report.SESSION_COLUMNS, map(report.session_row, found), terminal.width()
        )
        terminal.print_lines((line, Look.PLAIN) for line in lines)
    if len(found) == args.limit:
        _more(found[-1].sequence)
    if not args.after and (outside := search.denied_outside(args.audit)):
        _note(f"{outside} denied without a session: codecage audit show none --decision deny")
    return 0


def _show(args: argparse.Namespace) -> int:
    outcomes = Outcomes.ALONE if args.json else Outcomes.FOLDED
    found = search.find(
        args.audit, filter_of(args), after=args.after, limit=args.limit, outcomes=outcomes
    )
    if not found.steps and found.ended:
        raise LookupError(f"no such record of session {args.session} after {args.after}")
    if args.json:
        print_lines(report.record_json(step.record) for step in found.steps)
    else:
        _print_table(found)
    if not found.ended:
        _more(found.reached)
    return 0


def _print_table(found: Page) -> None:
    width = terminal.width()
    made = (rows.COLUMNS, map(rows.row, found.steps))
    columns, cells = made if width is None else rows.for_terminal(found.steps)
    lines = report.table(columns, cells, width)
    looks = [Look.QUIET, *map(rows.look, found.steps)]
    terminal.print_lines(zip(lines, looks, strict=True))


def _tail(args: argparse.Namespace) -> int:
    which = filter_of(args)
    found = search.newest(args.audit, which, limit=args.limit)
    _print_tail(args, found)
    reached = found.reached
    while args.follow:
        time.sleep(_POLL)
        for more in search.pages(args.audit, which, after=reached):
            _print_tail(args, more)
            reached = more.reached
    return 0


def _print_tail(args: argparse.Namespace, found: Page) -> None:
    if args.json:
        print_lines(report.record_json(step.record) for step in found.steps)
        sys.stdout.flush()
        return
    width = terminal.width()
    terminal.print_lines(tail.line(step, width) for step in found.steps)


def _why(args: argparse.Namespace) -> int:
    session = session_of(args.audit, args.session) or Outside.SESSIONS
    policy = None if args.policy is None else _policy(args.policy)
    start = None if session is Outside.SESSIONS else read.creation(args.audit, session)
    told = why.tell(args.audit, session, args.sequence, start, policy)
    print_lines([why.to_json(told)] if args.json else why.lines(told))
    return 0


def _policy(file: str) -> "Policy":
    # It reads YAML, which the other commands have no use for.
    from policy.parse import load  # noqa: PLC0415

    return load(file)


def _export(args: argparse.Namespace) -> int:
    form = export.Form.JSONL if args.json else args.format
    print_lines(export.export(args.audit, form, filter_of(args), after=args.after))
    return 0


def _trace(args: argparse.Namespace) -> int:
    # It brings HTTP along, which the other commands have no use for.
    from executor.audit.review.tracing import Sent, send  # noqa: PLC0415

    sent = Sent(args.after)
    while True:
        before = copy(sent)
        send(args.audit, args.to, sent)
        if sent != before or not args.follow:
            _print_sent(args, sent)
        if not args.follow:
            return 1 if sent.lost or sent.refused else 0
        time.sleep(_POLL)


def _print_sent(args: argparse.Namespace, sent: "Sent") -> None:
    if args.json:
        print_lines([report.dump(asdict(sent))])
    else:
        lost = f", {sent.lost} not ({sent.why})" if sent.lost else ""
        print_lines([f"to record {sent.reached}: {sent.taken} spans taken{visible(lost)}"])
    sys.stdout.flush()


def _report(args: argparse.Namespace) -> int:
    session = session_of(args.audit, args.session)
    if session is None or session is Outside.SESSIONS:
        raise LookupError("a report is about one session; `codecage audit show none` has the rest")
    verdict = verdict_of(args)
    told = sheet.gather(args.audit, session, verdict)
    if args.html is not None:
        _write_page(args, told)
    elif args.json:
        print_lines([brief.to_json(told)])
    else:
        terminal.print_lines(brief.lines(told, terminal.width()))
    return 0 if verdict.whole else 1


def _write_page(args: argparse.Namespace, told: sheet.Sheet) -> None:
    """
    Write the page and say how the record is, beside it where it goes to stdout itself.
    """
    page.write(args.html, page.page(told))
    out = sys.stderr if str(args.html) == "-" else sys.stdout
    lines = [report.verdict_json(told.verdict)]
    if not args.json:
        lines = [*report.verdict_lines(told.verdict), f"written: {visible(str(args.html))}"]
    for line in lines:
        print(line, file=out)


def _progress() -> Callable[[int], None] | None:
    if not sys.stderr.isatty():
        return None
    return lambda sequence: print(f"\r{sequence} records", end="\r", file=sys.stderr)


def _more(sequence: int) -> None:
    _note(f"there may be more: --after {sequence}")


def _note(text: str) -> None:
    print(text, file=sys.stderr)
