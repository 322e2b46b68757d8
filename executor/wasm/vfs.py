"""
The guest's file system: memory of the session, the image read-only, and mounts of the broker.

A path is resolved here as POSIX says, component by component, with symbolic links. Where it
enters a mount that the policy grants from the host, what is left of it becomes one normalised
guest path and is the broker's to resolve, check and open; this process never learns a path of
the host. `..` inside such a mount is taken lexically, before the broker is asked.

A first component that does not exist here is asked of the gate too, so that an attempt on
`/etc/passwd` is answered, with its reason, and recorded where every other decision is.

Nodes are held in memory and counted in their `Space`; the limits on names and links are those
of Linux (path_resolution(7)): 255 bytes a name, 4096 a path, 40 links.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from executor.wasm.abi import (
    NAME_MAX,
    PATH_MAX,
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFREG,
    Errno,
    GuestFault,
)
from executor.wasm.space import Space

LINKS_MAX: Final = 40
DEPTH_MAX: Final = 256


@dataclass(slots=True, eq=False)
class Node:
    """
    What has a place in the tree. `serial` is its inode number: a count, never the host's.
    """

    serial: int
    mode: int
    modified_ns: int
    space: Space | None


@dataclass(slots=True, eq=False)
class File(Node):
    """
    A file in memory; `data` is bytes where the image holds it and a bytearray where it grows.
    """

    data: bytes | bytearray = field(default_factory=bytearray)
    # Names of it in the tree plus descriptors open on it: its bytes are given back at zero.
    holds: int = 0


@dataclass(slots=True, eq=False)
class Link(Node):
    """
    A symbolic link.
    """

    target: str = ""


@dataclass(slots=True, eq=False)
class Device(Node):
    """
    A character device: `null`, `zero`, `urandom`, `stdin`, `stdout`, `stderr`, `denial`.
    """

    name: str = ""


@dataclass(slots=True, eq=False)
class Directory(Node):
    """
    A directory; without a space it is part of the image and never changes.
    """

    entries: dict[str, Node] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Mount(Node):
    """
    A host directory granted by the policy, reached through the broker.
    """

    path: str = ""
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Local:
    """
    Where a path led in memory: the directory, the last name, and the node if there is one.
    """

    directory: Directory
    name: str
    node: Node | None
    must_be_directory: bool


@dataclass(frozen=True, slots=True)
class Remote:
    """
    Where a path led outside: a normalised absolute guest path for the broker.

    `mount` is None where no mount covers it: the gate will say why it is denied.
    """

    path: str
    mount: Mount | None


class FileSystem:
    """
    The tree of one guest, and the acts on its local part.

    The clock is asked for the times of nodes; it is the guest's clock, not the host's.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._serial = 0
        self._now = now
        self.root = Directory(self._next(), S_IFDIR | 0o555, 0, None)

    @property
    def now_ns(self) -> int:
        """
        The guest's time, in nanoseconds.
        """
        return self._now()

    # ---- building -------------------------------------------------------------------------

    def add_directory(self, path: str, space: Space | None) -> Directory:
        """
        Make `path` with all its parents, which belong to nobody unless they exist already.

        Replaces whatever stood at the last name: this is how a mount covers the image.
        """
        parent = self.root
        *parents, last = [part for part in path.split("/") if part]
        for part in parents:
            found = parent.entries.get(part)
            if not isinstance(found, Directory):
                found = parent.entries[part] = self._directory(None)
            parent = found
        made = self._directory(space)
        parent.entries[last] = made
        return made

    def add_image_file(self, path: str, data: bytes) -> None:
        """
        Place a read-only file of the image.
        """
        folder, _, name = path.rpartition("/")
        self._existing(folder).entries[name] = File(
            self._next(), S_IFREG | 0o444, self.now_ns, None, data
        )

    def add_device(self, path: str, name: str) -> None:
        """
        Place a device.
        """
        folder, _, last = path.rpartition("/")
        self._existing(folder).entries[last] = Device(
            self._next(), S_IFCHR | 0o666, self.now_ns, None, name
        )

    def add_mount(self, path: str, *, writable: bool) -> None:
        """
        Place a mount of the broker.
        """
        folder, _, name = path.rpartition("/")
        mode = S_IFDIR | (0o755 if writable else 0o555)
        parent = self._existing(folder)
        parent.entries[name] = Mount(self._next(), mode, self.now_ns, None, path, writable)

    def _existing(self, path: str) -> Directory:
        directory = self.root
        for part in [part for part in path.split("/") if part]:
            found = directory.entries.get(part)
            if not isinstance(found, Directory):
                found = directory.entries[part] = self._directory(None)
            directory = found
        return directory

    def _directory(self, space: Space | None) -> Directory:
        mode = S_IFDIR | (0o755 if space is not None else 0o555)
        return Directory(self._next(), mode, self.now_ns, space)

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    # ---- resolving ------------------------------------------------------------------------

    def resolve(self, path: str, start: str, *, follow: bool) -> Local | Remote:
        """
        Follow `path` (from `start` when it is relative) to its last component.

        Raises GuestFault: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, and EINVAL for a NUL.
        """
        _check_text(path)
        walk = _Walk(self.root)
        pending = list(reversed(_parts(path if path.startswith("/") else f"{start}/{path}")))
        must = path.endswith(("/", "/.", "/..")) or path in {".", ".."}
        links = 0
        while pending:
            part = pending.pop()
            if part == "..":
                walk.up()
                continue
            node = walk.enter(part, last=not pending)
            if isinstance(node, Mount):
                rest = _lexical(pending)
                if rest is None:
                    pending = _without_mount(pending)
                    continue
                return Remote("/".join([node.path, *rest]), node)
            if isinstance(node, Link) and (pending or follow or must):
                links += 1
                if links > LINKS_MAX:
                    raise GuestFault(Errno.ELOOP)
                walk.leave_link(node.target)
                pending.extend(reversed(_parts(node.target)))
                must = must or (not pending and node.target.endswith("/"))
                continue
            if node is None:
                return _missing(walk, part, pending, must=must)
            walk.arrive(part, node, last=not pending)
        return walk.place(must=must)

    # ---- acts in memory ---------------------------------------------------------------------

    def create_file(self, place: Local, mode: int) -> File:
        """
        A new empty file. Raises GuestFault: EROFS, ENOSPC, EISDIR.
        """
        if place.must_be_directory:
            raise GuestFault(Errno.EISDIR)
        space = self._writable(place.directory)
        space.take_node()
        node = File(self._next(), S_IFREG | (mode & 0o777), self.now_ns, space, bytearray(), 1)
        self._attach(place, node)
        return node

    def make_directory(self, place: Local, mode: int) -> None:
        """
        Make a directory, as mkdir(2) does. Raises GuestFault: EEXIST, EROFS, ENOSPC.
        """
        if place.node is not None:
            raise GuestFault(Errno.EEXIST)
        space = self._writable(place.directory)
        space.take_node()
        made = Directory(self._next(), S_IFDIR | (mode & 0o777), self.now_ns, space)
        self._attach(place, made)

    def make_link(self, place: Local, target: str) -> None:
        """
        Make a link, as symlink(2) does. Raises GuestFault: EEXIST, ENOENT, EROFS, ENOSPC.
        """
        if not target:
            raise GuestFault(Errno.ENOENT)
        if place.node is not None or place.must_be_directory:
            raise GuestFault(Errno.EEXIST if place.node is not None else Errno.ENOENT)
        _check_text(target)
        space = self._writable(place.directory)
        space.take_node()
        self._attach(place, Link(self._next(), S_IFLNK | 0o777, self.now_ns, space, target))

    def remove_file(self, place: Local) -> None:
        """
        Remove a name, as unlink(2) does. Raises GuestFault: ENOENT, EISDIR, ENOTDIR, EROFS.
        """
        node = _present(place)
        if isinstance(node, Directory | Mount):
            raise GuestFault(Errno.EISDIR)
        if place.must_be_directory:
            raise GuestFault(Errno.ENOTDIR)
        self._writable(place.directory)
        self._detach(place.directory, place.name)

    def remove_directory(self, place: Local) -> None:
        """
        Remove a directory, as rmdir(2) does. Raises GuestFault: ENOENT, ENOTDIR, ENOTEMPTY, EROFS.
        """
        node = _present(place)
        if not isinstance(node, Directory):
            raise GuestFault(Errno.ENOTDIR)
        self._writable(place.directory)
        if node.entries:
            raise GuestFault(Errno.ENOTEMPTY)
        self._detach(place.directory, place.name)

    def rename(self, old: Local, new: Local) -> None:
        """
        Move a node within one space. Raises GuestFault: ENOENT, EROFS, EXDEV, EINVAL, ENOTEMPTY.
        """
        node = _present(old)
        if self._writable(old.directory) is not self._writable(new.directory):
            raise GuestFault(Errno.EXDEV)
        if isinstance(node, Directory):
            self._check_not_inside(node, new.directory)
        elif old.must_be_directory or new.must_be_directory:
            raise GuestFault(Errno.ENOTDIR)
        if new.node is node:
            return
        if new.node is not None:
            self._check_replaceable(node, new.node)
            self._detach(new.directory, new.name)
        del old.directory.entries[old.name]
        new.directory.entries[new.name] = node
        old.directory.modified_ns = new.directory.modified_ns = self.now_ns

    def resize(self, file: File, size: int) -> bytearray:
        """
        Change a file's size, counting the difference; the bytes, which may now be written.

        Raises GuestFault: EROFS, ENOSPC, EFBIG.
        """
        if file.space is None or not isinstance(file.data, bytearray):
            raise GuestFault(Errno.EROFS)
        grown = size - len(file.data)
        if size > file.space.limit:
            raise GuestFault(Errno.EFBIG)
        if grown > 0:
            file.space.take(grown)
            file.data.extend(bytes(grown))
        elif grown < 0:
            file.space.give(-grown)
            del file.data[size:]
        file.modified_ns = self.now_ns
        return file.data

    def hold(self, file: File) -> None:
        """
        Count one more descriptor on `file`.
        """
        file.holds += 1

    def release(self, file: File) -> None:
        """
        Count one name or descriptor less, and give the bytes back after the last.
        """
        file.holds -= 1
        if file.holds <= 0 and file.space is not None:
            file.space.give(len(file.data))
            file.space.give_node()
            file.data = bytearray()

    def _attach(self, place: Local, node: Node) -> None:
        place.directory.entries[place.name] = node
        place.directory.modified_ns = self.now_ns

    def _detach(self, directory: Directory, name: str) -> None:
        node = directory.entries.pop(name)
        directory.modified_ns = self.now_ns
        if isinstance(node, File):
            self.release(node)
        elif node.space is not None:
            node.space.give_node()

    def _writable(self, directory: Directory) -> Space:
        if directory.space is None:
            raise GuestFault(Errno.EROFS)
        return directory.space

    def _check_not_inside(self, moved: Directory, into: Directory) -> None:
        """
        A directory does not move into itself (EINVAL), nor what holds a mount (EBUSY).
        """
        for node in _below(moved):
            if node is into:
                raise GuestFault(Errno.EINVAL)
            if isinstance(node, Mount):
                raise GuestFault(Errno.EBUSY)

    def _check_replaceable(self, node: Node, target: Node) -> None:
        if isinstance(target, Mount):
            raise GuestFault(Errno.EBUSY)
        if isinstance(node, Directory):
            if not isinstance(target, Directory):
                raise GuestFault(Errno.ENOTDIR)
            if target.entries:
                raise GuestFault(Errno.ENOTEMPTY)
        elif isinstance(target, Directory):
            raise GuestFault(Errno.EISDIR)


