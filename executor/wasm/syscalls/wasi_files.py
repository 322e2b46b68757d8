"""
WASI preview 1 on open files: its structs and flags around the acts of the other files.

What may be done with a file is in its description, decided when it was opened. The rights that
`fd_fdstat_get` names are for libc, which makes the access mode of them; they grant nothing.
"""

from collections.abc import Sequence

from executor.wasm.abi import SEEK_CUR, Errno, GuestFault, Open
from executor.wasm.openfiles import BrokeredFile, DirectoryFile, MemoryFile, OpenFile, PassedFile
from executor.wasm.process import Process
from executor.wasm.sockets import Socket
from executor.wasm.syscalls import changes, open_files, paths
from executor.wasm.syscalls.wasi_abi import (
    ALL_RIGHTS,
    DIRENT,
    ENTRY_TYPES,
    FDSTAT,
    FILESTAT,
    FORMAT,
    FORMATS,
    TIME_MAX,
    DescriptorFlag,
    FileType,
    Right,
    TimeFlag,
)

# The flags of a description that can change, and be asked for.
SETTABLE = DescriptorFlag.APPEND | DescriptorFlag.NONBLOCK


def fd_fdstat_get(process: Process, descriptor: int, buffer: int) -> int:
    """
    Type, flags and rights of an open file.
    """
    file = process.descriptors.get(descriptor)
    flags = DescriptorFlag.APPEND if Open.APPEND in file.flags else DescriptorFlag(0)
    if Open.NONBLOCK in file.flags:
        flags |= DescriptorFlag.NONBLOCK
    stat = FDSTAT.pack(_type(file), flags, _rights(file), ALL_RIGHTS)
    process.memory.write(buffer, stat)
    return 0


def _type(file: OpenFile) -> FileType:
    if isinstance(file, DirectoryFile):
        return FileType.DIRECTORY
    if isinstance(file, MemoryFile | PassedFile | BrokeredFile):
        return FileType.REGULAR_FILE
    if isinstance(file, Socket):
        return FileType.SOCKET_STREAM
    return FileType.CHARACTER_DEVICE


def _rights(file: OpenFile) -> int:
    """
    All but reading or writing where the description does not have it. (Seeking is among them, so
    that libc's isatty says no.)
    """
    lacking = Right(0) if file.readable else Right.FD_READ
    if not file.writable and not isinstance(file, DirectoryFile):
        lacking |= Right.FD_WRITE
    return ALL_RIGHTS & ~int(lacking)


def fd_fdstat_set_flags(process: Process, descriptor: int, flags: int) -> int:
    """
    Set append and non-blocking mode: fcntl(2), F_SETFL. Other flags are refused.
    """
    wanted = DescriptorFlag(known(flags, SETTABLE))
    file = process.descriptors.get(descriptor)
    kept = file.flags & ~(Open.APPEND | Open.NONBLOCK)
    file.flags = Open(kept | open_flags(wanted))
    return 0


def known(value: int, known: int) -> int:
    """
    A word of flags. Raises GuestFault(EINVAL) for one that is not among `known`.
    """
    if value & ~int(known):
        raise GuestFault(Errno.EINVAL)
    return value


def open_flags(flags: DescriptorFlag) -> Open:
    """
    The settable flags in the words of open(2).
    """
    append = Open.APPEND if DescriptorFlag.APPEND in flags else Open(0)
    return append | (Open.NONBLOCK if DescriptorFlag.NONBLOCK in flags else Open(0))


def fd_filestat_get(process: Process, descriptor: int, buffer: int) -> int:
    """
    Status of an open file: fstat(2).
    """
    process.memory.span(buffer, FILESTAT.size)
    put_filestat(process, buffer, paths.descriptor_status(process, descriptor))
    return 0


def put_filestat(process: Process, buffer: int, found: paths.Status) -> None:
    """
    Fill a filestat. It has no permission bits: the guest's libc shows none.
    """
    kind = FORMATS.get(found.mode & FORMAT, FileType.CHARACTER_DEVICE)
    times = (found.modified_ns,) * 3
    process.memory.write(buffer, FILESTAT.pack(1, found.serial, kind, 1, found.size, *times))


def fd_filestat_set_times(
    process: Process, descriptor: int, _accessed: int, modified: int, flags: int
) -> int:
    """
    Set the time of last modification: futimens(3). The time of access is not kept.
    """
    changes.touch_descriptor(process, descriptor, modification_time(process, modified, flags))
    return 0


def modification_time(process: Process, modified: int, flags: int) -> int | None:
    """
    The modification time that is asked for, or None where it shall stay.
    """
    wanted = TimeFlag(known(flags, sum(TimeFlag)))
    for given, now in ((TimeFlag.ATIM, TimeFlag.ATIM_NOW), (TimeFlag.MTIM, TimeFlag.MTIM_NOW)):
        if given in wanted and now in wanted:
            raise GuestFault(Errno.EINVAL)
    if TimeFlag.MTIM_NOW in wanted:
        return process.clock.wall_ns()
    if TimeFlag.MTIM not in wanted:
        return None
    if modified >= TIME_MAX:
        raise GuestFault(Errno.EINVAL)
    return modified


def fd_tell(process: Process, descriptor: int, result: int) -> int:
    """
    The position: lseek(2) by nothing.
    """
    return open_files.fd_seek(process, descriptor, 0, SEEK_CUR, result)


def fd_readdir(
    process: Process, descriptor: int, buffer: int, size: int, cookie: int, result: int
) -> int:
    """
    Directory entries from a cookie, 0 for the first: as readdir(3). The last one may be cut off
    at the end of the buffer, which is how the caller learns that there are more.
    """
    file = process.descriptors.get(descriptor)
    if not isinstance(file, DirectoryFile):
        raise GuestFault(Errno.ENOTDIR)
    process.memory.span(buffer, size)
    process.memory.span(result, 4)
    # At 0 the directory is listed anew, and later cookies count in that listing.
    file.position = cookie
    records = _records(file.entries(), cookie, size)
    process.memory.write(buffer, records)
    process.memory.put_u32(result, len(records))
    return 0


def _records(entries: Sequence[tuple[str, int, int]], cookie: int, size: int) -> bytes:
    records = bytearray()
    for index in range(min(cookie, len(entries)), len(entries)):
        if len(records) >= size:
            break
        name, kind, serial = entries[index]
        encoded = name.encode("utf-8", "surrogateescape")
        records += DIRENT.pack(index + 1, serial, len(encoded), ENTRY_TYPES[kind]) + encoded
    return bytes(records[:size])
