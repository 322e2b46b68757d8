"""
Finding records by a filter: bounded, in one snapshot a call, and with their decisions.

A page ends when it has what was asked for, or when `MAX_LOOKED` records were opened in vain: the
next one begins behind `reached`. Records are only ever added, so that pages of different
snapshots fit together.
"""

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from pathlib import Path

from executor.audit.chain import column_text, open_row
from executor.audit.ledger import stored_head
from executor.audit.read import SessionSummary, bound, last_of, snapshot, summary
from executor.audit.record import Answer, Event, Record
from executor.audit.review.filters import EVERYTHING, Filter, Outside, conditions, matches, prepare
from executor.audit.schema import SELECT, SELECTED, Row
from executor.audit.segments import closed_files
from executor.audit.start import start_of

MAX_LOOKED = 100_000
# What a page of `latest` looks through: about 0.1 s.
MAX_SPAN = 100_000
MAX_SESSIONS = 2000
_SHORTEST_PREFIX = 4
_BATCH = 1000
_SUBJECT = (
    "CROSS JOIN record AS subject ON subject.sequence = CASE WHEN record.event = 'outcome' "
    "THEN record.refers ELSE record.sequence END"
)
_NOT_FOLDED = (
    "NOT (record.event = 'outcome' AND EXISTS "
    "(SELECT 1 FROM record AS decided WHERE decided.sequence = record.refers))"
)
# As the index `record_session` has them.
_OF_SESSION = "record.session IS ? AND record.event = ? AND record.answer IS ?"
_EVENTS = tuple(event.value for event in Event)
_ANSWERS = (None, *(answer.value for answer in Answer))
_ENDLESS = 2**62


class Outcomes(Enum):
    """
    Whether outcomes are found as records of their own, or only with their decisions.
    """

    ALONE = "alone"
    FOLDED = "folded"


@dataclass(frozen=True, slots=True)
class Step:
    """
    A record and what completes it: of a decision its outcome, of an outcome its decision.
    """

    record: Record
    outcome: Record | None = None
    decision: Record | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """
    What was found, in the record's order; all up to `reached` was looked at, and `ended` says
    that nothing is behind it.
    """

    steps: tuple[Step, ...]
    reached: int
    ended: bool


def find(
    path: Path,
    which: Filter = EVERYTHING,
    *,
    after: int = 0,
    until: int | None = None,
    limit: int = 1000,
    outcomes: Outcomes = Outcomes.FOLDED,
) -> Page:
    """
    The records behind sequence `after`, up to `until`, at most `limit` (1 to 10,000).

    Raises FileNotFoundError when there is no store, AuditDamaged when it cannot be read.
    """
    bound(limit)
    with _opened(path) as db:
        last = stored_head(db).sequence
        until = last if until is None else min(until, last)
        search = _Search(db, which, outcomes)
        steps: list[Step] = []
        for step in search.between(after, until):
            steps.append(step)
            if len(steps) == limit:
                return Page(tuple(steps), step.record.sequence, ended=False)
        reached = search.stopped_at
        return Page(tuple(steps), max(after, reached or until), ended=reached is None)


def pages(
    path: Path, which: Filter = EVERYTHING, *, after: int = 0, until: int | None = None
) -> Iterator[Page]:
    """
    All records behind sequence `after`, outcomes on their own, page by page. Each is a snapshot
    of its own, so that whoever reads all does not keep the server from tidying its log; the last
    one's `reached` is where to go on. Raises as `find` does.
    """
    while True:
        page = find(path, which, after=after, until=until, limit=_BATCH, outcomes=Outcomes.ALONE)
        yield page
        if page.ended:
            return
        after = page.reached


def newest(path: Path, which: Filter = EVERYTHING, *, limit: int = 20) -> Page:
    """
    The last `limit` (1 to 10,000) records, outcomes on their own; in the record's order.

    Raises FileNotFoundError, AuditDamaged.
    """
    bound(limit)
    with _opened(path) as db:
        search = _Search(db, which, Outcomes.ALONE)
        steps = list(search.backwards(limit))
        return Page(tuple(reversed(steps)), stored_head(db).sequence, ended=True)


def latest(
    path: Path, which: Filter = EVERYTHING, *, before: int | None = None, limit: int = 50
) -> Page:
    """
    The last `limit` (1 to 10,000) records before sequence `before`, the newest first, an outcome
    with its decision. So that a page never takes long it looks at `MAX_SPAN` numbers at most:
    where it has not `ended`, the next page is before `reached`.

    Raises FileNotFoundError, AuditDamaged.
    """
    bound(limit)
    with _opened(path) as db:
        until = stored_head(db).sequence
        until = until if before is None else min(until, before - 1)
        if isinstance(which.session, str):
            until = min(until, last_of(db, which.session))
        lowest = max(0, until - MAX_SPAN) if _is_searched(which) else 0
        steps: list[Step] = []
        search = _Search(db, which, Outcomes.FOLDED)
        for step in search.down(until, lowest):
            steps.append(step)
            if len(steps) == limit:
                return Page(tuple(steps), step.record.sequence, ended=False)
        reached = search.stopped_at or lowest + 1
        ended = search.stopped_at is None and lowest == 0
        return Page(tuple(steps), reached, ended=ended)


