"""
`codecage policy import`: the policy of another program as one of this one.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from policy.importing import NotImportedError, Origin, imported

if TYPE_CHECKING:
    from executor.commands.policy_tools import Added, Subparsers

_OK, _FAILED = 0, 1
_EXAMPLE = """\
example:
  codecage policy import --from srt srt-settings.json > agent.yaml
  codecage policy import --from deno deno.json --name agent

What has no counterpart is left out, and said in a comment. For deno FILE is a deno.json, or a text
with the flags of its command line.

exit codes: 0 a policy was printed, 1 FILE is not of that kind or cannot be read, 2 usage.
"""


def register_import(commands: "Subparsers", add: "Added") -> None:
    """
    Add the command, made by `add`.
    """
    parser = add(commands, "import", "turn another program's policy into one", _import)
    parser.epilog = _EXAMPLE
    parser.add_argument("file", type=Path, metavar="FILE", help="the other program's file")
    parser.add_argument(
        "--from",
        dest="origin",
        type=Origin,
        required=True,
        choices=list(Origin),
        metavar="|".join(one.value for one in Origin),
        help="whose file it is",
    )
    parser.add_argument("--name", default="imported", metavar="NAME", help="the policy's name")


def _import(args: argparse.Namespace) -> int:
    try:
        text = imported(args.origin, args.file.read_text(encoding="utf-8"), args.name)
    except (NotImportedError, OSError, UnicodeDecodeError) as error:
        if args.json:
            print(json.dumps({"problems": [{"message": str(error)}]}, indent=2))
        else:
            print(f"codecage policy import: {args.file.name}: {error}", file=sys.stderr)
        return _FAILED
    print(json.dumps({"policy": text}, indent=2) if args.json else text, end="\n" * args.json)
    return _OK
