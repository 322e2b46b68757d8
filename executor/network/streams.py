"""
Streams of bytes with limits on silence: a socket, and TLS over one.

A read or write first tries and only then waits: most cost one system call and no timer. So that
a fast pair of streams does not keep its neighbours waiting, every few successes in a row give
way. TLS is OpenSSL over two memory buffers, and the socket is this module's alone: where a
handshake fails, the error comes straight to who asked.

Rejected: asyncio's transports. Their buffers grow ahead of the reader, their limits are marks
rather than bounds, and what TLS says of a failure is passed on as a lost connection.
"""

import asyncio
import contextlib
import errno
import os
import select
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Final, Protocol

from executor.network.errors import Ending

CHUNK: Final = 2**17
_TURNS: Final = 16
_RECORD_ROOM: Final = 2**16
_AT_ONCE: Final = struct.pack("ii", 1, 0)
# What the other side may do to a connection, and the guest is told as it is.
_PASSED_ON: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ETIMEDOUT,
    }
)


class Stream(Protocol):
    """
    Both ways of one connection. Every method may raise Ending; `close` never does.
    """

    async def read(self, size: int) -> bytes:
        """
        1 to `size` bytes as soon as there are any; none at the end.
        """

    async def write(self, data: bytes) -> None:
        """
        Hand all of `data` over.
        """

    async def finish(self) -> None:
        """
        Say that nothing more will be written; reading goes on.
        """

    async def close(self) -> None:
        """
        Give the connection back at once.
        """


@dataclass(frozen=True, slots=True)
class Patience:
    """
    Seconds of silence that end a wait (None: somebody else watches), and who is waited for.
    """

    reading: float | None
    writing: float | None
    whom: str


