"""
System calls that take a path: open, stat, make, remove, rename, links, permissions, times.
"""

from dataclasses import dataclass

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    DIRENT,
    DT_CHR,
    DT_DIR,
    DT_LNK,
    DT_REG,
    NAME_MAX,
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFREG,
    S_IFSOCK,
    STAT,
    STATFS,
    STATFS_32,
    Errno,
    GuestFault,
    Open,
)
from executor.wasm.nodes import Device, Directory, File, Link, Local, Mount, Node, Remote
from executor.wasm.openfiles import (
    BrokeredFile,
    DirectoryFile,
    MemoryFile,
    OpenFile,
    PassedFile,
)
from executor.wasm.process import Process
from executor.wasm.sockets import Socket
from executor.wasm.syscalls import network, transactions

_KIND_MODE = {
    wire.KIND_FILE: S_IFREG,
    wire.KIND_DIRECTORY: S_IFDIR,
    wire.KIND_LINK: S_IFLNK,
    wire.KIND_OTHER: S_IFCHR,
}
_KIND_TYPE = {
    wire.KIND_FILE: DT_REG,
    wire.KIND_DIRECTORY: DT_DIR,
    wire.KIND_LINK: DT_LNK,
    wire.KIND_OTHER: DT_CHR,
}
_BLOCK = 4096
# What statfs(2) calls the kind of a file system in memory, and an id that is nobody's.
_TMPFS, _SYNTHETIC = 0x01021994, 42
# By the size that the caller says: the two releases of Emscripten differ.
_STATFS_FORMS = {form.size: form for form in (STATFS, STATFS_32)}
_KNOWN_OPEN = sum(Open)
_DENIAL_LINK = "denial"


def openat(process: Process, directory: int, path: int, flags: int, arguments: int) -> int:
    """
    Open a file or directory: openat(2). Unknown flags are ignored, as Linux does.
    """
    wanted = Open(flags & _KNOWN_OPEN)
    if flags & 3 == 3:
        raise GuestFault(Errno.EINVAL)
    mode = process.memory.u32(arguments) if Open.CREAT in wanted else 0
    process.descriptors.require_room()
    file = open_path(process, directory, process.path(path), wanted, mode)
    number = process.descriptors.add(file)
    process.descriptors.set_close_on_exec(number, on=Open.CLOEXEC in wanted)
    return number


def open_path(
    process: Process, directory: int, path: str, flags: Open, mode: int = 0o644
) -> OpenFile:
    """
    Open by name, wherever the name leads; `mode` is for a file that is made in memory.
    """
    found = _found(process, directory, path, flags)
    if isinstance(found, Local):
        return _open_local(process, found, flags, mode & ~process.umask)
    return open_remote(process, found, flags)


def _found(process: Process, directory: int, path: str, flags: Open) -> Local | Remote:
    """
    Where the name leads: a file that may have to be made must have a name without a slash.
    """
    if Open.CREAT not in flags:
        return process.resolve(directory, path, follow=Open.NOFOLLOW not in flags)
    found = process.resolve_name(directory, path)
    if isinstance(found, Local) and found.named and found.must_be_directory:
        raise GuestFault(Errno.EISDIR)
    if Open.EXCL in flags or Open.NOFOLLOW in flags or isinstance(found, Remote):
        return found
    return process.resolve(directory, path, follow=True)


def _open_local(process: Process, place: Local, flags: Open, mode: int) -> OpenFile:
    node = place.node
    if node is None:
        if Open.CREAT not in flags:
            raise GuestFault(Errno.ENOENT)
        node = process.files.create_file(place, mode)
    elif Open.CREAT in flags and Open.EXCL in flags:
        raise GuestFault(Errno.EEXIST)
    if isinstance(node, Directory):
        return _open_directory(place, node, flags)
    if Open.DIRECTORY in flags:
        raise GuestFault(Errno.ENOTDIR)
    if isinstance(node, Link):
        raise GuestFault(Errno.ELOOP)
    if isinstance(node, Device):
        return process.device_file(node.name, flags)
    if not isinstance(node, File):
        raise GuestFault(Errno.EACCES)
    return _open_memory(process, node, flags)


