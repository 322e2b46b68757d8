"""
A client's file commands, carried out between cells in what the box shows of the world.

The kernel decides, by the mounts and the limits of the box, as it does for the guest. A name may
lead to anything that the guest has put there, so only regular files are read and written: a FIFO
would have the worker wait for ever.
"""

import errno
import os
import stat
from dataclasses import dataclass
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.frames import PIECE

_NOTHING: Final = memoryview(b"")
_FLAGS: Final = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_KINDS: Final = {
    stat.S_IFREG: wire.KIND_FILE,
    stat.S_IFDIR: wire.KIND_DIRECTORY,
    stat.S_IFLNK: wire.KIND_LINK,
}


@dataclass(frozen=True, slots=True)
class Work:
    """
    The guest's working directory: what clients call it, and where the guest finds it.
    """

    mount: str
    place: str

    def where(self, path: str) -> str:
        """
        Where the guest finds what clients call `path`.
        """
        if path == self.mount or path.startswith(f"{self.mount}/"):
            return self.place + path[len(self.mount) :]
        return path


def perform(command: wire.FileCommand, work: Work) -> tuple[wire.FileReply, memoryview]:
    """
    Carry out one command: the reply, and what is to go with it of the file. A refusal is in the
    reply, by Linux's number of the error.
    """
    try:
        match command.WhichOneof("command"):
            case "get":
                return _get(command.get, work.where(command.get.path))
            case "put":
                return _put(command.put, work.where(command.put.path)), _NOTHING
            case "list":
                return _list(work.where(command.list)), _NOTHING
            case _:
                os.remove(work.where(command.remove))  # noqa: PTH107 - as the call is named
    except OSError as error:
        return wire.FileReply(errno=error.errno or errno.EIO), _NOTHING
    except ValueError:
        # A name with a zero byte, or of lone surrogates.
        return wire.FileReply(errno=errno.EINVAL), _NOTHING
    return wire.FileReply(), _NOTHING


def _put(put: wire.PutChunk, path: str) -> wire.FileReply:
    first = put.offset == 0
    if first:
        os.makedirs(os.path.dirname(path) or "/", exist_ok=True)  # noqa: PTH103, PTH120
    flags = os.O_WRONLY | (os.O_CREAT | os.O_TRUNC if first else 0)
    descriptor = _open(path, flags)
    try:
        if not first and os.fstat(descriptor).st_size != put.offset:
            reason = "a chunk must follow on from the one before"
            return wire.FileReply(errno=errno.EINVAL, reason=reason)
        rest, at = memoryview(put.data), put.offset
        while rest:
            written = os.pwrite(descriptor, rest, at)
            rest, at = rest[written:], at + written
        return wire.FileReply(status=_status(os.fstat(descriptor)))
    finally:
        os.close(descriptor)


def _get(get: wire.GetChunk, path: str) -> tuple[wire.FileReply, memoryview]:
    wanted = min(get.length, PIECE)
    descriptor = _open(path, os.O_RDONLY)
    try:
        data = os.pread(descriptor, wanted, get.offset)
        while more := os.pread(descriptor, wanted - len(data), get.offset + len(data)):
            data += more
        return wire.FileReply(end=len(data) < wanted), memoryview(data)
    finally:
        os.close(descriptor)


def _open(path: str, flags: int) -> int:
    """
    A descriptor of a regular file. Raises OSError: EISDIR or EPERM for anything else.
    """
    descriptor = os.open(path, flags | _FLAGS, 0o644)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EPERM
    raise OSError(number, os.strerror(number))


def _list(path: str) -> wire.FileReply:
    reply = wire.FileReply(end=True)
    with os.scandir(path) as entries:
        for entry in entries:
            shown = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
            status = _status(entry.stat(follow_symlinks=False))
            reply.entries.append(wire.FileEntry(name=shown, status=status))
    return reply


def _status(found: os.stat_result) -> wire.FileStatus:
    return wire.FileStatus(
        kind=_KINDS.get(stat.S_IFMT(found.st_mode), wire.KIND_OTHER),
        size=found.st_size,
        modified_ns=max(0, found.st_mtime_ns),
        mode=stat.S_IMODE(found.st_mode),
    )
