"""
Erasing the texts of one session from the record, which stays whole.

First the session's records are looked at: what is not what was written is evidence, and is not
erased. Then the record says, durably, what is about to be erased; then the texts and the key are
overwritten in each file that has them, and the log through which they went is emptied. A command
that was stopped in between is run again, and says nothing twice.

What it does not reach: copies of the file, snapshots below the file system, and what a disk or a
file system that writes elsewhere keeps of blocks that were overwritten.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.audit.chain import column_text, open_row
from executor.audit.errors import AuditUnavailable, NotErasable
from executor.audit.record import Draft, Event
from executor.audit.rotation import CLOSED
from executor.audit.schema import SELECT, connect_reader, connect_writer, genesis
from executor.audit.segments import closed_files
from executor.audit.store import AuditStore

_PATIENCE: Final = 5.0
_OWNED: Final = 0o600
# In place, by as many bytes: see `schema.py`.
_BLANK: Final = """UPDATE record SET texts = zeroblob(length(texts))
    WHERE session = ? AND event != 'session.erased'"""
_DROP: Final = "UPDATE session_key SET key = zeroblob(length(key)) WHERE name = ?"


@dataclass(frozen=True, slots=True)
class Erasing:
    """
    The records of a session: how many, the first and the last, and the sequence of the statement
    that they are erased (None: there is none yet).
    """

    session: str
    records: int
    first: int
    last: int
    statement: int | None


def erase(path: Path, session: str) -> Erasing:
    """
    Overwrite the texts of a session in the record at `path`, its closed files included.

    It takes the place of a server: raises AuditInUse while one has the store, LookupError where no
    record is of that session, NotErasable for records of the former format, AuditDamaged where one
    is not what was written, AuditUnavailable where somebody reads a file that has to be emptied
    (what is overwritten then may still be in its log; run it again), FileNotFoundError, OSError.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no audit store at {path}")
    with AuditStore.open(path) as store:
        files = [*(one.path for one in closed_files(path)), path]
        holding = {file: found for file in files if (found := _looked_at(file, session))}
        erasing = _erasing(session, [one for found in holding.values() for one in found])
        if erasing.statement is None:
            asyncio.run(store.append(_statement(erasing), durable=True))
        for file in holding:
            _overwrite(file, session, closed=file != path)
    return erasing


def _looked_at(file: Path, session: str) -> list[tuple[int, Event]]:
    """
    The session's records in one file, each checked: their sequences, and what they are about.

    Raises NotErasable, AuditDamaged.
    """
    query = f"{SELECT} WHERE record.session = ? ORDER BY sequence"
    found = []
    with closing(connect_reader(file)) as db:
        genesis(db)
        for row in db.execute(query, (column_text(session),)):
            if row[9] is None:
                raise NotErasable(
                    f"{file.name} has records of session {session} that an earlier version wrote: "
                    "their leaves are the hashes of their texts; prune the file instead"
                )
            record = open_row(row)
            found.append((record.sequence, record.event))
    return found


def _erasing(session: str, found: list[tuple[int, Event]]) -> Erasing:
    stated = [sequence for sequence, event in found if event is Event.SESSION_ERASED]
    held = [sequence for sequence, event in found if event is not Event.SESSION_ERASED]
    if not held:
        raise LookupError(f"no record of session {session}")
    return Erasing(session, len(held), held[0], held[-1], stated[0] if stated else None)


def _statement(erasing: Erasing) -> Draft:
    detail = (
        ("records", erasing.records),
        ("first", erasing.first),
        ("last", erasing.last),
    )
    return Draft(event=Event.SESSION_ERASED, session=erasing.session, detail=detail)


def _overwrite(file: Path, session: str, *, closed: bool) -> None:
    try:
        with _writable(file, closed=closed), closing(connect_writer(file, _PATIENCE)) as db:
            emptied = _overwritten(db, column_text(session))
            if emptied and closed:
                db.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise AuditUnavailable(f"{file}: {error}; run the command again") from error
    if not emptied:
        raise AuditUnavailable(
            f"{file}: somebody is reading it, so that its log could not be emptied; end the "
            "reader and run the command again"
        )


def _overwritten(db: sqlite3.Connection, name: str) -> bool:
    """
    Overwrite, sync, and empty the log; False where somebody reads what the log still holds.
    """
    db.execute("PRAGMA synchronous = FULL")
    db.execute("BEGIN IMMEDIATE")
    db.execute(_BLANK, (name,))
    db.execute(_DROP, (name,))
    db.execute("COMMIT")
    (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


@contextmanager
def _writable(file: Path, *, closed: bool) -> Iterator[None]:
    if closed:
        file.chmod(_OWNED)
    try:
        yield
    finally:
        if closed:
            file.chmod(CLOSED)