def _open_memory(process: Process, node: File, flags: Open) -> OpenFile:
    if node.space is None and (flags.writes or Open.TRUNC in flags):
        raise GuestFault(Errno.EROFS)
    if Open.TRUNC in flags:
        process.files.resize(node, 0)
    return MemoryFile(process.files, node, flags)


def _open_directory(place: Local, node: Directory, flags: Open) -> OpenFile:
    if flags.changes:
        raise GuestFault(Errno.EISDIR)
    return DirectoryFile(place.full_path, lambda: _local_listing(node))


def _local_listing(node: Directory) -> list[tuple[str, int, int]]:
    own = [(".", DT_DIR, node.serial), ("..", DT_DIR, node.serial)]
    return own + [
        (name, _type(child), child.serial) for name, child in sorted(node.entries.items())
    ]


def _type(node: Node) -> int:
    if isinstance(node, Directory | Mount):
        return DT_DIR
    if isinstance(node, Link):
        return DT_LNK
    return DT_CHR if isinstance(node, Device) else DT_REG


def open_remote(process: Process, found: Remote, flags: Open) -> OpenFile:
    """
    Open a granted file or directory: for reading by a passed descriptor, else by a handle.
    """
    if Open.DIRECTORY in flags:
        return _open_remote_directory(process, found.path)
    try:
        opened, descriptor = process.broker.open(found.path, flags)
    except GuestFault as fault:
        # What the guest opens is asked for as it is; most often it is a file.
        if fault.errno is not Errno.EISDIR or flags.changes:
            raise
        return _open_remote_directory(process, found.path)
    if descriptor is not None:
        return PassedFile(descriptor, opened.status, found.path)
    return BrokeredFile(process.broker, opened, flags, found.path)


def _open_remote_directory(process: Process, path: str) -> OpenFile:
    if process.broker.stat(path, follow=True).kind != wire.KIND_DIRECTORY:
        raise GuestFault(Errno.ENOTDIR)
    return DirectoryFile(path, lambda: _remote_listing(process, path))


def _remote_listing(process: Process, path: str) -> list[tuple[str, int, int]]:
    own = [(".", DT_DIR, _serial(path)), ("..", DT_DIR, _serial(path))]
    return own + [
        (name, _KIND_TYPE.get(kind, DT_CHR), _serial(f"{path}/{name}"))
        for name, kind in process.broker.listing(path)
    ]


def _serial(path: str) -> int:
    """
    An inode number for a granted path: a function of the guest's own name for it (FNV-1a).
    """
    value = 0xCBF29CE484222325
    for byte in path.encode("utf-8", "surrogateescape"):
        value = ((value ^ byte) * 0x100000001B3) & 0x7FFFFFFFFFFFFFFF
    return value | 1


# ---- status ---------------------------------------------------------------------------------


def stat64(process: Process, path: int, buffer: int) -> int:
    """
    Status of a path, following links: stat(2).
    """
    return _stat_path(process, AT_FDCWD, path, buffer, follow=True)


def lstat64(process: Process, path: int, buffer: int) -> int:
    """
    Status of a path, not following a last link: lstat(2).
    """
    return _stat_path(process, AT_FDCWD, path, buffer, follow=False)


def newfstatat(process: Process, directory: int, path: int, buffer: int, flags: int) -> int:
    """
    Status of a path relative to a directory: fstatat(2).
    """
    if flags & AT_EMPTY_PATH and not process.memory.string(path):
        return fstat64(process, directory, buffer)
    return _stat_path(process, directory, path, buffer, follow=not flags & AT_SYMLINK_NOFOLLOW)


def fstat64(process: Process, descriptor: int, buffer: int) -> int:
    """
    Status of an open file: fstat(2).
    """
    _put(process, buffer, descriptor_status(process, descriptor))
    return 0


@dataclass(frozen=True, slots=True)
class Status:
    """
    What the guest is told of a file: no number in it is the host's but size and time of a
    granted one. `mode` is that of stat(2), `size` in bytes.
    """

    mode: int
    size: int
    modified_ns: int
    serial: int


