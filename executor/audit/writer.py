"""
The one thread that writes: takes what is queued, commits it together, tells those who wait.

Many appends in flight share a commit; a lone one is committed at once, without lingering. The
loop's thread hands over with a SimpleQueue (written in C, one lock) and gets its answer with one
`call_soon_threadsafe` a batch.

Where nothing is queued and nothing goes wrong, the loop's thread commits a record itself (35 us)
instead of handing it over and being woken (another 75 us): a write to the page cache, which waits
for no lock of another program. A disk that is slow even at that has the thread for itself.
Records that come close behind each other share a commit at the end of the loop's turn, on the same
thread: a session that opens one file after the other has one for each, and many sessions have one
together.
"""

import asyncio
import queue
import resource
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from executor.audit.durability import Durability
from executor.audit.errors import AuditError, AuditUnavailable
from executor.audit.ledger import Ledger, Stamped, stamp
from executor.audit.record import Clocks, Draft, Event, Head

MAX_BATCH = 256
# While the store fails, waiting as long again for each batch would only pile up callers.
_IMPATIENT = 0.1
# A commit that kept the loop for longer (seconds), because it had to wait and not because others
# had the processor, is the last one there for so many times as long.
_SLOW = 0.005
_SHY = 20
# So long after a commit there (seconds) the next record waits for the end of the loop's turn, and
# for those of others.
_CLOSE_BEHIND = 0.0002
# So long (seconds) a record that nobody waits for lingers, and so many do.
_LINGER = 0.002
MOST_LINGERING = 64