class SocketStream:
    """
    A connected stream socket, which is non-blocking and belongs to this object.
    """

    def __init__(self, connection: socket.socket, patience: Patience) -> None:
        self._socket = connection
        self._patience = patience
        self._turns = 0
        self._arrivals = _Arrivals(connection.fileno())

    async def read(self, size: int) -> bytes:
        """
        As `Stream.read`. Raises Ending ETIMEDOUT after the reader's patience.
        """
        while True:
            try:
                data = self._socket.recv(size)
            except BlockingIOError:
                self._turns = 0
                await self._in_time(self._arrivals.next(), self._patience.reading)
            except OSError as error:
                raise failed(error, self._patience.whom) from error
            else:
                await self._give_way()
                return data

    async def write(self, data: bytes) -> None:
        """
        As `Stream.write`. Raises Ending ETIMEDOUT when nothing is taken for the writer's patience.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await self._room()
            except OSError as error:
                raise failed(error, self._patience.whom) from error
        await self._give_way()

    async def finish(self) -> None:
        """
        As `Stream.finish`.
        """
        # Where the other side is gone already there is nobody left to tell.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        """
        As `Stream.close`.
        """
        self.close_now()

    def close_now(self) -> None:
        """
        Close it; nothing waits for this. Closing twice is harmless.
        """
        self._arrivals.forget()
        self._socket.close()

    def hung_up(self) -> bool:
        """
        Whether the other side is gone altogether: nobody reads what is written.
        """
        poll = select.poll()
        poll.register(self._socket, 0)
        return bool(poll.poll(0))

    def end_now(self) -> None:
        """
        Close it so that the other side of a unix pair reads an end: bytes that lie here unread
        would be told to it as a reset (unix(7) has no word for this).
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
            while self._socket.recv(CHUNK):
                pass
        self.close_now()

    def reset_now(self) -> None:
        """
        Close it so that the other side of a TCP connection reads an error (SO_LINGER of no time).
        """
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.close_now()

    def stop_reading(self) -> None:
        """
        Take nothing more in: what has come is still read, and then the end.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    async def _give_way(self) -> None:
        self._turns += 1
        if self._turns >= _TURNS:
            self._turns = 0
            await asyncio.sleep(0)

    async def _room(self) -> None:
        self._turns = 0
        number = self._socket.fileno()
        ready: asyncio.Future[bool] = _loop().create_future()
        _loop().add_writer(number, _settle, ready, True)
        try:
            await self._in_time(ready, self._patience.writing)
        finally:
            _loop().remove_writer(number)

    async def _in_time(self, ready: asyncio.Future[bool], seconds: float | None) -> None:
        timer = None if seconds is None else _loop().call_later(seconds, _settle, ready, False)
        try:
            in_time = await ready
        finally:
            if timer is not None:
                timer.cancel()
        if not in_time:
            raise Ending(
                errno.ETIMEDOUT,
                f"{self._patience.whom} did nothing for {seconds:g} seconds",
            )


class _Arrivals:
    """
    When something comes on the socket `number`. The loop goes on watching it between two waits,
    since most are followed by another, and stops when something comes that nobody waits for.

    Whoever has waited reads in the loop's next turn, before which the loop has looked once more:
    so one call in vain says nothing, and the second ends the watch.
    """

    __slots__ = ("_in_vain", "_loop", "_number", "_waiting")

    def __init__(self, number: int) -> None:
        self._number = number
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[asyncio.Future[bool]] = []
        self._in_vain = False

    def next(self) -> asyncio.Future[bool]:
        """
        Done, with true, once something is there to read, or the end.
        """
        if self._loop is None:
            self._loop = _loop()
            self._loop.add_reader(self._number, self._come)
        ready: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.append(ready)
        return ready

    def forget(self) -> None:
        """
        Watch it no more: it is to be closed, and its number may soon be another's.
        """
        if self._loop is not None:
            self._loop.remove_reader(self._number)
            self._loop = None

    def _come(self) -> None:
        waiting = [ready for ready in self._waiting if not ready.done()]
        self._waiting.clear()
        if not waiting and self._in_vain:
            self.forget()
        self._in_vain = not waiting
        for ready in waiting:
            ready.set_result(True)


class TlsStream:
    """
    TLS as a client over `below`, with the server's name checked against its certificate.
    """

    def __init__(self, below: SocketStream, context: ssl.SSLContext, host: str) -> None:
        self._below = below
        self._host = host
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        # What TLS has to send leaves in the order in which it was made, whoever sends it.
        self._sending = asyncio.Lock()

    async def handshake(self) -> None:
        """
        Agree on keys and believe the other side, or raise ssl.SSLError or Ending.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                # The alert says why; whether it arrives is not our concern.
                with contextlib.suppress(Ending):
                    await self._flush()
                raise
            else:
                await self._flush()
                return

    @property
    def protocol(self) -> str | None:
        """
        What ALPN has agreed on, if anything.
        """
        return self._tls.selected_alpn_protocol()

    async def read(self, size: int) -> bytes:
        """
        As `Stream.read`. Raises Ending ECONNRESET for an end that TLS does not confirm: whoever
        sits on the way may have cut it.
        """
        while True:
            data = self._decrypted(size)
            if data is not None:
                return data
            await self._flush()
            await self._fill()

    async def write(self, data: bytes) -> None:
        """
        As `Stream.write`.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._tls.write(rest[:_RECORD_ROOM]) :]
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError as error:
                raise self._broken(error) from error
            else:
                await self._flush()

    async def finish(self) -> None:
        """
        As `Stream.finish`: TLS says so, and then the socket.
        """
        # Without an answer to our goodbye the call asks for more bytes; that is no failure.
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        with contextlib.suppress(Ending):
            await self._flush()
        await self._below.finish()

    async def close(self) -> None:
        """
        As `Stream.close`. The goodbye is sent if it fits at once.
        """
        self._below.close_now()

    def _decrypted(self, size: int) -> bytes | None:
        """
        What can be read now: several records, as far as they are there; None when none is.
        """
        parts: list[bytes] = []
        while size:
            try:
                part = self._tls.read(size)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                return b"".join(parts)
            except ssl.SSLError as error:
                if parts:
                    break  # it comes again with the next read, after what was whole
                raise self._broken(error) from error
            if not part:
                return b"".join(parts)
            parts.append(part)
            size -= len(part)
        return b"".join(parts) if parts else None

    async def _fill(self) -> None:
        data = await self._below.read(CHUNK)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if not self._outgoing.pending:
            return
        async with self._sending:
            await self._below.write(self._outgoing.read())

    def _broken(self, error: ssl.SSLError) -> Ending:
        # Releases of Python before 3.11.4 have no class for it.
        if isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING":
            return Ending(
                errno.ECONNRESET,
                f"{self._host} ended the connection without saying so in TLS: bytes may be missing",
            )
        return Ending(errno.EPROTO, f"{self._host} broke TLS: {error.reason or 'an error'}")


def failed(error: OSError, whom: str) -> Ending:
    """
    What a socket's `error` means for the guest; errors of this host become EIO.
    """
    number = error.errno if error.errno in _PASSED_ON else errno.EIO
    return Ending(number or errno.EIO, f"{whom}: {os.strerror(number or errno.EIO).lower()}")


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def _settle(ready: asyncio.Future[bool], value: bool) -> None:
    if not ready.done():
        ready.set_result(value)
