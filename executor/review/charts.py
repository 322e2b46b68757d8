"""
What the cells of a session used, as small pictures: SVG that is only made of numbers.

They are shown as images, in which a browser runs nothing and loads nothing. The one text in them
is a number of ours.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from executor.audit.record import Record

_WIDTH, _HEIGHT, _TOP = 320, 88, 16
_MOST_BARS: Final = 80
_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "rect{fill:#3a6ea5}line{stroke:#c9ced6}text{fill:#60646c;font:11px system-ui,sans-serif}"
    "@media(prefers-color-scheme:dark){rect{fill:#7fb0e6}line{stroke:#3d4249}text{fill:#9aa0a8}}"
)
POLICY: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)
"""The content security policy of a picture that somebody opens by itself."""

ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M3 1h10v14H3zM6 1v14'
    'M10 1v14" fill="none" stroke="#3a6ea5" stroke-width="1.6"/></svg>'
)
"""A cage, for the browser's tab."""


class Measure(Enum):
    """
    What is drawn; the value names the picture in its address.
    """

    WALL = "wall"
    CPU = "cpu"
    PRINTED = "printed"
    REQUESTS = "requests"
    DENIED = "denied"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    unit: str
    keys: tuple[str, ...]
    divisor: int = 1


_KINDS: Final = {
    Measure.WALL: _Kind("Time", "ms", ("wall_us",), 1000),
    Measure.CPU: _Kind("Computing", "ms", ("cpu_us",), 1000),
    Measure.PRINTED: _Kind("Printed", "bytes", ("stdout", "stderr")),
    Measure.REQUESTS: _Kind("Requests", "", ("requests",)),
    Measure.DENIED: _Kind("Denied", "", ("denied",)),
    Measure.NETWORK: _Kind("Network", "bytes", ("sent", "received")),
}


@dataclass(frozen=True, slots=True)
class Chart:
    """
    A measure of each cell, in order; `words` says the same to those who see no picture.
    """

    measure: Measure
    title: str
    words: str
    bars: tuple[float, ...]
    top: str


def charts(ends: Sequence[Record]) -> list[Chart]:
    """
    The charts of the records of cells' ends that have something to show.
    """
    made = (chart(measure, ends) for measure in Measure)
    return [one for one in made if any(one.bars)]


def chart(measure: Measure, ends: Sequence[Record]) -> Chart:
    """
    One measure of the cells.
    """
    kind = _KINDS[measure]
    values = [_value(kind, end) for end in ends]
    most = max(values, default=0.0)
    top = f"{_number(most)} {kind.unit}".strip()
    cell = ends[values.index(most)].cell if values else None
    total = f"{_number(sum(values))} {kind.unit}".strip()
    words = f"{kind.title} of {len(values)} cells: {total} in all, most in cell {cell}, {top}"
    return Chart(measure, kind.title, words, _bars(values), top)


def svg(drawn: Chart) -> str:
    """
    The picture. Where there are more cells than bars, a bar is the highest of several.
    """
    room = _HEIGHT - _TOP - 1
    most = max(drawn.bars, default=0.0) or 1.0
    step = _WIDTH / max(len(drawn.bars), 8)
    rows = [
        f'<rect x="{place * step:.1f}" y="{_HEIGHT - 1 - bar / most * room:.1f}" '
        f'width="{max(step - 1.5, 1):.1f}" height="{bar / most * room:.1f}"/>'
        for place, bar in enumerate(drawn.bars)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" role="img"><style>{_STYLE}</style>'
        f'<line x1="0" y1="{_HEIGHT - 0.5}" x2="{_WIDTH}" y2="{_HEIGHT - 0.5}"/>{"".join(rows)}'
        f'<text x="{_WIDTH}" y="11" text-anchor="end">{drawn.top}</text></svg>'
    )


def _value(kind: _Kind, end: Record) -> float:
    found = dict(end.detail)
    numbers = (found.get(key) for key in kind.keys)
    return sum(max(one, 0) for one in numbers if isinstance(one, int)) / kind.divisor


def _bars(values: Sequence[float]) -> tuple[float, ...]:
    together = -(-len(values) // _MOST_BARS) or 1
    return tuple(max(values[place : place + together]) for place in range(0, len(values), together))


def _number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
