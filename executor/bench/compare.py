"""
Which figures of two runs differ by more than the noise.

Machines and hours differ, so figures are compared by their ratio to the floor of their own run;
where a contestant has no floor, by itself. The question is asked by bootstrap: rounds are drawn
again with replacement, in blocks of neighbours (they share the machine's mood, so single rounds
would claim more than they know), the ratio of medians is taken of each draw, and the change from
one run to the other lies in an interval that holds `level` of the draws. It is outside the noise
if the interval has no 1 in it. With many rows some will be by chance: of a hundred at 99 %, one.
"""

import math
import random
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from executor.bench.contest import Better, Role
from executor.bench.results import Result, RowResult, Samples, Series

_DRAWS: Final = 1000
_SEED: Final = 20261122
_FEWEST: Final = 5  # samples on each side, below which nothing is claimed


class Verdict(StrEnum):
    """
    What can be said of a change.
    """

    BETTER = "better"
    WORSE = "worse"
    SAME = "within the noise"
    TOO_FEW = "too few samples"
    ONE_SIDED = "in one run only"


@dataclass(frozen=True, slots=True)
class Change:
    """
    The second run's figure by the first's, and the interval of what it may be.
    """

    row: str
    who: str
    case: str
    of: str
    change: float | None
    low: float | None
    high: float | None
    verdict: Verdict

    def data(self) -> dict[str, Any]:
        """
        The same, for a program.
        """
        return asdict(self)


def compare(first: Result, second: Result, level: float = 0.99) -> list[Change]:
    """
    Every contestant of ours that is in either run, in order of the rows.
    """
    return list(_changes(first, second, level))


def _changes(first: Result, second: Result, level: float) -> Iterator[Change]:
    for name in dict.fromkeys([*first.rows, *second.rows]):
        one, other = first.rows.get(name), second.rows.get(name)
        names = [
            who
            for row in (one, other)
            if row is not None
            for who, series in row.series.items()
            if series.role is Role.OURS
        ]
        for who in dict.fromkeys(names):
            yield from _contestant(name, who, one, other, level)


def _contestant(
    name: str, who: str, one: RowResult | None, other: RowResult | None, level: float
) -> Iterator[Change]:
    sides = [row.series[who] if row and who in row.series else None for row in (one, other)]
    cases = dict.fromkeys(case for side in sides if side for case in side.cases)
    for case in cases:
        pairs = [
            _Side.of(row, side, case) if row and side else None
            for row, side in zip((one, other), sides, strict=True)
        ]
        before, after = pairs
        better = (one or other).better if one or other else Better.LOWER  # type: ignore[union-attr]
        if before is None or after is None or before.floored != after.floored:
            if before is not None or after is not None:
                yield Change(name, who, case, "", None, None, None, Verdict.ONE_SIDED)
        else:
            yield _judged(name, who, case, before, after, better, level)


@dataclass(frozen=True, slots=True)
class _Side:
    """
    One run's figures of a case, and its floor's, by round.
    """

    figures: tuple[float, ...]
    floors: tuple[float, ...]

    @classmethod
    def of(cls, row: RowResult, series: Series, case: str) -> "_Side | None":
        samples = series.cases.get(case)
        if samples is None or not samples.values:
            return None
        floor = row.series.get(series.floor)
        beside: Samples | None = floor.cases.get(case) if floor else None
        return cls(tuple(samples.values), tuple(beside.values) if beside else ())

    @property
    def floored(self) -> bool:
        return bool(self.floors)

    def ratio(self) -> float:
        return statistics.median(self.figures) / (
            statistics.median(self.floors) if self.floors else 1.0
        )

    def drawn(self, chance: random.Random) -> float:
        figures = statistics.median(_again(self.figures, chance))
        return figures / (statistics.median(_again(self.floors, chance)) if self.floors else 1.0)


def _again(values: tuple[float, ...], chance: random.Random) -> list[float]:
    """
    As many values, drawn in blocks of neighbours, about as long as the root of their number.
    """
    length = max(1, math.isqrt(len(values)))
    found: list[float] = []
    while len(found) < len(values):
        at = chance.randrange(len(values))
        found += [values[(at + step) % len(values)] for step in range(length)]
    return found[: len(values)]


def _judged(
    name: str, who: str, case: str, before: _Side, after: _Side, better: Better, level: float
) -> Change:
    of = "ratio to its floor" if before.floored else "the figure itself"
    change = after.ratio() / before.ratio()
    if min(len(before.figures), len(after.figures)) < _FEWEST:
        return Change(name, who, case, of, change, None, None, Verdict.TOO_FEW)
    chance = random.Random(_SEED)  # noqa: S311 - the same answer each time
    draws = sorted(after.drawn(chance) / before.drawn(chance) for _ in range(_DRAWS))
    cut = (1 - level) / 2
    low, high = draws[int(cut * _DRAWS)], draws[min(_DRAWS - 1, int((1 - cut) * _DRAWS))]
    if low <= 1 <= high:
        verdict = Verdict.SAME
    else:
        less = high < 1
        verdict = Verdict.BETTER if less is (better is Better.LOWER) else Verdict.WORSE
    return Change(name, who, case, of, change, low, high, verdict)


def table(changes: list[Change]) -> str:
    """
    As Markdown, what is outside the noise first.
    """
    order = list(Verdict)
    lines = ["| row | who | change | interval | verdict |", "| --- | --- | ---: | --- | --- |"]
    for one in sorted(changes, key=lambda change: order.index(change.verdict)):
        who = f"{one.who}, {one.case}" if one.case else one.who
        change = "" if one.change is None else f"{(one.change - 1) * 100:+.1f} %"
        between = "" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
        lines.append(f"| {one.row} | {who} | {change} | {between} | {one.verdict.value} |")
    return "\n".join(lines)
