"""
Sending the record to a collector of OpenTelemetry: a copy, made by a program of its own.

The server has no part in it: a collector that is slow, gone or hostile costs nobody but this
program, which counts what was not taken and goes on. There is no queue to overflow: the record is
the queue, and `Sent.reached` the place in it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import MetricsData

from executor.audit.chain import open_row
from executor.audit.read import creation, snapshot
from executor.audit.record import Answer, Event, Record
from executor.audit.review.collector import Collector, Message, Signal
from executor.audit.review.filters import Filter
from executor.audit.review.following import Part, unread
from executor.audit.review.measures import Measures
from executor.audit.review.otlp import (
    MAX_EVENTS,
    Context,
    Whole,
    checkpoint_log,
    log_of,
    span_of,
)
from executor.audit.review.resuming import Progress, load, save
from executor.audit.review.search import find, one
from executor.audit.schema import SELECT, genesis

_MESSAGE_MAX: Final = 1024 * 1024
"""Collectors refuse messages over 4 MiB unless they are told otherwise."""
_SESSIONS_KEPT: Final = 1024
_Datum = TypeVar("_Datum")


@dataclass(slots=True)
class Sent:
    """
    How far the record was looked at, how many spans were taken, and how many were not; of how
    many pages the metrics were not; and what the collector said last, or what went wrong; how
    many events were taken, and how many were not.
    """

    reached: int
    taken: int = 0
    lost: int = 0
    why: str = ""
    refused: int = 0
    events: int = 0
    events_lost: int = 0


class Trace:
    """
    A record on its way to a collector. `sent` says how far it is.
    """

    def __init__(self, path: Path, to: Collector, sent: Sent, state: Path | None = None) -> None:
        """
        Begin behind `sent.reached`, or where the file `state` says that it ended before, which is
        kept up to date. Raises FileNotFoundError, AuditDamaged, OSError.
        """
        self.sent = sent
        self._state = state
        self._path = path
        self._to = to
        with snapshot(path) as db:
            self._context = Context(genesis(db).hex())
        self._resource = self._context.resource
        self._notes = 0
        if state is not None:
            known = load(state, self._context.identity)
            sent.reached, self._notes = known.reached, known.checkpoints
        self._open: int | None = 0 if sent.reached == 0 else None
        self._places = _Places()

    def send(self) -> None:
        """
        Send what is behind `sent.reached`, and note how far.

        Raises FileNotFoundError, AuditDamaged; what a collector does not take is only counted.
        """
        for part in unread(self._path, self.sent.reached):
            self._send_part(part)
            if self.sent.reached != part.page.reached:
                self.sent.reached = part.page.reached
                self._save()

    def send_checkpoints(self, checkpoints: Path) -> None:
        """
        Send the signed checkpoints in a file that were not sent yet.

        Raises OSError, NoteInvalid where the file is not one of checkpoints.
        """
        # The package that reads signatures is of no use to those who have none.
        from executor.audit.checkpoint import notes  # noqa: PLC0415

        found = notes(checkpoints)
        now = time.time_ns()
        self._send_events(
            [checkpoint_log(text, of, self._resource, now) for text, of in found[self._notes :]]
        )
        if self._notes != len(found):
            self._notes = len(found)
            self._save()

    def _save(self) -> None:
        if self._state is not None:
            save(self._state, Progress(self._context.identity, self.sent.reached, self._notes))

    def _send_part(self, part: Part) -> None:
        records = [step.record for step in part.page.steps]
        spans = [
            span_of(whole, self._context, self._resource) for whole in _ended(part.file, records)
        ]
        lost = self._deliver(Signal.TRACES, spans, encode_spans)
        self.sent.taken += len(spans) - lost
        self.sent.lost += lost
        decided = (record for record in records if record.event is Event.DECISION)
        self._send_events([self._event(part.file, record) for record in decided])
        self._send_metrics(part)
        self._places.forget(records)

    def _event(self, file: Path, decision: Record) -> ReadableLogRecord:
        within = self._places.of(file, decision)
        return log_of(decision, within, self._context, self._resource)

    def _send_events(self, events: Sequence[ReadableLogRecord]) -> None:
        lost = self._deliver(Signal.LOGS, events, encode_logs)
        self.sent.events += len(events) - lost
        self.sent.events_lost += lost

    def _send_metrics(self, part: Part) -> None:
        if self._open is None:
            self._open = _opened_before(part.file, self.sent.reached)
        measures = Measures(self._open)
        measures.add(part.page.steps)
        self._open = measures.open
        if (data := measures.data(self._resource)) is not None:
            self.sent.refused += bool(self._deliver(Signal.METRICS, [data], _encode_first))

    def _deliver(
        self, signal: Signal, data: Sequence[_Datum], encode: Callable[[Sequence[_Datum]], Message]
    ) -> int:
        """
        Send the data, in halves where they are a long message; how many were not taken.
        """
        if not data:
            return 0
        message = encode(data)
        if message.ByteSize() > _MESSAGE_MAX and len(data) > 1:
            half = len(data) // 2
            return self._deliver(signal, data[:half], encode) + self._deliver(
                signal, data[half:], encode
            )
        refused = self._to.take(signal, message, len(data))
        if refused.count:
            self.sent.why = refused.why
        return refused.count


def _encode_first(data: Sequence[MetricsData]) -> Message:
    return encode_metrics(data[0])


class _Places:
    """
    The spans that decisions are in: of each open session the record of its creation, and that
    which its cell began with. Bounded; what was forgotten is looked up again.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, Record | None] = {}
        self._cells: dict[str, Record] = {}

    def of(self, file: Path, decision: Record) -> tuple[Record, Record] | None:
        """
        The record that a decision's span starts with, and the creation of its session; None where
        it has none.
        """
        if decision.session is None:
            return None
        session = self._session(file, decision.session)
        if session is None:
            return None
        return self._cell(file, decision) or session, session

    def forget(self, records: Sequence[Record]) -> None:
        """
        Let go of sessions that have ended.
        """
        for record in records:
            if record.event is Event.SESSION_END and record.session is not None:
                self._sessions.pop(record.session, None)
                self._cells.pop(record.session, None)

    def _session(self, file: Path, name: str) -> Record | None:
        if name not in self._sessions:
            if len(self._sessions) >= _SESSIONS_KEPT:
                self._sessions.clear()
                self._cells.clear()
            self._sessions[name] = creation(file, name)
        return self._sessions[name]

    def _cell(self, file: Path, decision: Record) -> Record | None:
        if decision.session is None or decision.cell is None:
            return None
        kept = self._cells.get(decision.session)
        if kept is None or kept.cell != decision.cell:
            kept = _start_of_cell(file, decision)
            if kept is None:
                return None
            self._cells[decision.session] = kept
        return kept


