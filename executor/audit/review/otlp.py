"""
Sessions and cells as spans of OpenTelemetry, in the JSON form of OTLP.

A span is made when its end is in the record, from the record alone: its ids are hashes of the
store's identity and a sequence, so whoever sends it twice sends the same span twice. A session
whose client has given it the label `traceparent` is a child of that span. A cell is named as the
conventions for generative AI name a tool that is executed; what it was denied are its events.

Source: OpenTelemetry protocol 1.x, "OTLP/HTTP, JSON Protobuf Encoding"; W3C Trace Context;
semantic conventions "GenAI spans".
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from executor.audit.record import OK, Answer, Event, Record, Text
from executor.audit.report import Json
from executor.audit.review.asked import asked_of

MAX_EVENTS: Final = 128
_INTERNAL: Final = 1
_FAILED: Final = 2
_DELTA: Final = 1
_SCOPE: Final = {"name": "codecage.audit"}
_PARENT: Final = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
# Seconds, as the conventions have them for durations.
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Context:
    """
    What spans of one store share: its identity (64 hex digits), and what they are all about.
    """

    identity: str
    service: str = "codecage"


@dataclass(frozen=True, slots=True)
class Whole:
    """
    A session or a cell that has ended: its records `start` and `end`, the record of the session's
    creation, its denials in order (at most `MAX_EVENTS`), and whether those are all.
    """

    start: Record
    end: Record
    session: Record
    denied: Sequence[Record]
    all: bool


def span_of(whole: Whole, context: Context) -> Json:
    """
    The span of a cell or of a session.
    """
    trace, parent = _trace(whole.session, context)
    is_cell = whole.end.event is Event.CELL_END
    above = _span_id(whole.session, context) if is_cell else parent
    ended = whole.end.outcome
    span: Json = {
        "traceId": trace,
        "spanId": _span_id(whole.start, context),
        **({"parentSpanId": above} if above else {}),
        "name": "execute_tool python" if is_cell else "codecage.session",
        "kind": _INTERNAL,
        "startTimeUnixNano": str(whole.start.wall_ns),
        # The wall clock may have gone back meanwhile; a span that ends before it begins is none.
        "endTimeUnixNano": str(max(whole.start.wall_ns, whole.end.wall_ns)),
        "attributes": _attributes(_about_cell(whole) if is_cell else _about_session(whole)),
        "events": [_event(record) for record in whole.denied],
        "droppedEventsCount": 0 if whole.all else 1,
        "status": {"code": _FAILED, "message": _plain(ended)} if _failed(whole.end) else {},
    }
    return span


def traces(spans: Sequence[Json], context: Context) -> Json:
    """
    The body of a request to `/v1/traces`.
    """
    scope = {"scope": _SCOPE, "spans": list(spans)}
    return {"resourceSpans": [{"resource": _resource(context), "scopeSpans": [scope]}]}


def metrics(records: Iterable[Record], context: Context) -> Json | None:
    """
    The body of a request to `/v1/metrics`: what these records add. None where they add nothing.
    """
    counts: dict[tuple[str, str], int] = {}
    seconds: list[float] = []
    times: list[int] = []
    for record in records:
        if record.event is Event.DECISION and record.answer is not None:
            kind = asked_of(record.request or "").kind or "other"
            key = (record.answer.value, kind)
            counts[key] = counts.get(key, 0) + 1
        elif record.event is Event.CELL_END:
            wall = dict(record.detail).get("wall_us")
            seconds += [wall / 1e6] if isinstance(wall, int) else []
        times.append(record.wall_ns)
    if not counts and not seconds:
        return None
    span = {"startTimeUnixNano": str(min(times)), "timeUnixNano": str(max(times))}
    made = [_decisions(counts, span)] if counts else []
    made += [_durations(seconds, span)] if seconds else []
    scope = {"scope": _SCOPE, "metrics": made}
    return {"resourceMetrics": [{"resource": _resource(context), "scopeMetrics": [scope]}]}


def _decisions(counts: dict[tuple[str, str], int], span: dict[str, str]) -> Json:
    points = [
        {
            **span,
            "asInt": str(count),
            "attributes": _attributes({"codecage.decision": answer, "codecage.kind": kind}),
        }
        for (answer, kind), count in sorted(counts.items())
    ]
    summed = {"dataPoints": points, "aggregationTemporality": _DELTA, "isMonotonic": True}
    return {"name": "codecage.decisions", "unit": "{decision}", "sum": summed}


def _durations(seconds: list[float], span: dict[str, str]) -> Json:
    buckets = [0] * (len(_BOUNDS) + 1)
    for one in seconds:
        buckets[sum(one > bound for bound in _BOUNDS)] += 1
    point = {
        **span,
        "count": str(len(seconds)),
        "sum": sum(seconds),
        "bucketCounts": [str(count) for count in buckets],
        "explicitBounds": list(_BOUNDS),
    }
    histogram = {"dataPoints": [point], "aggregationTemporality": _DELTA}
    return {"name": "codecage.cell.duration", "unit": "s", "histogram": histogram}


def _about_cell(whole: Whole) -> dict[str, str | int]:
    used = {f"codecage.{key}": value for key, value in whole.end.detail if isinstance(value, int)}
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "python",
        "gen_ai.tool.type": "extension",
        "codecage.session": whole.session.session or "",
        "codecage.cell": whole.start.cell or 0,
        "codecage.outcome": _plain(whole.end.outcome),
        **used,
    }


def _about_session(whole: Whole) -> dict[str, str | int]:
    made = dict(whole.session.detail)
    said = {key: made[key] for key in ("policy", "image", "isolation") if key in made}
    return {
        "codecage.session": whole.session.session or "",
        "codecage.policy_digest": whole.session.policy_digest or "",
        "codecage.outcome": _plain(whole.end.outcome),
        **{f"codecage.{key}": _value(value) for key, value in said.items()},
    }


def _event(record: Record) -> Json:
    return {
        "timeUnixNano": str(record.wall_ns),
        "name": "codecage.denied" if record.answer is Answer.DENY else "codecage.decision",
        "attributes": _attributes(
            {
                "codecage.request": _plain(record.request),
                "codecage.rule": _plain(record.rule),
                "codecage.rule_place": _plain(record.rule_place),
                "codecage.sequence": record.sequence,
            }
        ),
    }


def _trace(session: Record, context: Context) -> tuple[str, str]:
    """
    The ids of the trace and of the span above the session's, "" where nobody has given one.
    """
    labels = dict(session.detail).get("labels")
    try:
        given = json.loads(labels) if isinstance(labels, str) else {}
    except (ValueError, RecursionError):
        given = {}
    told = given.get("traceparent") if isinstance(given, dict) else None
    if isinstance(told, str) and (match := _PARENT.fullmatch(told)):
        return match[1], match[2]
    return _hash(f"trace {context.identity}:{session.sequence}", 16), ""


def _span_id(record: Record, context: Context) -> str:
    return _hash(f"span {context.identity}:{record.sequence}", 8)


def _hash(text: str, size: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[: 2 * size]


def _failed(end: Record) -> bool:
    return end.event is Event.CELL_END and end.outcome != OK


def _resource(context: Context) -> Json:
    about: dict[str, str | int] = {
        "service.name": context.service,
        "codecage.audit.identity": context.identity,
    }
    return {"attributes": _attributes(about)}


def _attributes(values: dict[str, str | int]) -> list[Json]:
    return [
        {"key": key, "value": {"intValue": str(v)} if isinstance(v, int) else {"stringValue": v}}
        for key, v in values.items()
    ]


def _value(value: Text | int) -> str | int:
    return value if isinstance(value, int) else _plain(value)


def _plain(text: Text | None) -> str:
    if text is None:
        return ""
    # Strings of protocol buffers are UTF-8: what no UTF-8 has is written as an escape.
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")
