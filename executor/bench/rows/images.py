"""
Packages that were imported before a session was forked: what the first use of them costs.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from agent_client.client import Cage, Session
from executor.bench.contest import Act, Better, Contestant, Effort, Role, Row, Setting
from executor.bench.servers import MILLI, expect, policy, ran, seconds, serving, with_packages

_GROUPBY: Final = """
import pandas as pd
table = pd.DataFrame({"region": ["north", "south", "north", "west"] * 50, "units": range(200)})
table.groupby("region").units.sum()
"""
# The sum of 1 to 3, each twice, in quarters: read, grouped, pivoted.
_ANALYSIS: Final = """
import io
import pandas as pd
text = "day,region,units\\n" + "".join(
    f"2025-{month:02d}-05,{region},{month}\\n" for month in range(1, 13) for region in "NSW"
)
sales = pd.read_csv(io.StringIO(text), parse_dates=["day"])
by_quarter = sales.groupby(sales.day.dt.to_period("Q")).units.sum()
by_region = sales.pivot_table(index="region", columns=sales.day.dt.quarter, values="units")
by_quarter.pct_change().round(2).tolist()
"""


def first_use(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    The first cell of a fresh session that uses a package, beside the same cell a second time.
    """
    cage = serving(stack, dict([policy("any", "[core, data, web, native-data]")]))
    found = []
    for image, what, code in (
        ("data", "import pandas", "import pandas"),
        ("data", "a groupby", _GROUPBY),
        ("data", "an analysis", _ANALYSIS),
        ("native-data", "a groupby", _GROUPBY),
        ("web", "import pydantic", "import pydantic"),
    ):
        fresh = _Fresh(cage, image, code, setting.effort)
        again = f"{image}: {what}, the second time"
        found += [
            Contestant(f"{image}: {what}", Role.OURS, fresh.first, again),
            Contestant(again, Role.FLOOR, fresh.second, note="in the same session"),
        ]
    return found


class _Fresh:
    """
    Fresh sessions; the second time is measured in the one of the last first time.
    """

    def __init__(self, cage: Cage, image: str, code: str, effort: Effort) -> None:
        self._cage, self._image, self._code = cage, image, code
        self._effort = effort
        self._live: Session | None = None

    def first(self, stack: ExitStack) -> Act:
        """
        A session of its own for each measurement.
        """
        with_packages(self._image, self._effort)
        stack.callback(self._end)

        def act(_case: str) -> float:
            self._end()
            self._live = self._cage.session("any", image=self._image)
            expect(self._live, "1 + 1", "2")
            return self._took(self._live)

        return act

    def second(self, _stack: ExitStack) -> Act:
        """
        The same cell again.
        """
        with_packages(self._image, self._effort)

        def act(_case: str) -> float:
            if self._live is None:
                self._live = self._cage.session("any", image=self._image)
                ran(self._live, self._code)
            return self._took(self._live)

        return act

    def _took(self, session: Session) -> float:
        return seconds(lambda: ran(session, self._code)) * MILLI

    def _end(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None


ROWS: Final = (
    Row("first-use", "the first use of a package in a fresh session", "ms", Better.LOWER,
        first_use),
)  # fmt: skip
