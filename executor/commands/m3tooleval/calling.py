"""
What one call of a tool costs, from inside a cell to the client and back, beside its floor.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from agent_client.client import Cage
from agent_client.errors import ServerFailed
from executor.commands.m3tooleval.running import ECHO, Where

_COUNT, _WARM = 300, 50


@dataclass(frozen=True, slots=True)
class Cost:
    """
    Medians in milliseconds: a call, and a ping-pong on a stream that was made between each two.
    """

    cage: str
    call_ms: float
    floor_ms: float

    def __str__(self) -> str:
        return (
            f"{self.cage}: a tool's call takes {self.call_ms:.2g} ms (p50), "
            f"{self.call_ms / self.floor_ms:.1f} bidi ping-pongs of {self.floor_ms:.2g} ms"
        )

    def data(self) -> dict[str, Any]:
        """
        The same, for a program.
        """
        return {**asdict(self), "ratio": self.call_ms / self.floor_ms}


def cost(cage: Cage, where: Where, ping: Callable[[], object]) -> Cost:
    """
    Measure calls in one cell, as their client sees them: from an answer to the next call.

    Raises ServerFailed where not all of them came through.
    """
    answered, calls, floors = 0.0, list[float](), list[float]()

    def tool(number: int) -> int:
        nonlocal answered
        arrived = time.perf_counter()
        calls.append(arrived - answered)
        ping()
        answered = time.perf_counter()
        floors.append(answered - arrived)
        return number

    tool.__name__ = ECHO
    with cage.session(where.image, tools=[tool]) as session:
        seen = session.run(f"for number in range({_COUNT + _WARM}):\n    {ECHO}(number)")
    if not seen.ok:
        raise ServerFailed(f"the cell that measures calls did not end well: {seen.text}")
    call, floor = (1000 * statistics.median(times[_WARM:]) for times in (calls, floors))
    return Cost(where.cage, call, floor)
