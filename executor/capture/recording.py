"""
A session's capture while the session goes on.

Frames and records are gathered in memory and written in batches: with each cell's end, or when
256 KiB wait. A small batch is written at once (0.1 ms); a large one, and what comes while one is
being written, by a thread, so that the server's loop does no more than its share. When that falls
behind by 16 MiB, when the capture reaches its size, when the disk refuses, or when something
happens that a replay cannot do again, the capture says so and ends there: what is incomplete never
passes for complete.
"""

import asyncio
import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from executor.audit.encoding import encode_draft
from executor.audit.record import Detail, Draft
from executor.capture.events import Kind, put
from executor.capture.vault import BatchWriter

COMPLETE: Final = "complete"
# Why a capture ends where the record withholds a part of what is asked.
REDACTED: Final = "redacted"
# Why it ends where what was captured as recorded is not in the record.
UNRECORDED: Final = "a record could not be written"
# How the reason begins where the disk refuses; the error's text follows.
UNWRITTEN: Final = "it cannot be written"
# Of one session on the disk; a session that reads more than that is not one to run again.
MOST_BYTES: Final = 256 * 2**20
# And of what its events are when they are whole again: bytes that come again, and those that
# compress well, take next to no room here, and all of theirs in the memory of who replays them.
MOST_WHOLE: Final = 2**30
_BATCH: Final = 2**18
_AT_ONCE: Final = 2**16
_MOST_WAITING: Final = 16 * 2**20
# What is shorter is not worth its name.
RECALLED: Final = 4096


class Capture:
    """
    What is kept of one session; it belongs to the server's loop. `threads` has one thread.
    """

    def __init__(
        self,
        writer: BatchWriter,
        threads: ThreadPoolExecutor,
        most: int = MOST_BYTES,
        most_whole: int = MOST_WHOLE,
    ) -> None:
        self._writer = writer
        self._threads = threads
        self._most = most
        self._most_whole = most_whole
        self._whole = 0
        self._waiting = bytearray()
        self._events = 0
        self._known: set[bytes] = set()
        self._seal = b""
        self._writing: Future[None] | None = None
        self._in_flight = 0
        self._lost = ""
        self._closed = False
        # How many decisions were recorded.
        self.decisions = 0
        # What goes on, in words, until its end is captured.
        self._going_on = ""

    @property
    def status(self) -> str:
        """
        `complete`, or `incomplete (why)`.
        """
        return f"incomplete ({self._lost})" if self._lost else COMPLETE

    def add(self, kind: Kind, data: bytes) -> None:
        """
        Keep an event, unless something was lost before.
        """
        if self._lost or self._closed:
            return
        self._put(kind, data)
        self._whole += len(data)
        if self._whole >= self._most_whole:
            self.lose(f"the capture has reached {self._most_whole:,} bytes when it is read")

    def record(self, encoded: bytes, *, decides: bool) -> None:
        """
        Keep that a record is written, of what it says the bytes; `decides` where it is a decision.
        """
        self.decisions += decides
        self.add(Kind.RECORD, hashlib.sha256(encoded).digest())

    def lose(self, why: str) -> None:
        """
        Say that what comes now is not captured; the first reason stays, but for a disk's refusal.
        """
        if self._lost or self._closed:
            return
        self._lost = why
        self._put(Kind.LOST, why.encode("utf-8", "backslashreplace"))

    def begin(self, step: str) -> None:
        """
        Say that something begins which has an end: `step` names it.
        """
        self._going_on = step

    def end(self) -> None:
        """
        It has ended, and that is captured.
        """
        self._going_on = ""

    def lose_step(self, why: str) -> None:
        """
        Where something goes on, say that its rest is not captured.
        """
        if self._going_on:
            self.lose(f"{self._going_on} {why}")

    def seal(self) -> Detail:
        """
        What the audit record says of all events up to now: how many, and the seal of their bytes.
        Nothing where the disk has refused some of them: nobody will find what was sealed.
        """
        self._write()
        if self._lost.startswith(UNWRITTEN):
            return ()
        return (("capture_seal", self._seal.hex()), ("captured", self._events))

    async def finish(self) -> Detail:
        """
        Write what waits and close the file; the seal, and whether all was captured.
        """
        self.lose_step("did not end by itself")
        self._write()
        while self._writing is not None and self._is_busy:
            await asyncio.wrap_future(self._writing)
            self._write()
        # Whether the disk took all of it is known only now.
        sealed = self.seal()
        self.close()
        return (("capture", self.status), *sealed)

    def close(self) -> None:
        """
        Close the file, once nothing is being written.
        """
        if self._closed:
            return
        self._closed = True
        if self._is_busy:
            self._threads.submit(self._writer.close)
            return
        try:
            self._writer.close()
        except OSError as error:
            # Some file systems write only now.
            self._lost = f"{UNWRITTEN}: {error.strerror}"

    def _put(self, kind: Kind, data: bytes) -> None:
        if len(data) >= RECALLED:
            kind, data = self._recalled(kind, data)
        put(self._waiting, kind, data)
        self._events += 1
        if len(self._waiting) >= _BATCH:
            self._write()

    def _recalled(self, kind: Kind, data: bytes) -> tuple[Kind, bytes]:
        name = self._writer.cipher.name(kind, data)
        if name in self._known:
            return Kind.RECALL, name
        self._known.add(name)
        return kind, data

    def _write(self) -> None:
        if not self._waiting or self._closed:
            return
        batch = bytes(self._waiting)
        self._waiting.clear()
        self._seal = self._writer.cipher.seal(self._seal, batch)
        if not self._is_busy and len(batch) <= _AT_ONCE:
            self._write_now(batch)
        else:
            self._in_flight += len(batch)
            self._writing = self._threads.submit(self._write_now, batch)
            loop = asyncio.get_running_loop()
            self._writing.add_done_callback(
                lambda _: loop.call_soon_threadsafe(self._landed, len(batch))
            )
        if self._writer.written + self._in_flight >= self._most:
            self.lose(f"the capture has reached its size, {self._most:,} bytes")
        elif self._in_flight >= _MOST_WAITING:
            self.lose("the disk does not keep up")

    @property
    def _is_busy(self) -> bool:
        return self._writing is not None and not self._writing.done()

    def _write_now(self, batch: bytes) -> None:
        try:
            self._writer.write(batch)
        except OSError as error:
            # Before any other reason: what was sealed is not all there.
            self._lost = f"{UNWRITTEN}: {error.strerror}"

    def _landed(self, size: int) -> None:
        self._in_flight -= size


def digest_of(draft: Draft) -> bytes:
    """
    The SHA-256 of what a record says, without its place and its times.
    """
    return hashlib.sha256(encode_draft(draft)).digest()
