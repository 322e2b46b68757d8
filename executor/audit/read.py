"""
Read records and session summaries, each call in one snapshot and bounded.

The search columns find the rows; what is shown comes from the bodies, each checked against its
own hash. Whether the chain is whole is for `verify`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from executor.audit.chain import column_text, open_row
from executor.audit.errors import AuditDamaged
from executor.audit.record import Answer, Event, Record, Text
from executor.audit.schema import SELECT, connect_reader, genesis

MAX_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """
    One session in a list: `ended_ns` and `outcome` are None while it goes on.
    """

    session: str
    sequence: int
    policy: Text
    started_ns: int
    ended_ns: int | None
    outcome: Text | None
    cells: int
    denied: int
    dropped: int


def records(
    path: Path, *, session: str | None = None, after_sequence: int = 0, limit: int = 1000
) -> list[Record]:
    """
    The records after `after_sequence`, of one session or of all, at most `limit` (1 to 10,000).

    For the next page pass the last sequence. Raises FileNotFoundError when there is no store,
    AuditDamaged when it cannot be read.
    """
    which = "sequence > ?" if session is None else "sequence > ? AND session = ?"
    values: list[int | str] = [after_sequence]
    if session is not None:
        values.append(column_text(session))
    with snapshot(path) as db:
        query = f"{SELECT} WHERE {which} ORDER BY sequence LIMIT ?"
        rows = db.execute(query, (*values, bound(limit))).fetchall()
        return [open_row(row) for row in rows]


def creation(path: Path, session: str) -> Record | None:
    """
    The record of a session's creation, None where the store has no beginning of it.

    Raises as `records` does.
    """
    with snapshot(path) as db:
        row = db.execute(
            f"{SELECT} WHERE session = ? AND event = ? ORDER BY sequence LIMIT 1",
            (column_text(session), Event.SESSION_CREATE.value),
        ).fetchone()
        return None if row is None else open_row(row)


@contextmanager
def snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """
    A connection that sees the store as it is now, its schema checked.

    Raises FileNotFoundError when there is no store, AuditDamaged when it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no audit store at {path}")
    try:
        db = connect_reader(path)
        try:
            db.execute("BEGIN")
            genesis(db)
            yield db
        finally:
            db.close()
    except sqlite3.Error as error:
        raise AuditDamaged(
            f"audit store {path}: cannot be read: {error}; `codecage audit verify` says where"
        ) from error


def bound(limit: int) -> int:
    """
    The limit itself; ValueError where it is not 1 to 10,000.
    """
    if not 1 <= limit <= MAX_ROWS:
        raise ValueError(f"a limit of {limit} rows was asked for; allowed are 1 to {MAX_ROWS}")
    return limit


def summary(db: sqlite3.Connection, start: Record) -> SessionSummary:
    """
    The session that the record `start` has begun.
    """
    session = start.session or ""
    end = _last(db, session, Event.SESSION_END)
    dropped = db.execute(
        f"{SELECT} WHERE session = ? AND event = 'dropped'", (column_text(session),)
    )
    return SessionSummary(
        session=session,
        sequence=start.sequence,
        policy=_policy(start),
        started_ns=start.wall_ns,
        ended_ns=None if end is None else end.wall_ns,
        outcome=None if end is None else end.outcome,
        cells=_number(db, session, "event = 'cell.start'"),
        denied=_number(db, session, "event = 'decision' AND answer = 'deny'"),
        dropped=sum(
            value for row in dropped for _, value in open_row(row).detail if isinstance(value, int)
        ),
    )


def last_of(db: sqlite3.Connection, session: str) -> int:
    """
    The sequence of a session's last record, 0 where it has none.
    """
    query = "SELECT max(sequence) FROM record WHERE session = ? AND event = ? AND answer IS ?"
    answers = (None, *(answer.value for answer in Answer))
    kinds = ((event.value, answer) for event in Event for answer in answers)
    found = (db.execute(query, (column_text(session), *kind)).fetchone()[0] for kind in kinds)
    return max(one or 0 for one in found)


def _last(db: sqlite3.Connection, session: str, event: Event) -> Record | None:
    row = db.execute(
        f"{SELECT} WHERE session = ? AND event = ? ORDER BY sequence DESC LIMIT 1",
        (column_text(session), event.value),
    ).fetchone()
    return None if row is None else open_row(row)


def _number(db: sqlite3.Connection, session: str, which: str) -> int:
    query = f"SELECT count(*) FROM record WHERE session = ? AND {which}"  # noqa: S608 - constant
    (count,) = db.execute(query, (column_text(session),)).fetchone()
    return int(count)


def _policy(start: Record) -> Text:
    value = dict(start.detail).get("policy", "")
    return str(value) if isinstance(value, int) else value
