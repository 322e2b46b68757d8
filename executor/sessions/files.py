"""
A client's files: put, got, listed and removed in a session, by guest path, between cells.

The worker does it in its own file system, so a path below a granted directory goes from there
through the gate like the guest's own: a client gets no more than the policy grants, and the name
it sends never becomes a path of the host by another way.
"""

import asyncio
import errno
import hashlib
import os
import posixpath
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.errors import FileRefused, ProtocolBroken
from executor.kernel.errors import InternalError
from executor.kernel.frames import PIECE
from executor.kernel.refusals import error_name
from executor.sessions.session import Session

_LONGEST_REASON: Final = 2000
_STARTED: Final = "started"
_OK: Final = "ok"
# From here on a thread hashes: handing it over costs less than the loop's time.
_MUCH: Final = 2**17


@dataclass(frozen=True, slots=True)
class FileFound:
    """
    A file of the session: its path and what the worker says of it.
    """

    path: str
    status: frames_pb2.FileStatus


async def put(session: Session, path: str, chunks: AsyncIterator[bytes]) -> FileFound:
    """
    Write a file from its bytes in pieces of any size; an old one is replaced.

    While the worker writes one piece the next is waited for. A client that breaks off leaves what
    it has sent. Raises FileRefused, and as `Session.command` does.
    """
    request, digest = f"put {path}", _Digest()
    async with aclosing(_Ahead()) as writing:
        async for data in chunks:
            for start in range(0, len(data), PIECE):
                piece = data[start : start + PIECE]
                if writing.begun:
                    await writing.result()
                writing.begin(_ask(session, request, _put(path, digest.size), piece))
                await digest.add(piece)
        if not writing.begun:
            writing.begin(_ask(session, request, _put(path, 0)))
        reply = await writing.result()
    await session.record_file(request, _OK, digest.size, await digest.value())
    status = frames_pb2.FileStatus()
    status.CopyFrom(reply.status)
    status.size = digest.size
    return FileFound(path, status)


async def get(session: Session, path: str) -> AsyncIterator[bytes]:
    """
    The bytes of a file, in pieces. Recorded before the first and, with the digest, before the last.

    While one piece is on its way to the client the worker reads the next, and no further. Raises
    FileRefused, and as `Session.command` does.
    """
    request, digest = f"get {path}", _Digest()
    reply = await _ask(session, request, _get(path, 0))
    await session.record_file(request, _STARTED)
    async with aclosing(_Ahead()) as reading:
        while True:
            data = reply.data  # once: each reading of it is a copy
            if len(data) > PIECE:
                raise ProtocolBroken(f"{len(data)} bytes came where {PIECE} were asked for")
            await digest.add(data)
            if reply.end or not data:
                break
            reading.begin(_ask(session, request, _get(path, digest.size)))
            yield data
            reply = await reading.result()
    await session.record_file(request, _OK, digest.size, await digest.value())
    yield data


async def listing(session: Session, path: str) -> list[FileFound]:
    """
    What is in a directory. Raises FileRefused, and as `Session.command` does.
    """
    request, frame = f"list {path}", frames_pb2.ToWorker()
    frame.file.list = path
    reply = await _ask(session, request, frame)
    await session.record_file(request, _OK)
    return [FileFound(posixpath.join(path, one.name), one.status) for one in reply.entries]


async def remove(session: Session, path: str) -> None:
    """
    Remove a file or an empty directory. Raises FileRefused, and as `Session.command` does.
    """
    request, frame = f"remove {path}", frames_pb2.ToWorker()
    frame.file.remove = path
    await _ask(session, request, frame)
    await session.record_file(request, _OK)


class _Ahead:
    """
    One request to the worker that is under way while something else is done, and its reply.
    """

    def __init__(self) -> None:
        self._asking: asyncio.Task[frames_pb2.FileReply] | None = None

    @property
    def begun(self) -> bool:
        """
        Whether anything has been asked.
        """
        return self._asking is not None

    def begin(self, asking: Coroutine[Any, Any, frames_pb2.FileReply]) -> None:
        """
        Begin the next one; the last one's result has been taken.
        """
        self._asking = asyncio.get_running_loop().create_task(asking)

    async def result(self) -> frames_pb2.FileReply:
        """
        The reply to what was begun, when it has come. Raises what asking raises.
        """
        if self._asking is None:
            raise InternalError("the result of a request that was not begun")
        return await self._asking

    async def aclose(self) -> None:
        """
        Nobody waits for it any more: the worker ends what it does, and no error of it is news.
        """
        if self._asking is not None and not self._asking.cancel() and not self._asking.cancelled():
            self._asking.exception()


class _Digest:
    """
    The size and the SHA-256 of what passes; of much at a time by a thread, which leaves the loop
    to others meanwhile (a MiB takes up to a millisecond).
    """

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._adding: asyncio.Future[None] | None = None

    async def add(self, data: bytes) -> None:
        """
        Add `data`, or begin to, when what came before has been added.
        """
        await self._settle()
        self.size += len(data)
        if len(data) < _MUCH:
            self._hash.update(data)
            return
        loop = asyncio.get_running_loop()
        self._adding = loop.run_in_executor(None, self._hash.update, data)

    async def value(self) -> bytes:
        """
        The SHA-256 of all that was added.
        """
        await self._settle()
        return self._hash.digest()

    async def _settle(self) -> None:
        adding, self._adding = self._adding, None
        if adding is not None:
            await adding


async def _ask(
    session: Session, request: str, frame: frames_pb2.ToWorker, data: bytes = b""
) -> frames_pb2.FileReply:
    reply = await session.command(frame, data)
    if not reply.errno:
        return reply
    number = reply.errno if reply.errno in errno.errorcode else errno.EIO
    await session.record_file(request, error_name(number))
    reason = reply.reason[:_LONGEST_REASON] or os.strerror(number).lower()
    raise FileRefused(number, f"{request}: {reason}")


def _put(path: str, offset: int) -> frames_pb2.ToWorker:
    # Without its data, which are sent from where they lie: to write a MiB into the frame, and the
    # frame out, is half a millisecond of the loop's.
    frame = frames_pb2.ToWorker()
    put = frame.file.put
    put.path, put.offset = path, offset
    return frame


def _get(path: str, offset: int) -> frames_pb2.ToWorker:
    frame = frames_pb2.ToWorker()
    get = frame.file.get
    get.path, get.offset, get.length = path, offset, PIECE
    return frame
