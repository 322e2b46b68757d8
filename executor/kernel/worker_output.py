"""
What a guest writes on stdout and stderr, gathered in its worker and cut at the cell's limit.

How it comes here, and when the little that waits is sent, is each cage's own.
"""

import select
from collections.abc import Callable
from typing import Final

from executor.kernel.frames import MAX_OUTPUT

# From here on it is sent if the server has room for it, and from a frame's bytes on in any case.
FLUSH_BYTES: Final = 2**18
# What is less waits so long for more.
FLUSH_SECONDS: Final = 0.01
# Both streams in turn, a byte each, would otherwise cost far more than the bytes.
RUNS_MAX: Final = 1024
_NOW: Final = 0


class WorkerOutput:
    """
    Bytes of both streams in the order in which they were written, until they are sent.

    `descriptor` is the server's socket, `send(stream, data)` blocks while the server is behind:
    nothing grows without bound, and fewer and larger frames are what a reader that is behind needs.
    `totals` are the bytes written on each stream, sent or not; `truncated` says whether the limit
    had no room for some.
    """

    def __init__(self, descriptor: int, send: Callable[[int, memoryview], None]) -> None:
        self._send = send
        self._room_for = select.poll()
        self._room_for.register(descriptor, select.POLLOUT)
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

    def _spend(self, size: int) -> bool:
        """
        Have `size` bytes count, all of them or none; whether the limit had room for them.
        """
        if size > self._left:
            self.truncated = True
            return False
        self._left -= size
        return True

    def _take(self, stream: int, data: bytes) -> None:
        """
        Take what the guest wrote; what is over the limit is counted and dropped.
        """
        # For each line that is printed: what is done here without need is done a million times.
        self.totals[stream] += len(data)
        if len(data) > self._left:
            self.truncated = True
            data = data[: self._left]
        if not data:
            return
        self._left -= len(data)
        if not self._pending:
            self._on_first()
        if self._runs and self._runs[-1][0] == stream:
            self._runs[-1][1].extend(data)
        else:
            self._runs.append((stream, bytearray(data)))
        self._pending += len(data)
        if self._pending >= FLUSH_BYTES or len(self._runs) >= RUNS_MAX:
            self._send_much()

    def _on_first(self) -> None:
        """
        Something begins to wait.
        """

    def _send_much(self) -> None:
        is_full = self._pending >= MAX_OUTPUT or len(self._runs) >= RUNS_MAX
        if is_full or self._has_room():
            self._send_runs()

    def _has_room(self) -> bool:
        return bool(self._room_for.poll(_NOW))

    def _send_runs(self) -> None:
        runs, self._runs, self._pending = self._runs, [], 0
        for stream, data in runs:
            view = memoryview(data)
            for start in range(0, len(data), MAX_OUTPUT):
                self._send(stream, view[start : start + MAX_OUTPUT])
