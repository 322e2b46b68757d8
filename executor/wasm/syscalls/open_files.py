"""
System calls on open files: reading, writing, seeking, duplicating, pipes, poll.

The `fd_*` calls are WASI preview 1's and return the error number; the `__syscall_*` ones are
Emscripten's and return it negated. The table says which; here both raise GuestFault.
"""

from executor.wasm.abi import (
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_GETFD,
    F_GETFL,
    F_GETLK,
    F_SETFD,
    F_SETFL,
    F_SETLK,
    F_SETLKW,
    F_UNLCK,
    FD_CLOEXEC,
    FDSTAT,
    FILETYPE_CHARACTER,
    FILETYPE_DIRECTORY,
    FILETYPE_REGULAR,
    FILETYPE_STREAM,
    FLOCK_SIZE,
    POLLFD,
    POLLIN,
    POLLNVAL,
    SEEK_CUR,
    SEEK_END,
    SEEK_SET,
    Errno,
    GuestFault,
    Open,
    signed,
    signed64,
)
from executor.wasm.openfiles import (
    OFFSET_MAX,
    BrokeredFile,
    DeviceFile,
    DirectoryFile,
    MemoryFile,
    OpenFile,
    OutputStream,
    PassedFile,
)
from executor.wasm.pipe import Pipe, PipeEnd
from executor.wasm.process import Process
from executor.wasm.sockets import Socket
from executor.wasm.syscalls.network import socket_ioctl
from executor.wasm.waiting import ALWAYS, Waited, wait_until_ready

_SETTABLE = Open.APPEND | Open.NONBLOCK
_POLL_MAX = 1024
_ALL_RIGHTS = 2**64 - 1


def fd_read(process: Process, descriptor: int, vectors: int, count: int, result: int) -> int:
    """
    Read at the position into several buffers: readv(2).
    """
    file = process.descriptors.get(descriptor)
    memory = process.memory
    memory.span(result, 4)
    total = 0
    for pointer, length in memory.vectors(vectors, count):
        view = memory.window(pointer, length)
        # What the first buffer got is the call's result: nothing is waited for after it.
        got = file.read_more(view) if total else file.read(view)
        total += got
        if got < length:
            break
    memory.put_u32(result, total)
    return 0


def fd_write(process: Process, descriptor: int, vectors: int, count: int, result: int) -> int:
    """
    Write at the position from several buffers: writev(2).
    """
    file = process.descriptors.get(descriptor)
    memory = process.memory
    memory.span(result, 4)
    pairs = memory.vectors(vectors, count)
    data = b"".join([memory.read(pointer, length) for pointer, length in pairs])
    memory.put_u32(result, file.write(data))
    return 0


def fd_pread(
    process: Process, descriptor: int, vectors: int, count: int, offset: int, result: int
) -> int:
    """
    Read at an offset: preadv(2).
    """
    file = _seekable(process, descriptor)
    file.require(reading=True)
    memory = process.memory
    memory.span(result, 4)
    at = _offset(offset)
    total = 0
    for pointer, length in memory.vectors(vectors, count):
        got = file.read_at(memory.window(pointer, length), at + total)
        total += got
        if got < length:
            break
    memory.put_u32(result, total)
    return 0


def fd_pwrite(
    process: Process, descriptor: int, vectors: int, count: int, offset: int, result: int
) -> int:
    """
    Write at an offset: pwritev(2).
    """
    file = _seekable(process, descriptor)
    file.require(reading=False)
    memory = process.memory
    memory.span(result, 4)
    at = _offset(offset)
    pairs = memory.vectors(vectors, count)
    data = b"".join([memory.read(pointer, length) for pointer, length in pairs])
    memory.put_u32(result, file.write_at(data, at))
    return 0


def fd_seek(process: Process, descriptor: int, offset: int, whence: int, result: int) -> int:
    """
    Move the position: lseek(2). A directory seeks only to places that getdents64 gave.
    """
    file = process.descriptors.get(descriptor)
    process.memory.span(result, 8)
    if isinstance(file, DirectoryFile):
        base = 0
        if whence != SEEK_SET:
            raise GuestFault(Errno.EINVAL)
    else:
        file = _seekable(process, descriptor)
        base = _base(file, whence)
    position = base + signed64(offset)
    if position < 0:
        raise GuestFault(Errno.EINVAL)
    if position > OFFSET_MAX:
        raise GuestFault(Errno.EOVERFLOW)
    file.position = position
    process.memory.put_u64(result, position)
    return 0


