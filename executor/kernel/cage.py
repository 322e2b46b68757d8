"""
What a session needs of a cage: processes that are locked before they learn anything.

Both cages speak the same frames (`codecage.worker.v1`), so beginning a session, running a cell and
every request go over the channel; what differs is how such a process is made and held.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.session import SessionLog
from executor.kernel.boxing import Holding
from executor.kernel.gate import Gate
from executor.kernel.orders import BoxOrder


class Frames(Protocol):
    """
    The way to one caged process and back.
    """

    async def receive(self) -> frames_pb2.FromWorker:
        """
        The next frame of the process.
        """

    async def send(
        self, frame: frames_pb2.ToWorker, passed: int | socket.socket | None = None
    ) -> None:
        """
        Send a frame, with a read-only descriptor of a regular file or the guest's end of a
        connection if one is given; it stays the caller's.
        """

    async def send_put(self, frame: frames_pb2.ToWorker, data: bytes) -> None:
        """
        Send a frame that puts `data` (1 byte or more) into a file; they are not in it.
        """

    def post(self, frame: frames_pb2.ToWorker) -> None:
        """
        Send a frame without waiting; what the socket does not take at once follows by itself.
        """

    def close(self) -> None:
        """
        Let go of the process's socket.
        """


@dataclass(frozen=True, slots=True)
class BoxEnds:
    """
    Our ends of what a box was made with, as descriptors: the `listener` of its refused system
    calls; for each of its `served` mounts the guest's path and the FUSE file system there; for each
    of its `listeners` the TCP port and the socket that connections arrive at; the UDP socket that
    it asks for `names` on; its `memory`, to be read, where its sockets are made here.
    """

    listener: int | None = None
    served: tuple[tuple[str, int], ...] = ()
    listeners: tuple[tuple[int, int], ...] = ()
    names: int | None = None
    memory: int | None = None

    def close(self) -> None:
        """
        Close all of them; once.
        """
        single = (one for one in (self.listener, self.names, self.memory) if one is not None)
        many = (descriptor for _, descriptor in (*self.served, *self.listeners))
        for descriptor in (*single, *many):
            os.close(descriptor)


class Caged(Protocol):
    """
    One process, locked, for one session.
    """

    @property
    def channel(self) -> Frames:
        """
        Its frames.
        """

    @property
    def pid(self) -> int:
        """
        Its process, for records.
        """

    @property
    def image_key(self) -> str:
        """
        The key of the image that it was made from.
        """

    @property
    def boot_digest(self) -> bytes:
        """
        SHA-256 of the guest as it was booted.
        """

    @property
    def boot_memory(self) -> int:
        """
        What the guest held when it was booted, in bytes, before any session.
        """

    @property
    def isolation(self) -> str:
        """
        How it is held, in words.
        """

    @property
    def holding(self) -> Holding | None:
        """
        What holds it, part by part, where it is a box of the process cage.
        """

    @property
    def ended(self) -> Awaitable[object]:
        """
        Done when the process has ended; `str` of the result says how.
        """

    def limit_memory(self, size: int) -> None:
        """
        Let the kernel refuse the process more than `size` bytes, before its session begins.
        """

    def interrupt(self, *, limit: bool) -> None:
        """
        Have the running cell raise KeyboardInterrupt; with `limit` it says that a limit was met.
        """

    def kill(self) -> None:
        """
        End the process now.
        """

    def drop(self) -> None:
        """
        End the process and let go of its socket.
        """

    def cpu_time(self) -> float | None:
        """
        The seconds of CPU that it has used, or None when it has ended.
        """

    def memory_peak(self) -> int | None:
        """
        The most memory that it held at once (bytes), where the kernel counts it.
        """

    def take_ends(self) -> BoxEnds | None:
        """
        Our ends of what its box was made with: the caller's from now on. None for the second call,
        and where there is no box.
        """


class Cage(Protocol):
    """
    A source of such processes, by image.
    """

    async def take(self, name: str, order: BoxOrder | None = None) -> Caged:
        """
        A process that nobody has used; for an image of the process cage in a box after `order`.
        """

    def holding(self, name: str) -> Holding | None:
        """
        How boxes of an image of the process cage are held here, once that was tried.
        """


class Attached(Protocol):
    """
    Something that serves one session's box.
    """

    @property
    def lost(self) -> asyncio.Future[str]:
        """
        Done, with a sentence, when it can serve the box no more: then the session is over.
        """

    async def close(self) -> None:
        """
        The session is over.
        """


class Attaches(Protocol):
    """
    What serves boxes from outside: their files, their refused calls, their network.
    """

    async def attach(
        self, session: str, ends: BoxEnds, gate: Gate, log: SessionLog
    ) -> Attached | None:
        """
        Serve the session's box until the result is closed; None where there is nothing to serve.

        The descriptors of `ends` stay the caller's: what is kept is duplicated. Raises
        ExecutorError, and then nothing is held.
        """