def _is_searched(which: Filter) -> bool:
    """
    Whether the index does not lead to what is wanted.
    """
    indexed = replace(which, session=None, answer=None)
    return indexed.narrows or (which.answer is not None and which.session is None)


def latest_sessions(
    path: Path, which: Filter = EVERYTHING, *, before: int | None = None, limit: int = 50
) -> tuple[list[SessionSummary], int | None]:
    """
    The sessions that were created last before sequence `before`, the newest first, at most
    `limit`, and before which sequence the next page is; None where there is none.

    At most `MAX_SESSIONS` are looked at. Raises FileNotFoundError, AuditDamaged.
    """
    bound(limit)
    query = f"{SELECT} WHERE event = 'session.create' AND sequence < ? ORDER BY sequence DESC"
    found: list[SessionSummary] = []
    with _opened(path) as db:
        search = _Search(db, which, Outcomes.FOLDED)
        rows = db.cursor().execute(query, (_ENDLESS if before is None else before,))
        for looked, row in enumerate(rows, 1):
            start = open_row(row)
            if search.is_in(start.session or ""):
                found.append(summary(db, start))
            if len(found) == limit or looked == MAX_SESSIONS:
                return found, start.sequence
    return found, None


def one(path: Path, sequence: int) -> Step | None:
    """
    The record of this number, with its outcome or its decision. Raises as `find` does.
    """
    with snapshot(path) as db:
        row = db.execute(f"{SELECT} WHERE sequence = ?", (sequence,)).fetchone()
        return None if row is None else _Search(db, EVERYTHING, Outcomes.ALONE).step(open_row(row))


def sessions(
    path: Path, which: Filter = EVERYTHING, *, after: int = 0, limit: int = 1000
) -> list[SessionSummary]:
    """
    The sessions created behind sequence `after` that have a record such as the filter wants.

    Raises FileNotFoundError, AuditDamaged.
    """
    bound(limit)
    found: list[SessionSummary] = []
    query = f"{SELECT} WHERE event = 'session.create' AND sequence > ? ORDER BY sequence"
    with _opened(path) as db:
        search = _Search(db, which, Outcomes.FOLDED)
        # What is read of a session in between must not disturb the walk along them.
        for row in db.cursor().execute(query, (after,)):
            start = open_row(row)
            if search.is_in(start.session or ""):
                found.append(summary(db, start))
            if len(found) == limit:
                break
    return found


def denied_outside(path: Path) -> int:
    """
    How many requests were denied that belong to no session. Raises as `find` does.
    """
    query = (
        "SELECT count(*) FROM record WHERE session IS NULL AND event = 'decision' "
        "AND answer = 'deny'"
    )
    with snapshot(path) as db:
        (count,) = db.execute(query).fetchone()
        return int(count)


def session_named(path: Path, text: str) -> str:
    """
    The session whose id is `text`, or begins with it (4 characters or more) where one alone does.

    Raises LookupError, FileNotFoundError, AuditDamaged.
    """
    wanted = column_text(text)
    with snapshot(path) as db:
        found = set(islice(_names(db, wanted), 2))
        before = "" if found else _before(db, path)
    return _only(found, text, before)


def session_named_anywhere(path: Path, text: str) -> str:
    """
    The same, in the closed files beside the one at `path` too.
    """
    found = set[str]()
    for file in (path, *(one.path for one in closed_files(path))):
        with snapshot(file) as db:
            found.update(islice(_names(db, column_text(text)), 2))
    return _only(found, text, "")


def _only(found: set[str], text: str, before: str) -> str:
    if (wanted := column_text(text)) in found:
        return wanted
    if not found or len(text) < _SHORTEST_PREFIX:
        raise LookupError(f"no record of session {text}{before}")
    if len(found) > 1:
        raise LookupError(f"several sessions begin with {text}; give more of the id")
    return found.pop()


def _before(db: sqlite3.Connection, path: Path) -> str:
    """
    Where a session may be that is not in this file: in a closed one, or in one that was removed.
    """
    last = start_of(db).head.sequence
    if not last:
        return ""
    query = f"{SELECT} WHERE session IS NULL AND event = ? ORDER BY sequence DESC LIMIT 1"
    row = db.execute(query, (Event.PRUNED.value,)).fetchone()
    told = f"; records 1 to {last} are not in this file"
    if closed := closed_files(path):
        told += f": look in {closed[-1].path.name}, or in one before it, with --audit"
    if row is not None:
        record = open_row(row)
        gone = dict(record.detail).get("last", 0)
        told += f"; 1 to {gone} were removed, as record {record.sequence} says"
    return told


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with snapshot(path) as db:
        prepare(db)
        yield db


def _names(db: sqlite3.Connection, beginning: str) -> Iterator[str]:
    """
    The sessions whose ids begin so, in their order; each is one look into the index.
    """
    query = "SELECT session FROM record WHERE session {} ? ORDER BY session LIMIT 1"
    row = db.execute(query.format(">="), (beginning,)).fetchone()
    while row is not None and row[0].startswith(beginning):
        yield row[0]
        row = db.execute(query.format(">"), row).fetchone()


