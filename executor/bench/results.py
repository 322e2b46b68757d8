"""
What a run leaves: every sample, in its round, and where and of what it was taken.
"""

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from agent_client.errors import InvalidRequest
from executor.bench import histogram
from executor.bench.contest import AimOf, Better, Role

FORMAT: Final = 1
_DIGITS: Final = 5


@dataclass(slots=True)
class Samples:
    """
    The figures of one case, and the rounds in which they were taken.
    """

    rounds: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    problem: str = ""

    @property
    def median(self) -> float:
        """
        The middle of the figures themselves.
        """
        return statistics.median(self.values)

    @property
    def p99(self) -> float:
        """
        The 99th percentile, by HDR histogram.
        """
        return histogram.percentile(self.values, 99)


@dataclass(slots=True)
class Series:
    """
    One contestant's figures, by case; `missing` says why there are none.
    """

    name: str
    role: Role
    floor: str = ""
    aim: float | None = None
    note: str = ""
    aim_of: AimOf = AimOf.FIGURE
    missing: str = ""
    cases: dict[str, Samples] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        """
        Whether there is any figure.
        """
        return any(one.values for one in self.cases.values())


@dataclass(slots=True)
class RowResult:
    """
    What came of a row; `problem` says why nothing did.
    """

    name: str
    what: str
    unit: str
    better: Better
    series: dict[str, Series] = field(default_factory=dict)
    problem: str = ""


@dataclass(slots=True)
class CurveResult:
    """
    What came of a curve: a list of figures at each point.
    """

    name: str
    what: str
    along: str
    unit: str
    points: list[int] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    problem: str = ""

    @property
    def medians(self) -> list[float]:
        """
        One figure for each point.
        """
        return [statistics.median(ones) for ones in self.values]


@dataclass(slots=True)
class Result:
    """
    A whole run. `complete` is false where it was interrupted: then it holds what there was.
    """

    machine: dict[str, Any]
    effort: str
    rows: dict[str, RowResult] = field(default_factory=dict)
    curves: dict[str, CurveResult] = field(default_factory=dict)
    seconds: float = 0.0
    complete: bool = False


def write(result: Result, path: Path) -> None:
    """
    Write a run as JSON, with the histogram of each series beside its samples.
    """
    data = {"format": FORMAT, **asdict(result)}
    for row in data["rows"].values():
        for series in row["series"].values():
            for case in series["cases"].values():
                case["histogram"] = histogram.encoded(case["values"]) if case["values"] else ""
                case["values"] = _rounded(case["values"])
    for curve in data["curves"].values():
        curve["values"] = [_rounded(ones) for ones in curve["values"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{json.dumps(data)}\n")


def read(path: Path) -> Result:
    """
    Read what `write` wrote. Raises InvalidRequest for a file that is none of it.
    """
    try:
        data = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidRequest(f"{path} cannot be read as a result of a benchmark: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidRequest(f"{path} is no result of format {FORMAT}; 'codecage bench' writes one")
    try:
        return Result(
            data["machine"],
            data["effort"],
            {name: _row(one) for name, one in data["rows"].items()},
            {name: CurveResult(**one) for name, one in data["curves"].items()},
            data["seconds"],
            data["complete"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidRequest(f"{path} is a damaged result: {error!r}") from None


def _row(data: dict[str, Any]) -> RowResult:
    series = {name: _series(one) for name, one in data["series"].items()}
    better = Better(data["better"])
    return RowResult(**{**data, "better": better, "series": series})


def _series(data: dict[str, Any]) -> Series:
    cases = {
        name: Samples(one["rounds"], one["values"], one["problem"])
        for name, one in data["cases"].items()
    }
    return Series(
        **{
            **data,
            "role": Role(data["role"]),
            "aim_of": AimOf(data["aim_of"]),
            "cases": cases,
        }
    )


def _rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
