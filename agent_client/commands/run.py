"""
`codecage run`: run a file in a fresh session, as one cell or, split at `# %%`, cell by cell.
"""

import argparse
import io
import re
import sys
import tokenize
from pathlib import Path

from agent_client.client import Session
from agent_client.commands.report import observation_json
from agent_client.commands.session import (
    ExitCode,
    add_connection_options,
    connected,
    exit_code,
    interrupting,
)
from agent_client.errors import InvalidRequest
from agent_client.events import Status
from agent_client.observation import Observation
from agent_client.terminal import Printer

_SEPARATOR = re.compile(r"^#[ \t]*%%.*(?:\n|\Z)", re.MULTILINE)
_EXAMPLE = """\
example:
  codecage run analysis.py --policy analyst --policies ./policies --timeout 30
  echo 'sum(range(10))' | codecage run -

exit codes: 0 the code ran to its end, 1 it raised or was stopped, 2 usage, 3 the server failed
or the session is lost, 130 interrupted by Ctrl-C (twice: without waiting for the cell).
"""


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """
    Add the command to the command line.
    """
    parser = subparsers.add_parser(
        "run",
        help="run a file of Python in a fresh session",
        description="Run a file in a fresh session. Lines '# %%' split it into cells.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="a file of Python, or - for standard input")
    add_connection_options(parser)
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds for each cell")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each cell")
    parser.add_argument(
        "--displays", metavar="DIR", help="write what cells show to DIR, as cell-1-1.png and so on"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Run the file; ends with the first cell that does not run to its end.
    """
    cells = split(_source(args.file))
    with (
        connected(args) as cage,
        cage.session(args.policy, image=args.image) as session,
        interrupting(session),
    ):
        for number, cell in enumerate(cells, 1):
            observation = _run_cell(session, cell, args)
            if args.displays is not None:
                save_displays(observation, Path(args.displays), number)
            if not observation.ok or observation.status is Status.EXITED:
                return exit_code(observation)
    return ExitCode.OK


def split(source: str) -> list[str]:
    """
    The cells of a source; without a separator it is one cell, and empty ones are left out.
    """
    return [cell for cell in _SEPARATOR.split(source) if cell.strip()]


def save_displays(observation: Observation, directory: Path, number: int) -> None:
    """
    Write what cell `number` showed to `directory`, which is made if need be. Raises InvalidRequest.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for place, shown in enumerate(observation.displays, 1):
            shown.save_all(directory, f"cell-{number}-{place}")
    except OSError as error:
        raise InvalidRequest(f"--displays {directory}: {error.strerror}") from None


def _run_cell(session: Session, cell: str, args: argparse.Namespace) -> Observation:
    if args.json:
        observation = session.run(cell, timeout=args.timeout)
        print(observation_json(observation), flush=True)
        return observation
    printer = Printer(sys.stdout, sys.stderr)
    observation = session.run(
        cell, timeout=args.timeout, on_output=printer.output, on_display=printer.display
    )
    printer.finish(observation)
    return observation


def _source(name: str) -> str:
    """
    The text of a file, in the encoding that it declares (PEP 263).
    """
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return io.TextIOWrapper(io.BytesIO(data), encoding).read()
    except OSError as error:
        raise InvalidRequest(f"{name} cannot be read: {error.strerror}") from None
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{name} is not a text of Python: {error}; save it as UTF-8") from None