class _Search:
    """
    One walk over a snapshot. `stopped_at` is the last record it looked at where it gave up.
    """

    def __init__(self, db: sqlite3.Connection, which: Filter, outcomes: Outcomes) -> None:
        self._db = db
        self._which = which
        self._folded = outcomes is Outcomes.FOLDED
        self._decisions: dict[int, Record] = {}
        self.stopped_at: int | None = None

    def between(self, after: int, until: int) -> Iterator[Step]:
        span = "record.sequence > ? AND record.sequence <= ?"
        return self._walk(span, (after, until), newest=False)

    def down(self, until: int, lowest: int) -> Iterator[Step]:
        span = "record.sequence <= ? AND record.sequence > ?"
        return self._walk(span, (until, lowest), newest=True)

    def backwards(self, limit: int) -> Iterator[Step]:
        for count, step in enumerate(self._walk("TRUE", (), newest=True), 1):
            yield step
            if count == limit:
                return

    def is_in(self, session: str) -> bool:
        if self._which.session is not None and self._which.session != session:
            return False
        if not self._which.narrows:
            return True
        inside = _Search(self._db, replace(self._which, session=session), Outcomes.FOLDED)
        return next(inside.between(0, _ENDLESS), None) is not None

    def step(self, record: Record) -> Step:
        if record.event is Event.DECISION:
            return Step(record, outcome=self._outcome(record.sequence))
        return Step(record, decision=self._decision(record))

    def _walk(self, span: str, values: Sequence[str | int], *, newest: bool) -> Iterator[Step]:
        looked = 0
        for row in self._rows(span, values, newest=newest):
            record = open_row(row)
            decision = self._decision(record)
            if matches(self._which, decision or record):
                yield self._completed(record, decision)
                continue
            looked += 1
            if looked == MAX_LOOKED:
                self.stopped_at = record.sequence
                return

    def _rows(self, span: str, values: Sequence[str | int], *, newest: bool) -> Iterator[Row]:
        """
        The rows in order. Of a session each kind of record is in order in the index, so that its
        first rows are found without reading all of it: the kinds are merged here.
        """
        query, more = self._query(span, newest=newest)
        if self._which.session is None:
            return self._db.cursor().execute(query, (*values, *more))
        session = self._which.session
        name = None if session is Outside.SESSIONS else column_text(session)
        kinds = ((name, event, answer) for event in _EVENTS for answer in self._answers())
        found = [self._db.cursor().execute(query, (*kind, *values, *more)) for kind in kinds]
        merged = heapq.merge(*found, key=_sequence, reverse=newest)
        return filter(self._stands_alone, merged) if self._folded else merged

    def _stands_alone(self, row: Row) -> bool:
        # In SQL this would be asked of all outcomes of the session before the first row is there.
        event, refers = row[3], row[5]
        if event != Event.OUTCOME.value or refers is None:
            return True
        query = "SELECT 1 FROM record WHERE sequence = ?"
        return self._db.execute(query, (refers,)).fetchone() is None

    def _answers(self) -> tuple[str | None, ...]:
        # Of decisions alone: an outcome has no answer, and is judged by that of its decision.
        wanted = self._which.answer
        return _ANSWERS if wanted is None or not self._folded else (wanted.value,)

    def _query(self, span: str, *, newest: bool) -> tuple[str, list[str | int | bytes]]:
        where, values = [span], list[str | int | bytes]()
        if self._which.session is not None:
            where.insert(0, _OF_SESSION)
        joined = self._which.narrows and not self._folded
        for one in conditions(self._which, "subject" if joined else "record"):
            where.append(one.sql)
            values += one.values
        if self._folded and self._which.session is None:
            where.append(_NOT_FOLDED)
        tables = f"record {_SUBJECT}" if joined else "record"
        # All of it is text of ours; what was asked for stands in `values`.
        condition = " AND ".join(where)
        order = "DESC" if newest else "ASC"
        select = f"SELECT {SELECTED} FROM {tables} WHERE {condition}"  # noqa: S608
        return f"{select} ORDER BY record.sequence {order}", values

    def _completed(self, record: Record, decision: Record | None) -> Step:
        if record.event is Event.DECISION:
            self._decisions = {record.sequence: record}
            return Step(record, outcome=self._outcome(record.sequence) if self._folded else None)
        return Step(record, decision=decision)

    def _outcome(self, sequence: int) -> Record | None:
        query = f"{SELECT} WHERE refers = ? AND event = 'outcome' ORDER BY sequence LIMIT 1"
        row = self._db.execute(query, (sequence,)).fetchone()
        return None if row is None else open_row(row)

    def _decision(self, record: Record) -> Record | None:
        if record.event is not Event.OUTCOME or record.refers is None:
            return None
        if record.refers in self._decisions:
            return self._decisions[record.refers]
        row = self._db.execute(f"{SELECT} WHERE sequence = ?", (record.refers,)).fetchone()
        found = None if row is None else open_row(row)
        return found if found is not None and found.event is Event.DECISION else None


def _sequence(row: Row) -> int:
    return row[0]
