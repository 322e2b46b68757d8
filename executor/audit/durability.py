"""
The second grade of audit-before-effect: durable, which is synced to the disk.

A commit survives the death of the process as soon as it is made (it is in the page cache); power
loss it survives after the WAL is synced. `PRAGMA synchronous` cannot choose between the two for
one transaction (SQLite ignores it inside, and FULL would make every reader wait for the disk), so
the WAL is synced here, by a thread of its own: one fdatasync(2) serves everyone who waits, and
records that need only be written are not behind it. The same thread checkpoints over a second
connection, whose syncs then stall nobody either.

A sync that failed is final. The kernel marks pages clean after reporting an error once, so a
second fdatasync that says "fine" proves nothing (see "Can Applications Recover from fsync
Failures?", USENIX ATC 2020): durable appends fail until the server is started anew.
"""

import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from executor.audit.errors import AuditUnavailable
from executor.audit.files import sync_directory
from executor.audit.schema import connect_writer

Waiter = Callable[[AuditUnavailable | None], None]

_COMMITS_PER_CHECKPOINT = 512
# Frames (4 KiB each) above which the writer takes part itself, see `wants_help`.
_LONG_WAL = 16_384


class _Job(Enum):
    CHECKPOINT = "checkpoint"
    STOP = "stop"


class Durability:
    """
    Syncs the WAL for those who wait, and keeps it short.

    `wants_help` is set when the WAL has grown long although it could be copied: under steady
    load it only starts over when nobody writes during a checkpoint, so the writer makes one.
    """

    def __init__(self, path: Path) -> None:
        wal = path.with_name(path.name + "-wal")
        sync_directory(path.parent)
        self._db = connect_writer(path, 0.0)
        self._wal = os.open(wal, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._jobs: queue.SimpleQueue[Waiter | _Job] = queue.SimpleQueue()
        self._failure: AuditUnavailable | None = None
        self._commits = 0
        self.wants_help = False
        self._thread = threading.Thread(target=self._run, name="audit-sync", daemon=True)
        self._thread.start()

    def when_durable(self, waiter: Waiter) -> None:
        """
        Call `waiter`, on this object's thread, when all that is committed now is synced: with
        None, or with the reason why it is not.
        """
        self._jobs.put(waiter)

    def committed(self) -> None:
        """
        Count a commit; now and then one leads to a checkpoint.
        """
        self._commits += 1
        if self._commits % _COMMITS_PER_CHECKPOINT == 0:
            self._jobs.put(_Job.CHECKPOINT)

    def checkpoint(self, db: sqlite3.Connection) -> None:
        """
        Copy the WAL into the main file as far as readers allow, without waiting for them.
        """
        try:
            _, frames, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            # On a full disk the records stay in the WAL, which is whole; the next one tries again.
            self.suspect(error)
            return
        self.wants_help = copied == frames > _LONG_WAL

    def suspect(self, error: BaseException | None) -> None:
        """
        Note a sync that failed inside SQLite: the kernel would not tell ours about it again.
        """
        name = error.sqlite_errorname if isinstance(error, sqlite3.Error) else ""
        if name == "SQLITE_IOERR_FSYNC":
            self._fail(str(error))

    def close(self) -> None:
        """
        Serve everyone who waits, then end the thread and let go of the WAL.
        """
        self._jobs.put(_Job.STOP)
        self._thread.join()
        self._db.close()
        os.close(self._wal)

    def _run(self) -> None:
        while True:
            jobs = self._take()
            self._serve([job for job in jobs if not isinstance(job, _Job)])
            if _Job.CHECKPOINT in jobs:
                self.checkpoint(self._db)
            if _Job.STOP in jobs:
                return

    def _serve(self, waiters: list[Waiter]) -> None:
        failure = self._sync() if waiters else None
        for waiter in waiters:
            waiter(failure)

    def _take(self) -> list[Waiter | _Job]:
        jobs = [self._jobs.get()]
        while not self._jobs.empty():
            jobs.append(self._jobs.get())
        return jobs

    def _sync(self) -> AuditUnavailable | None:
        if self._failure is None:
            try:
                os.fdatasync(self._wal)
            except OSError as error:
                self._fail(str(error))
        return self._failure

    def _fail(self, reason: str) -> None:
        self._failure = AuditUnavailable(
            f"the audit record could not be synced to the disk ({reason}); durable records are "
            "refused until the disk is repaired and the server is started again"
        )
