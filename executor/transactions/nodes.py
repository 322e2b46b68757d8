"""
The objects of a base tree: what they were when a session first had to do with them.

Whether one has changed since is told by everything that fstat(2) tells of its content, by its
change time too, which no program can set; and for what the session changes, and for what it reads
up to 1 MiB, by the digest as well, because a file system's clock may be too coarse to tell two
changes apart. A directory is the same as long as it is that directory: what is in it is looked at
name by name.
"""

import errno
import hashlib
import os
from dataclasses import dataclass
from stat import S_IMODE, S_ISDIR, S_ISREG
from typing import Final

from executor.kernel.descriptors import Descriptor
from executor.kernel.errors import GuestError
from executor.transactions.places import held_at

MOST_DIGESTED_AT_OPEN: Final = 2**20
"""Bytes up to which a file that is only read has a digest."""
_BLOCK: Final = 2**20
_REGULAR: Final = os.O_RDONLY | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Node:
    """
    A regular file or a directory as it was. `digest` is SHA-256 in hex, or empty where none was
    taken; `mode` are the permission bits, `owner` the numbers of user and group.
    """

    directory: bool
    identity: tuple[int, ...]
    digest: str
    mode: int
    owner: tuple[int, int]
    size: int = 0

    def differs(self, now: "Node | None") -> bool:
        """
        Whether the object is another one now, or has other content.
        """
        if now is None or self.directory != now.directory or self.identity != now.identity:
            return True
        return bool(self.digest and now.digest) and self.digest != now.digest


def look(root: Descriptor, path: str, *, most: int | None = None) -> Node | None:
    """
    What is at `path` below `root` now; None where nothing is.

    Files longer than `most` bytes get no digest. Raises OSError, and GuestError as `node_of` does.
    """
    try:
        with held_at(root, path) as held:
            return node_of(held, path, most=most)
    except (FileNotFoundError, NotADirectoryError):
        return None


def node_of(held: Descriptor, path: str, *, most: int | None = None) -> Node:
    """
    The object that is held (also by O_PATH) as a node.

    Raises GuestError: EPERM where it is neither a regular file nor a directory, EBUSY where it
    changed while it was read.
    """
    status = held.status()
    if S_ISDIR(status.st_mode):
        return _node(status, "")
    if not S_ISREG(status.st_mode):
        raise GuestError(errno.EPERM, f"{path}: a transaction has regular files and directories")
    if most is not None and status.st_size > most:
        return _node(status, "")
    with held.reopen(_REGULAR) as opened:
        return read_node(opened, path)


def read_node(opened: Descriptor, path: str) -> Node:
    """
    A file that is open for reading, with the digest of its content. Raises GuestError (EBUSY).
    """
    before = opened.status()
    digest = digest_of(opened.number)
    node = _node(opened.status(), digest)
    if _node(before, digest) != node:
        raise GuestError(errno.EBUSY, f"{path} is being changed by somebody else; try again")
    return node


def unread_node(opened: Descriptor) -> Node:
    """
    A file as fstat(2) tells it, without a digest.
    """
    return _node(opened.status(), "")


def digest_of(number: int) -> str:
    """
    SHA-256 of an open file, in hex; its position stays where it was.
    """
    digest, offset = hashlib.sha256(), 0
    while block := os.pread(number, _BLOCK, offset):
        digest.update(block)
        offset += len(block)
    return digest.hexdigest()


def _node(status: os.stat_result, digest: str) -> Node:
    directory = S_ISDIR(status.st_mode)
    identity: tuple[int, ...] = (status.st_dev, status.st_ino)
    if not directory:
        identity += (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    owner = (status.st_uid, status.st_gid)
    size = 0 if directory else status.st_size
    return Node(directory, identity, digest, S_IMODE(status.st_mode) & 0o777, owner, size)
