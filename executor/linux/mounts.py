"""
Mounts held by descriptor: made apart, restricted, and only then put where they can be seen.

The older mount(2) takes flags for a bind in a second call, so for a moment the tree is there
without them, and it resolves a path anew each time. Here a tree is opened once, its attributes
are set on the descriptor, and what is attached is what was checked.

Sources: open_tree(2), fsopen(2), fsconfig(2), fsmount(2), move_mount(2), mount_setattr(2),
pivot_root(2), openat2(2), proc_pid_mountinfo(5),
fuse(4).
"""

import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag

from executor.linux import proc
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.linux.libc import call

MECHANISM = "mounts"

_HERE = (1 << 64) - 100  # AT_FDCWD as an unsigned register
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_SET_STRING = 1
_CREATE = 6
_MOVE_FROM_EMPTY_PATH = 0x4
_MNT_DETACH = 2
_PRIVATE = 1 << 18
_FUSE = "/dev/fuse"
_LONGEST_READ = 1 << 20
_FUSE_NUMBER = os.makedev(10, 229)
# struct open_how: flags, mode, resolve; RESOLVE_NO_MAGICLINKS and RESOLVE_NO_SYMLINKS.
_OPEN_HOW = struct.Struct("=3Q")
_RESOLVE_NO_LINKS = 0x02 | 0x04
# struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
_ATTRIBUTES = struct.Struct("=4Q")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_MEND = "use Linux 5.12 or later, where the user namespace may mount (AppArmor, container profile)"


class Attribute(IntFlag):
    """
    What a mount forbids, with the kernel's bits.
    """

    READ_ONLY = 0x1
    NO_SET_ID = 0x2
    NO_DEVICES = 0x4
    NO_EXECUTION = 0x8


_NOTHING = Attribute(0)


@dataclass(frozen=True, slots=True)
class Mount:
    """
    One line of mountinfo: where it is, what of its file system's tree (`root`), its options.
    """

    place: str
    root: str
    options: frozenset[str]
    kind: str
    super_options: frozenset[str]


def isolate() -> None:
    """
    Let no mount of this namespace reach another one, nor the other way round.

    Raises MechanismMissing where the user namespace has no rights (some distributions take
    them from programs that they do not know).
    """
    try:
        _set_attributes(_HERE, b"/", _NOTHING, _PRIVATE, recursive=True)
    except MechanismFailed as error:
        raise MechanismMissing("user namespace", f"without the right to mount: {error}") from error