def descriptor_status(process: Process, descriptor: int) -> Status:
    """
    The status of an open file.
    """
    file = process.descriptors.get(descriptor)
    if isinstance(file, MemoryFile):
        return _node_status(file.node)
    if isinstance(file, PassedFile):
        return _granted_status(file.path, file.status, file.size())
    if isinstance(file, BrokeredFile):
        status = file.status()
        return _granted_status(file.path, status, status.size)
    if isinstance(file, DirectoryFile):
        found = process.files.resolve(file.path, "/", follow=False)
        return _found_status(process, found, follow=False)
    kind = S_IFSOCK | 0o777 if isinstance(file, Socket) else S_IFCHR | 0o620
    return Status(kind, 0, process.clock.wall_ns(), descriptor + 1)


def path_status(process: Process, directory: int, path: str, *, follow: bool) -> Status:
    """
    The status of a path given to an *at call.
    """
    found = process.resolve(directory, path, follow=follow)
    return _found_status(process, found, follow=follow)


def status(process: Process, path: str, *, follow: bool = True) -> wire.FileStatus:
    """
    The status of a path in the frames' words, for a client's file commands.
    """
    found = process.resolve(AT_FDCWD, path, follow=follow)
    if isinstance(found, Remote):
        return process.broker.stat(found.path, follow=follow)
    node = found.node
    if node is None:
        raise GuestFault(Errno.ENOENT)
    kinds = ((Directory, wire.KIND_DIRECTORY), (Link, wire.KIND_LINK), (File, wire.KIND_FILE))
    kind = next((kind for form, kind in kinds if isinstance(node, form)), wire.KIND_OTHER)
    size = len(node.data) if isinstance(node, File) else 0
    return wire.FileStatus(
        kind=kind, size=size, modified_ns=node.modified_ns, mode=node.mode & 0o777
    )


def _stat_path(process: Process, directory: int, path: int, buffer: int, *, follow: bool) -> int:
    process.memory.span(buffer, STAT.size)
    _put(process, buffer, path_status(process, directory, process.path(path), follow=follow))
    return 0


def _found_status(process: Process, found: Local | Remote, *, follow: bool) -> Status:
    if isinstance(found, Local):
        if found.node is None:
            raise GuestFault(Errno.ENOENT)
        return _node_status(found.node)
    status = process.broker.stat(found.path, follow=follow)
    return _granted_status(found.path, status, status.size)


def _node_status(node: Node) -> Status:
    size = 0
    if isinstance(node, File):
        size = len(node.data)
    elif isinstance(node, Link):
        size = len(node.target.encode("utf-8", "surrogateescape"))
    return Status(node.mode, size, node.modified_ns, node.serial)


def _granted_status(path: str, status: wire.FileStatus, size: int) -> Status:
    mode = _KIND_MODE.get(status.kind, S_IFCHR) | (status.mode & 0o777)
    return Status(mode, size, status.modified_ns, _serial(path))


