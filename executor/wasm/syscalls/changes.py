"""
System calls that change the tree: make, remove, rename, permissions, times, sizes, directory.
"""

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import (
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_NOFOLLOW,
    Errno,
    GuestFault,
    Open,
)
from executor.wasm.nodes import Directory, File, Local, Node, Remote
from executor.wasm.openfiles import BrokeredFile, DirectoryFile, MemoryFile
from executor.wasm.process import Process
from executor.wasm.syscalls.paths import open_remote

# Rights by which a file is run, or does more than its bytes (chmod(2)).
_EXECUTE, _SPECIAL = 0o111, 0o7000


def mkdirat(process: Process, directory: int, path: int, mode: int) -> int:
    """
    Make a directory: mkdirat(2).
    """
    make_directory(process, directory, process.path(path), mode)
    return 0


def make_directory(process: Process, directory: int, path: str, mode: int) -> None:
    """
    Make a directory by name, in memory or in a granted mount.
    """
    found = process.resolve_name(directory, path)
    if isinstance(found, Local):
        process.files.make_directory(found, mode & ~process.umask)
    else:
        process.broker.make_directory(found.path)


def unlinkat(process: Process, directory: int, path: int, flags: int) -> int:
    """
    Remove a file, or with AT_REMOVEDIR a directory: unlinkat(2).
    """
    folder = bool(flags & AT_REMOVEDIR)
    remove(process, directory, process.path(path), folder=folder)
    return 0


def rmdir(process: Process, path: int) -> int:
    """
    Remove an empty directory: rmdir(2).
    """
    remove(process, AT_FDCWD, process.path(path), folder=True)
    return 0


def remove(process: Process, directory: int, path: str, *, folder: bool) -> None:
    """
    Remove a file, or with `folder` an empty directory, by name.
    """
    found = process.resolve_name(directory, path)
    if isinstance(found, Remote):
        process.broker.remove(found.path, directory=folder)
    elif folder:
        process.files.remove_directory(found)
    else:
        process.files.remove_file(found)


def renameat(process: Process, old_at: int, old: int, new_at: int, new: int) -> int:
    """
    Rename: renameat(2).
    """
    rename(process, (old_at, process.path(old)), (new_at, process.path(new)))
    return 0


def rename(process: Process, old: tuple[int, str], new: tuple[int, str]) -> None:
    """
    Rename a name, each given as (directory, path). Between memory and a mount it is EXDEV, as
    between file systems.
    """
    source = process.resolve_name(*old)
    target = process.resolve_name(*new)
    if isinstance(source, Local) and isinstance(target, Local):
        process.files.rename(source, target)
    elif isinstance(source, Remote) and isinstance(target, Remote):
        process.broker.rename(source.path, target.path)
    else:
        raise GuestFault(Errno.EXDEV)


def symlinkat(process: Process, target: int, directory: int, path: int) -> int:
    """
    Make a symbolic link: symlinkat(2).
    """
    make_link(process, process.path(target), directory, process.path(path))
    return 0


def make_link(process: Process, target: str, directory: int, path: str) -> None:
    """
    Make a symbolic link by name. On a granted host directory it is refused.
    """
    found = process.resolve_name(directory, path)
    if isinstance(found, Remote):
        raise GuestFault(Errno.EPERM, "symbolic links cannot be made in a granted directory")
    process.files.make_link(found, target)


def chmod(process: Process, path: int, mode: int) -> int:
    """
    Change permission bits: chmod(2). In memory they are kept; in a mount nothing changes, and
    what would let a file be run is refused.
    """
    return _chmod(process, process.resolve_at(AT_FDCWD, path, follow=True), mode)


def fchmodat2(process: Process, directory: int, path: int, mode: int, flags: int) -> int:
    """
    The same, relative to a directory: fchmodat(2).
    """
    follow = not flags & AT_SYMLINK_NOFOLLOW
    return _chmod(process, process.resolve_at(directory, path, follow=follow), mode)


def _chmod(process: Process, found: Local | Remote, mode: int) -> int:
    if isinstance(found, Remote):
        kind = process.broker.stat(found.path, follow=True).kind
        special = _SPECIAL if kind == wire.KIND_DIRECTORY else _SPECIAL | _EXECUTE
        if mode & special or found.mount is None or not found.mount.writable:
            raise GuestFault(Errno.EPERM, "permission bits of granted files cannot be changed")
        # As vfat: what copies files copies rights too, and must not fail by it.
        return 0
    return _chmod_node(found.node, mode)


def _chmod_node(node: Node | None, mode: int) -> int:
    if node is None:
        raise GuestFault(Errno.ENOENT)
    if node.space is None:
        raise GuestFault(Errno.EROFS)
    node.mode = node.mode & ~0o777 | mode & 0o777
    return 0


