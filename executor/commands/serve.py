"""
`codecage serve`: start a server.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from executor.audit.cli import default_path
from executor.audit.errors import AuditError
from executor.images.errors import ImageError
from executor.kernel.errors import ExecutorError
from executor.linux.errors import MechanismError
from executor.server import Options, serve
from policy.errors import PolicyError

if TYPE_CHECKING:
    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_FAILED = 1
_LEVELS = ("debug", "info", "warning", "error")
_EXAMPLE = """\
example:
  codecage serve --policies ./policies --listen unix:/run/user/1000/codecage/sock

The directory of the socket is made with mode 0700, or must be like that: who can enter it may use
every policy. Stop the server with SIGTERM or Ctrl-C: running cells get --grace seconds to end.

exit codes: 0 stopped when asked, 1 could not start or serve, 2 usage.
"""


def register(subparsers: "Subparsers") -> None:
    """
    Add the command.
    """
    parser = subparsers.add_parser(
        "serve",
        help="start a server",
        description="Run agents' code in sessions, over gRPC, under policies.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--listen", required=True, metavar="unix:PATH", help="where to listen")
    parser.add_argument(
        "--policies", type=Path, metavar="DIR", help="the directory of policy files"
    )
    parser.add_argument(
        "--audit", type=Path, default=None, metavar="PATH", help="the audit record (default: yours)"
    )
    parser.add_argument("--run-as", metavar="USER", help="who opens granted files; needed for root")
    parser.add_argument(
        "--pool", type=int, default=1, metavar="N", help="workers that wait ahead of need (0 to 64)"
    )
    parser.add_argument(
        "--grace", type=float, default=10.0, metavar="SECONDS", help="for running cells at the end"
    )
    parser.add_argument("--log-level", choices=_LEVELS, default="info")
    # For programs that start a server for themselves.
    parser.add_argument("--lifeline", type=int, metavar="FD", help=argparse.SUPPRESS)
    parser.add_argument("--ephemeral", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Serve until told to stop.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=args.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    options = Options(
        listen=args.listen,
        audit=args.audit or default_path(),
        policies=args.policies,
        run_as=args.run_as,
        pool=args.pool,
        lifeline=args.lifeline,
        ephemeral=args.ephemeral,
        grace=args.grace,
    )
    try:
        return serve(options)
    except PolicyError as error:
        print(
            f"codecage serve: nothing was started: the policies have errors\n{error}",
            file=sys.stderr,
        )
    except (ExecutorError, AuditError, ImageError, MechanismError) as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        print(f"codecage serve: {error}{notes}", file=sys.stderr)
    return _FAILED
