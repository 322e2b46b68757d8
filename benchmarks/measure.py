"""
What the benchmarks share: a server in the same run, percentiles, and a row of the table.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One promise: the figure, its aim, and the floor that was measured beside it."""

    what: str
    value: float
    aim: float
    unit: str
    floor: float | None = None
    floor_is: str = ""

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None

    def data(self) -> dict[str, object]:
        return {**asdict(self), "ratio": self.ratio}


def timed_ms(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1000


def alternating_ms(
    first: Callable[[], object], second: Callable[[], object], count: int, warm: int = 5
) -> tuple[float, float]:
    """The medians of two acts run in turn, so that a change of the machine's speed hits both."""
    pairs = []
    for index in range(count + warm):
        pair = timed_ms(first), timed_ms(second)
        if index >= warm:
            pairs.append(pair)
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)
