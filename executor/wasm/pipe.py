"""
Pipes inside the worker: pipe(2) between two descriptors of one guest, which has one thread.
"""

from dataclasses import dataclass, field
from typing import Final

from executor.wasm.abi import POLLHUP, POLLIN, POLLOUT, Errno, GuestFault, Open
from executor.wasm.openfiles import OpenFile
from executor.wasm.space import Space

PIPE_BYTES: Final = 65_536


@dataclass(slots=True)
class Pipe:
    """
    The bytes between two ends, counted in the session's memory.
    """

    space: Space
    data: bytearray = field(default_factory=bytearray)
    readers: int = 0
    writers: int = 0


class PipeEnd(OpenFile):
    """
    One end of a pipe inside the worker.

    There is one thread, so an operation that would have to wait can never be woken: it is
    refused with EAGAIN, as on a non-blocking pipe.
    """

    def __init__(self, pipe: Pipe, flags: Open) -> None:
        super().__init__(flags)
        self._pipe = pipe
        pipe.readers += self.readable
        pipe.writers += self.writable

    def read(self, view: memoryview) -> int:
        """
        Take what there is; 0 when every writer has closed.
        """
        self.require(reading=True)
        pipe = self._pipe
        if not pipe.data and pipe.writers and len(view):
            raise GuestFault(Errno.EAGAIN)
        taken = min(len(pipe.data), len(view))
        view[:taken] = pipe.data[:taken]
        del pipe.data[:taken]
        pipe.space.give(taken)
        return taken

    def read_more(self, view: memoryview) -> int:
        """
        Take what is left, if anything: what was read before is not lost.
        """
        return self.read(view) if self._pipe.data else 0

    def write(self, data: bytes) -> int:
        """
        Add what fits. Raises GuestFault: EPIPE without a reader, EAGAIN when full.
        """
        self.require(reading=False)
        pipe = self._pipe
        if not pipe.readers:
            raise GuestFault(Errno.EPIPE)
        part = data[: PIPE_BYTES - len(pipe.data)]
        if not part and data:
            raise GuestFault(Errno.EAGAIN)
        pipe.space.take(len(part))
        pipe.data += part
        return len(part)

    def ready(self) -> int:
        """
        What poll(2) says of this end.
        """
        pipe = self._pipe
        if self.readable:
            return (POLLIN if pipe.data else 0) | (0 if pipe.writers else POLLHUP)
        room = len(pipe.data) < PIPE_BYTES
        return (POLLOUT if room else 0) | (0 if pipe.readers else POLLHUP)

    def close(self) -> None:
        """
        Leave the pipe, and drop its bytes when nobody can read them.
        """
        pipe = self._pipe
        pipe.readers -= self.readable
        pipe.writers -= self.writable
        if not pipe.readers:
            pipe.space.give(len(pipe.data))
            pipe.data.clear()