def copy_tree(path: str) -> int:
    """
    A detached copy of the mounts at `path` (absolute) and below; no link on the way is followed.

    Returns its descriptor, close-on-exec. Raises MechanismFailed when it is not there, cannot be
    reached, or a link stands in the way: it could say something else tomorrow.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE | _AT_EMPTY_PATH
    with asking(MECHANISM, "opening the tree {}", _MEND, path):
        place = _without_links(path)
        try:
            return call("open_tree", place, b"", flags)
        finally:
            os.close(place)


def memory_file_system(size: int, files: int, mode: int, attributes: Attribute) -> int:
    """
    A detached tmpfs of `size` bytes and `files` inodes (1 or more), its root of `mode`.

    Owned by the calling user. Returns its descriptor, close-on-exec.
    """
    options = {b"size": b"%d" % size, b"nr_inodes": b"%d" % files, b"mode": b"%o" % mode}
    with asking(MECHANISM, "making a tmpfs of {} bytes and {} files", _MEND, size, files):
        return _file_system(b"tmpfs", options, attributes)


def fuse_device() -> int:
    """
    The descriptor, close-on-exec, of a new end that answers for a file system.

    To be opened in the user namespace that will mount it. Raises MechanismMissing where this user
    may not open the device, or something else stands there.
    """
    try:
        opened = os.open(_FUSE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise MechanismMissing(
            "FUSE", f"opening {_FUSE}: {error.strerror}; load the module, let this user open it"
        ) from error
    if os.fstat(opened).st_rdev != _FUSE_NUMBER:
        os.close(opened)
        raise MechanismMissing("FUSE", f"{_FUSE} is another device; mend /dev")
    return opened


def fuse_file_system(device: int, owner: int, attributes: Attribute) -> int:
    """
    A detached file system whose requests are answered at `device`, for user and group `owner`.

    `owner` is a number of the calling user namespace. Nothing looks into it until somebody
    answers. Returns its descriptor, close-on-exec.
    """
    options = {
        b"source": b"served",
        b"fd": b"%d" % device,
        b"rootmode": b"40000",
        b"user_id": b"%d" % owner,
        b"group_id": b"%d" % owner,
        b"max_read": b"%d" % _LONGEST_READ,
    }
    with asking(MECHANISM, "making a FUSE file system", _MEND):
        return _file_system(b"fuse", options, attributes)


def _file_system(kind: bytes, options: Mapping[bytes, bytes], attributes: Attribute) -> int:
    context = call("fsopen", kind, _FSOPEN_CLOEXEC)
    try:
        for key, value in options.items():
            call("fsconfig", context, _SET_STRING, key, value, 0)
        call("fsconfig", context, _CREATE)
        return call("fsmount", context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def restrict(mount: int, attributes: Attribute) -> None:
    """
    Set `attributes` on the mount held by `mount` and on all below it.
    """
    _set_attributes(mount, b"", attributes, 0, recursive=True)


def restrict_alone(mount: int, attributes: Attribute) -> None:
    """
    Set `attributes` on the mount held by `mount`, and on none below it.
    """
    _set_attributes(mount, b"", attributes, 0, recursive=False)


def attach(mount: int, directory: int | None, path: str) -> None:
    """
    Put the detached `mount` at `path` below the descriptor `directory` (None: absolute).
    """
    below = _HERE if directory is None else directory
    with asking(MECHANISM, "attaching a mount at {}", _MEND, path):
        call("move_mount", mount, b"", below, os.fsencode(path), _MOVE_FROM_EMPTY_PATH)


def enter(root: int) -> None:
    """
    Make the attached mount `root` the root of everything, and let go of all mounts before it.

    The working directory is then the new root.
    """
    with asking(MECHANISM, "changing the root", _MEND):
        os.fchdir(root)
        # The old root comes to lie on the new one, under the same name: pivot_root(2), NOTES.
        call("pivot_root", b".", b".")
        call("umount2", b".", _MNT_DETACH)
        os.chdir("/")


def mounted(pid: int | None = None) -> tuple[Mount, ...]:
    """
    The mounts that process `pid` sees, or this one, in the order in which they were made.

    Raises MechanismFailed when its mountinfo cannot be read.
    """
    path = f"/proc/{'self' if pid is None else pid}/mountinfo"
    with asking(MECHANISM, "reading {}", "mount /proc", path):
        lines = proc.read(path).decode("utf-8", "surrogateescape").splitlines()
    return tuple(_parsed(line) for line in lines)


def _without_links(path: str) -> int:
    how = _OPEN_HOW.pack(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_LINKS)
    return call("openat2", _HERE, os.fsencode(path), how, _OPEN_HOW.size)


def _parsed(line: str) -> Mount:
    before, _, after = line.partition(" - ")
    _, _, _, root, place, options, *_ = before.split(" ")
    kind, _, super_options = after.split(" ", 2)
    return Mount(
        place=_unescaped(place),
        root=_unescaped(root),
        options=frozenset(options.split(",")),
        kind=kind,
        super_options=frozenset(super_options.split(",")),
    )


def _unescaped(text: str) -> str:
    # Space, tab, newline and backslash are written as three octal digits.
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)), text)


def _set_attributes(
    descriptor: int, path: bytes, attributes: Attribute, propagation: int, *, recursive: bool
) -> None:
    wanted = _ATTRIBUTES.pack(attributes, 0, propagation, 0)
    flags = (0 if path else _AT_EMPTY_PATH) | (_AT_RECURSIVE if recursive else 0)
    with asking(MECHANISM, "restricting a mount to {!r}", _MEND, attributes):
        call("mount_setattr", descriptor, path, flags, wanted, _ATTRIBUTES.size)
