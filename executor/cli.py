"""
The command `codecage`.

Each command lives in a module of its own, loaded when it is asked for: so the commands that need
the client alone work where nothing else is installed, and none pays for the others.
"""

import argparse
import importlib
import io
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO, TypeAlias, cast

from agent_client.installation import INSTALL_SERVER, missing_parts

if TYPE_CHECKING:
    from agent_client.errors import CodecageError
    from executor.children.launcher import Launcher

    Subparsers: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

OK, FAILED, USAGE, SERVER_FAILED, INTERRUPTED = 0, 1, 2, 3, 130

_NEEDS_SERVER = f"this command needs the server: {INSTALL_SERVER}"
_EXAMPLE = """\
example:
  codecage run hello.py
  codecage policy explain analyst.yaml "read /data/x.csv"
  codecage COMMAND --help
"""


@dataclass(frozen=True, slots=True)
class Command:
    """
    A command: its name, its line in the help, and the module whose `register` adds it.
    """

    name: str
    help: str
    module: str
    needs_server: bool = True


COMMANDS = (
    Command("run", "run a file of Python in a fresh session", "agent_client.commands.run", False),
    Command("shell", "type Python into a session", "agent_client.commands.shell", False),
    Command("approvals", "see and decide what waits", "agent_client.commands.approvals", False),
    Command("serve", "start a server", "executor.commands.serve"),
    Command("policy", "check, explain, compare and test policy files", "executor.commands.policy"),
    Command("image", "build and verify guest images", "executor.images.cli"),
    Command("audit", "read and verify the audit record", "executor.audit.cli"),
    Command(
        "doctor", "say what this machine lacks, and how to mend it", "executor.commands.doctor"
    ),
    Command("bench", "run benchmarks of agents in both cages", "executor.commands.bench"),
    Command("version", "print the versions of all that takes part", "executor.cli", False),
)


def main(argv: Sequence[str] | None = None, started: "Launcher | None" = None) -> int:
    """
    Run one command and give its exit code.

    0 done, 1 the answer is no or the code failed, 2 usage, 3 the server failed, 130 interrupted;
    each command's --help says more. `started` is a launcher for `codecage serve`, which starts one
    where there is none.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        _never_fail_on_a_character(stream)
    try:
        return _run(arguments, started)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has enough. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def parser_for(wanted: Command | None) -> argparse.ArgumentParser:
    """
    The command line, with the options of the one command that is wanted.
    """
    parser = argparse.ArgumentParser(
        prog="codecage",
        description="Run an agent's Python in a cage, under a policy, on the record.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        if command is wanted:
            _registrar(command)(subparsers)
        else:
            subparsers.add_parser(command.name, help=command.help)
    return parser


def register(subparsers: "Subparsers") -> None:
    """
    Add `codecage version` to the command line.
    """
    parser = subparsers.add_parser(
        "version",
        help="print the versions of all that takes part",
        epilog="example:\n  codecage version",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=version)


def version(args: argparse.Namespace) -> int:
    """
    Print what is installed, for a report of a fault.
    """
    names = ("codecage", "wasmtime", "grpcio", "protobuf", "pydantic", "ruamel.yaml")
    found = {name: _version(name) for name in names}
    found["python"] = platform.python_version()
    found["system"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    if args.json:
        print(json.dumps(found))
    else:
        for name, number in found.items():
            print(f"{name:12} {number}")
    return OK


class _Version(argparse.Action):
    """
    `--version`, for which alone the version is looked up.
    """

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """
        Print it and leave, as argparse's own action does.
        """
        print(f"codecage {_version('codecage')}")
        parser.exit(OK)


def _run(arguments: list[str], started: "Launcher | None") -> int:
    wanted = next((one for one in COMMANDS if arguments[:1] == [one.name]), None)
    if wanted and wanted.needs_server and missing_parts():
        print(f"codecage {wanted.name}: {_NEEDS_SERVER}", file=sys.stderr)
        return USAGE
    args = parser_for(wanted).parse_args(arguments, argparse.Namespace(started=started))
    try:
        return cast("int", args.run(args))
    except _errors_of_client() as error:
        return _failed(arguments[0], error)


def _errors_of_client() -> "type[CodecageError]":
    # Looked up when something was raised: a server's first guest waits for each import before.
    from agent_client.errors import CodecageError  # noqa: PLC0415

    return CodecageError


def _failed(command: str, error: "CodecageError") -> int:
    from agent_client.errors import InvalidRequest, ServerMissing  # noqa: PLC0415 - as above
    from agent_client.terminal import visible  # noqa: PLC0415

    print(f"codecage {command}: {visible(str(error))}", file=sys.stderr)
    return USAGE if isinstance(error, (InvalidRequest, ServerMissing)) else SERVER_FAILED


def _registrar(command: Command) -> "Callable[[Subparsers], None]":
    if command.module == "executor.cli":
        return register  # this module may be running under the name __main__
    return cast("Callable[[Subparsers], None]", importlib.import_module(command.module).register)


def _version(package: str) -> str:
    # A hundredth of a second, which no other command has to spend.
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # We do run, so we are there, if only as a checkout of the source.
        return "source" if package == "codecage" else "not installed"


def _never_fail_on_a_character(stream: TextIO) -> None:
    # Guests print any character; a terminal's encoding may not have it (PEP 293).
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
