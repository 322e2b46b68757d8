"""
`codecage shell`: an interactive session.
"""

import argparse
import codeop
import importlib
import sys

from agent_client.client import Cage, Session
from agent_client.commands.session import (
    ExitCode,
    add_connection_options,
    connected,
    interrupting,
)
from agent_client.observation import Observation
from agent_client.terminal import Printer

_EXAMPLE = """\
example:
  codecage shell --policy analyst --policies ./policies

Ctrl-C interrupts the running cell, Ctrl-D ends the session.
"""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command to the command line.
    """
    parser = subparsers.add_parser(
        "shell",
        help="type Python into a session",
        description="Type Python into a fresh session.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_connection_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Read, run and print until the end of input; a session that is lost is followed by a new one.
    """
    _enable_line_editing()
    with connected(args) as cage:
        while True:
            with cage.session(args.policy, image=args.image) as session:
                _greet(cage, session)
                if not _converse(session):
                    return ExitCode.OK


def is_complete(source: str) -> bool:
    """
    Whether `source` can be run, or waits for more lines.

    What this Python cannot read is complete, too: the guest's Python may be a newer one, and it
    is the one to say what is wrong. Nothing is executed here, only compiled.
    """
    try:
        return codeop.compile_command(source, "<input>", "single") is not None
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return True


def read_cell() -> str | None:
    """
    What the user typed, up to its end; None at the end of input. Ctrl-C begins anew.
    """
    lines: list[str] = []
    while True:
        try:
            lines.append(input("... " if lines else ">>> "))
        except KeyboardInterrupt:
            print()
            lines.clear()
        except EOFError:
            print()
            return None
        else:
            source = "\n".join(lines)
            if is_complete(source):
                return source


def _converse(session: Session) -> bool:
    """
    Run what is typed; tells whether it ended because the session was lost.
    """
    while (source := read_cell()) is not None:
        if source.strip() and _run_cell(session, source).session_lost:
            return True
    return False


def _run_cell(session: Session, source: str) -> Observation:
    printer = Printer(sys.stdout, sys.stderr)
    with interrupting(session):
        observation = session.run(source, on_output=printer.output, on_display=printer.display)
    printer.finish(observation)
    return observation


def _greet(cage: Cage, session: Session) -> None:
    info = cage.info()
    print(f"Codecage {info.version}, policy {session.policy}, image {session.image}", end="")
    print(f", {session.info.isolation}; Ctrl-D ends the session")


def _enable_line_editing() -> None:
    try:
        importlib.import_module("readline")  # `input` uses it once it is loaded
    except ModuleNotFoundError:
        return  # a Python built without it reads lines all the same
