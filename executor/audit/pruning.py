"""
`codecage audit prune`: old closed files are removed, and the record says so.
"""

import argparse
import re
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from executor.audit import signing
from executor.audit.command import print_lines, runs
from executor.audit.errors import NoteInvalid
from executor.audit.report import dump, moment

if TYPE_CHECKING:
    from executor.audit.command import Subparsers
    from executor.audit.prune import Old

_DAYS: Final = re.compile("([1-9][0-9]{0,4})([dw])")


def register(
    commands: "Subparsers", shared: argparse.ArgumentParser, anchors: argparse.ArgumentParser
) -> None:
    """
    Add the command; `anchors` are the options that name heads kept outside.
    """
    away = commands.add_parser(
        "prune",
        parents=[shared, anchors],
        help="remove closed files older than so many days, which heads kept outside vouch for",
    )
    away.add_argument(
        "--keep",
        type=_keep,
        required=True,
        metavar="TIME",
        help="keep what is younger: 90d, 52w; a file goes when its last record is older",
    )
    away.add_argument("--dry-run", action="store_true", help="check, and tell what would go")
    runs(away, _prune)


def _keep(text: str) -> int:
    if (match := _DAYS.fullmatch(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: write days or weeks, 90d or 52w")
    days = int(match[1]) * (7 if match[2] == "w" else 1)
    return timedelta(days=days) // timedelta(microseconds=1) * 1000


def _prune(args: argparse.Namespace) -> int:
    # It opens the store to write, which no other command of `audit` does.
    from executor.audit.prune import check, old_files, prune  # noqa: PLC0415

    heads = [*signing.heads(args.checkpoints, args.key), *([args.head] if args.head else [])]
    if not heads:
        raise NoteInvalid(
            "nothing was removed: give --checkpoints and --key, or --head, so that what goes can "
            "be shown to be what was written"
        )
    before = time.time_ns() - args.keep
    if args.dry_run:
        gone = old_files(args.audit, before)
        check(args.audit, gone, heads)
    else:
        gone = prune(args.audit, before, heads)
    print_lines(_json(one) if args.json else _line(one, dry=args.dry_run) for one in gone)
    if not gone:
        print(f"no closed file is older than {moment(before)}", file=sys.stderr)
    return 0


def _json(old: "Old") -> str:
    told = {
        "file": old.closed.path.name,
        "first_sequence": old.closed.first,
        "last_sequence": old.closed.last,
        "head": str(old.head),
        "last_time": moment(old.last_ns),
        "bytes": old.size,
    }
    return dump(told)


def _line(old: "Old", *, dry: bool) -> str:
    word = "would remove" if dry else "removed"
    records = f"records {old.closed.first} to {old.closed.last}"
    return (
        f"{word} {old.closed.path.name}: {records}, until {moment(old.last_ns)}, {old.size} bytes"
    )
