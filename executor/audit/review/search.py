"""
Finding records by a filter: bounded, in one snapshot a call, and with their decisions.

A page ends when it has what was asked for, or when `MAX_LOOKED` records were opened in vain: the
next one begins behind `reached`. Records are only ever added, so that pages of different
snapshots fit together.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from executor.audit.chain import column_text, open_row
from executor.audit.ledger import stored_head
from executor.audit.read import SessionSummary, bound, snapshot, summary
from executor.audit.record import Event, Record
from executor.audit.review.filters import EVERYTHING, Filter, Outside, conditions, matches, prepare
from executor.audit.schema import COLUMNS, SELECT

MAX_LOOKED = 100_000
_SHORTEST_PREFIX = 4
_BATCH = 1000
_COLUMNS = ", ".join(f"record.{name}" for name in COLUMNS.split(", "))
_SUBJECT = (
    "CROSS JOIN record AS subject ON subject.sequence = CASE WHEN record.event = 'outcome' "
    "THEN record.refers ELSE record.sequence END"
)
_NOT_FOLDED = (
    "NOT (record.event = 'outcome' AND EXISTS "
    "(SELECT 1 FROM record AS decided WHERE decided.sequence = record.refers))"
)


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
    with snapshot(path) as db:
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
    with snapshot(path) as db:
        search = _Search(db, which, Outcomes.ALONE)
        steps = list(search.backwards(limit))
        return Page(tuple(reversed(steps)), stored_head(db).sequence, ended=True)


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
    with snapshot(path) as db:
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
    query = (
        "SELECT DISTINCT session FROM record WHERE session >= ? AND session < ? "
        "ORDER BY session LIMIT 2"
    )
    with snapshot(path) as db:
        found = [name for (name,) in db.execute(query, (wanted, wanted + "\U0010ffff"))]
    if found and (found[0] == wanted or (len(found) == 1 and len(text) >= _SHORTEST_PREFIX)):
        return str(found[0])
    if found and len(text) >= _SHORTEST_PREFIX:
        raise LookupError(f"several sessions begin with {text}; give more of the id")
    raise LookupError(f"no record of session {text}")


class _Search:
    """
    One walk over a snapshot. `stopped_at` is the last record it looked at where it gave up.
    """

    def __init__(self, db: sqlite3.Connection, which: Filter, outcomes: Outcomes) -> None:
        prepare(db)
        self._db = db
        self._which = which
        self._folded = outcomes is Outcomes.FOLDED
        self._decisions: dict[int, Record] = {}
        self.stopped_at: int | None = None

    def between(self, after: int, until: int) -> Iterator[Step]:
        span = "record.sequence > ? AND record.sequence <= ?"
        return self._walk(span, (after, until), "record.sequence")

    def backwards(self, limit: int) -> Iterator[Step]:
        for count, step in enumerate(self._walk("TRUE", (), "record.sequence DESC"), 1):
            yield step
            if count == limit:
                return

    def is_in(self, session: str) -> bool:
        if self._which.session is not None and self._which.session != session:
            return False
        if not self._which.narrows:
            return True
        span, values = "record.session = ?", (column_text(session),)
        return next(self._walk(span, values, "record.sequence"), None) is not None

    def step(self, record: Record) -> Step:
        if record.event is Event.DECISION:
            return Step(record, outcome=self._outcome(record.sequence))
        return Step(record, decision=self._decision(record))

    def _walk(self, span: str, values: Sequence[str | int], order: str) -> Iterator[Step]:
        query, more = self._query(span, order)
        looked = 0
        for row in self._db.cursor().execute(query, (*values, *more)):
            record = open_row(row)
            decision = self._decision(record)
            if matches(self._which, decision or record):
                yield self._completed(record, decision)
                continue
            looked += 1
            if looked == MAX_LOOKED:
                self.stopped_at = record.sequence
                return

    def _query(self, span: str, order: str) -> tuple[str, list[str | int | bytes]]:
        where, values = [span], list[str | int | bytes]()
        match self._which.session:
            case Outside.SESSIONS:
                where.append("record.session IS NULL")
            case str(session):
                where.append("record.session = ?")
                values.append(column_text(session))
        joined = self._which.narrows and not self._folded
        for one in conditions(self._which, "subject" if joined else "record"):
            where.append(one.sql)
            values += one.values
        if self._folded:
            where.append(_NOT_FOLDED)
        tables = f"record {_SUBJECT}" if joined else "record"
        # All of it is text of ours; what was asked for stands in `values`.
        condition = " AND ".join(where)
        return f"SELECT {_COLUMNS} FROM {tables} WHERE {condition} ORDER BY {order}", values  # noqa: S608

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