class _Walk:
    """
    The directories passed so far, and the last node reached.
    """

    def __init__(self, root: Directory) -> None:
        self._passed: list[tuple[Directory, str]] = []
        self.directory = root
        self._last: tuple[Directory, str, Node] | None = None

    @property
    def at_root(self) -> bool:
        return not self._passed

    def up(self) -> None:
        if self._passed:
            self.directory, _ = self._passed.pop()
        self._last = None

    def enter(self, part: str, *, last: bool) -> Node | None:
        if len(part.encode(errors="surrogateescape")) > NAME_MAX:
            raise GuestFault(Errno.ENAMETOOLONG)
        if len(self._passed) > DEPTH_MAX:
            raise GuestFault(Errno.ENAMETOOLONG)
        node = self.directory.entries.get(part)
        if not last and isinstance(node, File | Device):
            raise GuestFault(Errno.ENOTDIR)
        return node

    def leave_link(self, target: str) -> None:
        if target.startswith("/"):
            while self._passed:
                self.up()

    def arrive(self, part: str, node: Node, *, last: bool) -> None:
        if isinstance(node, Directory):
            self._passed.append((self.directory, part))
            self._last = (self.directory, part, node)
            self.directory = node
        elif last:
            self._last = (self.directory, part, node)

    def place(self, *, must: bool) -> Local:
        if self._last is None:
            # The walk ended with `..` or never left the root: the directory names itself.
            if not self._passed:
                return Local(self.directory, "", self.directory, must_be_directory=True)
            parent, name = self._passed[-1]
            return Local(parent, name, self.directory, must_be_directory=True)
        directory, name, node = self._last
        if must and not isinstance(node, Directory):
            raise GuestFault(Errno.ENOTDIR)
        return Local(directory, name, node, must)


