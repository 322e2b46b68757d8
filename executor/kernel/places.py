"""
Places: what a guest path turned out to mean, held so that it cannot come to mean anything else.
"""

import os
import stat
from dataclasses import dataclass
from enum import Enum

from executor.kernel.descriptors import Closing, Descriptor
from executor.kernel.errors import GuestError
from executor.kernel.ready import Ready
from policy.requests import FileAction, FileRequest
from policy.types import Decision, FileGrant


class Kind(Enum):
    """
    What an object is; the value is the word in messages.
    """

    FILE = "regular file"
    DIRECTORY = "directory"
    LINK = "symbolic link"
    FIFO = "FIFO"
    SOCKET = "socket"
    DEVICE = "device"

    # By identity: every status that is told is looked up by its kind.
    __hash__ = object.__hash__

    @classmethod
    def of(cls, status: os.stat_result) -> "Kind":
        """
        The kind that the mode of stat(2) tells; what is unknown counts as a device.
        """
        return _KINDS.get(stat.S_IFMT(status.st_mode), cls.DEVICE)


_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.LINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
}


@dataclass(frozen=True, slots=True)
class FileStat:
    """
    What a guest may learn of an object; every other field of stat(2) is made up in the worker.

    `size` is in bytes and 0 for all but regular files (a directory's tells the file system, a
    link's the length of a host path), `mtime_ns` nanoseconds since 1970, `mode` the owner's
    three bits (0 to 7 shifted by 6), without the write bit where the grant is for reading.
    """

    kind: Kind
    size: int
    mtime_ns: int
    mode: int

    @classmethod
    def of(cls, status: os.stat_result, grant: FileGrant) -> "FileStat":
        """
        The part of `status` that an object below `grant` shows.
        """
        kind = Kind.of(status)
        kept = stat.S_IRWXU if grant.access.writes else stat.S_IRUSR | stat.S_IXUSR
        size = status.st_size if kind is Kind.FILE else 0
        return cls(kind, size, status.st_mtime_ns, status.st_mode & kept)


@dataclass(frozen=True, slots=True)
class Place(Closing):
    """
    A guest path that has been resolved and allowed for `actions`, and for nothing else.

    `requested` is the path as asked, `final` the guest path after its links. `parent` holds the
    directory in which `name` stands (None for the root of the mount); `target` holds the object
    with O_PATH, and is None, like `status`, where the name does not exist. `link` is the text of
    the symbolic link that the requested name itself was, if it was one and was followed.
    `decisions` are in the order in which they were asked: requested name, then final name.

    A place owns its descriptors: use it in a `with` statement, or close it.
    """

    grant: FileGrant
    requested: str
    final: str
    actions: tuple[FileAction, ...]
    decisions: tuple[Decision, ...]
    parent: Descriptor | None
    name: bytes
    target: Descriptor | None
    status: os.stat_result | None
    link: str | None

    @property
    def kind(self) -> Kind | None:
        """
        What the object is, or None where the name does not exist.
        """
        return None if self.status is None else Kind.of(self.status)

    @property
    def is_ready(self) -> bool:
        """
        Whether it was found in memory, on a file system where opening it to read waits for nothing.
        """
        return isinstance(self.target or self.parent, Ready)

    def fails(self, number: int) -> GuestError:
        """
        The error with which the first of `actions` ends on this place.
        """
        return GuestError.of(number, str(FileRequest(self.actions[0], self.requested)))

    def close(self) -> None:
        """
        Let go of the object and its directory.
        """
        for held in (self.parent, self.target):
            if held is not None:
                held.close()
