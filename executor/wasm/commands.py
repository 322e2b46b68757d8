"""
A client's file commands, carried out in the guest's own view between cells.

They go the way of the guest's calls: what a path means, what a mount allows and what a quota
leaves is decided by the same code, and a granted mount is asked of the gate.
"""

from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.frames import PIECE
from executor.wasm.abi import AT_FDCWD, Errno, GuestFault, Open
from executor.wasm.openfiles import DirectoryFile, MemoryFile, OpenFile, PassedFile
from executor.wasm.process import Process
from executor.wasm.syscalls import changes, paths

_LEAST: Final = 2**14
_NOTHING: Final = memoryview(b"")


def perform(process: Process, command: wire.FileCommand) -> tuple[wire.FileReply, memoryview]:
    """
    Carry out one command: the reply, and what is to go with it of the file. A refusal is in the
    reply, with the guest's error as Linux numbers it.
    """
    try:
        kind = command.WhichOneof("command")
        if kind == "get":
            return _get(process, command.get)
        if kind == "put":
            return _put(process, command.put), _NOTHING
        if kind == "list":
            return _list(process, command.list), _NOTHING
        changes.remove(process, AT_FDCWD, command.remove, folder=False)
    except GuestFault as fault:
        return wire.FileReply(errno=fault.errno.host, reason=fault.reason), _NOTHING
    return wire.FileReply(), _NOTHING


def _put(process: Process, put: wire.PutChunk) -> wire.FileReply:
    first = put.offset == 0
    if first:
        _make_parents(process, put.path)
    flags = Open.WRONLY | (Open.CREAT | Open.TRUNC if first else Open(0))
    file = paths.open_path(process, AT_FDCWD, put.path, flags)
    try:
        if not first and file.size() != put.offset:
            raise GuestFault(Errno.EINVAL, "a chunk must follow on from the one before")
        _write_all(file, put.data, put.offset)
    finally:
        _close(file)
    return wire.FileReply(status=paths.status(process, put.path))


def _make_parents(process: Process, path: str) -> None:
    parts = path.split("/")[1:-1]
    for depth in range(1, len(parts) + 1):
        parent = "/" + "/".join(parts[:depth])
        try:
            paths.status(process, parent)
        except GuestFault:
            changes.make_directory(process, AT_FDCWD, parent, 0o755)


def _write_all(file: OpenFile, data: bytes, offset: int) -> None:
    written = 0
    while written < len(data):
        written += file.write_at(data[written:], offset + written)


def _get(process: Process, get: wire.GetChunk) -> tuple[wire.FileReply, memoryview]:
    file = paths.open_path(process, AT_FDCWD, get.path, Open(0))
    try:
        if isinstance(file, DirectoryFile):
            raise GuestFault(Errno.EISDIR)
        buffer = bytearray(min(get.length, _room(file, get.offset)))
        view = memoryview(buffer)
        count = 0
        while count < len(buffer):
            got = file.read_at(view[count:], get.offset + count)
            if not got:
                break
            count += got
    finally:
        _close(file)
    return wire.FileReply(end=count < len(buffer)), view[:count]


def _room(file: OpenFile, offset: int) -> int:
    """
    How much to read: for a small file no memory for a large one, and one byte more than it has, so
    that its end is seen.
    """
    if not isinstance(file, MemoryFile | PassedFile):
        return PIECE
    return min(PIECE, max(_LEAST, file.size() - offset + 1))


def _list(process: Process, path: str) -> wire.FileReply:
    file = paths.open_path(process, AT_FDCWD, path, Open.DIRECTORY)
    reply = wire.FileReply(end=True)
    if not isinstance(file, DirectoryFile):
        _close(file)
        raise GuestFault(Errno.ENOTDIR)
    for name, _, _ in file.entries():
        if name in {".", ".."}:
            continue
        shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        status = paths.status(process, f"{path.rstrip('/')}/{name}", follow=False)
        reply.entries.append(wire.FileEntry(name=shown, status=status))
    return reply


def _close(file: OpenFile) -> None:
    """
    Close a description that no descriptor was made for; standard streams stay.
    """
    if file.descriptors == 0:
        file.close()
