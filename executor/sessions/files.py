"""
A client's files: put, got, listed and removed in a session, by guest path, between cells.

The worker does it in its own file system, so a path below a granted directory goes from there
through the gate like the guest's own: a client gets no more than the policy grants, and the name
it sends never becomes a path of the host by another way.
"""

import errno
import hashlib
import os
import posixpath
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.errors import FileRefused, ProtocolBroken
from executor.kernel.frames import CHUNK
from executor.kernel.refusals import error_name
from executor.sessions.session import Session

_LONGEST_REASON: Final = 2000
_STARTED: Final = "started"
_OK: Final = "ok"


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

    A client that breaks off leaves what it has sent. Raises FileRefused, and as
    `Session.command` does.
    """
    request, digest, offset = f"put {path}", hashlib.sha256(), 0
    reply: frames_pb2.FileReply | None = None
    async for data in chunks:
        for start in range(0, len(data), CHUNK):
            piece = data[start : start + CHUNK]
            reply = await _ask(session, request, _put(path, offset, piece))
            digest.update(piece)
            offset += len(piece)
    if reply is None:
        reply = await _ask(session, request, _put(path, 0, b""))
    await session.record_file(request, _OK, offset, digest.digest())
    status = frames_pb2.FileStatus()
    status.CopyFrom(reply.status)
    status.size = offset
    return FileFound(path, status)


async def get(session: Session, path: str) -> AsyncIterator[bytes]:
    """
    The bytes of a file, in pieces. Recorded before the first and, with the digest, before the last.

    Raises FileRefused, and as `Session.command` does.
    """
    request, digest, offset = f"get {path}", hashlib.sha256(), 0
    reply = await _ask(session, request, _get(path, 0))
    await session.record_file(request, _STARTED)
    while True:
        digest.update(reply.data)
        offset += len(reply.data)
        if reply.end or not reply.data:
            break
        yield reply.data
        reply = await _ask(session, request, _get(path, offset))
    await session.record_file(request, _OK, offset, digest.digest())
    yield reply.data


async def listing(session: Session, path: str) -> list[FileFound]:
    """
    What is in a directory. Raises FileRefused, and as `Session.command` does.
    """
    request = f"list {path}"
    reply = await _ask(session, request, frames_pb2.FileCommand(list=path))
    await session.record_file(request, _OK)
    return [FileFound(posixpath.join(path, one.name), one.status) for one in reply.entries]


async def remove(session: Session, path: str) -> None:
    """
    Remove a file or an empty directory. Raises FileRefused, and as `Session.command` does.
    """
    request = f"remove {path}"
    await _ask(session, request, frames_pb2.FileCommand(remove=path))
    await session.record_file(request, _OK)


async def _ask(
    session: Session, request: str, command: frames_pb2.FileCommand
) -> frames_pb2.FileReply:
    reply = await session.command(command)
    if len(reply.data) > CHUNK:
        raise ProtocolBroken(f"{len(reply.data)} bytes came where {CHUNK} were asked for")
    if not reply.errno:
        return reply
    number = reply.errno if reply.errno in errno.errorcode else errno.EIO
    await session.record_file(request, error_name(number))
    reason = reply.reason[:_LONGEST_REASON] or os.strerror(number).lower()
    raise FileRefused(number, f"{request}: {reason}")


def _put(path: str, offset: int, data: bytes) -> frames_pb2.FileCommand:
    return frames_pb2.FileCommand(put=frames_pb2.PutChunk(path=path, offset=offset, data=data))


def _get(path: str, offset: int) -> frames_pb2.FileCommand:
    return frames_pb2.FileCommand(get=frames_pb2.GetChunk(path=path, offset=offset, length=CHUNK))
