"""
The audit store: append a draft, and know that it is written before anything happens.

Two grades. *Written*: committed to SQLite's WAL, survives the death of the server. *Durable*:
synced to the disk, survives power loss. One server holds a store at a time; readers come and go.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from executor.audit import files, schema
from executor.audit.chain import End
from executor.audit.counts import Counts
from executor.audit.durability import Durability
from executor.audit.errors import AuditDamaged, AuditError, AuditUnavailable
from executor.audit.ledger import Ledger, Stamped, stamp
from executor.audit.lock import hold
from executor.audit.record import Clocks, Draft, Event, Head
from executor.audit.recovery import check_tail, closing_drafts, open_counts
from executor.audit.rotation import Rotation, finish
from executor.audit.writer import Entry, Writer

PATIENCE = 5.0
MAX_WAITING = 4096
# Words that guests can cause at will leave room for what everybody else has to write.
MAX_NOTES_WAITING = 1024

Told = Callable[[bytes], None]


class AuditStore:
    """
    One open store. `append` and `append_nowait` belong to one event loop at a time.
    """

    def __init__(self, path: Path, lock: int, ledger: Ledger, clocks: Clocks, wait: float) -> None:
        """
        Made by `open` alone.
        """
        self.path = path
        self._lock = lock
        self._clocks = clocks
        self._patience = wait
        self._closed = False
        self._rotation: Rotation | None = None
        self._lost_before = 0
        self._begin(ledger)

    def _begin(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._first_ns = ledger.first_ns()
        self._durability = Durability(self.path)
        self._writer = Writer(ledger, self._durability, self._clocks, self._patience)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clocks: Clocks | None = None,
        patience: float = PATIENCE,
        rotation: Rotation | None = None,
    ) -> "AuditStore":
        """
        Open or make the store, check its end, and close what a killed server left open.

        `patience` (seconds, 0 to 5) bounds the wait for a lock that another program holds;
        `rotation` says when a file is closed and a new one begun, which happens before a session
        is created while none is open.
        Blocks; call it before the loop serves. Raises AuditInUse when another server has the
        store, AuditDamaged when its files, modes, schema or last 1,000 records are not right,
        AuditUnavailable when it cannot be written.
        """
        path = path.absolute()
        files.prepare_directory(path.parent)
        with ExitStack() as undo:
            lock = hold(path)
            undo.callback(os.close, lock)
            finish(path)
            files.prepare_file(path)
            clocks = clocks or Clocks()
            ledger = _open_ledger(path, clocks, patience)
            undo.callback(ledger.close)
            try:
                store = cls(path, lock, ledger, clocks, patience)
            except (OSError, sqlite3.Error) as error:
                raise AuditUnavailable(f"audit store {path}: {error}") from error
            store._rotation = rotation
            undo.pop_all()
        return store

    async def append(
        self, draft: Draft, *, durable: bool = False, told: Told | None = None
    ) -> Head:
        """
        Write a record and return its head once it is written, or synced when `durable`. `told` is
        given what of its bytes is the draft's, when it has its place among the others.

        Order is the order of the calls. Raises AuditUnavailable when it was not written (or not
        synced): what it records must then not happen; ValueError and TypeError when the draft
        cannot be encoded. When the caller is cancelled the record is written all the same.
        """
        stamped = stamp(draft, self._clocks)
        self._check_open()
        if draft.event is Event.SESSION_CREATE and self._rotation is not None:
            self._rotate_if_due(self._rotation)
        if not durable and (head := self._writer.at_once(stamped)) is not None:
            _tell(told, stamped)
            return head
        if self._writer.waiting >= MAX_WAITING:
            await self._wait_for_room()
        self._check_open()
        waiter: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        _tell(told, stamped)
        entry = Entry(stamped, durable, waiter)
        if not self._writer.put_in_turn(entry):
            self._writer.put(entry)
        return await waiter

    def append_at_once(self, draft: Draft, *, told: Told | None = None) -> Head | None:
        """
        Write a record and return its head, or None where that has to be waited for: nothing was
        written then, and `append` is the way. Raises what `append` does.
        """
        stamped = stamp(draft, self._clocks)
        self._check_open()
        if (head := self._writer.at_once(stamped)) is not None:
            _tell(told, stamped)
        return head

    def append_nowait(
        self, draft: Draft, *, most: int = MAX_WAITING, told: Told | None = None
    ) -> None:
        """
        Queue a record that nobody waits for; a later awaited one is never written before it.

        If the store fails just then it is lost, and the next commit says how many were. Raises
        AuditUnavailable when `most` records (at most 4,096) wait already.
        """
        stamped = stamp(draft, self._clocks)
        self._check_open()
        if self._writer.waiting >= most:
            raise AuditUnavailable(f"{most} audit records wait already; try again later")
        _tell(told, stamped)
        self._writer.put_soon(Entry(stamped, durable=False, waiter=None))

    @property
    def lost(self) -> int:
        """
        How many records that nobody waited for could not be written since the store was opened.
        """
        return self._lost_before + self._writer.lost

    def head(self) -> Head:
        """
        The last committed record's sequence and the tree's root, for someone outside to keep.
        """
        return self._writer.head

    def close(self) -> None:
        """
        Write and sync what is queued, then let go of the store. A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._writer.close()
        self._durability.close()
        self._ledger.close()
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise AuditUnavailable("the audit store is closed; the server is stopping")

    def _rotate_if_due(self, rotation: Rotation) -> None:
        """
        Close the file and go on in a new one where it is time, and no session is open.

        Where something is queued, or another program is reading the file, the next session has
        it looked at again. Raises AuditUnavailable.
        """
        if self._ledger.sessions_open or self._writer.waiting:
            return
        if self._first_ns is None:
            self._first_ns = self._ledger.first_ns()
        if not rotation.is_due(self.path, self._first_ns, self._clocks.wall_ns()):
            return
        self._writer.close()
        self._lost_before += self._writer.lost
        self._durability.close()
        try:
            # What was in the writer's hands may have been the beginning of a session.
            if self._ledger.sessions_open or not self._ledger.rotate(self.path):
                self._ledger.close()
        except (AuditError, OSError, sqlite3.Error) as error:
            self._ledger.close()
            self._begin_again()
            raise AuditUnavailable(f"the audit record could not be rotated: {error}") from error
        self._begin_again()

    def _begin_again(self) -> None:
        try:
            finish(self.path)
            self._begin(_open_ledger(self.path, self._clocks, self._patience))
        except (AuditError, OSError, sqlite3.Error) as error:
            self._closed = True
            os.close(self._lock)
            raise AuditUnavailable(f"{error}; the server must be started again") from error

    async def _wait_for_room(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                while self._writer.waiting >= MAX_WAITING:
                    await self._writer.next_batch()
        except TimeoutError as error:
            raise AuditUnavailable(
                f"{MAX_WAITING} audit records have waited for {self._patience} s; try again later"
            ) from error


def _tell(told: Told | None, stamped: Stamped) -> None:
    if told is not None:
        told(stamped.encoded)


def _open_ledger(path: Path, clocks: Clocks, patience: float) -> Ledger:
    try:
        db = schema.connect_writer(path, patience)
    except sqlite3.Error as error:
        raise _not_opened(path, error) from error
    try:
        end = _checked(db)
        ledger = Ledger(db, end, Counts(open_counts(db)))
        closing = closing_drafts(db)
        if closing:
            ledger.commit([stamp(draft, clocks) for draft in closing])
    except sqlite3.Error as error:
        db.close()
        raise _not_opened(path, error) from error
    except BaseException:
        db.close()
        raise
    return ledger


def _checked(db: sqlite3.Connection) -> End:
    """
    The end of the record, its last part checked, in a file of the format of now; one that is not
    whole stays as it is.
    """
    taken = schema.take_on(db)
    end = check_tail(db)
    if taken:
        db.execute("COMMIT")
    return end


def _not_opened(path: Path, error: sqlite3.Error) -> AuditError:
    """
    A lock or a full disk may pass; anything else SQLite says means that the file is not ours.
    """
    name = error.sqlite_errorname
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR")):
        return AuditUnavailable(f"audit store {path}: {error}; free the disk or the lock")
    return AuditDamaged(f"audit store {path}: {error}; move the file aside and start anew")
