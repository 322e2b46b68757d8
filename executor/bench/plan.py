"""
The whole plan: every row and every curve, by name.
"""

from collections.abc import Sequence
from typing import Final

from agent_client.errors import InvalidRequest
from executor.bench.contest import Curve, Row
from executor.bench.rows import (
    boxes,
    captures,
    cells,
    cpu,
    decisions,
    files,
    growth,
    images,
    m3,
    network,
    review,
    sessions,
)

ROWS: Final[tuple[Row, ...]] = (
    *sessions.ROWS,
    *cells.ROWS,
    *cpu.ROWS,
    *files.ROWS,
    *decisions.ROWS,
    *images.ROWS,
    *network.ROWS,
    *review.ROWS,
    *boxes.ROWS,
    *m3.ROWS,
    *captures.ROWS,
)
CURVES: Final[tuple[Curve, ...]] = (*growth.CURVES, *decisions.CURVES)


def chosen(names: Sequence[str]) -> tuple[list[Row], list[Curve]]:
    """
    The rows and curves of these names; all of them where none is given.

    Raises InvalidRequest for a name that there is not.
    """
    known = [*(row.name for row in ROWS), *(curve.name for curve in CURVES)]
    if unknown := [name for name in names if name not in known]:
        raise InvalidRequest(
            f"no row or curve is called {unknown[0]!r}; there are {', '.join(known)}"
        )
    rows = [row for row in ROWS if not names or row.name in names]
    return rows, [curve for curve in CURVES if not names or curve.name in names]
