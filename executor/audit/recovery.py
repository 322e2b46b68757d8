"""
What a store needs before it is used again: its end checked, what was left open closed.

A server that was killed leaves sessions without an end and decisions without an outcome. Whether
such an effect took place is not known, and the record says so: `unknown`.
"""

import sqlite3
from collections.abc import Iterator

from executor.audit.chain import (
    Broken,
    Chain,
    End,
    Fault,
    Finding,
    column_text,
    open_row,
)
from executor.audit.errors import AuditDamaged
from executor.audit.record import (
    ABORTED_BY_RESTART,
    UNKNOWN,
    Draft,
    Event,
    Record,
)
from executor.audit.schema import SELECT, Row
from executor.audit.start import end_of, start_of, tree_of

TAIL = 1000

# The parts of these statements are constants of this program.
_OPEN_SESSIONS = f"""{SELECT} WHERE event = 'session.create' AND NOT EXISTS (
    SELECT 1 FROM record AS other WHERE other.session = record.session
    AND other.event IN ('session.end', 'session.create') AND other.sequence > record.sequence)
    ORDER BY sequence"""  # noqa: S608
_OPEN_CELLS = f"""{SELECT} WHERE session = ? AND event = 'cell.start' AND sequence > ?
    AND NOT EXISTS (SELECT 1 FROM record AS other WHERE other.session = record.session
    AND other.event = 'cell.end' AND other.cell = record.cell AND other.sequence > record.sequence)
    ORDER BY sequence"""  # noqa: S608
_OPEN_DECISIONS = f"""{SELECT} WHERE session = ? AND event = 'decision'
    AND answer = 'allow' AND sequence > ?
    AND NOT EXISTS (SELECT 1 FROM record AS other WHERE other.refers = record.sequence
    AND other.event = 'outcome')
    ORDER BY sequence"""  # noqa: S608


def check_tail(db: sqlite3.Connection, tail: int = TAIL) -> End:
    """
    Follow the last `tail` records and return the record's end.

    Raises AuditDamaged, naming the first bad sequence. What lies before is for `verify`.
    """
    rows = db.execute(f"{SELECT} ORDER BY sequence DESC LIMIT ?", (tail + 1,)).fetchall()
    rows.reverse()
    try:
        chain = Chain(_start(db, rows))
        for row in rows:
            if row[0] > chain.sequence:
                chain.follow(row)
    except Broken as error:
        raise AuditDamaged(
            f"audit store: {error}; nothing is added to a record that is not whole: move the "
            "file aside, keep it for `codecage audit verify`, and start with a new one"
        ) from error
    return chain.end


def _start(db: sqlite3.Connection, rows: list[Row]) -> End:
    start = start_of(db)
    expected = start.head.sequence + 1
    if not rows or rows[0][0] <= expected:
        return end_of(db, start)
    if len(rows) <= 1:
        message = f"records {expected} to {rows[0][0] - 1} are not there"
        raise Broken(Finding(expected, Fault.MISSING, message))
    first = open_row(rows[0])
    return End(tree_of(db, start).edge(first.head), first.hash)


def open_counts(db: sqlite3.Connection) -> dict[str, int]:
    """
    The number of records so far of each session that has no end.
    """
    counts = {}
    for start in map(open_row, db.execute(_OPEN_SESSIONS).fetchall()):
        last = db.execute(
            f"{SELECT} WHERE session = ? ORDER BY sequence DESC LIMIT 1", (_column(start),)
        ).fetchone()
        counts[_named(start)] = open_row(last).ordinal or 0
    return counts


def closing_drafts(db: sqlite3.Connection) -> list[Draft]:
    """
    The records that close what was left open: first the announcement, then each piece.

    An empty list means that the last server ended in order.
    """
    starts = [open_row(row) for row in db.execute(_OPEN_SESSIONS).fetchall()]
    closing = [draft for start in starts for draft in _closing(db, start)]
    if not closing:
        return []
    outcomes = sum(draft.event is Event.OUTCOME for draft in closing)
    detail = (("outcomes_unknown", outcomes), ("sessions", len(starts)))
    return [Draft(event=Event.SERVER_RECOVERED, detail=detail), *closing]


def _closing(db: sqlite3.Connection, start: Record) -> Iterator[Draft]:
    place = (_column(start), start.sequence)
    for decision in map(open_row, db.execute(_OPEN_DECISIONS, place).fetchall()):
        yield _close(decision, Event.OUTCOME, UNKNOWN)
    for cell in map(open_row, db.execute(_OPEN_CELLS, place).fetchall()):
        yield _close(cell, Event.CELL_END, ABORTED_BY_RESTART)
    yield _close(start, Event.SESSION_END, ABORTED_BY_RESTART)


def _close(opened: Record, event: Event, outcome: str) -> Draft:
    return Draft(
        event=event,
        session=opened.session,
        cell=opened.cell,
        refers=opened.sequence,
        request=opened.request,
        policy_digest=opened.policy_digest,
        outcome=outcome,
    )


def _named(start: Record) -> str:
    if start.session is None:
        raise AuditDamaged(f"audit store: record {start.sequence} creates a session without a name")
    return start.session


def _column(start: Record) -> str:
    return column_text(_named(start))
