"""
The options of `codecage audit replay` and `codecage audit erase`; what they do is loaded when they
are asked for, because it brings the cage along.
"""

import argparse
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from executor.audit.command import Subparsers

_ABOUT: Final = """\
Run the cells of captured sessions again, in a fresh cage of the same image that has no file, no
network and no tool, and compare every request and every byte of output with what was captured.
Sessions are captured under policies with `audit: {level: replay}`.
"""
_EXAMPLE: Final = """\
example:
  codecage audit replay 3f2a
  codecage audit replay --all --json
  codecage audit replay 3f2a --until 4

exit codes: 0 identical; 1 something differs; 2 there is no such session, cell or capture;
3 the cage could not be made; 4 identical as far as it was captured, and that is not all
"""
_ABOUT_ERASING: Final = """\
Overwrite what the records of one session tell of paths, arguments, reasons, outcomes, sizes and
digests, drop the key under which they were committed to, and drop the key of its capture. The
record stays whole, and says so: when the records were written, of which session and of which kind
they are can still be read. The server has to be stopped meanwhile.
"""


def register(commands: "Subparsers", shared: argparse.ArgumentParser) -> None:
    """
    Add the commands.
    """
    replay = commands.add_parser(
        "replay",
        parents=[shared],
        help="run a captured session again and compare",
        description=_ABOUT,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = replay.add_mutually_exclusive_group(required=True)
    which.add_argument("session", nargs="?", metavar="SESSION", help="its id, or how it begins")
    which.add_argument("--all", action="store_true", help="every session that has a capture")
    _captures_of(replay)
    replay.add_argument(
        "--until",
        type=_cell,
        metavar="CELL",
        help="stop after this cell, with a shell on the state that it left (not with --json)",
    )
    replay.set_defaults(run=lambda args: _run("replay", args))
    erase = commands.add_parser(
        "erase",
        parents=[shared],
        help="erase a session's texts from the record, and its capture, for good",
        description=_ABOUT_ERASING,
        epilog="example:\n  codecage audit erase 3f2a",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _captures_of(erase)
    erase.add_argument(
        "--capture-only",
        action="store_true",
        help="drop the capture's key alone, which is possible while a server has the record",
    )
    erase.add_argument("session", metavar="SESSION", help="its id, or how it begins")
    erase.set_defaults(run=lambda args: _run("erase", args))


def _captures_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--captures-of",
        type=Path,
        metavar="PATH",
        help="the store that the server writes, where --audit names a closed file of it",
    )


def _cell(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a cell; the first is 1")
    return int(text)


def _run(command: str, args: argparse.Namespace) -> int:
    commands = importlib.import_module("executor.replay.commands")
    return cast("int", getattr(commands, command)(args))
