"""
The guest's file system: memory of the session, the image read-only, and mounts of the broker.

`walk.py` follows paths. Where one enters a mount that the policy grants from the host, what is
left of it is the broker's to resolve, check and open; this process never learns a path of the
host.

A first component that does not exist here is asked of the gate too, so that an attempt on
`/etc/passwd` is answered, with its reason, and recorded where every other decision is.

Nodes are held in memory and counted in their `Space`.
"""

from collections.abc import Callable, Iterator
from typing import Final

from executor.wasm.abi import S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, Errno, GuestFault
from executor.wasm.nodes import Device, Directory, File, Link, Local, Mount, Node, Remote
from executor.wasm.space import Space
from executor.wasm.walk import Last, check_text, walk

# What rmdir(2) says to a path that ends in dots, or is the root.
_RMDIR_DOTS: Final = {".": Errno.EINVAL, "..": Errno.ENOTEMPTY, "": Errno.EBUSY}


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

    @property
    def made(self) -> int:
        """
        How many nodes were ever made.
        """
        return self._serial

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

    def add_image_file(self, path: str, data: bytes | memoryview) -> None:
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
        Where `path` leads, from `start` when it is relative. Raises GuestFault as `walk` does.
        """
        return walk(self.root, path, start, Last.FOLLOW if follow else Last.KEEP)

    def resolve_name(self, path: str, start: str) -> Local | Remote:
        """
        The same for a name that is to be made, removed or renamed: a link there is never followed.
        """
        return walk(self.root, path, start, Last.NAME)

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
        check_text(target)
        space = self._writable(place.directory)
        space.take_node(_text_bytes(target))
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
        Remove a directory, as rmdir(2) does.

        Raises GuestFault: ENOENT, ENOTDIR, ENOTEMPTY, EROFS, EINVAL for ".", EBUSY for a mount.
        """
        node = _present(place)
        if not isinstance(node, Directory):
            raise GuestFault(Errno.ENOTDIR)
        if not place.named:
            raise GuestFault(_RMDIR_DOTS[place.name])
        self._check_not_mounted(place.directory, node)
        if node.entries:
            raise GuestFault(Errno.ENOTEMPTY)
        self._detach(place.directory, place.name)

    def rename(self, old: Local, new: Local) -> None:
        """
        Move a node within one space, as rename(2) does.

        Raises GuestFault: ENOENT, EROFS, EXDEV, EINVAL, ENOTEMPTY, EBUSY for dots and mounts.
        """
        if not (old.named and new.named):
            raise GuestFault(Errno.EBUSY)
        node = _present(old)
        if self._writable(old.directory) is not self._writable(new.directory):
            raise GuestFault(Errno.EXDEV)
        if isinstance(node, Directory):
            self._check_not_mounted(old.directory, node)
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
        held, before = self._counted(file, size), len(file.data)
        if size > before:
            held.extend(bytes(size - before))
        else:
            del held[size:]
        return held

    def append(self, file: File, data: bytes) -> None:
        """
        Write `data` at a file's end. Raises as `resize` does.
        """
        held = self._counted(file, len(file.data) + len(data))
        held += data

    def _counted(self, file: File, size: int) -> bytearray:
        """
        The bytes of a file, of which there will be `size`: that is counted already.
        """
        if file.space is None or not isinstance(file.data, bytearray):
            raise GuestFault(Errno.EROFS)
        grown = size - len(file.data)
        if size > file.space.limit:
            raise GuestFault(Errno.EFBIG)
        if grown > 0:
            file.space.take(grown)
        elif grown < 0:
            file.space.give(-grown)
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
            node.space.give_node(_text_bytes(node.target) if isinstance(node, Link) else 0)

    def _writable(self, directory: Directory) -> Space:
        if directory.space is None:
            raise GuestFault(Errno.EROFS)
        return directory.space

    def _check_not_mounted(self, parent: Directory, node: Directory) -> None:
        """
        A directory with a space of its own is a mount: it is neither removed nor moved (EBUSY).
        """
        if node.space is not self._writable(parent):
            raise GuestFault(Errno.EBUSY)

    def _check_not_inside(self, moved: Directory, into: Directory) -> None:
        """
        A directory does not move into itself (EINVAL), nor what holds a mount (EBUSY).
        """
        for node in _below(moved):
            if node is into:
                raise GuestFault(Errno.EINVAL)
            if isinstance(node, Mount) or node.space is not moved.space:
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


def _present(place: Local) -> Node:
    if place.node is None:
        raise GuestFault(Errno.ENOENT)
    return place.node


def _text_bytes(target: str) -> int:
    # Python holds text in at most four bytes a character; names are within a node's allowance.
    return 4 * len(target)


def _below(directory: Directory) -> Iterator[Node]:
    pending: list[Node] = [directory]
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, Directory):
            pending.extend(node.entries.values())
