"""
The record in the words of OpenTelemetry: sessions and cells as spans, decisions as events.

A span is made when its end is in the record, from the record alone: its ids are hashes of the
store's identity and a sequence, so whoever sends it twice sends the same span twice. A session
whose client has given it the label `traceparent` is a child of that span. A cell is named as the
conventions for generative AI name a tool that is executed; what it was denied are its events.
Each decision is also an event among the logs, and so is each signed checkpoint.

The SDK's own tracer takes ids and times from the present. What is told here is past, so its data
are made without one; its encoders make OTLP of them.

Source: W3C Trace Context; semantic conventions "GenAI spans"; OpenTelemetry logs data model.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from executor.audit.record import OK, Answer, Event, Record, Text
from executor.audit.review.asked import asked_of

MAX_EVENTS: Final = 128
SCOPE: Final = InstrumentationScope("codecage.audit")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_PARENT: Final = re.compile("00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")

Values = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Context:
    """
    What all data of one store share: its identity (64 hex digits), and what they are all about.
    """

    identity: str

    @property
    def resource(self) -> Resource:
        """
        Who says so; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` add to it.
        """
        made = Resource.create({"codecage.audit.identity": self.identity})
        if str(made.attributes.get("service.name", "")).startswith("unknown_service"):
            return made.merge(Resource({"service.name": "codecage"}))
        return made


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


def span_of(whole: Whole, context: Context, resource: Resource) -> ReadableSpan:
    """
    The span of a cell or of a session.
    """
    is_cell = whole.end.event is Event.CELL_END
    events = [SpanEvent("codecage.denied", _told(one), one.wall_ns) for one in whole.denied]
    return ReadableSpan(
        name="execute_tool python" if is_cell else "codecage.session",
        context=_place(whole.start, whole.session, context),
        parent=_place(whole.session, whole.session, context) if is_cell else given(whole.session),
        resource=resource,
        attributes=_about_cell(whole) if is_cell else _about_session(whole),
        events=_bounded(events, all_there=whole.all),
        kind=SpanKind.INTERNAL,
        instrumentation_scope=SCOPE,
        status=Status(StatusCode.ERROR, plain(whole.end.outcome)) if _failed(whole.end) else _FINE,
        start_time=whole.start.wall_ns,
        # The wall clock may have gone back meanwhile; a span that ends before it begins is none.
        end_time=max(whole.start.wall_ns, whole.end.wall_ns),
    )


_FINE: Final = Status()


def log_of(
    decision: Record, within: tuple[Record, Record] | None, context: Context, resource: Resource
) -> ReadableLogRecord:
    """
    The event of a decision; `within` are the record that its span starts with and that of the
    session's creation, None where it belongs to no session.
    """
    denied = decision.answer is Answer.DENY
    said = dict(decision.detail).get("reason", "")
    about = {
        "codecage.decision": "deny" if denied else "allow",
        "codecage.kind": kind_of(decision),
        "codecage.reason": _value(said),
        "codecage.session": plain(decision.session),
        "codecage.policy_digest": plain(decision.policy_digest),
        **({} if decision.cell is None else {"codecage.cell": decision.cell}),
        **_told(decision),
    }
    place = None if within is None else _place(*within, context)
    return ReadableLogRecord(
        LogRecord(
            timestamp=decision.wall_ns,
            observed_timestamp=decision.wall_ns,
            context=None if place is None else set_span_in_context(NonRecordingSpan(place)),
            severity_text="WARN" if denied else "INFO",
            severity_number=SeverityNumber.WARN if denied else SeverityNumber.INFO,
            body=f"{'denied' if denied else 'allowed'}: {plain(decision.request)}",
            attributes=about,
            event_name="codecage.decision",
        ),
        resource,
        SCOPE,
    )


def checkpoint_log(note: str, sequence: int, resource: Resource, now_ns: int) -> ReadableLogRecord:
    """
    The event of a signed checkpoint of record `sequence`; its body is the note, byte for byte, so
    that whoever kept it can write it into a file for `verify --checkpoints`.
    """
    return ReadableLogRecord(
        LogRecord(
            observed_timestamp=now_ns,
            severity_text="INFO",
            severity_number=SeverityNumber.INFO,
            body=note,
            attributes={"codecage.sequence": sequence},
            event_name="codecage.checkpoint",
        ),
        resource,
        SCOPE,
    )


def kind_of(decision: Record) -> str:
    """
    What a decision was about, in a word of ours: guests must not choose the names of series.
    """
    return asked_of(decision.request or "").kind or "other"


def given(session: Record) -> SpanContext | None:
    """
    The span above a session's, by the record of its creation; None where nobody has given one.
    """
    labels = dict(session.detail).get("labels")
    try:
        told = json.loads(labels) if isinstance(labels, str) else {}
    except (ValueError, RecursionError):
        told = {}
    text = told.get("traceparent") if isinstance(told, dict) else None
    if not isinstance(text, str) or (match := _PARENT.fullmatch(text)) is None:
        return None
    return SpanContext(int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=_SAMPLED)


def plain(text: Text | None) -> str:
    """
    A text as strings of protocol buffers can hold it, which are UTF-8: else as escapes.
    """
    if text is None:
        return ""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def _place(start: Record, session: Record, context: Context) -> SpanContext:
    """
    The ids of the span that begins with `start`, in the trace of its session.
    """
    above = given(session)
    trace = _hash(f"trace {context.identity}:{session.sequence}", 16)
    return SpanContext(
        above.trace_id if above is not None else trace,
        _hash(f"span {context.identity}:{start.sequence}", 8),
        is_remote=False,
        trace_flags=_SAMPLED,
    )


def _hash(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big")


def _bounded(events: Sequence[SpanEvent], *, all_there: bool) -> Sequence[SpanEvent]:
    if all_there:
        return events
    kept: BoundedList[SpanEvent] = BoundedList.from_seq(MAX_EVENTS, events)
    # How many more there were nobody has counted: one at least.
    kept.dropped = 1
    return kept


def _about_cell(whole: Whole) -> Values:
    used = {f"codecage.{key}": value for key, value in whole.end.detail if isinstance(value, int)}
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "python",
        "gen_ai.tool.type": "extension",
        "codecage.session": plain(whole.session.session),
        "codecage.cell": whole.start.cell or 0,
        "codecage.outcome": plain(whole.end.outcome),
        **used,
    }


def _about_session(whole: Whole) -> Values:
    made = dict(whole.session.detail)
    said = {key: made[key] for key in ("policy", "image", "isolation") if key in made}
    return {
        "codecage.session": plain(whole.session.session),
        "codecage.policy_digest": plain(whole.session.policy_digest),
        "codecage.outcome": plain(whole.end.outcome),
        **{f"codecage.{key}": _value(value) for key, value in said.items()},
    }


def _told(decision: Record) -> Values:
    return {
        "codecage.request": plain(decision.request),
        "codecage.rule": plain(decision.rule),
        "codecage.rule_place": plain(decision.rule_place),
        "codecage.sequence": decision.sequence,
    }


def _failed(end: Record) -> bool:
    return end.event is Event.CELL_END and end.outcome != OK


def _value(value: Text | int) -> str | int:
    return value if isinstance(value, int) else plain(value)