def _missing(walk: _Walk, part: str, pending: list[str], *, must: bool) -> Local | Remote:
    """
    Where a path leads whose component `part` does not exist: at the root, to the gate.
    """
    if walk.at_root:
        return Remote("/" + "/".join([part, *(_lexical(pending) or [])]), None)
    if pending:
        raise GuestFault(Errno.ENOENT)
    return Local(walk.directory, part, None, must)


def _check_text(path: str) -> None:
    if not path:
        raise GuestFault(Errno.ENOENT)
    if "\0" in path:
        raise GuestFault(Errno.EINVAL)
    if len(path) > PATH_MAX:
        raise GuestFault(Errno.ENAMETOOLONG)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


def _lexical(pending: list[str]) -> list[str] | None:
    """
    What is left of a path below a mount, without `..`; None when it climbs out of the mount.
    """
    rest: list[str] = []
    for part in reversed(pending):
        if part == "..":
            if not rest:
                return None
            rest.pop()
        else:
            rest.append(part)
    return rest


def _without_mount(pending: list[str]) -> list[str]:
    """
    What is left once the `..` that climbs out of a mount has been taken.
    """
    depth = 0
    left = list(pending)
    while left:
        depth += -1 if left.pop() == ".." else 1
        if depth < 0:
            break
    return left


def _present(place: Local) -> Node:
    if place.node is None:
        raise GuestFault(Errno.ENOENT)
    return place.node


def _below(directory: Directory) -> Iterator[Node]:
    yield directory
    for node in directory.entries.values():
        if isinstance(node, Directory):
            yield from _below(node)
        else:
            yield node
