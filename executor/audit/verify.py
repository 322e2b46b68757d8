"""
Walk the whole record and name the first place where it is not what was written.

What this proves: a change, deletion, insertion, repetition or reordering of records by someone
who did not compute the chain anew is found at its sequence. Someone who can compute it anew (the
algorithm is no secret) can only be found against a head that was kept outside: `head`. Records
after that head, or all records without one, are reported as unanchored.
"""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from executor.audit.chain import Broken, Chain, Fault, Finding, open_row, origin_of
from executor.audit.errors import AuditDamaged
from executor.audit.record import Head
from executor.audit.schema import SELECT, Row, connect_reader, genesis

_PROGRESS_EVERY = 10_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the walk found: how many records follow one another from the first, the last of them,
    the first fault (None: none), and from which sequence no outside head vouches (None: all are
    vouched for).
    """

    records: int
    head: Head
    finding: Finding | None
    unanchored_since: int | None

    @property
    def whole(self) -> bool:
        """
        Whether nothing is wrong.
        """
        return self.finding is None


def verify(
    path: Path,
    *,
    head: Head | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verdict:
    """
    Check every record of the store at `path` in one snapshot, also while a server writes to it.

    `head` is one kept outside; `progress` is called with the sequence every 10,000 records. Time
    is linear in the records; memory grows only with the sessions open at once. Raises
    FileNotFoundError when there is no store. Everything wrong inside it is a finding.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no audit store at {path}")
    walk = _Walk(head, progress)
    try:
        db = connect_reader(path)
    except sqlite3.Error as error:
        return walk.verdict(Finding(0, Fault.UNREADABLE, str(error)))
    try:
        db.execute("BEGIN")
        return walk.verdict(walk.first_fault(db))
    except sqlite3.Error as error:
        return walk.verdict(Finding(walk.expected, Fault.UNREADABLE, str(error)))
    except AuditDamaged as error:
        return walk.verdict(Finding(0, Fault.SCHEMA, str(error)))
    finally:
        db.close()


class _Walk:
    """
    One verification under way: where it is, and whether it has passed the outside head.
    """

    def __init__(self, anchor: Head | None, progress: Callable[[int], None] | None) -> None:
        self._anchor = anchor
        self._progress = progress
        self._chain: Chain | None = None

    @property
    def at(self) -> int:
        return 0 if self._chain is None else self._chain.head.sequence

    @property
    def expected(self) -> int:
        return 0 if self._chain is None else self.at + 1

    def first_fault(self, db: sqlite3.Connection) -> Finding | None:
        self._chain = Chain(origin_of(genesis(db)))
        fault = self._check_anchor()
        if fault is not None:
            return fault
        rows: Iterator[Row] = db.execute(f"{SELECT} ORDER BY sequence")
        for row in rows:
            try:
                self._chain.follow(row)
            except Broken as error:
                return _blame(error.finding, row, next(rows, None))
            fault = self._check_anchor()
            if fault is not None:
                return fault
            if self._progress is not None and row[0] % _PROGRESS_EVERY == 0:
                self._progress(row[0])
        return self._truncated() or _check_indexes(db)

    def verdict(self, finding: Finding | None) -> Verdict:
        head = Head(0, b"") if self._chain is None else self._chain.head
        since: int | None = 1
        if self._anchor is not None and head.sequence >= self._anchor.sequence:
            since = self._anchor.sequence + 1
        if finding is None and self._anchor == head:
            since = None
        return Verdict(self.at, head, finding, since)

    def _check_anchor(self) -> Finding | None:
        if self._chain is None or self._anchor is None:
            return None
        head = self._chain.head
        if head.sequence != self._anchor.sequence or head.hash == self._anchor.hash:
            return None
        message = (
            f"its hash is {head.hash.hex()}, the head kept outside says {self._anchor.hash.hex()}: "
            "this record or one before it was written anew, or this is another store"
        )
        return Finding(head.sequence, Fault.REPLACED, message)

    def _truncated(self) -> Finding | None:
        if self._anchor is None or self._anchor.sequence <= self.at:
            return None
        message = (
            f"the store ends at {self.at}, the head kept outside is {self._anchor.sequence}: "
            f"{self._anchor.sequence - self.at} records are missing"
        )
        return Finding(self.at + 1, Fault.TRUNCATED, message)


def _blame(finding: Finding, row: Row, following: Row | None) -> Finding:
    """
    Which of two records that do not fit is the wrong one? The one after them is the witness: if
    it follows the later, then the earlier was put in its place.
    """
    if finding.fault is not Fault.UNLINKED or finding.sequence == 1:
        return finding
    try:
        witness = following is None or open_row(following).previous == row[6]
    except Broken:
        witness = False
    if not witness:
        return finding
    message = f"record {finding.sequence} is whole, but follows another record than this one"
    return Finding(finding.sequence - 1, Fault.REPLACED, message)


def _check_indexes(db: sqlite3.Connection) -> Finding | None:
    """
    A row left out of an index is in the chain, and yet no reader sees it.
    """
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    return None if verdict == "ok" else Finding(0, Fault.UNREADABLE, str(verdict))
