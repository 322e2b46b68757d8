"""
Measures rows: in each round every contestant has its turn, in an order drawn anew.

What the machine's mood does to a round it does to all of them, so figures of one round can be
compared. A contestant that is slow takes part in fewer rounds, spread evenly, and one that fails
is told of in its own line and leaves the others be. All rows are run in each pass, so an hour's
drift meets every row alike. Ctrl-C ends a run and leaves what it has.
"""

import http.client
import random
import sqlite3
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import grpc

from agent_client.errors import CodecageError
from executor.bench.contest import Act, Contestant, Curve, Effort, Missing, Row, Setting
from executor.bench.results import CurveResult, Result, RowResult, Samples, Series

# What a contestant may fail with; anything else is a mistake of ours and ends the run.
FAILURES: Final = (CodecageError, OSError, EOFError, subprocess.SubprocessError, grpc.RpcError,
                   http.client.HTTPException,
                   sqlite3.Error)  # fmt: skip
_OVERRUN: Final = (
    3.0  # of its seconds, after which a contestant that became slow takes no more part
)
_LONG: Final = 5.0  # seconds, of a contestant that takes part in the first pass alone
_PROBLEM_CHARS: Final = 300

Tell = Callable[[str], None]


@dataclass(slots=True)
class _Runner:
    """
    A contestant that is ready, and how often it takes part in each case.
    """

    act: Act
    series: Series
    share: dict[str, int] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)


def run(
    rows: Sequence[Row], curves: Sequence[Curve], setting: Setting, result: Result, tell: Tell
) -> None:
    """
    Run everything and fill `result`, which is whole at each moment; KeyboardInterrupt passes.
    """
    began, long = time.monotonic(), set[tuple[str, str]]()
    try:
        for number in range(setting.effort.passes):
            for row in rows:
                tell(f"pass {number + 1} of {setting.effort.passes}: {row.name}")
                into = result.rows.setdefault(
                    row.name, RowResult(row.name, row.what, row.unit, row.better)
                )
                run_row(row, setting, number, into, long)
        for curve in curves:
            tell(f"growth: {curve.name}")
            result.curves[curve.name] = into_curve = CurveResult(
                curve.name, curve.what, curve.along, curve.unit
            )
            run_curve(curve, setting, into_curve)
        result.complete = True
    finally:
        result.seconds = round(time.monotonic() - began, 1)


def run_row(
    row: Row, setting: Setting, number: int, into: RowResult, long: set[tuple[str, str]]
) -> None:
    """
    Measure a row once more, as pass `number` (0 and up); `long` has those who were too slow.
    """
    try:
        with ExitStack() as stack:
            contestants = row.contestants(setting, stack)
            runners = [
                _ready(one, row, stack, into)
                for one in contestants
                if (row.name, one.name) not in long
            ]
            ready = [one for one in runners if one is not None]
            for runner in ready:
                if _warm_up(runner, row, number, setting.effort) > _LONG:
                    long.add((row.name, runner.series.name))
            _rounds(ready, row, setting, number)
    except FAILURES as error:
        into.problem = _told(error)


def run_curve(curve: Curve, setting: Setting, into: CurveResult) -> None:
    """
    Measure a curve, from its smallest point to the largest that is wanted or possible.
    """
    try:
        with ExitStack() as stack:
            measure = curve.measure(setting, stack)
            for point in curve.points[: setting.effort.points]:
                found = measure(point)
                into.points.append(point)
                into.values.append(found)
    except FAILURES as error:
        into.problem = _told(error)


def _ready(one: Contestant, row: Row, stack: ExitStack, into: RowResult) -> _Runner | None:
    series = into.series.setdefault(
        one.name, Series(one.name, one.role, one.floor, one.aim, one.note, one.aim_of)
    )
    try:
        act = one.begin(stack)
    except FAILURES as error:
        if series.measured:  # in an earlier pass, which still counts
            next(iter(series.cases.values())).problem = _told(error)
        else:
            series.missing = _told(error)
        return None
    series.missing = ""
    for case in row.cases:
        series.cases.setdefault(case, Samples())
    return _Runner(act, series)


def _warm_up(runner: _Runner, row: Row, number: int, effort: Effort) -> float:
    """
    Find how often a contestant can take part; gives the seconds of its longest case. Of what
    takes very long the first measurement counts: nobody has so much time.
    """
    longest = 0.0
    for case in row.cases:
        took, value = 0.0, None
        for _ in range(effort.warm):
            began = time.perf_counter()
            if (value := _tried(runner, case)) is None:
                break
            took = max(time.perf_counter() - began, 1e-9)
            if took > effort.seconds:
                break
        longest = max(longest, took)
        if value is None:
            continue
        fits = int(effort.seconds / len(row.cases) / took)
        runner.share[case] = min(effort.rounds, max(effort.least, fits))
        runner.spent[case] = 0.0
        if took > max(_LONG, effort.seconds * _OVERRUN):
            samples = runner.series.cases[case]
            samples.rounds.append(number * effort.rounds)
            samples.values.append(value)
            runner.share[case] -= 1
    return longest


def _rounds(runners: list[_Runner], row: Row, setting: Setting, number: int) -> None:
    effort = setting.effort
    order, chance = list(runners), random.Random(number)  # noqa: S311 - an order, no secret
    for turn in range(effort.rounds):
        for case in row.cases:
            chance.shuffle(order)
            for runner in order:
                share = runner.share.get(case, 0)
                if (turn + 1) * share // effort.rounds > turn * share // effort.rounds:
                    _sample(runner, case, number * effort.rounds + turn, effort.seconds)


def _sample(runner: _Runner, case: str, turn: int, seconds: float) -> None:
    samples = runner.series.cases[case]
    if runner.spent[case] > seconds * _OVERRUN and len(samples.values) > 1:
        return
    began = time.perf_counter()
    value = _tried(runner, case)
    runner.spent[case] += time.perf_counter() - began
    if value is None:
        runner.share[case] = 0
    else:
        samples.rounds.append(turn)
        samples.values.append(value)


def _tried(runner: _Runner, case: str) -> float | None:
    try:
        return runner.act(case)
    except FAILURES as error:
        runner.series.cases[case].problem = _told(error)
        return None


def _told(error: BaseException) -> str:
    """
    One line; what is simply not here needs no name of an exception.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    named = (
        text if isinstance(error, (Missing, CodecageError)) else f"{type(error).__name__}: {text}"
    )
    return named[:_PROBLEM_CHARS]