def _base(file: OpenFile, whence: int) -> int:
    if whence == SEEK_SET:
        return 0
    if whence == SEEK_CUR:
        return file.position
    if whence == SEEK_END:
        return file.size()
    raise GuestFault(Errno.EINVAL)


def _seekable(process: Process, descriptor: int) -> OpenFile:
    file = process.descriptors.get(descriptor)
    if isinstance(file, OutputStream | PipeEnd | Socket) or (
        isinstance(file, DeviceFile) and file.node.name == "stdin"
    ):
        raise GuestFault(Errno.ESPIPE)
    if isinstance(file, DirectoryFile):
        raise GuestFault(Errno.EISDIR)
    return file


def _offset(value: int) -> int:
    if value >> 63:
        raise GuestFault(Errno.EINVAL)
    return value


def fd_close(process: Process, descriptor: int) -> int:
    """
    Close: close(2).
    """
    process.descriptors.close(descriptor)
    return 0


def fd_sync(process: Process, descriptor: int) -> int:
    """
    Bring a file to the disk: fsync(2).
    """
    process.descriptors.get(descriptor).sync()
    return 0


def fd_fdstat_get(process: Process, descriptor: int, buffer: int) -> int:
    """
    Type and flags of an open file.
    """
    file = process.descriptors.get(descriptor)
    if isinstance(file, DirectoryFile):
        kind = FILETYPE_DIRECTORY
    elif isinstance(file, MemoryFile | PassedFile | BrokeredFile):
        kind = FILETYPE_REGULAR
    elif isinstance(file, Socket):
        kind = FILETYPE_STREAM
    else:
        kind = FILETYPE_CHARACTER
    flags = 1 if Open.APPEND in file.flags else 0
    process.memory.write(buffer, FDSTAT.pack(kind, flags, _ALL_RIGHTS, _ALL_RIGHTS))
    return 0


def fdatasync(process: Process, descriptor: int) -> int:
    """
    The same as fsync: fdatasync(2).
    """
    return fd_sync(process, descriptor)


def ftruncate64(process: Process, descriptor: int, length: int) -> int:
    """
    Set the size of an open file: ftruncate(2).
    """
    if length >> 63:
        raise GuestFault(Errno.EINVAL)
    process.descriptors.get(descriptor).truncate(length)
    return 0


def fallocate(process: Process, descriptor: int, mode: int, offset: int, length: int) -> int:
    """
    Grow a file to hold a range: fallocate(2), with mode 0 alone.
    """
    if mode:
        raise GuestFault(Errno.EOPNOTSUPP)
    if offset >> 63 or length >> 63 or length == 0:
        raise GuestFault(Errno.EINVAL)
    file = process.descriptors.get(descriptor)
    file.require(reading=False)
    end = offset + length
    if end > OFFSET_MAX:
        raise GuestFault(Errno.EFBIG)
    if end > file.size():
        file.truncate(end)
    return 0


def fadvise64(process: Process, descriptor: int, _offset: int, _length: int, _advice: int) -> int:
    """
    Advice is taken and not followed: posix_fadvise(2).
    """
    process.descriptors.get(descriptor)
    return 0


# ---- descriptors ------------------------------------------------------------------------------


def dup(process: Process, descriptor: int) -> int:
    """
    Duplicate to the lowest free number: dup(2).
    """
    return process.descriptors.add(process.descriptors.get(descriptor))


def dup3(process: Process, old: int, new: int, flags: int) -> int:
    """
    Duplicate to a given number: dup3(2).
    """
    file = process.descriptors.get(old)
    if old == new or flags & ~int(Open.CLOEXEC):
        raise GuestFault(Errno.EINVAL)
    process.descriptors.put(file, new)
    process.descriptors.set_close_on_exec(new, on=bool(flags))
    return new


