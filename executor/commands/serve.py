"""
`codecage serve`: start a server.
"""

import argparse
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from executor.audit.errors import AuditError
from executor.children import launcher
from executor.errors import CannotStart
from executor.images.errors import ImageError
from executor.kernel.errors import CodecageError
from executor.linux.errors import MechanismError
from policy.errors import PolicyError
from policy.units import SIZE_FORMS, parse_size

if TYPE_CHECKING:
    from executor.children.checkpointing import CheckpointOptions
    from executor.server import Options

    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_POLICY_FAILED, _SERVER_FAILED = 1, 3
_LEVELS = ("debug", "info", "warning", "error")
_EXAMPLE = """\
example:
  codecage serve --listen unix:/run/codecage/sock --policies ./policies --run-as agents

It serves until SIGTERM or Ctrl-C; running cells then have 10 s to end. The socket's directory
is made for the server's account alone (0700), and so is that of the audit record; one that
others may enter is refused.

exit codes: 0 it was told to stop, 1 a policy is wrong, 2 usage, 3 it could not start or go on.
"""


def register(subparsers: "Subparsers") -> None:
    """
    Add the command to the command line.
    """
    about = "start a server"
    parser = subparsers.add_parser(
        "serve",
        help=about,
        description=about,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser)
    parser.set_defaults(run=run)


def default_audit_path() -> Path:
    """
    The user's own record; the module that knows it is imported when it is wanted.
    """
    from executor.audit.place import default_path  # noqa: PLC0415

    return default_path()


def run(args: argparse.Namespace) -> int:
    """
    Serve until told to stop; an error of the start is shown, and nothing has been served then.
    """
    try:
        return _serve(args)
    except PolicyError as error:
        print(error, file=sys.stderr)
        return _POLICY_FAILED
    except (CodecageError, AuditError, ImageError, MechanismError, OSError) as error:
        print(f"codecage serve: {error}", file=sys.stderr)
        return _SERVER_FAILED


def _serve(args: argparse.Namespace) -> int:
    # No collection looks at what the server imports; it has them again when it serves.
    gc.disable()
    # Before the server is imported: the launcher, and a zygote's imports, run beside it.
    started = args.started or launcher.launch(ahead=launcher.ZYGOTE)
    try:
        import logging  # noqa: PLC0415

        from executor.server import serve  # noqa: PLC0415

        logging.basicConfig(
            level=args.log_level.upper(),
            stream=sys.stderr,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        return serve(_options(args), started)
    finally:
        started.stop()
        gc.enable()


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen", required=True, metavar="unix:PATH", help="the socket; there is no other kind"
    )
    parser.add_argument(
        "--policies", type=Path, metavar="DIR", help="policy files (none: the built-in one alone)"
    )
    parser.add_argument(
        "--audit",
        type=Path,
        metavar="PATH",
        default=None,
        help="the audit record (default: codecage/audit.sqlite3 in $XDG_STATE_HOME, for"
        " root in /var/lib)",
    )
    parser.add_argument(
        "--run-as", metavar="USER", help="the account that opens files; root has to name one"
    )
    parser.add_argument(
        "--pool", type=int, default=1, metavar="N", help="workers that wait ahead (default: 1)"
    )
    parser.add_argument(
        "--sessions",
        type=int,
        default=256,
        metavar="N",
        help="at most so many at a time (default: 256); a policy's limits.sessions holds besides",
    )
    _add_network_options(parser)
    parser.add_argument(
        "--allow-audit-mode",
        action="store_true",
        help="serve policies with `mode: audit` too, which let pass what they deny",
    )
    _add_approval_options(parser)
    _add_checkpoint_options(parser)
    _add_rotation_options(parser)
    parser.add_argument("--log-level", choices=_LEVELS, default="info", help="default: info")
    parser.add_argument(
        "--lifeline", type=int, metavar="FD", help="stop when the other end of this pipe closes"
    )
    parser.add_argument(
        "--ephemeral", action="store_true", help="remove the socket's directory at the end"
    )


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--secrets", type=Path, metavar="DIR", help="the secrets that policies name, a file each"
    )
    parser.add_argument(
        "--trust",
        type=Path,
        metavar="FILE",
        help="certificates (PEM) that connections trust besides the system's",
    )
    parser.add_argument(
        "--resolver",
        action="append",
        default=[],
        metavar="ADDRESS:PORT",
        help="a name server to ask, in place of the system's and /etc/hosts; may be repeated",
    )


def _add_approval_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--approvals",
        metavar="unix:PATH",
        help="the socket where approvers decide, apart from --listen; with --approver",
    )
    parser.add_argument(
        "--approver",
        action="append",
        default=[],
        metavar="USER",
        help="an account that may approve, neither root nor the server's; may be repeated",
    )


def _add_rotation_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--audit-rotate-size",
        type=_size,
        metavar="SIZE",
        help="close the record's file once it is so large (512Mi), and go on in a new one",
    )
    parser.add_argument(
        "--audit-rotate-daily", action="store_true", help="the same once a day (UTC) has ended"
    )


def _size(text: str) -> int:
    if (size := parse_size(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: {SIZE_FORMS}")
    return size


def _add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="FILE",
        help="add signed heads of the record to this file; with --checkpoint-key",
    )
    parser.add_argument(
        "--checkpoint-key", type=Path, metavar="FILE", help="the key, from `codecage audit key`"
    )
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="sign when the last signed head is so old, 1 to 86400 (default: 60)",
    )
    parser.add_argument(
        "--checkpoint-records",
        type=int,
        default=10_000,
        metavar="N",
        help="sign when so many records were added since (default: 10000)",
    )


def _checkpoints(args: argparse.Namespace) -> "CheckpointOptions | None":
    if args.checkpoints is None and args.checkpoint_key is None:
        return None
    # It brings SQLite along, which the launcher's start does not wait for.
    from executor.children.checkpointing import CheckpointOptions  # noqa: PLC0415

    if args.checkpoints is None or args.checkpoint_key is None:
        raise CannotStart("--checkpoints and --checkpoint-key go together: a file, and who signs")
    return CheckpointOptions(
        args.checkpoint_key, args.checkpoints, args.checkpoint_every, args.checkpoint_records
    )


def _options(args: argparse.Namespace) -> "Options":
    from executor.networking import NetworkOptions  # noqa: PLC0415 - after the launcher's start
    from executor.server import Options  # noqa: PLC0415

    return Options(
        listen=args.listen,
        audit=args.audit or default_audit_path(),
        policies=args.policies,
        run_as=args.run_as,
        pool=args.pool,
        sessions=args.sessions,
        lifeline=args.lifeline,
        ephemeral=args.ephemeral,
        network=NetworkOptions(args.secrets, args.trust, tuple(args.resolver)),
        allow_audit_mode=args.allow_audit_mode,
        checkpoints=_checkpoints(args),
        rotate_bytes=args.audit_rotate_size,
        rotate_daily=args.audit_rotate_daily,
        approvals=args.approvals,
        approvers=tuple(args.approver),
    )
