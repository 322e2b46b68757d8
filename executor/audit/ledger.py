"""
The record's growing end: gives records their places and commits them, one transaction a batch.

Used by one thread at a time. After a commit that failed, memory is not believed: the end is read
again from the file before anything else is written, so a failure leaves no gap and no fork.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from executor.audit.chain import End, columns_of, open_row
from executor.audit.counts import Counts
from executor.audit.encoding import Fields, Place, fields_of, parted
from executor.audit.errors import AuditUnavailable
from executor.audit.keys import Keys
from executor.audit.leaf import body_of
from executor.audit.merkle import Tile, leaf_hash
from executor.audit.record import Clocks, Draft, Head
from executor.audit.redact import redacted
from executor.audit.rotation import rotate
from executor.audit.schema import INSERT, INSERT_KEY, INSERT_TILE, SELECT, Columns, Stored
from executor.audit.start import start_of


@dataclass(frozen=True, slots=True)
class Stamped:
    """
    A draft with its times and its encoding, which is made before it is queued.
    """

    draft: Draft
    fields: Fields
    wall_ns: int
    monotonic_ns: int

    @property
    def encoded(self) -> bytes:
        """
        What is the draft's of the record's bytes.
        """
        return b"".join(self.fields)


def stamp(draft: Draft, clocks: Clocks) -> Stamped:
    """
    Encode a draft, without secrets in it, and take the times; ValueError or TypeError says what
    cannot be recorded.
    """
    draft = redacted(draft)
    return Stamped(draft, fields_of(draft), clocks.wall_ns(), clocks.monotonic_ns())


@dataclass(frozen=True, slots=True)
class _Batch:
    """
    What one transaction writes, and the end that the record has then.
    """

    rows: list[Stored]
    keys: list[tuple[str, bytes]]
    tiles: list[Tile]
    heads: list[Head]
    end: End


class Ledger:
    """
    The writing connection and the end of the record that it has committed.

    `counts` holds the records of each open session so far.
    """

    def __init__(self, db: sqlite3.Connection, end: End, counts: Counts) -> None:
        self.connection = db
        self.head = end.head
        self._end = end
        self._counts = counts
        self._keys = Keys(db)
        self._doubt: End | None = None

    def commit(self, batch: Sequence[Stamped]) -> list[Head]:
        """
        Write all of the batch, or nothing; the heads are those after each record.

        Raises AuditUnavailable when it was not written. When, after a failure, the file's end is
        not one that was written here, nothing is written ever again.
        """
        try:
            if self._doubt is not None:
                self._settle(self._doubt)
            placed = self._place(batch)
            self._doubt = placed.end
            self._insert(placed)
        except sqlite3.Error as error:
            self._roll_back()
            raise AuditUnavailable(
                f"{len(batch)} audit records could not be written: {error}; nothing that needs "
                "one happens until the store can be written again"
            ) from error
        self._doubt = None
        self._end, self.head = placed.end, placed.heads[-1]
        self._keep()
        return placed.heads

    def wait_at_most(self, seconds: float) -> None:
        """
        Bound the wait for a lock that another process holds.
        """
        self.connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    @property
    def sessions_open(self) -> int:
        """
        How many sessions have begun and not ended.
        """
        return self._counts.open

    def first_ns(self) -> int | None:
        """
        The wall time of the file's first record, None where it has none.
        """
        row = self.connection.execute(f"{SELECT} ORDER BY sequence LIMIT 1").fetchone()
        return None if row is None else open_row(row).wall_ns

    def rotate(self, path: Path) -> bool:
        """
        Close the file at `path`, which is this ledger's, and begin another in its place, as
        `rotation.rotate` says; the ledger is over where it returns True.
        """
        return rotate(path, self.connection, self._end)

    def close(self) -> None:
        """
        Close the connection; the last one to close checkpoints, syncs and removes the WAL.
        """
        self.connection.close()

    def _keep(self) -> None:
        self._counts.keep()
        self._keys.keep()

    def _forget(self) -> None:
        self._counts.forget()
        self._keys.forget()

    def _place(self, batch: Sequence[Stamped]) -> _Batch:
        first, leaf = self._end.edge.size, self._end.leaf
        leaves: list[bytes] = []
        kept: list[tuple[Columns, bytes, bytes]] = []
        try:
            for sequence, entry in enumerate(batch, first):
                draft = entry.draft
                ordinal = self._counts.number(draft.session, draft.event)
                place = Place(sequence, entry.wall_ns, entry.monotonic_ns, ordinal)
                parts = parted(place, entry.fields)
                body = body_of(leaf, sequence, parts, self._keys.of(draft))
                leaf = leaf_hash(body)
                leaves.append(leaf)
                kept.append((columns_of(draft, sequence), body, parts.texts))
        except BaseException:
            # A key could not be read. Nothing of it was given to SQLite.
            self._forget()
            raise
        edge, roots, tiles = self._end.edge.grow(leaves)
        rows: list[Stored] = [
            (*columns, leaf, body, root, texts)
            for leaf, root, (columns, body, texts) in zip(leaves, roots, kept, strict=True)
        ]
        heads = [Head(*at) for at in enumerate(roots, first)]
        return _Batch(rows, [*self._keys.fresh.items()], tiles, heads, End(edge, leaf))

    def _insert(self, placed: _Batch) -> None:
        if len(placed.rows) == 1 and not placed.tiles and not placed.keys:
            # A statement alone is its own transaction, at half the cost of three statements.
            self.connection.execute(INSERT, placed.rows[0])
            return
        tiles = [(tile.level, tile.number, tile.hash) for tile in placed.tiles]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(INSERT, placed.rows)
        if tiles:
            self.connection.executemany(INSERT_TILE, tiles)
        if placed.keys:
            self.connection.executemany(INSERT_KEY, placed.keys)
        self.connection.execute("COMMIT")

    def _roll_back(self) -> None:
        if not self.connection.in_transaction:
            return
        try:
            self.connection.execute("ROLLBACK")
        except sqlite3.Error:
            # SQLite has then ended the transaction itself, or will refuse the next BEGIN.
            return

    def _settle(self, doubt: End) -> None:
        """
        After a failure, find out from the file whether the batch in doubt is in it.
        """
        found = stored_head(self.connection)
        if found == doubt.head:
            self._end, self.head = doubt, found
            self._keep()
        elif found != self.head:
            raise AuditUnavailable(
                f"the audit store ends at {found}, but {self.head} was written last: another "
                "program wrote to it; stop the server and run `codecage audit verify`"
            )
        self._forget()
        self._doubt = None


def stored_head(db: sqlite3.Connection) -> Head:
    """
    The last row's sequence and root; in a file without records, those where it starts.
    """
    row = db.execute("SELECT sequence, root FROM record ORDER BY sequence DESC LIMIT 1").fetchone()
    return start_of(db).head if row is None else Head(*row)
