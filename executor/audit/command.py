"""
How a command of `codecage audit` runs: its errors are a sentence each, and its lines are printed.

Exit status: 0 fine; 1 not whole, not found or not readable; 2 the command was not understood.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from executor.audit.errors import AuditError
from executor.audit.escape import visible
from policy.errors import PolicyError

if TYPE_CHECKING:
    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

Command = Callable[[argparse.Namespace], int]


def runs(parser: argparse.ArgumentParser, command: Command) -> None:
    """
    Have the parser's `run` call `command`, and tell what stops it on stderr, with status 1.
    """

    def run(args: argparse.Namespace) -> int:
        try:
            return command(args)
        except BrokenPipeError:
            raise
        except (AuditError, LookupError, PolicyError, OSError) as error:
            lines = str(error).splitlines() if isinstance(error, PolicyError) else [str(error)]
            for line in lines:
                print(f"codecage audit: {visible(line)}", file=sys.stderr)
            return 1

    parser.set_defaults(run=run)


def print_lines(lines: Iterable[str]) -> None:
    """
    Print each line on stdout.
    """
    for line in lines:
        print(line)