def _put(process: Process, buffer: int, found: Status) -> None:
    """
    Fill a struct stat.
    """
    seconds, nanoseconds = divmod(found.modified_ns, 10**9)
    times = (seconds, nanoseconds) * 3
    blocks = min((found.size + 511) // 512, 2**31 - 1)
    numbers = (1, found.mode, 1, 1000, 1000, 0, found.size, _BLOCK, blocks)
    process.memory.write(buffer, STAT.pack(*numbers, *times, found.serial))


def faccessat(process: Process, directory: int, path: int, mode: int, _flags: int) -> int:
    """
    Whether a path may be accessed: faccessat(2). Writing asks for more than mode bits.
    """
    if mode & ~7:
        raise GuestFault(Errno.EINVAL)
    found = process.resolve_at(directory, path, follow=True)
    if isinstance(found, Local):
        if found.node is None:
            raise GuestFault(Errno.ENOENT)
        if mode & 2 and found.node.space is None and not isinstance(found.node, Device):
            raise GuestFault(Errno.EROFS)
        return 0
    status = process.broker.stat(found.path, follow=True)
    if mode & 2 and not status.mode & 0o200:
        raise GuestFault(Errno.EACCES)
    return 0


def statfs64(process: Process, path: int, size: int, buffer: int) -> int:
    """
    File system figures: the session's own budget, wherever the path leads. statfs(2).
    """
    found = process.resolve_at(AT_FDCWD, path, follow=True)
    if isinstance(found, Remote):
        process.broker.stat(found.path, follow=True)
    elif found.node is None:
        raise GuestFault(Errno.ENOENT)
    return _put_statfs(process, size, buffer)


def fstatfs64(process: Process, descriptor: int, size: int, buffer: int) -> int:
    """
    The same for an open file.
    """
    process.descriptors.get(descriptor)
    return _put_statfs(process, size, buffer)


def _put_statfs(process: Process, size: int, buffer: int) -> int:
    form = _STATFS_FORMS.get(size)
    if form is None:
        raise GuestFault(Errno.EINVAL)
    total = min(process.total.limit, 2**40) // _BLOCK
    free = max(0, min(process.total.limit, 2**40) - process.total.used) // _BLOCK
    # One more would be negative where a count has 32 bits.
    files = min(process.total.files, 2**31 - 1)
    counts = (total, free, free, files, max(0, files - process.total.files_used))
    words = (_SYNTHETIC, 0, NAME_MAX, _BLOCK, 0, 0, 0, 0, 0)
    process.memory.write(buffer, form.pack(_TMPFS, _BLOCK, *counts, *words))
    return 0


def getdents64(process: Process, descriptor: int, buffer: int, size: int) -> int:
    """
    Directory entries: getdents64(2). Records are 280 bytes, as Emscripten's are.
    """
    file = process.descriptors.get(descriptor)
    if not isinstance(file, DirectoryFile):
        raise GuestFault(Errno.ENOTDIR)
    if size < DIRENT.size:
        raise GuestFault(Errno.EINVAL)
    entries = file.entries()[file.position :][: size // DIRENT.size]
    process.memory.span(buffer, len(entries) * DIRENT.size)
    records = bytearray()
    for index, (name, kind, serial) in enumerate(entries, file.position + 1):
        encoded = name.encode("utf-8", "surrogateescape")
        records += DIRENT.pack(serial, index, DIRENT.size, kind, encoded[:255])
    process.memory.write(buffer, records)
    file.position += len(entries)
    return len(records)


# ---- links ------------------------------------------------------------------------------


def readlinkat(process: Process, directory: int, path: int, buffer: int, size: int) -> int:
    """
    The target of a link: readlinkat(2). `/dev/denial` tells why the last call was refused, and
    below `/dev/socket/pair` two sockets are made, below `/dev/transaction` changes committed.
    """
    name = process.path(path)
    if size == 0:
        raise GuestFault(Errno.EINVAL)
    # Before a pair is made that nobody would learn of.
    process.memory.span(buffer, size)
    if name.startswith(network.PAIR):
        data = network.asked_pair(process, name)
    elif name.startswith(transactions.ASKED):
        data = transactions.answer(process, name)
    else:
        data = link_target(process, directory, name)
    process.memory.write(buffer, data[:size])
    return len(data[:size])


def link_target(process: Process, directory: int, path: str) -> bytes:
    """
    The target of a link by name, or for `/dev/denial` the last refusal, which is then forgotten.
    """
    found = process.resolve(directory, path, follow=False)
    if isinstance(found, Remote):
        target = process.broker.read_link(found.path)
    elif isinstance(found.node, Link):
        target = found.node.target
    elif isinstance(found.node, Device) and found.node.name == _DENIAL_LINK:
        return _take_denial(process)
    else:
        raise GuestFault(Errno.EINVAL if found.node is not None else Errno.ENOENT)
    return target.encode("utf-8", "surrogateescape")


def _take_denial(process: Process) -> bytes:
    denial, process.denial = process.denial, None
    return f"{int(denial.errno)} {denial.reason}".encode() if denial else b"0 "
