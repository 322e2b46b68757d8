"""
What comes in on one stream: bytes not yet used, and at most one read under way.

A read that is under way is kept, never cancelled and begun again: bytes that a cancelled read had
taken would be lost, and with them where a message begins.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

READ: Final = 2**16


class Stream(Protocol):
    """
    Both ways of one connection, as `executor.network.streams` makes them. Its calls may raise
    Ending, which ends the connection.
    """

    async def read(self, size: int, /) -> bytes:
        """
        1 to `size` bytes as soon as there are any; none at the end.
        """

    async def write(self, data: bytes, /) -> None:
        """
        Hand all of `data` over.
        """


class Inbound:
    """
    The reading side of a stream. `buffer` has what was read too far.
    """

    __slots__ = ("_read", "_reading", "buffer")

    def __init__(self, read: Callable[[int], Awaitable[bytes]]) -> None:
        self._read = read
        self._reading: asyncio.Task[bytes] | None = None
        self.buffer = bytearray()

    def begin(self) -> asyncio.Task[bytes]:
        """
        The read that is under way, begun now if there was none.
        """
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._receive())
        return self._reading

    async def more(self) -> bytes:
        """
        The next bytes, not those in `buffer`; none at the end. Raises what the stream does.
        """
        if self._reading is None:
            return await self._read(READ)
        reading = self._reading
        try:
            return await asyncio.shield(reading)
        finally:
            if reading.done():
                self._reading = None

    async def more_within(self, seconds: float) -> bytes | None:
        """
        As `more`, but None where nothing comes for `seconds`.
        """
        done, _ = await asyncio.wait({self.begin()}, timeout=seconds)
        return await self.more() if done else None

    def take(self) -> bytes:
        """
        The buffered bytes, which are then the caller's.
        """
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    async def abandon(self) -> None:
        """
        End the read that is under way; what it would have brought is lost.
        """
        if self._reading is not None:
            reading, self._reading = self._reading, None
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _receive(self) -> bytes:
        return await self._read(READ)
