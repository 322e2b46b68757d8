"""
`codecage bench`: benchmarks of agents through the real service, on this machine.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from executor.commands.m3tooleval import endpoint, kit, live, scripted
from executor.commands.m3tooleval.formats import Format
from executor.commands.m3tooleval.running import CAGES

if TYPE_CHECKING:
    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_MOST_REPEATS = 1000
_EXAMPLE = """\
example:
  codecage bench m3tooleval --kit ./m3tooleval
  OPENAI_BASE_URL=http://localhost:8000/v1 \\
    codecage bench m3tooleval --kit ./m3tooleval --model NAME --repeats 3

The kit is a directory with the 82 tasks, their tools and the code actions that solve them. It is
trusted: its tools.py is imported here, and its actions also run in plain Python, for comparison.

exit codes: 0 every scripted answer is right, or a model's run is over; 1 a scripted answer is
wrong; 2 usage, or no kit; 3 the server failed, or the model's endpoint does not answer.
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
    one.add_argument(
        "--cage", action="append", choices=[where.cage for where in CAGES], help="only this cage"
    )
    _add_model_options(one)
    one.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """
    Run the benchmark and print what came of it.
    """
    read = kit.read(args.kit)
    cages = [where for where in CAGES if args.cage is None or where.cage in args.cage]
    if args.model is None:
        return scripted.run(read, cages, as_json=args.json)
    model = endpoint.from_environment(args.model)
    wanted = [Format(one) for one in args.format or Format]
    plan = live.Plan(wanted, cages, args.repeats)
    return live.run(read, model.complete, plan, as_json=args.json)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="let this model act; OPENAI_BASE_URL and OPENAI_API_KEY name its endpoint",
    )
    parser.add_argument(
        "--format", action="append", choices=[*map(str, Format)], help="with --model: only this one"
    )
    parser.add_argument(
        "--repeats", type=_repeats, default=1, metavar="N", help="with --model: tries of each task"
    )


def _repeats(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= _MOST_REPEATS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_REPEATS}")
    return int(text)
