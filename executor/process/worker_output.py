"""
What the guest writes on stdout and stderr, on its way to the server.

Python's own streams call `write`, so both are sent in the order in which they were written.
Descriptors 1 and 2 are pipes, for what writes past Python (os.write, libraries in C): whatever
is in them was written earlier, so it is taken first. A thread of its own, the pump, empties them
while a cell is busy and sends what has waited for 10 ms.

Between cells nothing is sent: what a thread of the guest writes then is kept, within the last
cell's limit, for the next one. The limits are kept here for the agent's sake; a hostile guest
shares this process, so the server counts for itself.
"""

import contextlib
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

from executor.kernel.worker_output import FLUSH_SECONDS, WorkerOutput

# What a library can write in one call that holds the interpreter, while nobody reads.
_PIPE_BYTES: Final = 2**20
_READ: Final = 2**16
_NOW: Final = 0


class BoxOutput(WorkerOutput):
    """
    The output of a guest in a box. Any thread may write.
    """

    def __init__(self, descriptor: int, send: Callable[[int, memoryview], None]) -> None:
        super().__init__(descriptor, send)
        self._lock = threading.RLock()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._pipes: dict[int, int] = {}
        self._written = select.poll()
        self._open = False

    def take_descriptors(self) -> None:
        """
        Have descriptors 1 and 2 be pipes to here. Raises OSError.
        """
        for stream in (1, 2):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(reading, False)
            # Beyond what the kernel lets one user have in pipes, the smaller one has to do.
            with contextlib.suppress(OSError):
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            os.dup2(writing, stream, inheritable=True)
            os.close(writing)
            self._pipes[reading] = stream
            self._written.register(reading, select.POLLIN)

    def start(self, limit: int) -> None:
        """
        A new cell may write `limit` bytes; what was written since the last one counts.
        """
        with self._lock:
            super().start(limit)
            runs, self._runs, self._pending = self._runs, [], 0
            self._open = True
            for stream, data in runs:
                self._take(stream, bytes(data))

    def stop(self) -> None:
        """
        The cell has ended: send all that it has written.
        """
        with self._lock:
            self._drain()
            self._send_runs()
            self._open = False

    def write(self, stream: int, data: bytes) -> None:
        """
        Take what the guest wrote; what is over the limit is counted and dropped.
        """
        with self._lock:
            if self._written.poll(_NOW):
                self._drain()
            self._take(stream, data)

    def send_whole(self, size: int, send: Callable[[], None]) -> bool:
        """
        Have `send` send something that counts `size` bytes, after what was written before it.

        All of it or nothing: where the limit has no room, it is dropped as output is. False
        between cells, when nothing can be sent.
        """
        with self._lock:
            if not self._open:
                return False
            if self._spend(size):
                self._drain()
                self._send_runs()
                send()
            return True

    def catch_up(self) -> None:
        """
        Send all that has been written so far, while a cell runs.
        """
        with self._lock:
            self._drain()
            self._send_runs()

    def pump(self) -> None:
        """
        The pump thread's whole life. It ends with the process, or by what `send` raises.
        """
        while True:
            _poll((self._wake, *self._pipes), None)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            # What is written meanwhile goes along; pipes that fill up are emptied at once.
            until = time.monotonic() + FLUSH_SECONDS
            while (left := until - time.monotonic()) > 0 and _poll((*self._pipes,), left * 1000):
                self._empty()
            with self._lock:
                self._send_runs()

    def _empty(self) -> None:
        with self._lock:
            self._drain()

    def _drain(self) -> None:
        """
        Take what is in the pipes.
        """
        for descriptor, _ in self._written.poll(_NOW):
            with contextlib.suppress(BlockingIOError):
                data = os.read(descriptor, _READ)
                self._take(self._pipes[descriptor], data)
                if not data:
                    self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        """
        The guest has closed its end, as programs do that become daemons: nothing comes any more,
        and the kernel would say so at every look.
        """
        self._written.unregister(descriptor)
        self._pipes = {one: name for one, name in self._pipes.items() if one != descriptor}
        os.close(descriptor)

    def _on_first(self) -> None:
        os.eventfd_write(self._wake, 1)

    def _send_runs(self) -> None:
        # Between cells what is written waits for the next one.
        if self._open:
            super()._send_runs()


def _poll(descriptors: tuple[int, ...], milliseconds: float | None) -> bool:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(milliseconds))
