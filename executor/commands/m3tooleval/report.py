"""
What came of the runs, as a table and as JSON.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from executor.commands.m3tooleval.plain import last_line
from executor.commands.m3tooleval.running import Outcome, Where
from executor.commands.m3tooleval.turns import Style

_HEAD = (
    "| cage | style | right | turns | tool calls | a task's cells, p50 | plain Python, p50 | ratio "
    "| added a turn | session opens |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


@dataclass(frozen=True, slots=True)
class Line:
    """
    One cage and style: `turns` is the mean with the answer's, times are milliseconds.
    """

    cage: str
    style: Style
    right: int
    tasks: int
    turns: float
    tool_calls: int
    cells_ms: float
    plain_ms: float
    added_a_turn_ms: float
    opened_ms: float

    @property
    def ratio(self) -> float:
        """
        The cells' time by that of plain Python; 0 where nothing ran there.
        """
        return self.cells_ms / self.plain_ms if self.plain_ms else 0.0

    def __str__(self) -> str:
        return (
            f"| {self.cage} | {self.style} | {self.right} of {self.tasks} | {self.turns:.1f} "
            f"| {self.tool_calls:,} | {self.cells_ms:.3g} ms | {self.plain_ms:.2g} ms "
            f"| {self.ratio:.0f} | {self.added_a_turn_ms:.3g} ms | {self.opened_ms:.3g} ms |"
        )

    def data(self) -> dict[str, Any]:
        """
        The same, for a program.
        """
        return {**asdict(self), "ratio": self.ratio}


def line(where: Where, found: Sequence[Outcome]) -> Line:
    """
    The sum of what came of all tasks in one style; times are of those that ran to their end.
    """
    timed = [one for one in found if not one.problem] or found
    cells = sum(one.turns - 1 for one in timed)
    added = sum(one.seconds - one.plain_seconds for one in timed)
    return Line(
        cage=where.cage,
        style=found[0].style,
        right=sum(one.right for one in found),
        tasks=len(found),
        turns=statistics.mean(one.turns for one in found),
        tool_calls=sum(one.tool_calls for one in found),
        cells_ms=1000 * statistics.median(one.seconds for one in timed),
        plain_ms=1000 * statistics.median(one.plain_seconds for one in timed),
        added_a_turn_ms=1000 * added / max(1, cells),
        opened_ms=1000 * statistics.median(one.opened for one in found),
    )


def table(lines: Sequence[Line]) -> str:
    """
    The lines as a table of Markdown.
    """
    return "\n".join([_HEAD, *map(str, lines)])


def wrong(where: Where, one: Outcome) -> str:
    """
    A sentence about a wrong answer; of a traceback its last line.
    """
    seen = last_line(one.problem) or f"the answer was {one.answer!r}"
    return f"wrong: {where.cage}, {one.style}, {one.task}: {seen}"
