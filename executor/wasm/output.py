"""
What the guest writes on stdout and stderr, on its way to the server.

Small writes are gathered and sent after 10 ms, or at 256 KiB, or with the end of the cell. While
the socket is full they gather further, up to 1 MiB a frame, and then the guest waits.

While something waits here, short writes do not come here one by one (`gathering.py`). What was
put there was written before whatever is done here next, so it is taken first.
"""

import signal
import threading
from collections.abc import Callable

from executor.kernel.worker_output import FLUSH_SECONDS, WorkerOutput
from executor.wasm.gathering import Gathering


class GuestOutput(WorkerOutput):
    """
    The output of a guest in wasm.

    The watchdog thread calls `on_timer` when the timer that `write` set has run out; all else is
    the main thread's.
    """

    def __init__(
        self, descriptor: int, send: Callable[[int, memoryview], None], gathering: Gathering
    ) -> None:
        super().__init__(descriptor, send)
        self._gathering = gathering
        self._lock = threading.RLock()

    def write(self, stream: int, data: bytes) -> None:
        """
        Take what the guest wrote; what is over the limit is counted and dropped.
        """
        with self._lock:
            self._collect()
            self._take(stream, data)
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
            if self._spend(size):
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
