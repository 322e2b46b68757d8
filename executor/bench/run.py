"""
One run from its plan to its files, also where it is ended early.
"""

import dataclasses
import sys
import time
from pathlib import Path

from agent_client.terminal import visible
from executor.bench import histogram, machine, plan, plots, results, running, table
from executor.bench.contest import Missing, Setting
from executor.bench.results import Result


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """
    What a run is asked for; `out` is the stem of its files, `only` the rows (none: all).
    """

    setting: Setting
    only: tuple[str, ...]
    out: Path
    plots: bool


def run(wanted: Wanted) -> tuple[Result, bool]:
    """
    Measure, and write `OUT.json`, `OUT.md` and the plots; tells whether it was interrupted.

    Raises InvalidRequest for a row that there is not, Missing without hdrhistogram.
    """
    rows, curves = plan.chosen(wanted.only)
    histogram.percentile([1.0], 99)  # not after a quarter of an hour
    result, interrupted, began = (
        Result(machine.facts(), wanted.setting.effort.name),
        False,
        time.monotonic(),
    )

    def tell(text: str) -> None:
        print(visible(f"[{time.monotonic() - began:4.0f} s] {text}"), file=sys.stderr, flush=True)

    try:
        running.run(rows, curves, wanted.setting, result, tell)
    except KeyboardInterrupt:
        interrupted = True
        tell("interrupted: what there is is written")
    _write(result, wanted, tell)
    return result, interrupted


def _write(result: Result, wanted: Wanted, tell: "running.Tell") -> None:
    paths = [wanted.out.with_name(f"{wanted.out.name}.{kind}") for kind in ("json", "md")]
    results.write(result, paths[0])
    # As it stands in the file: whoever makes the table from that finds no other digit.
    paths[1].write_text(table.markdown(results.read(paths[0])))
    if wanted.plots:
        tell("drawing plots")
        try:
            paths += plots.draw(result, wanted.out)
        except Missing as error:
            tell(str(error))
    tell(f"written: {paths[0]}, {paths[1]}" + (f", {len(paths) - 2} plots" if paths[2:] else ""))
