"""
Plots of a run, as PNG and SVG: who is fastest at what, and how costs grow.
"""

from pathlib import Path
from typing import Any, Final

from executor.bench.contest import ONLY, Missing, Role
from executor.bench.figures import figure
from executor.bench.results import CurveResult, Result, RowResult
from executor.bench.table import slope, three_digits

_COLOURS: Final = {Role.OURS: "#1f6feb", Role.FLOOR: "#8b949e", Role.PEER: "#d29922"}
_WORDS: Final = {Role.OURS: "codecage", Role.FLOOR: "floor", Role.PEER: "peer"}
_DPI: Final = 120


def draw(result: Result, stem: Path) -> list[Path]:
    """
    Write `STEM-ROW.png` and `.svg` for each row, and for each curve; gives what was written.

    Raises Missing without matplotlib.
    """
    written = []
    for row in result.rows.values():
        if (plot := _bars(row)) is not None:
            written += _saved(plot, stem, row.name)
    for curve in result.curves.values():
        if len(curve.points) > 1:
            written += _saved(_line(curve), stem, f"growth-{curve.name}")
    return written


def _bars(row: RowResult) -> Any:
    single = [one for one in row.series.values() if list(one.cases) == [ONLY] and one.measured]
    shown: list[tuple[str, Role, float, float]] = []
    for one in single:
        found = figure(row, one)
        if found.median is not None and found.p99 is not None and found.median > 0:
            shown.append((one.name, one.role, found.median, max(found.p99, found.median)))
    what, unit = row.what, row.unit
    if not single:
        found_all = [(one, figure(row, one)) for one in row.series.values()]
        shown = [(one.name, one.role, f.ratio, f.ratio) for one, f in found_all if f.ratio]
        unit = "times its floor (geometric mean)"
    if not shown:
        return None
    shown.sort(key=lambda bar: bar[2], reverse=True)
    drawing, axes = _figure(height=0.9 + 0.32 * len(shown))
    at = range(len(shown))
    axes.barh(at, [bar[2] for bar in shown], color=[_COLOURS[bar[1]] for bar in shown])
    for y, bar in zip(at, shown, strict=True):
        axes.plot([bar[2], bar[3]], [y, y], color="#57606a", linewidth=1)
        axes.annotate(f" {three_digits(bar[2])}", (bar[3], y), va="center", fontsize=8)
    axes.set_yticks(at, [bar[0] for bar in shown], fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel(f"{unit}: median, the line goes to p99", fontsize=8)
    roles = dict.fromkeys(bar[1] for bar in shown)
    axes.set_title(f"{what} ({', '.join(f'{_WORDS[one]}: {_NAMES[one]}' for one in roles)})",
                   fontsize=9)  # fmt: skip
    return drawing


_NAMES: Final = {Role.OURS: "blue", Role.FLOOR: "grey", Role.PEER: "yellow"}


def _line(curve: CurveResult) -> Any:
    drawing, axes = _figure(height=3.2)
    axes.plot(curve.points, curve.medians, marker="o", color=_COLOURS[Role.OURS])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(curve.along, fontsize=8)
    axes.set_ylabel(curve.unit, fontsize=8)
    found = slope(curve)
    power = f" (power {found[1]:.2f})" if found else ""
    axes.set_title(f"{curve.what}{power}", fontsize=9)
    return drawing


def _figure(height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise Missing("plots need matplotlib: pip install 'codecage[bench]'") from error
    drawing = Figure(figsize=(7.5, height), layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing, drawing.add_subplot()


def _saved(drawing: Any, stem: Path, name: str) -> list[Path]:
    written = []
    for kind in ("png", "svg"):
        path = stem.with_name(f"{stem.name}-{name}.{kind}")
        metadata = {"Date": None} if kind == "svg" else None
        drawing.savefig(path, dpi=_DPI, metadata=metadata)
        written.append(path)
    return written
