"""
A contestant's figure in a row: its median, its 99th percentile, and how it stands to its floor.
"""

import math
from dataclasses import dataclass

from executor.bench.contest import ONLY, AimOf, Better
from executor.bench.results import RowResult, Series


@dataclass(frozen=True, slots=True)
class Figure:
    """
    Median and p99 are in the row's unit, and None in a row of several cases, where only ratios
    mean something: `ratio` is then their geometric mean, over `cases` of them.
    """

    name: str
    median: float | None
    p99: float | None
    count: int
    ratio: float | None
    cases: int
    met: bool | None


def figure(row: RowResult, series: Series) -> Figure:
    """
    What the samples of one contestant come to.
    """
    samples = series.cases.get(ONLY)
    there = samples is not None and bool(samples.values)
    ratios = case_ratios(row, series)
    ratio = math.exp(sum(map(math.log, ratios.values())) / len(ratios)) if ratios else None
    median = samples.median if samples is not None and there else None
    return Figure(
        series.name,
        median,
        samples.p99 if samples is not None and there else None,
        sum(len(one.values) for one in series.cases.values()),
        ratio,
        len(ratios),
        _met(row, series, median if series.aim_of is AimOf.FIGURE else ratio),
    )


def case_ratios(row: RowResult, series: Series) -> dict[str, float]:
    """
    For each case that both have, the contestant's median by its floor's.
    """
    floor = row.series.get(series.floor)
    if floor is None:
        return {}
    return {
        case: one.median / floor.cases[case].median
        for case, one in series.cases.items()
        if one.values and case in floor.cases and floor.cases[case].values
        if one.median > 0 < floor.cases[case].median
    }


def _met(row: RowResult, series: Series, value: float | None) -> bool | None:
    if series.aim is None or value is None:
        return None
    return value <= series.aim if row.better is Better.LOWER else value >= series.aim
