"""
A run as Markdown: for each row every contestant, with its ratio to its floor, and who is missing.
"""

import math
from collections.abc import Iterable
from typing import Final

from executor.bench import machine
from executor.bench.contest import Role
from executor.bench.figures import Figure, case_ratios, figure
from executor.bench.results import CurveResult, Result, RowResult, Series

_HEAD: Final = (
    "| who | p50 | p99 | ratio to its floor | floor | aim | samples | to know |\n"
    "| --- | ---: | ---: | ---: | --- | ---: | ---: | --- |"
)
_WHOLE: Final = 1000
_ORDER: Final = {Role.OURS: 0, Role.FLOOR: 1, Role.PEER: 2}


def markdown(result: Result) -> str:
    """
    The whole run.
    """
    lines = [f"# Figures, {result.effort} form", machine.sentence(result.machine)]
    if not result.complete:
        lines.append("**The run was ended early: it is not whole.**")
    lines.append(f"It took {result.seconds:.0f} s. How to read this: [README.md](../README.md).")
    for row in result.rows.values():
        lines += ["", *_row(row)]
    if result.curves:
        lines += ["", "## How cost grows", *_curves(result.curves.values())]
    return "\n".join(lines) + "\n"


def slope(curve: CurveResult) -> tuple[float, float] | None:
    """
    The slope in units a piece (least squares), and the exponent of a power law; None for fewer
    than three points.
    """
    xs, ys = list(map(float, curve.points)), curve.medians
    if len(xs) < 3 or min(ys) <= 0:
        return None
    return _fitted(xs, ys), _fitted([*map(math.log, xs)], [*map(math.log, ys)])


def _row(row: RowResult) -> list[str]:
    lines = [f"## {row.name}: {row.what}", f"In {row.unit}; {row.better.value} is better.", ""]
    if row.problem:
        lines += [f"Not measured, or not in each pass: {_cell(row.problem)}", ""]
    ones = sorted(row.series.values(), key=lambda one: _ORDER[one.role])
    there = [one for one in ones if not one.missing]
    if there:
        lines += [_HEAD, *(_line(row, one) for one in there)]
    lines += ["", *_missing(ones)] if len(there) < len(ones) else []
    if any(len(one.cases) > 1 for one in ones):
        lines += ["", *_by_case(row, ones)]
    return lines


def _line(row: RowResult, series: Series) -> str:
    found = figure(row, series)
    told = next((c.problem for c in series.cases.values() if c.problem), "")
    note = "; ".join(filter(None, (series.note, told)))
    who = f"**{series.name}**" if series.role is Role.OURS else series.name
    cells = [
        who if series.role is not Role.FLOOR else f"*{who}*",
        _number(found.median), _number(found.p99), _ratio(found), series.floor,
        _aim(series, found), str(found.count or ""), _cell(note),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _missing(ones: list[Series]) -> list[str]:
    """
    Who is not in this row, and why, one line for each reason.
    """
    reasons: dict[str, list[str]] = {}
    for one in ones:
        if one.missing:
            reasons.setdefault(one.missing, []).append(one.name)
    return [f"- Missing: {'; '.join(names)}: {_cell(why)}." for why, names in reasons.items()]


def _ratio(found: Figure) -> str:
    if found.ratio is None:
        return ""
    mean = f" (mean of {found.cases})" if found.cases > 1 else ""
    return f"{found.ratio:.3g}{mean}"


def _aim(series: Series, found: Figure) -> str:
    if series.aim is None:
        return ""
    word = {True: " met", False: " missed", None: ""}[found.met]
    return f"{series.aim:g}{word}"


def _by_case(row: RowResult, ones: list[Series]) -> list[str]:
    """
    The ratios of each case; floors have their own figure there.
    """
    measured = [one for one in ones if one.measured]
    cases = list(dict.fromkeys(case for one in measured for case in one.cases))
    lines = [
        f"| case | {' | '.join(one.name for one in measured)} |",
        f"| --- | {' | '.join('---:' for _ in measured)} |",
    ]
    for case in cases:
        cells = [_case(row, one, case) for one in measured]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return lines


def _case(row: RowResult, one: Series, case: str) -> str:
    samples = one.cases.get(case)
    if samples is None or not samples.values:
        return "failed" if samples is not None and samples.problem else ""
    ratio = case_ratios(row, one).get(case)
    return f"{samples.median:.3g} {row.unit}" if ratio is None else f"{ratio:.2f}"


def _curves(curves: Iterable[CurveResult]) -> Iterable[str]:
    for curve in curves:
        yield ""
        yield f"### {curve.name}: {curve.what}"
        if curve.points:
            yield f"| {curve.along} | {curve.unit} |\n| ---: | ---: |"
            yield from (
                f"| {point:,} | {median:.4g} |"
                for point, median in zip(curve.points, curve.medians, strict=True)
            )
        if found := slope(curve):
            yield ""
            yield (
                f"Slope {found[0]:.3g} {curve.unit} for one more of the {curve.along}; it grows as "
                f"their power of {found[1]:.2f} (0: not at all, 1: in proportion)."
            )
        if curve.problem:
            yield f"\nEnds there: {_cell(curve.problem)}"


def _fitted(xs: list[float], ys: list[float]) -> float:
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    across = sum((x - middle_x) ** 2 for x in xs)
    return sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / across


def three_digits(value: float) -> str:
    """
    A figure with three digits, or all of its whole ones.
    """
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.3g}"


def _number(value: float | None) -> str:
    return "" if value is None else three_digits(value)


def _cell(text: str) -> str:
    """
    A peer's words stay inside their cell, and say nothing in Markdown.
    """
    return text.replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
