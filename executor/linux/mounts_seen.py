"""
Looking at the mounts of another process without learning their names.

Whoever makes boxes by forking is seen by all of them: what it has read once, also what it has let
go of since, can be found in the memory of each box that it makes later. So the kernel's text lies
in memory that is erased here, and what comes out has digests in the place of names; whoever knows
a name can tell whether it is the same. They keep names out of memory. They hide none from somebody
who guesses it, and need not.

Sources: proc_pid_mountinfo(5), Linux `fs/proc_namespace.c` (show_mountinfo).
"""

import hashlib
import mmap
import os
import re
from dataclasses import dataclass

from executor.linux.errors import MechanismFailed, asking

MECHANISM = "mounts"

# One line, and the characters that are escaped in it: the number of the mount, of its parent, of
# its device; what of the file system is mounted; where; the options; optional fields; the kind.
_MOUNT = re.compile(rb"^\d+ \d+ \d+:\d+ \S+ (\S+) (\S+) [^\n]*?- (\S+) [^\n]*$", re.MULTILINE)
_WRITTEN = re.compile(r"[ \t\n\\]")
_SLASH = ord("/")
_LEAST, _MOST = 1 << 16, 1 << 24


@dataclass(frozen=True, slots=True)
class Seen:
    """
    A mount: digests (`digest_of`) of where it is and of each directory above that but the root,
    the nearest last; its options and the kind of its file system.
    """

    place: str
    above: tuple[str, ...]
    options: frozenset[str]
    kind: str


def look(pid: int) -> tuple[Seen, ...]:
    """
    The mounts that process `pid` sees, in the order in which they were made.

    Raises MechanismFailed when its mountinfo cannot be read, or has more than 16 MiB.
    """
    size = _LEAST
    while size <= _MOST:
        # Memory of its own, which goes back to the kernel: no copy is left, nor a page written that
        # boxes share.
        room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            if _has_room(f"/proc/{pid}/mountinfo", room):
                return tuple(_seen(room, found) for found in _MOUNT.finditer(room))
        finally:
            room.madvise(mmap.MADV_DONTNEED)
        size *= 4
    raise MechanismFailed(MECHANISM, f"more than {_MOST} bytes of them; show fewer trees")


def digest_of(place: str) -> str:
    """
    What stands for the absolute path `place`.
    """
    written = _WRITTEN.sub(lambda found: f"\\{ord(found[0]):03o}", place)
    return _digest(os.fsencode(written))


def _digest(written: bytes | memoryview) -> str:
    return hashlib.blake2b(written, digest_size=8).hexdigest()


def _has_room(path: str, room: mmap.mmap) -> bool:
    """
    Read a file into `room`; whether that holds all of it, and more.
    """
    with asking(MECHANISM, f"reading {path}", "mount /proc"), memoryview(room) as view:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            at = 0
            while at < len(room):
                count = os.readv(file, [view[at:]])
                if not count:
                    return True
                at += count
        finally:
            os.close(file)
    return False


def _seen(room: mmap.mmap, found: re.Match[bytes]) -> Seen:
    first, last = found.span(1)
    with memoryview(room) as view:
        steps = (at for at in range(first + 1, last) if view[at] == _SLASH)
        above = tuple(_digest(view[first:at]) for at in steps)
        place = _digest(view[first:last])
    options = found[2].decode("ascii").split(",")
    return Seen(place, above, frozenset(options), found[3].decode("ascii"))
