"""
`codecage bench`: benchmarks of agents through the real service, on this machine.
"""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from agent_client.errors import InvalidRequest
from executor.bench import compare, installing, plan, results, run, summary
from executor.bench.contest import LONG, NORMAL, SHORT, Effort, Missing, Setting
from executor.commands.m3tooleval import endpoint, kit, live, scripted
from executor.commands.m3tooleval.formats import Format
from executor.commands.m3tooleval.running import CAGES

if TYPE_CHECKING:
    # argparse gives this type no public name.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_MOST_REPEATS = 1000
_OK, _DIFFERS, _INTERRUPTED = 0, 1, 130
_OUT = Path("benchmarks") / "results" / "latest"
_LEVELS = (0.5, 0.9999)
_WHOLE = """\
example:
  codecage bench --list
  codecage bench --only cell --only tool
  codecage bench peers; codecage bench --kit ./m3tooleval
  codecage bench compare before.json after.json

Everything is measured in turn, in rounds: each figure beside its floor, of the same run. A peer
that is not here is named in the table, with the reason. benchmarks/README.md says how to read it.

exit codes: 0 the run is over, whatever its figures; 2 usage, or a package is missing; 130 it was
interrupted, and what there was is written.
"""
_COMPARE = """\
exit codes: 0 nothing of ours is worse beyond the noise, 1 something is, 2 usage or no result.
"""
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
    parser = subparsers.add_parser(
        "bench",
        help=about,
        description="What the service costs, beside floors and beside what people use instead.",
        epilog=_WHOLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_options(parser)
    inner = parser.add_subparsers(title="others", metavar="COMMAND", required=False)
    _add_compare(inner)
    short = inner.add_parser("summary", help="a result in a few lines, as the README has it")
    short.add_argument("result", metavar="FILE", type=Path, nargs="?",
                       default=_OUT.with_suffix(".json"), help="default: %(default)s")  # fmt: skip
    short.set_defaults(run=_summary)
    peers = inner.add_parser("peers", help="install what the peers need, apart from this Python")
    peers.set_defaults(run=_install)
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
    one.set_defaults(run=_m3tooleval)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list", action="store_true", help="name the rows and curves, and leave")
    parser.add_argument("--only", action="append", metavar="NAME", default=[], help="only this one")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--short", action="store_const", const=SHORT, dest="effort",
                       help="a minute or two, without peers and with few samples")  # fmt: skip
    forms.add_argument("--long", action="store_const", const=LONG, dest="effort",
                       help="about an hour")  # fmt: skip
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--no-plots", action="store_true", help="draw nothing")
    parser.add_argument("--kit", metavar="DIR", type=Path, help="the directory of M3ToolEval")
    parser.add_argument("--recorded", metavar="FILE", type=Path,
                        help="recorded runs of agents, a JSON object a line")  # fmt: skip
    parser.add_argument("--out", metavar="STEM", type=Path, default=_OUT,
                        help=f"the files' names up to their ending (default: {_OUT})")  # fmt: skip
    parser.set_defaults(run=_measure, effort=NORMAL)


def _add_compare(inner: "Subparsers") -> None:
    one = inner.add_parser(
        "compare",
        help="say what of two results differs by more than the noise",
        description=compare.__doc__,
        epilog=_COMPARE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("before", metavar="A", type=Path)
    one.add_argument("after", metavar="B", type=Path)
    one.add_argument("--level", type=_level, default=0.99, metavar="SHARE", help="default: 0.99")
    one.add_argument("--json", action="store_true", help="print one JSON object")
    one.set_defaults(run=_compare)


def _measure(args: argparse.Namespace) -> int:
    if args.list:
        for row in plan.ROWS:
            print(f"{row.name:<14} {row.what} ({row.unit})")
        for curve in plan.CURVES:
            print(f"{curve.name:<14} growth: {curve.what} ({curve.unit})")
        return _OK
    effort: Effort = args.effort
    if args.no_peers:
        effort = dataclasses.replace(effort, peers=False)
    setting = Setting(effort, args.kit, installing.place(), args.recorded)
    wanted = run.Wanted(setting, tuple(args.only), args.out, plots=not args.no_plots)
    try:
        _, interrupted = run.run(wanted)
    except Missing as error:
        raise InvalidRequest(str(error)) from None
    print(wanted.out.with_name(f"{wanted.out.name}.md").read_text(), end="")
    return _INTERRUPTED if interrupted else _OK


def _summary(args: argparse.Namespace) -> int:
    print(summary.markdown(results.read(args.result)), end="")
    return _OK


def _compare(args: argparse.Namespace) -> int:
    found = compare.compare(results.read(args.before), results.read(args.after), args.level)
    worse = any(one.verdict is compare.Verdict.WORSE for one in found)
    if args.json:
        print(json.dumps({"level": args.level, "changes": [one.data() for one in found]}))
    else:
        print(compare.table(found))
    return _DIFFERS if worse else _OK


def _install(_args: argparse.Namespace) -> int:
    failed = installing.install(lambda text: print(text, flush=True))
    return _DIFFERS if failed else _OK


def _m3tooleval(args: argparse.Namespace) -> int:
    """
    Run the tool tasks and print what came of them.
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


def _level(text: str) -> float:
    least, most = _LEVELS
    try:
        level = float(text)
    except ValueError:
        level = 0.0
    if not least <= level <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no share from {least} to {most}")
    return level
