"""
What the guest writes on stdout and stderr, on its way to the server.

Small writes are gathered and sent after 10 ms, or at 256 KiB, or with the end of the cell. While
the socket is full they gather further, up to 1 MiB a frame, and then the guest waits: nothing
grows without bound, and fewer and larger frames are what a reader that is behind needs.

While something waits here, short writes do not come here one by one (`gathering.py`). What was
put there was written before whatever is done here next, so it is taken first.
"""

import select
import signal
import threading
from collections.abc import Callable
from typing import Final

from executor.kernel.frames import MAX_OUTPUT
from executor.wasm.gathering import Gathering

FLUSH_BYTES: Final = 2**18
FLUSH_SECONDS: Final = 0.01
# Both streams in turn, a byte each, would otherwise cost far more than the bytes.
RUNS_MAX: Final = 1024
_POLLED: Final = 0


class OutputBuffer:
    """
    Bytes of both streams in the order in which they were written, cut at the cell's limit.

    `send(stream, data)` blocks while the server is behind. The watchdog thread calls `on_timer`
    when the timer that `write` set has run out; all else is the main thread's.
    """

    def __init__(
        self, descriptor: int, send: Callable[[int, memoryview], None], gathering: Gathering
    ) -> None:
        self._send = send
        self._gathering = gathering
        self._room_for = select.poll()
        self._room_for.register(descriptor, select.POLLOUT)
        self._lock = threading.RLock()
        self._runs: list[tuple[int, bytearray]] = []
        self._pending = 0
        self._left = 0
        self.totals = {1: 0, 2: 0}
        self.truncated = False

    def start(self, limit: int) -> None:
        """
        A new cell may write `limit` bytes.
        """
        self._left = limit
        self.totals = {1: 0, 2: 0}
        self.truncated = False

    def write(self, stream: int, data: bytes) -> None:
        """
        Take what the guest wrote; what is over the limit is counted and dropped.
        """
        with self._lock:
            self._collect()
            self._take(stream, data)
            if self._pending >= FLUSH_BYTES and self._has_room():
                self._send_runs()
            if self._pending and not self._gathering.is_on:
                signal.setitimer(signal.ITIMER_REAL, FLUSH_SECONDS)
                self._gathering.start()
            elif self._gathering.is_on:
                self._gathering.start()

    def send_whole(self, size: int, send: Callable[[], None]) -> None:
        """
        Have `send` send something that counts `size` bytes, after what was written before it.

        All of it or nothing: where the limit has no room, it is dropped as output is.
        """
        with self._lock:
            self.flush()
            if size > self._left:
                self.truncated = True
                return
            self._left -= size
            send()

    def flush(self) -> None:
        """
        Send all that has been written.
        """
        with self._lock:
            self._gathering.stop()
            self._collect()
            self._send_runs()

    def on_timer(self) -> None:
        """
        Send all that has been written, while the guest may run.
        """
        with self._lock:
            again = self._gathering.is_on
            self.flush()
            if again:
                # The guest may have been about to gather something: see `gathering.py`.
                signal.setitimer(signal.ITIMER_REAL, FLUSH_SECONDS)

    def _collect(self) -> None:
        for stream, data in self._gathering.take():
            self._take(stream, data)

    def _take(self, stream: int, data: bytes) -> None:
        self.totals[stream] += len(data)
        kept = data[: self._left]
        self.truncated = self.truncated or len(kept) < len(data)
        if not kept:
            return
        self._left -= len(kept)
        if self._runs and self._runs[-1][0] == stream:
            self._runs[-1][1].extend(kept)
        else:
            self._runs.append((stream, bytearray(kept)))
        self._pending += len(kept)
        if self._is_full():
            self._send_runs()

    def _send_runs(self) -> None:
        runs, self._runs, self._pending = self._runs, [], 0
        for stream, data in runs:
            view = memoryview(data)
            for start in range(0, len(data), MAX_OUTPUT):
                self._send(stream, view[start : start + MAX_OUTPUT])

    def _is_full(self) -> bool:
        return self._pending >= MAX_OUTPUT or len(self._runs) >= RUNS_MAX

    def _has_room(self) -> bool:
        return bool(self._room_for.poll(_POLLED))
