"""
What the kernel knows of one served mount: names by number, and open files by number.

A node is a name below its directory, not an object of the host: its path is asked of the gate
again for everything that is done with it. It lives as long as the kernel counts lookups of it.
Renaming moves the node and, because paths are put together from parents, all that is below it.
A name that is removed leaves its node without a path; what is open of it stays usable.

Both tables are bounded: the guest makes entries in them by looking around.
"""

import errno
import hashlib
import os
from dataclasses import dataclass, field
from itertools import count

from executor.process.fuse_protocol import ROOT

# Of one session, in all its mounts; and of all sessions together.
NODES_MAX = 2**17
ALL_NODES_MAX = 2**19
FILES_MAX = 2**12


class Fault(Exception):
    """
    What a request is answered with in place of a result: an errno, and words for who asks later.
    """

    def __init__(self, number: int, reason: str = "") -> None:
        super().__init__(reason or os.strerror(number))
        self.number = number


@dataclass(slots=True, eq=False)
class Node:
    """
    One name. `lookups` is how often the kernel was told of it; `kind` a `wire.Kind`.
    """

    number: int
    parent: "Node | None"
    name: str
    kind: int
    lookups: int = 0
    gone: bool = False
    files: "list[OpenFile]" = field(default_factory=list)


@dataclass(slots=True, eq=False)
class OpenFile:
    """
    One open file or directory: a descriptor to read it, the server's number for it, or both, and
    for one that is only read its rights and time when it was opened.
    """

    node: Node
    descriptor: int = -1
    handle: int = 0
    writes: bool = False
    appends: bool = False
    mode: int = 0
    modified_ns: int = 0
    listing: list[tuple[bytes, int]] | None = None

    def close(self) -> None:
        """
        Let go of the descriptor; the server's number is the caller's to close.
        """
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass(slots=True)
class Room:
    """
    How many nodes there are, of a session and of all.
    """

    all_sessions: "Room | None"
    limit: int
    taken: int = 0

    def take(self) -> None:
        """
        Raises Fault (ENFILE) when there is none left.
        """
        if self.taken >= self.limit:
            raise Fault(errno.ENFILE, "too many names of served files are remembered")
        if self.all_sessions is not None:
            self.all_sessions.take()
        self.taken += 1

    def give(self, number: int = 1) -> None:
        """
        Give `number` of them back.
        """
        self.taken -= number
        if self.all_sessions is not None:
            self.all_sessions.give(number)


class Nodes:
    """
    The names of one mount, whose root is the guest path `mount`.
    """

    def __init__(self, mount: str, room: Room, directory: int) -> None:
        self._room = room
        self._numbers = count(ROOT + 1)
        root = Node(ROOT, None, mount, directory, lookups=1)
        self._by_number = {ROOT: root}
        self._by_name: dict[tuple[int, str], Node] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Node:
        """
        The node of this number. Raises Fault (ESTALE).
        """
        node = self._by_number.get(number)
        if node is None:
            raise Fault(errno.ESTALE)
        return node

    def found(self, parent: Node, name: str, kind: int) -> Node:
        """
        The node for a name that was found there, counted once more. Raises Fault (ENFILE).

        An object of another kind is another node: the kernel never sees a file become a directory.
        """
        key = (parent.number, name)
        node = self._by_name.get(key)
        if node is None or node.kind != kind:
            self._room.take()
            if node is not None:
                node.gone = True
            node = Node(next(self._numbers), parent, name, kind)
            self._by_number[node.number] = self._by_name[key] = node
        node.lookups += 1
        return node

    def forget(self, number: int, lookups: int) -> None:
        """
        Take `lookups` (1 or more) back; a node without any is gone. The root stays.
        """
        node = self._by_number.get(number)
        if node is None or number == ROOT:
            return
        node.lookups -= lookups
        if node.lookups <= 0:
            del self._by_number[number]
            self._unname(node)
            self._room.give()

    def removed(self, parent: Node, name: str) -> None:
        """
        The name stands no more for what it stood for.
        """
        node = self._by_name.pop((parent.number, name), None)
        if node is not None:
            node.gone = True

    def renamed(self, parent: Node, name: str, new_parent: Node, new_name: str) -> None:
        """
        What was below one name is below another now, and what was there is gone.
        """
        self.removed(new_parent, new_name)
        node = self._by_name.pop((parent.number, name), None)
        if node is not None:
            node.parent, node.name = new_parent, new_name
            self._by_name[(new_parent.number, new_name)] = node

    def close(self) -> None:
        """
        Give all room back.
        """
        self._room.give(len(self._by_number) - 1)
        self._by_number.clear()
        self._by_name.clear()

    def _unname(self, node: Node) -> None:
        if node.parent is not None:
            key = (node.parent.number, node.name)
            if self._by_name.get(key) is node:
                del self._by_name[key]


def path_of(node: Node) -> str:
    """
    The guest path that the node stands for. Raises Fault (ENOENT) where it has none any more.
    """
    names: list[str] = []
    at: Node | None = node
    while at is not None:
        if at.gone:
            raise Fault(errno.ENOENT)
        names.append(at.name)
        at = at.parent
    return "/".join(reversed(names))


def path_below(node: Node, name: bytes) -> str:
    """
    The guest path of `name` in the directory `node`.

    Raises Fault: ENOENT for a name that is not UTF-8, of which no rule can speak, and ENAMETOOLONG.
    """
    return f"{path_of(node)}/{text(name)}"


def text(name: bytes) -> str:
    """
    A name as text. Raises Fault (ENOENT) for one that is not UTF-8.
    """
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise Fault(errno.ENOENT, "a name is not UTF-8; no rule can speak of it") from error


def inode_of(path: str) -> int:
    """
    A number for a guest path (1 to 2**63 - 1): a function of the guest's own name for it.
    """
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1 or 1


class Files:
    """
    The open files of one mount.
    """

    def __init__(self) -> None:
        self._numbers = count(1)
        self._open: dict[int, OpenFile] = {}

    def __len__(self) -> int:
        return len(self._open)

    def require_room(self) -> None:
        """
        Raises Fault (ENFILE) when no further file may be opened.
        """
        if len(self._open) >= FILES_MAX:
            raise Fault(errno.ENFILE, f"{FILES_MAX} served files are open")

    def add(self, file: OpenFile) -> int:
        """
        Keep a file; its number, which is not used twice.
        """
        number = next(self._numbers)
        self._open[number] = file
        file.node.files.append(file)
        return number

    def get(self, number: int) -> OpenFile:
        """
        The file of this number. Raises Fault (EBADF).
        """
        file = self._open.get(number)
        if file is None:
            raise Fault(errno.EBADF)
        return file

    def pop(self, number: int) -> OpenFile:
        """
        Take a file out and let go of its descriptor. Raises Fault (EBADF).
        """
        file = self.get(number)
        del self._open[number]
        file.node.files.remove(file)
        file.close()
        return file

    def close(self) -> None:
        """
        Let go of all descriptors.
        """
        for number in [*self._open]:
            self.pop(number)