def fchmod(process: Process, descriptor: int, mode: int) -> int:
    """
    The same for an open file: fchmod(2).
    """
    file = process.descriptors.get(descriptor)
    if isinstance(file, MemoryFile):
        return _chmod_node(file.node, mode)
    raise GuestFault(Errno.EPERM, "permission bits of this file cannot be changed")


def utimensat(process: Process, directory: int, path: int, times: int, flags: int) -> int:
    """
    Set the time of last modification: utimensat(2). The time of access is not kept.
    """
    stamp = _modified(process, times)
    if path == 0:
        touch_descriptor(process, directory, stamp)
    else:
        follow = not flags & AT_SYMLINK_NOFOLLOW
        touch_path(process, directory, process.path(path), stamp, follow=follow)
    return 0


def touch_path(
    process: Process, directory: int, path: str, stamp: int | None, *, follow: bool
) -> None:
    """
    Set the time of last modification of a path, in nanoseconds; None leaves it.
    """
    found = process.resolve(directory, path, follow=follow)
    if isinstance(found, Local):
        _touch(found.node, stamp)
    elif stamp is not None:
        process.broker.set_times(found.path, stamp)


def touch_descriptor(process: Process, descriptor: int, stamp: int | None) -> None:
    """
    The same for an open file.
    """
    file = process.descriptors.get(descriptor)
    if isinstance(file, MemoryFile):
        _touch(file.node, stamp)
    elif isinstance(file, BrokeredFile) and stamp is not None:
        process.broker.set_times(file.path, stamp)
    else:
        raise GuestFault(Errno.EPERM)


def _touch(node: Node | None, stamp: int | None) -> None:
    if node is None:
        raise GuestFault(Errno.ENOENT)
    if node.space is None:
        raise GuestFault(Errno.EROFS)
    if stamp is not None:
        node.modified_ns = stamp


def _modified(process: Process, times: int) -> int | None:
    """
    The modification time of a pair of timespecs, each (i64 seconds, i32 nanoseconds, padding).
    """
    now, omit = 0x3FFFFFFF, 0x3FFFFFFE
    if times == 0:
        return process.clock.wall_ns()
    data = process.memory.read(times, 32)[16:]
    seconds = int.from_bytes(data[:8], "little", signed=True)
    nanoseconds = int.from_bytes(data[8:12], "little")
    if nanoseconds == now:
        return process.clock.wall_ns()
    if nanoseconds == omit:
        return None
    if nanoseconds >= 10**9 or not 0 <= seconds < 2**33:
        raise GuestFault(Errno.EINVAL)
    return seconds * 10**9 + nanoseconds


def truncate64(process: Process, path: int, length: int) -> int:
    """
    Set a file's size: truncate(2).
    """
    if length >> 63:
        raise GuestFault(Errno.EINVAL)
    found = process.resolve_at(AT_FDCWD, path, follow=True)
    if isinstance(found, Remote):
        file = open_remote(process, found, Open.WRONLY)
        try:
            file.truncate(length)
        finally:
            file.close()
        return 0
    if isinstance(found.node, Directory):
        raise GuestFault(Errno.EISDIR)
    if not isinstance(found.node, File):
        raise GuestFault(Errno.ENOENT if found.node is None else Errno.EINVAL)
    process.files.resize(found.node, length)
    return 0


# ---- where the process is ---------------------------------------------------------------------


def chdir(process: Process, path: int) -> int:
    """
    Change the working directory: chdir(2).
    """
    found = process.resolve_at(AT_FDCWD, path, follow=True)
    if isinstance(found, Remote):
        if process.broker.stat(found.path, follow=True).kind != wire.KIND_DIRECTORY:
            raise GuestFault(Errno.ENOTDIR)
        process.directory = found.path
    elif isinstance(found.node, Directory):
        process.directory = found.full_path
    else:
        raise GuestFault(Errno.ENOENT if found.node is None else Errno.ENOTDIR)
    return 0


def fchdir(process: Process, descriptor: int) -> int:
    """
    The same by an open directory: fchdir(2).
    """
    file = process.descriptors.get(descriptor)
    if not isinstance(file, DirectoryFile):
        raise GuestFault(Errno.ENOTDIR)
    process.directory = file.path
    return 0


def getcwd(process: Process, buffer: int, size: int) -> int:
    """
    The working directory: getcwd(2).
    """
    data = process.directory.encode("utf-8", "surrogateescape") + b"\0"
    if size < len(data):
        raise GuestFault(Errno.ERANGE)
    process.memory.write(buffer, data)
    return len(data)


def set_umask(process: Process, mask: int) -> int:
    """
    Set the file mode creation mask and return the old one: umask(2).
    """
    old, process.umask = process.umask, mask & 0o777
    return old
