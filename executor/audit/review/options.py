"""
The filters as options of a command line.
"""

import argparse
import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from executor.audit.record import Answer, Origin
from executor.audit.review.asked import KINDS
from executor.audit.review.filters import Filter, Outside
from executor.audit.review.search import session_named
from policy.globs import glob_problem

_BELOW: Final = "a directory is all below it"
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_HOST = re.compile(r"(\*\.)?[^\s*/]{1,255}")


def filter_options() -> argparse.ArgumentParser:
    """
    A parent parser with an option for each part of a filter, but for the session.
    """
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("filters", "all that are given have to hold")
    group.add_argument(
        "--decision", type=Answer, choices=list(Answer), metavar="allow|deny", help="what was said"
    )
    group.add_argument(
        "--kind",
        action="append",
        default=[],
        choices=KINDS,
        metavar="KIND",
        help=f"what was asked: {', '.join(KINDS)}; can be given again",
    )
    for name, kind, form, told in (
        ("--path", glob_of, "GLOB", "the guest's path, as in a policy: /data/**/*.csv; " + _BELOW),
        ("--host", host_of, "HOST", "the host's name, or *.NAME for all below it"),
        ("--text", str, "TEXT", "what the request holds, as it was recorded"),
        ("--since", moment_ns, "TIME", "2h, 3d, or 2026-01-31T12:00 (UTC) and so on"),
        ("--until", moment_ns, "TIME", "the same, exclusive"),
    ):
        group.add_argument(name, type=kind, metavar=form, help=told)
    group.add_argument(
        "--origin",
        type=Origin,
        choices=list(Origin),
        metavar="ORIGIN",
        help=f"who says so: {', '.join(origin.value for origin in Origin)}",
    )
    return parser


def after_option(parser: argparse.ArgumentParser) -> None:
    """
    Add `--after` to a command that goes on where it ended before.
    """
    parser.add_argument(
        "--after", type=int, default=0, metavar="SEQ", help="start behind this sequence"
    )


def session_option(parser: argparse.ArgumentParser) -> None:
    """
    Add `--session` to a command that takes all sessions without it.
    """
    parser.add_argument(
        "--session",
        metavar="SESSION",
        help="of this one alone: its id, or how it begins; none: of no session",
    )


def filter_of(args: argparse.Namespace) -> Filter:
    """
    The filter that was asked for.

    Raises LookupError where no session, or several, have such a name; FileNotFoundError and
    AuditDamaged where the store cannot tell.
    """
    which = Filter(
        answer=args.decision,
        kinds=frozenset(args.kind),
        path=args.path,
        host=args.host,
        text=args.text,
        since_ns=args.since,
        until_ns=args.until,
        origin=args.origin,
    )
    return replace(which, session=session_of(args.audit, args.session))


def session_of(audit: Path, text: str | None) -> str | Outside | None:
    """
    Whose records are meant by what was given as a session.
    """
    if text is None:
        return None
    return Outside.SESSIONS if text == Outside.SESSIONS.value else session_named(audit, text)


def moment_ns(text: str) -> int:
    """
    A time in nanoseconds since 1970: so long ago (`90s`, `30m`, `2h`, `3d`, `1w`) or as ISO 8601,
    in UTC where it says nothing else.
    """
    if ago := _AGO.fullmatch(text):
        return time.time_ns() - int(ago[1]) * _UNITS[ago[2]] * 10**9
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write 2h, 3d, or 2026-01-31T12:00:00Z"
        ) from error
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000


def glob_of(text: str) -> str:
    """
    A glob of paths, absolute.
    """
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not absolute; write /data/**/*.csv")
    if problem := glob_problem(text.removeprefix("/")):
        raise argparse.ArgumentTypeError(f"{text!r}: {problem}")
    return text


def host_of(text: str) -> str:
    """
    A host's name, or `*.NAME`.
    """
    if not _HOST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no host; write example.org or *.example.org")
    return text