_T = TypeVar("_T")
Delivery = tuple["asyncio.Future[_T]", _T | AuditError]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A queued record; `waiter` is None where nobody waits for it.
    """

    stamped: Stamped
    durable: bool
    waiter: "asyncio.Future[Head] | None"


class Writer:
    """
    Owns the ledger from its start to its close.
    """

    def __init__(
        self,
        ledger: Ledger,
        durability: Durability,
        clocks: Clocks,
        patience: float,
    ) -> None:
        self._ledger = ledger
        self._durability = durability
        self._clocks = clocks
        self._patience = patience
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._turns: deque[Delivery[None]] = deque()
        self._lost: Counter[Event] = Counter()
        # How many records that nobody waited for were lost, ever.
        self.lost = 0
        self._failing = False
        self._taken: list[Entry] = []
        self._over = False
        # Whoever has it uses the ledger. Counts of what was queued, and of what was dealt with.
        self._owned = threading.Lock()
        self._queued = self._dealt = 0
        self._shy_until = self._close_until = 0.0
        self._turn_ends = False
        self._lingering: list[Entry] = []
        self._hand_over_at: asyncio.TimerHandle | None = None
        ledger.wait_at_most(0)
        self._thread = threading.Thread(target=self._run, name="audit-write", daemon=True)
        self._thread.start()

    @property
    def head(self) -> Head:
        """
        The end of what is committed.
        """
        return self._ledger.head

    @property
    def waiting(self) -> int:
        """
        How many records are queued and not yet taken.
        """
        return self._queue.qsize() + len(self._lingering)

    def at_once(self, stamped: Stamped) -> Head | None:
        """
        Commit a record here and now, behind those that linger; None where it has to be queued:
        behind others, or because the store is busy, failing, slow or in want of the writer's help.
        Raises AuditUnavailable.

        Called by the thread that calls `put`, and so never beside it.
        """
        if not self._is_free or time.monotonic() < self._close_until:
            return None
        return self._commit_here(stamped)

    def put_in_turn(self, entry: Entry) -> bool:
        """
        Have a record committed when the loop has done what it is at, with those that linger; False
        where it has to be queued, as `at_once` says.
        """
        if entry.durable or not self._is_free or len(self._lingering) >= MOST_LINGERING:
            return False
        self._lingering.append(entry)
        if not self._turn_ends:
            self._turn_ends = True
            asyncio.get_running_loop().call_soon(self._end_turn)
        return True

    def _end_turn(self) -> None:
        self._turn_ends = False
        if all(entry.waiter is None for entry in self._lingering):
            return  # they went with another commit
        head = None
        if self._is_free:
            with suppress(AuditUnavailable):  # the thread finds that too, and tells who waits
                head = self._commit_here()
        if head is None:
            self._hand_over()

    @property
    def _is_free(self) -> bool:
        if self._queued != self._dealt or self._failing or self._over:
            return False
        return not self._durability.wants_help and time.monotonic() >= self._shy_until

    def _commit_here(self, last: Stamped | None = None) -> Head | None:
        """
        Commit what lingers and then `last`, for which nobody waits; None where somebody else has
        the ledger just now.
        """
        if not self._owned.acquire(blocking=False):
            return None
        started, slept = time.monotonic(), _sleeps()
        entries = self._lingering
        batch = [entry.stamped for entry in entries]
        if last is not None:
            batch.append(last)
        try:
            heads = self._ledger.commit(batch)
            self._linger_no_more()
            self._durability.committed()
        except AuditUnavailable as error:
            if _is_busy(error):
                return None
            self._durability.suspect(error.__cause__)
            raise
        finally:
            self._owned.release()
        ended = time.monotonic()
        took = ended - started
        if took > _SLOW and _sleeps() != slept:
            self._shy_until = ended + took * _SHY
        self._close_until = ended + _CLOSE_BEHIND
        if entries:
            _settle(_waited_for(entries, heads))
        return heads[-1]

    def put_soon(self, entry: Entry) -> None:
        """
        Queue a record that nobody waits for in a moment, unless an earlier commit takes it along.
        """
        self._lingering.append(entry)
        if len(self._lingering) >= MOST_LINGERING:
            self._hand_over()
        elif self._hand_over_at is None:
            loop = asyncio.get_running_loop()
            self._hand_over_at = loop.call_later(_LINGER, self._hand_over)

    def put(self, entry: Entry) -> None:
        """
        Queue a record behind those already queued.
        """
        self._hand_over()
        self._queue_up(entry)

    def _hand_over(self) -> None:
        entries = self._lingering
        self._linger_no_more()
        for entry in entries:
            self._queue_up(entry)

    def _linger_no_more(self) -> None:
        self._lingering = []
        if self._hand_over_at is not None:
            self._hand_over_at.cancel()
            self._hand_over_at = None

    def _queue_up(self, entry: Entry) -> None:
        self._queued += 1
        self._queue.put(entry)
        if self._over:
            self._refuse_rest()

    async def next_batch(self) -> None:
        """
        Wait until more of the queue was taken and dealt with.

        The wish is noted before the queue is looked at again: the writer may have emptied it in
        between, and would then not wake anyone.
        """
        self._hand_over()
        turn = asyncio.get_running_loop().create_future()
        self._turns.append((turn, None))
        if self.waiting:
            await turn

    def close(self) -> None:
        """
        Write what is queued, then end the thread.
        """
        self._hand_over()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            # However this thread ends, nobody may wait for it for ever.
            self._over = True
            self._refuse_rest()
            self._wake()

    def _serve(self) -> None:
        going = True
        while going:
            self._taken, going = self._take(MAX_BATCH)
            if self._taken:
                self._write(self._taken)
                self._dealt += len(self._taken)
                self._taken = []
            self._wake()
            if self._durability.wants_help:
                with self._owned:
                    self._durability.checkpoint(self._ledger.connection)
        if self._lost:
            self._write([])

    def _take(self, most: int) -> tuple[list[Entry], bool]:
        """
        Wait for one record, then take what else is there; False when the end was asked for.
        """
        batch: list[Entry] = []
        entry = self._queue.get()
        while entry is not None:
            batch.append(entry)
            if len(batch) >= most or self._queue.empty():
                return batch, True
            entry = self._queue.get()
        return batch, False

    def _write(self, batch: list[Entry]) -> None:
        notice = self._notice()
        try:
            with self._owned:
                heads = self._commit([*notice, *(entry.stamped for entry in batch)])
        except AuditError as error:
            self._durability.suspect(error.__cause__)
            self._refuse(batch, error)
            return
        self._answer(batch, heads[len(notice) :])
        self._durability.committed()
        self._lost.clear()
        self._failing = False

    def _commit(self, stamped: list[Stamped]) -> list[Head]:
        """
        With patience for a lock of another program, which only this thread has.
        """
        self._ledger.wait_at_most(_IMPATIENT if self._failing else self._patience)
        try:
            return self._ledger.commit(stamped)
        finally:
            self._ledger.wait_at_most(0)

    def _notice(self) -> list[Stamped]:
        """
        The record that says how many records nobody waited for were lost to a failing store.
        """
        if not self._lost:
            return []
        detail = tuple((event.value, count) for event, count in self._lost.items())
        return [
            stamp(Draft(event=Event.DROPPED, outcome="unavailable", detail=detail), self._clocks)
        ]

    def _refuse(self, batch: list[Entry], error: AuditError) -> None:
        """
        Fail the batch and all that queued up behind it: they have waited for the same cause.
        """
        self._failing = True
        rest, ending = self._drain()
        if ending:
            self._queue.put(None)
        batch.extend(rest)
        unheard = [entry.stamped.draft.event for entry in batch if entry.waiter is None]
        self.lost += len(unheard)
        self._lost.update(unheard)
        self._deliver([(e.waiter, error) for e in batch if e.waiter is not None])

    def _drain(self) -> tuple[list[Entry], bool]:
        """
        All that is queued now, and whether the end was asked for among it.
        """
        found: list[Entry | None] = []
        with suppress(queue.Empty):
            while True:
                found.append(self._queue.get_nowait())
        return [entry for entry in found if entry is not None], None in found

    def _refuse_rest(self) -> None:
        error = AuditUnavailable("the audit writer has ended; the server must be started again")
        rest = [*self._taken, *self._drain()[0]]
        self._taken = []
        self._deliver([(e.waiter, error) for e in rest if e.waiter is not None])

    def _answer(self, batch: list[Entry], heads: list[Head]) -> None:
        written: list[Delivery[Head]] = []
        durable: list[Delivery[Head]] = []
        for entry, head in zip(batch, heads, strict=True):
            if entry.waiter is not None:
                (durable if entry.durable else written).append((entry.waiter, head))
        self._deliver(written)
        if durable:
            self._durability.when_durable(lambda failure: self._synced(durable, failure))

    def _synced(self, durable: list[Delivery[Head]], failure: AuditUnavailable | None) -> None:
        self._deliver([(waiter, failure or head) for waiter, head in durable])

    def _wake(self) -> None:
        turns = [self._turns.popleft() for _ in range(len(self._turns))]
        self._deliver(turns)

    def _deliver(self, results: "Sequence[Delivery[_T]]") -> None:
        # Only between two loops, one closed and the next begun, is there more than one here.
        for loop in {waiter.get_loop() for waiter, _ in results}:
            mine = [result for result in results if result[0].get_loop() is loop]
            try:
                loop.call_soon_threadsafe(_settle, mine)
            except RuntimeError:
                # The loop was closed: nobody waits any more. The record stands either way.
                continue


def _sleeps() -> int:
    """
    How often this thread has waited for something that is not the processor (getrusage(2)).
    """
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def _waited_for(entries: Sequence[Entry], heads: Sequence[Head]) -> "list[Delivery[Head]]":
    both = zip(entries, heads, strict=False)  # behind the entries may be one more
    return [(entry.waiter, head) for entry, head in both if entry.waiter is not None]


def _is_busy(error: AuditUnavailable) -> bool:
    """
    Another program holds the lock: surely nothing was written.
    """
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and cause.sqlite_errorname.startswith("SQLITE_BUSY")


def _settle(results: "Sequence[Delivery[_T]]") -> None:
    """
    Runs on the waiters' loop; a waiter that was cancelled meanwhile is done already.
    """
    for waiter, result in results:
        if waiter.done():
            continue
        if isinstance(result, AuditError):
            waiter.set_exception(result)
        else:
            waiter.set_result(result)