def fcntl64(process: Process, descriptor: int, command: int, arguments: int) -> int:
    """
    Flags, duplicates and locks: fcntl(2). Access modes never change.
    """
    table = process.descriptors
    file = table.get(descriptor)
    if command in {F_DUPFD, F_DUPFD_CLOEXEC}:
        lowest = process.memory.u32(arguments)
        if lowest >= table.limit:
            raise GuestFault(Errno.EINVAL)
        number = table.add(file, lowest)
        table.set_close_on_exec(number, on=command == F_DUPFD_CLOEXEC)
        return number
    if command == F_GETFD:
        return FD_CLOEXEC if table.close_on_exec(descriptor) else 0
    if command == F_SETFD:
        table.set_close_on_exec(descriptor, on=bool(process.memory.u32(arguments) & FD_CLOEXEC))
        return 0
    if command == F_GETFL:
        return int(file.flags & (3 | _SETTABLE))
    if command == F_SETFL:
        wanted = Open(process.memory.u32(arguments) & int(_SETTABLE))
        file.flags = Open(file.flags & ~_SETTABLE | wanted)
        return 0
    if command in {F_GETLK, F_SETLK, F_SETLKW}:
        return _lock(process, file, command, arguments)
    raise GuestFault(Errno.EINVAL)


def _lock(process: Process, file: OpenFile, command: int, arguments: int) -> int:
    """
    A lock on a file in memory is always granted: nobody else has the file. One on a granted
    file would say something about the host that is not so: ENOLCK.
    """
    if not isinstance(file, MemoryFile):
        raise GuestFault(Errno.ENOLCK, "granted files cannot be locked")
    lock = process.memory.u32(arguments)
    process.memory.span(lock, FLOCK_SIZE)
    if command == F_GETLK:
        process.memory.write(lock, F_UNLCK.to_bytes(2, "little"))
    return 0


def ioctl(process: Process, descriptor: int, request: int, arguments: int) -> int:
    """
    Whether a socket blocks, what it holds, and its options: ioctl(2). No descriptor is a terminal,
    so everything else is ENOTTY.
    """
    file = process.descriptors.get(descriptor)
    if isinstance(file, Socket):
        return socket_ioctl(process, file, request, process.memory.u32(arguments))
    raise GuestFault(Errno.ENOTTY)


def pipe(process: Process, result: int) -> int:
    """
    A pipe inside the worker: pipe(2).
    """
    process.memory.span(result, 8)
    process.descriptors.require_room(2)
    shared = Pipe(process.total)
    reader = process.descriptors.add(PipeEnd(shared, Open(0)))
    writer = process.descriptors.add(PipeEnd(shared, Open.WRONLY))
    process.memory.put_u32(result, reader)
    process.memory.put_u32(result + 4, writer)
    return 0


def poll(process: Process, array: int, count: int, timeout: int) -> int:
    """
    Wait for events: poll(2), timeout in milliseconds. An interrupt ends it with EINTR.

    Connections become ready while it waits. Nothing else in this process can, with its one
    thread, so without one among the descriptors the call sleeps out its timeout, or waits for an
    interrupt.
    """
    if count > _POLL_MAX:
        raise GuestFault(Errno.EINVAL)
    size = POLLFD.size
    process.memory.span(array, count * size)
    wanted = [
        POLLFD.unpack(process.memory.read(array + index * size, size))[:2] for index in range(count)
    ]
    ready = _poll_once(process, array, wanted)
    wait = signed(timeout)
    if ready or wait == 0:
        return ready
    # None is missing: one that is not open would have been told at once.
    files = [(process.descriptors.get(number), events) for number, events in wanted if number >= 0]
    waited = wait_until_ready(process.sleeper, files, wait / 1000 if wait > 0 else float("inf"))
    if waited is Waited.INTERRUPTED:
        # The guest's libc makes select of this call, and does not make an errno of its answer.
        process.libc.set_errno(Errno.EINTR)
        raise GuestFault(Errno.EINTR)
    return _poll_once(process, array, wanted) if waited is Waited.READY else 0


def _poll_once(process: Process, array: int, wanted: list[tuple[int, int]]) -> int:
    ready = 0
    for index, (descriptor, events) in enumerate(wanted):
        returned = 0
        if descriptor >= 0:
            returned = events_of(process, descriptor) & (events | ALWAYS | POLLNVAL)
        at = array + index * POLLFD.size
        process.memory.write(at, POLLFD.pack(descriptor, events, returned))
        ready += bool(returned)
    return ready


def events_of(process: Process, descriptor: int) -> int:
    """
    The poll(2) events of a descriptor that hold now.
    """
    try:
        file = process.descriptors.get(descriptor)
    except GuestFault:
        return POLLNVAL
    return POLLIN if isinstance(file, DirectoryFile) else file.ready()
