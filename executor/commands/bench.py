"""
`codecage bench`: benchmarks of agents through the real service, on this machine.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from executor.commands.m3tooleval import kit, scripted

if TYPE_CHECKING:
    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_EXAMPLE = """\
example:
  codecage bench m3tooleval --kit ./m3tooleval

The kit is a directory with the 82 tasks, their tools and the code actions that solve them. It is
trusted: its tools.py is imported here, and its actions also run in plain Python, for comparison.

exit codes: 0 every answer is right, 1 one is wrong, 2 usage or no kit, 3 the server failed.
"""


def register(subparsers: "Subparsers") -> None:
    """
    Add the command to the command line.
    """
    about = "benchmarks of agents through the real service, on this machine"
    parser = subparsers.add_parser("bench", help=about, description=about)
    inner = parser.add_subparsers(title="benchmarks", metavar="BENCHMARK", required=True)
    one = inner.add_parser(
        "m3tooleval",
        help="the tool tasks of the CodeAct paper, as code and as JSON",
        description="Run M3ToolEval in both cages: code in one block and in turns, and JSON calls.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument(
        "--kit", metavar="DIR", type=Path, required=True, help="the directory of the benchmark"
    )
    one.add_argument("--json", action="store_true", help="print one JSON object")
    one.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Run the benchmark and print what came of it.
    """
    return scripted.run(kit.read(args.kit), as_json=args.json)
