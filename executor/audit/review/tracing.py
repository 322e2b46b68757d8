"""
Sending spans and metrics to a collector: a copy of the record, made by a program of its own.

The server has no part in it: a collector that is slow, gone or hostile costs nobody but this
program, which counts what was not taken and goes on. An answer is read up to a bound and only its
status counts.
"""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.audit.read import creation, snapshot
from executor.audit.record import Answer, Event, Record
from executor.audit.report import Json
from executor.audit.review.filters import Filter
from executor.audit.review.otlp import MAX_EVENTS, Context, Whole, metrics, span_of, traces
from executor.audit.review.search import Page, find, one, pages
from executor.audit.schema import genesis

TIMEOUT: Final = 10.0
_ANSWER_MAX: Final = 65_536


@dataclass(slots=True)
class Sent:
    """
    How far the record was looked at, how many spans were taken, and how many were not; of how
    many pages the metrics were not; and what the collector said last, or what went wrong.
    """

    reached: int
    taken: int = 0
    lost: int = 0
    why: str = ""
    refused: int = 0


def send(path: Path, to: str, sent: Sent) -> None:
    """
    Send what is behind `sent.reached` to the collector at `to` (http or https), and note how far.

    Raises FileNotFoundError, AuditDamaged; a collector that does not take it is only counted.
    """
    with snapshot(path) as db:
        context = Context(genesis(db).hex())
    for page in pages(path, after=sent.reached):
        _send_page(path, to, page, context, sent)
        sent.reached = page.reached


def _send_page(path: Path, to: str, page: Page, context: Context, sent: Sent) -> None:
    records = [step.record for step in page.steps]
    spans = [span_of(whole, context) for whole in _ended(path, records)]
    if spans:
        taken = _post(f"{to}/v1/traces", traces(spans, context), sent)
        sent.taken += len(spans) if taken else 0
        sent.lost += 0 if taken else len(spans)
    if (body := metrics(records, context)) is not None:
        sent.refused += not _post(f"{to}/v1/metrics", body, sent)


def _ended(path: Path, records: Sequence[Record]) -> Iterator[Whole]:
    for end in records:
        if end.event not in {Event.CELL_END, Event.SESSION_END} or end.refers is None:
            continue
        start = one(path, end.refers)
        session = None if start is None else _session_of(path, start.record)
        if start is not None and session is not None:
            yield _whole(path, start.record, end, session)


def _whole(path: Path, start: Record, end: Record, session: Record) -> Whole:
    denied: tuple[Record, ...] = ()
    ended = True
    if end.event is Event.CELL_END:
        which = Filter(session=end.session, answer=Answer.DENY)
        found = find(path, which, after=start.sequence, until=end.sequence, limit=MAX_EVENTS)
        denied, ended = tuple(step.record for step in found.steps), found.ended
    return Whole(start, end, session, denied, ended)


def _session_of(path: Path, record: Record) -> Record | None:
    if record.event is Event.SESSION_CREATE:
        return record
    return None if record.session is None else creation(path, record.session)


def _post(url: str, body: Json, sent: Sent) -> bool:
    request = urllib.request.Request(  # noqa: S310 - the command takes http and https alone
        url, json.dumps(body).encode("ascii"), {"Content-Type": "application/json"}
    )
    try:
        with _DIRECT.open(request, timeout=TIMEOUT) as answer:
            answer.read(_ANSWER_MAX)
            return True
    except (OSError, http.client.HTTPException) as error:
        sent.why = str(error)
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """
    A collector does not send us elsewhere.
    """

    def redirect_request(self, *_: object) -> None:
        return None


_DIRECT: Final = urllib.request.build_opener(_NoRedirect)
