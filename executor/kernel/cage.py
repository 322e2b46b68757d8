"""
What a session needs of a cage: processes that are locked before they learn anything.

Both cages speak the same frames (`codecage.worker.v1`), so beginning a session, running a cell and
every request go over the channel; what differs is how such a process is made and held.
"""

import socket
from collections.abc import Awaitable
from typing import Protocol

from codecage.worker.v1 import worker_pb2 as frames_pb2


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

    def close(self) -> None:
        """
        Let go of the process's socket.
        """


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


class Cage(Protocol):
    """
    A source of such processes, by image.
    """

    async def take(self, image: str) -> Caged:
        """
        A process that nobody has used.
        """
