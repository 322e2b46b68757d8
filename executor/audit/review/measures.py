"""
What records add to the metrics of OpenTelemetry: counters of answers, histograms of durations.

Counters and histograms are deltas, so that whoever sends them keeps nothing: each record is in
one of them. The names of series are words of ours, so that no guest makes new ones.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource

from executor.audit.record import UNKNOWN, Answer, Event, Record
from executor.audit.review.asked import KINDS
from executor.audit.review.otlp import SCOPE, Values, kind_of
from executor.audit.review.search import Step

DECISIONS: Final = "codecage.decisions"
SESSIONS: Final = "codecage.sessions"
START: Final = "codecage.session.start.duration"
CELL: Final = "codecage.cell.duration"
DECISION: Final = "codecage.decision.duration"
TOOL: Final = "codecage.tool.duration"
MEMORY: Final = "codecage.cell.memory.peak"

# Seconds, as the conventions have them for durations, and finer at the start: a read takes 0.1 ms.
_SECONDS: Final = (
    *(0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
_BYTES: Final = tuple(float(2**power) for power in range(24, 35))
_MEANT: Final = {
    DECISIONS: ("{decision}", "Answers of the policy"),
    SESSIONS: ("{session}", "Sessions that have begun and not ended"),
    START: ("s", "From the asking for a session to its record"),
    CELL: ("s", "Wall time of cells"),
    DECISION: ("s", "From an allowed act's decision to its outcome"),
    TOOL: ("s", "From the decision on a call of a tool to its outcome"),
    MEMORY: ("By", "Memory of cells at its highest"),
}
_DELTA: Final = AggregationTemporality.DELTA


class Measures:
    """
    What the records of one page add; `open` is the number of sessions open before the first.
    """

    def __init__(self, opened: int = 0) -> None:
        self.open = opened
        self._answers: Counter[tuple[str, str]] = Counter()
        self._measured: dict[tuple[str, str], list[float]] = {}
        self._times: list[int] = []

    def add(self, steps: Iterable[Step]) -> None:
        """
        Take up records, each outcome with its decision.
        """
        for step in steps:
            self._add(step.record, step.decision)
            self._times.append(step.record.wall_ns)

    def data(self, resource: Resource) -> MetricsData | None:
        """
        All of it as metrics; None where no record was added.
        """
        if not self._times:
            return None
        span = min(self._times), max(self._times)
        made = [_gauge(SESSIONS, self.open, span)]
        if self._answers:
            made.append(_counter(DECISIONS, self._answers, span))
        for name in sorted({name for name, _ in self._measured}):
            series = {key: taken for (of, key), taken in self._measured.items() if of == name}
            made.append(_histogram(name, series, span))
        scope = ScopeMetrics(SCOPE, made, "")
        return MetricsData([ResourceMetrics(resource, [scope], "")])

    def _add(self, record: Record, decision: Record | None) -> None:
        match record.event:
            case Event.SESSION_CREATE:
                self.open += 1
                self._measure(START, "", _number(record, "start_us"), 1e-6)
            case Event.SESSION_END:
                self.open = max(0, self.open - 1)
            case Event.CELL_END:
                self._measure(CELL, "", _number(record, "wall_us"), 1e-6)
                self._measure(MEMORY, "", _number(record, "peak_memory"), 1)
            case Event.DECISION if record.answer is not None:
                self._answers[record.answer.value, kind_of(record)] += 1
            case Event.OUTCOME if decision is not None and record.outcome != UNKNOWN:
                self._took(record, decision)
            case Event.DROPPED:
                self._dropped(record)

    def _took(self, outcome: Record, decision: Record) -> None:
        kind, taken = kind_of(decision), outcome.monotonic_ns - decision.monotonic_ns
        self._measure(TOOL if kind == "call" else DECISION, kind, max(0, taken), 1e-9)

    def _measure(self, name: str, kind: str, value: int | None, unit: float) -> None:
        if value is not None:
            self._measured.setdefault((name, kind), []).append(value * unit)

    def _dropped(self, record: Record) -> None:
        """
        Denials beyond the session's budget have no record of their own.
        """
        for key, value in record.detail:
            word, _, kind = key.partition(" ")
            if word in {"deny", "refused"} and isinstance(value, int):
                self._answers[Answer.DENY.value, kind if kind in KINDS else "other"] += value


def _number(record: Record, key: str) -> int | None:
    value = dict(record.detail).get(key)
    return value if isinstance(value, int) else None


def _counter(name: str, counts: Counter[tuple[str, str]], span: tuple[int, int]) -> Metric:
    points = [
        NumberDataPoint({"codecage.decision": answer, "codecage.kind": kind}, *span, count)
        for (answer, kind), count in sorted(counts.items())
    ]
    return _metric(name, Sum(points, _DELTA, is_monotonic=True))


def _gauge(name: str, value: int, span: tuple[int, int]) -> Metric:
    return _metric(name, Gauge([NumberDataPoint({}, *span, value)]))


def _histogram(name: str, series: dict[str, list[float]], span: tuple[int, int]) -> Metric:
    bounds = _BYTES if name == MEMORY else _SECONDS
    points = [
        _point({"codecage.kind": kind} if kind else {}, taken, bounds, span)
        for kind, taken in sorted(series.items())
    ]
    return _metric(name, Histogram(points, _DELTA))


def _point(
    about: Values, taken: Sequence[float], bounds: Sequence[float], span: tuple[int, int]
) -> HistogramDataPoint:
    buckets = [0] * (len(bounds) + 1)
    for one in taken:
        buckets[sum(one > bound for bound in bounds)] += 1
    total, low, high = sum(taken), min(taken), max(taken)
    return HistogramDataPoint(about, *span, len(taken), total, buckets, bounds, low, high)


def _metric(name: str, data: Sum | Gauge | Histogram) -> Metric:
    unit, meant = _MEANT[name]
    return Metric(name, meant, unit, data)
