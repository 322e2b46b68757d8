"""
The commands of `codecage audit` that show: list, show, tail, why, report.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from executor.audit import read, report, signing
from executor.audit.command import print_lines, runs
from executor.audit.differences import DiffReader
from executor.audit.escape import visible
from executor.audit.review import (
    brief,
    commits,
    copies,
    diffs,
    page,
    rows,
    search,
    sheet,
    tail,
    terminal,
    why,
)
from executor.audit.review.filters import Outside
from executor.audit.review.following import unread
from executor.audit.review.options import (
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
    from policy.types import Policy

_POLL = 0.5


def register(
    commands: "Subparsers",
    shared: argparse.ArgumentParser,
    paged: argparse.ArgumentParser,
    anchors: argparse.ArgumentParser,
    reader: DiffReader,
) -> None:
    """
    Add the commands; the three parsers are options of several. `reader` reads what was kept of
    commits, where that is asked for.
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
    _diffs_option(show, reader)
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

    paper = _register_files(commands, shared, filters, anchors)
    _diffs_option(paper, reader)


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
) -> argparse.ArgumentParser:
    copies.register(commands, shared, filters)

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
    return paper


def _diffs_option(parser: argparse.ArgumentParser, reader: DiffReader) -> None:
    parser.add_argument(
        "--diffs",
        action="store_const",
        const=reader,
        help="show the diffs of commits too, where they were kept: contents that the session had",
    )
    parser.add_argument(
        "--captures-of",
        type=Path,
        metavar="PATH",
        help="with --diffs: the store that the server writes, where --audit names a closed file",
    )


def _reader(args: argparse.Namespace) -> DiffReader | None:
    """
    What reads diffs, where they are asked for: from beside the store that was written to.
    """
    if args.diffs is None or args.captures_of is None:
        return cast("DiffReader | None", args.diffs)
    return lambda _, session, decisions: args.diffs(args.captures_of, session, decisions)


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "session",
        metavar="SESSION",
        help="the session's id, from `list`, or how it begins; none: what belongs to no session",
    )


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
    if (reader := _reader(args)) is not None:
        _print_diffs(args, found, reader)
    if not found.ended:
        _more(found.reached)
    return 0


def _print_diffs(args: argparse.Namespace, found: Page, reader: DiffReader) -> None:
    decisions = [one.record for one in found.steps if commits.is_commit(one.record)]
    session = decisions[0].session if decisions else None
    if session is None:
        return
    kept = reader(args.audit, session, decisions)
    for one in decisions:
        told = kept.get(one.sequence)
        if args.json:
            print_lines([report.dump({"diffs_of": one.sequence, **diffs.diff_json(one, told)})])
            continue
        terminal.print_lines([("", Look.PLAIN), (f"record {one.sequence}:", Look.PLAIN)])
        terminal.print_lines(diffs.diff_lines(one, told, "--diffs"))


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
        for part in unread(args.audit, reached, which):
            _print_tail(args, part.page)
            reached = part.page.reached
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


def _report(args: argparse.Namespace) -> int:
    session = session_of(args.audit, args.session)
    if session is None or session is Outside.SESSIONS:
        raise LookupError("a report is about one session; `codecage audit show none` has the rest")
    verdict = verdict_of(args)
    told = sheet.gather(args.audit, session, verdict, _reader(args))
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
