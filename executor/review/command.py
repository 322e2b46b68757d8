"""
`codecage audit serve`: the command line of the review page.
"""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from executor.audit.command import runs
from executor.audit.errors import AuditDamaged

if TYPE_CHECKING:
    from executor.audit.command import Subparsers

_NEEDED = ("starlette", "jinja2", "uvicorn", "pygments")
_LISTEN = "127.0.0.1:8321"


def register(
    commands: "Subparsers", shared: argparse.ArgumentParser, anchors: argparse.ArgumentParser
) -> None:
    """
    Add the command; the two parsers are options of several.
    """
    parser = commands.add_parser(
        "serve", parents=[shared, anchors], help="show the record as pages, on this machine alone"
    )
    parser.add_argument(
        "--listen",
        default=_LISTEN,
        metavar="ADDRESS",
        help="127.0.0.1:PORT, [::1]:PORT or unix:PATH (default: %(default)s; port 0: any)",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="the token that readers show; without it one is made, and printed once",
    )
    parser.add_argument(
        "--policies", type=Path, metavar="DIR", help="policies, to show the lines that decided"
    )
    parser.add_argument(
        "--code",
        action="store_true",
        help="show what captured cells were and printed, and the diffs of commits, too: they are "
        "in the captures beside AUDIT",
    )
    parser.add_argument(
        "--readers",
        type=Path,
        metavar="PATH",
        help="where is recorded who was shown what (default: AUDIT.readers.sqlite3 beside it)",
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="a further host by which it is meant, for a tunnel; can be given again",
    )
    runs(parser, _serve)


def _serve(args: argparse.Namespace) -> int:
    if absent := [name for name in _NEEDED if find_spec(name) is None]:
        print(
            f"codecage audit serve: {', '.join(absent)} not installed: "
            "pip install 'codecage[server,review]'",
            file=sys.stderr,
        )
        return 2
    return _served(args)


def _served(args: argparse.Namespace) -> int:
    # What a page is made with takes a while to load, and no other command needs it.
    from executor.errors import CannotStart  # noqa: PLC0415
    from executor.review import login, serving  # noqa: PLC0415
    from executor.review.access import beside  # noqa: PLC0415
    from policy.policy_file import open_policy_directory  # noqa: PLC0415

    if not args.audit.is_file():
        raise FileNotFoundError(f"there is no audit store at {args.audit}")
    try:
        token = login.make_token() if args.token_file is None else login.read_token(args.token_file)
        if args.policies is not None:
            os.close(open_policy_directory(str(args.policies)))
        bound = serving.bind(args.listen, tuple(args.host))
        with bound.socket:
            options = serving.Options(
                audit=args.audit.absolute(),
                readers=(args.readers or beside(args.audit)).absolute(),
                token=token,
                policies=args.policies,
                code=args.code,
                verify=_verify_options(args),
            )
            printed = token if args.token_file is None else None
            serving.serve(options, bound, lambda: _say(bound.address, printed))
    except (CannotStart, login.TokenInvalid) as error:
        raise AuditDamaged(str(error)) from error
    return 0


def _verify_options(args: argparse.Namespace) -> tuple[str, ...]:
    """
    The heads that were kept outside, for `codecage audit verify`.
    """
    given = (("--checkpoints", args.checkpoints), ("--key", args.key), ("--head", args.head))
    return tuple(word for name, value in given if value is not None for word in (name, str(value)))


def _say(address: str, token: str | None) -> None:
    """
    Where it is and, once, by which token.
    """
    print(f"serving {address}")
    if token is not None:
        print(f"token   {token}")
    sys.stdout.flush()
