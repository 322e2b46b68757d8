"""
`codecage audit key` and `codecage audit sign`: heads of the record under a signature.

`sign` is meant to run beside the server, under another account that may read the store and alone
may read the key. Status 1 says as well that the record is not what was signed before.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from executor.audit.command import runs
from executor.audit.errors import NoteInvalid
from executor.audit.record import Head
from executor.audit.report import dump

if TYPE_CHECKING:
    from executor.audit.command import Subparsers


def register(commands: "Subparsers", shared: argparse.ArgumentParser) -> None:
    """
    Add the two commands to those of `audit`; `shared` are the options of all of them.
    """
    key = commands.add_parser("key", help="make a key that signs the record")
    key.add_argument("--json", action="store_true", help="one JSON object a line")
    key.add_argument("file", type=Path, metavar="FILE", help="where the new key is written")
    key.add_argument(
        "--name", required=True, help="the log's name, such as audit.example.com/codecage"
    )
    runs(key, _key)

    sign = commands.add_parser("sign", parents=[shared], help="sign the record's head")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="from `audit key`")
    sign.add_argument(
        "--to", type=Path, required=True, metavar="FILE", help="the checkpoints, to append to"
    )
    sign.add_argument(
        "--every",
        type=_seconds,
        metavar="SECONDS",
        help="go on, looking again after so many seconds, until stopped or the record is wrong",
    )
    runs(sign, _sign)


def heads(checkpoints: Path | None, key: str | None) -> Sequence[Head]:
    """
    The heads in a file of checkpoints that this verifier key has signed; none without a file.

    Raises NoteInvalid, OSError.
    """
    if checkpoints is None and key is None:
        return ()
    if checkpoints is None or key is None:
        raise NoteInvalid("--checkpoints and --key go together: a file, and whose signature counts")
    # The package that signs takes a hundredth of a second to load, and few commands need it.
    from executor.audit.checkpoint import read  # noqa: PLC0415
    from executor.audit.note import PublicKey  # noqa: PLC0415

    return [one.head for one in read(checkpoints, PublicKey.parse(key))]


def _key(args: argparse.Namespace) -> int:
    from executor.audit.checkpoint import make_key  # noqa: PLC0415

    made = make_key(args.file, args.name)
    print(dump({"verifier_key": str(made)}) if args.json else made)
    print("keep the file from the server; this line is for `verify --key`", file=sys.stderr)
    return 0


def _sign(args: argparse.Namespace) -> int:
    from executor.audit.checkpoint import read_key, sign  # noqa: PLC0415

    key = read_key(args.key)
    with suppress(KeyboardInterrupt):
        while True:
            made = sign(args.audit, key, args.to)
            if made is not None:
                print(dump({"head": str(made.head)}) if args.json else made.head, flush=True)
            if args.every is None:
                break
            time.sleep(args.every)
    return 0


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r}: give 0.1 to 86400 seconds")
    return value
