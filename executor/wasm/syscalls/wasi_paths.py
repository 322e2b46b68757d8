"""
WASI preview 1 on paths: arguments and structs around the acts of the other files.

Paths come as pointer and length, flags in three words, and what a program wants to do with a
file in the rights that it asks for. Everything is decided where Emscripten's calls are: by the
tree in memory, and by the gate for granted directories. The root is preopened, and `..` is
followed as POSIX follows it: nothing of the host lies above the guest's root, and what a path
leads to is decided where it ends.
"""

from executor.wasm.abi import PATH_MAX, Errno, GuestFault, Open
from executor.wasm.openfiles import DirectoryFile
from executor.wasm.process import Process
from executor.wasm.syscalls import changes, paths, transactions, wasi_sockets
from executor.wasm.syscalls.wasi_abi import (
    FILESTAT,
    DescriptorFlag,
    Lookup,
    OpenFlag,
    Right,
)
from executor.wasm.syscalls.wasi_files import (
    SETTABLE,
    known,
    modification_time,
    open_flags,
    put_filestat,
)

# The mode of what is made, before the umask: preview 1 has no argument for it.
_FILE_MODE, _DIRECTORY_MODE = 0o666, 0o777


def _path(process: Process, directory: int, pointer: int, length: int) -> str:
    """
    A path given by pointer and length, for an open directory; bytes that are no UTF-8 become
    surrogates.

    Raises GuestFault: EBADF where nothing is open, ENAMETOOLONG beyond PATH_MAX bytes, and EPERM
    for an absolute path, which preview 1 does not have.
    """
    process.descriptors.get(directory)
    process.memory.span(pointer, length)
    if length > PATH_MAX:
        raise GuestFault(Errno.ENAMETOOLONG)
    text = process.memory.read(pointer, length).decode("utf-8", "surrogateescape")
    if text.startswith("/"):
        raise GuestFault(Errno.EPERM)
    return text


def _follow(flags: int) -> bool:
    return bool(known(flags, sum(Lookup)))


def path_open(
    process: Process,
    directory: int,
    lookup: int,
    path: int,
    length: int,
    flags: int,
    rights: int,
    _inherited: int,
    modes: int,
    result: int,
) -> int:
    """
    Open a file or directory: openat(2). The access mode is in the rights that are asked for.
    """
    name = _path(process, directory, path, length)
    wanted = _wanted(lookup, flags, rights, modes)
    process.memory.span(result, 4)
    process.descriptors.require_room()
    file = paths.open_path(process, directory, name, wanted, _FILE_MODE)
    process.memory.put_u32(result, process.descriptors.add(file))
    return 0


_OPEN_FLAGS = {
    OpenFlag.CREAT: Open.CREAT,
    OpenFlag.DIRECTORY: Open.DIRECTORY,
    OpenFlag.EXCL: Open.EXCL,
    OpenFlag.TRUNC: Open.TRUNC,
}


def _wanted(lookup: int, flags: int, rights: int, modes: int) -> Open:
    """
    The flags of open(2) that say the same. Writing is not asked of a directory, whatever the
    rights: programs name all that they know of.
    """
    asked = OpenFlag(known(flags, sum(OpenFlag)))
    wanted = open_flags(DescriptorFlag(known(modes, SETTABLE)))
    for ours, theirs in _OPEN_FLAGS.items():
        wanted |= theirs if ours in asked else Open(0)
    if not _follow(lookup):
        wanted |= Open.NOFOLLOW
    if Right.FD_WRITE & rights and OpenFlag.DIRECTORY not in asked:
        wanted |= Open.RDWR if Right.FD_READ & rights else Open.WRONLY
    return wanted


def path_filestat_get(
    process: Process, directory: int, lookup: int, path: int, length: int, buffer: int
) -> int:
    """
    Status of a path: fstatat(2).
    """
    process.memory.span(buffer, FILESTAT.size)
    name = _path(process, directory, path, length)
    found = paths.path_status(process, directory, name, follow=_follow(lookup))
    put_filestat(process, buffer, found)
    return 0


def path_filestat_set_times(
    process: Process,
    directory: int,
    lookup: int,
    path: int,
    length: int,
    _accessed: int,
    modified: int,
    flags: int,
) -> int:
    """
    Set the time of last modification of a path: utimensat(2).
    """
    name = _path(process, directory, path, length)
    stamp = modification_time(process, modified, flags)
    changes.touch_path(process, directory, name, stamp, follow=_follow(lookup))
    return 0


def path_readlink(
    process: Process, directory: int, path: int, length: int, buffer: int, size: int, result: int
) -> int:
    """
    The target of a link, cut at `size`: readlinkat(2). What sockets need is asked for so, too.
    """
    name = _path(process, directory, path, length)
    process.memory.span(buffer, size)
    process.memory.span(result, 4)
    if name.startswith(wasi_sockets.ASKED) and _is_root(process, directory):
        data = wasi_sockets.answer(process, name)[:size]
    elif f"/{name}".startswith(transactions.ASKED) and _is_root(process, directory):
        data = transactions.answer(process, f"/{name}")[:size]
    else:
        data = paths.link_target(process, directory, name)[:size]
    process.memory.write(buffer, data)
    process.memory.put_u32(result, len(data))
    return 0


def _is_root(process: Process, directory: int) -> bool:
    file = process.descriptors.get(directory)
    return isinstance(file, DirectoryFile) and file.path == "/"


def path_create_directory(process: Process, directory: int, path: int, length: int) -> int:
    """
    Make a directory: mkdirat(2).
    """
    changes.make_directory(
        process, directory, _path(process, directory, path, length), _DIRECTORY_MODE
    )
    return 0


def path_remove_directory(process: Process, directory: int, path: int, length: int) -> int:
    """
    Remove an empty directory: rmdir(2).
    """
    changes.remove(process, directory, _path(process, directory, path, length), folder=True)
    return 0


def path_unlink_file(process: Process, directory: int, path: int, length: int) -> int:
    """
    Remove a file: unlinkat(2).
    """
    changes.remove(process, directory, _path(process, directory, path, length), folder=False)
    return 0


def path_rename(
    process: Process, old_at: int, old: int, old_length: int, new_at: int, new: int, new_length: int
) -> int:
    """
    Rename: renameat(2).
    """
    source = (old_at, _path(process, old_at, old, old_length))
    changes.rename(process, source, (new_at, _path(process, new_at, new, new_length)))
    return 0


def path_symlink(
    process: Process, target: int, target_length: int, directory: int, path: int, length: int
) -> int:
    """
    Make a symbolic link: symlinkat(2). Its target may be absolute: it leads to the guest's root.
    """
    if target_length > PATH_MAX:
        raise GuestFault(Errno.ENAMETOOLONG)
    text = process.memory.read(target, target_length).decode("utf-8", "surrogateescape")
    changes.make_link(process, text, directory, _path(process, directory, path, length))
    return 0


def path_link(
    process: Process,
    old_at: int,
    _lookup: int,
    old: int,
    old_length: int,
    new_at: int,
    new: int,
    new_length: int,
) -> int:
    """
    Make a hard link: linkat(2) on a file system without them.
    """
    for directory, path, length in ((old_at, old, old_length), (new_at, new, new_length)):
        _path(process, directory, path, length)
    process.note("path_link", Errno.EPERM)
    raise GuestFault(Errno.EPERM, "hard links cannot be made here; copy the file")