def _start_of_cell(file: Path, decision: Record) -> Record | None:
    query = (
        f"{SELECT} WHERE session = ? AND event = 'cell.start' AND cell = ? AND sequence < ? "
        "ORDER BY sequence DESC LIMIT 1"
    )
    with snapshot(file) as db:
        row = db.execute(query, (decision.session, decision.cell, decision.sequence)).fetchone()
        return None if row is None else open_row(row)


def _opened_before(file: Path, reached: int) -> int:
    """
    How many sessions of this file had begun by then, and not ended: none is open when it begins.
    """
    query = "SELECT count(*) FROM record WHERE event = ? AND sequence <= ?"
    with snapshot(file) as db:
        counts = [
            db.execute(query, (event.value, reached)).fetchone()[0]
            for event in (Event.SESSION_CREATE, Event.SESSION_END)
        ]
    return max(0, int(counts[0]) - int(counts[1]))


def _ended(file: Path, records: Sequence[Record]) -> Iterator[Whole]:
    for end in records:
        if end.event not in {Event.CELL_END, Event.SESSION_END} or end.refers is None:
            continue
        start = one(file, end.refers)
        session = None if start is None else _session_of(file, start.record)
        if start is not None and session is not None:
            yield _whole(file, start.record, end, session)


def _whole(file: Path, start: Record, end: Record, session: Record) -> Whole:
    denied: tuple[Record, ...] = ()
    ended = True
    if end.event is Event.CELL_END:
        which = Filter(session=end.session, answer=Answer.DENY)
        found = find(file, which, after=start.sequence, until=end.sequence, limit=MAX_EVENTS)
        denied, ended = tuple(step.record for step in found.steps), found.ended
    return Whole(start, end, session, denied, ended)


def _session_of(file: Path, record: Record) -> Record | None:
    if record.event is Event.SESSION_CREATE:
        return record
    return None if record.session is None else creation(file, record.session)
