"""
How a path of the guest is followed through the tree: path_resolution(7), component by component.

A path is followed to its end (`FOLLOW`, stat), to a link at its end (`KEEP`, lstat), or to the
directory in which its last name stands (`NAME`, for calls that make, remove or rename a name).
The difference between the last two is a trailing slash: lstat follows a link that has one, and
rmdir must not, or it would remove what the link leads to.

Where the path enters a mount of the broker, what is left of it becomes one normalised path,
with `..` taken lexically, and is the broker's to follow. The limits are those of Linux: 255
bytes a name, 4096 a path, 40 links.
"""

from enum import Enum, auto
from typing import Final

from executor.wasm.abi import NAME_MAX, PATH_MAX, Errno, GuestFault
from executor.wasm.nodes import Device, Directory, File, Link, Local, Mount, Node, Remote

LINKS_MAX: Final = 40
DEPTH_MAX: Final = 256


class Last(Enum):
    """
    What is done with the last component of a path.
    """

    FOLLOW = auto()
    KEEP = auto()
    NAME = auto()


def walk(root: Directory, path: str, start: str, last: Last) -> Local | Remote:
    """
    Follow `path` (from `start` when it is relative) to its last component.

    Raises GuestFault: ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, and EINVAL for a NUL.
    """
    check_text(path)
    return _Walk(root, path if path.startswith("/") else f"{start}/{path}", last).run()


def check_text(path: str) -> None:
    """
    Refuse what is no path or link target: empty, with a NUL, or too long.
    """
    if not path:
        raise GuestFault(Errno.ENOENT)
    if "\0" in path:
        raise GuestFault(Errno.EINVAL)
    if len(path) > PATH_MAX:
        raise GuestFault(Errno.ENAMETOOLONG)


class _Walk:
    """
    The directories passed so far, what is still to be followed (the next one last), and where
    it has led.
    """

    def __init__(self, root: Directory, path: str, last: Last) -> None:
        self._last = last
        self._passed: list[tuple[Directory, str]] = []
        self._directory = root
        self._pending = _parts(path)
        self._must = path.endswith("/")
        self._links = 0
        self._reached: Local | None = None
        self._dots = ""

    def run(self) -> Local | Remote:
        while self._pending:
            found = self._step(self._pending.pop())
            if found is not None:
                return found
        return self._place()

    def _step(self, part: str) -> Local | Remote | None:
        """
        Take one component; the end of the walk, if this is it.
        """
        if part in {".", ".."}:
            self._rest(part)
            return None
        node = self._entered(part)
        if isinstance(node, Mount):
            return self._into_mount(node)
        if isinstance(node, Link) and self._follows():
            self._through_link(node)
            return None
        if node is None:
            return self._missing(part)
        self._arrive(part, node)
        return None

    def _entered(self, part: str) -> Node | None:
        if len(part.encode(errors="surrogateescape")) > NAME_MAX or len(self._passed) > DEPTH_MAX:
            raise GuestFault(Errno.ENAMETOOLONG)
        node = self._directory.entries.get(part)
        if self._pending and isinstance(node, File | Device):
            raise GuestFault(Errno.ENOTDIR)
        return node

    def _follows(self) -> bool:
        if self._pending or self._last is Last.FOLLOW:
            return True
        return self._last is Last.KEEP and self._must

    def _rest(self, part: str) -> None:
        if part == ".." and self._passed:
            self._directory, _ = self._passed.pop()
        self._reached, self._dots = None, part

    def _through_link(self, link: Link) -> None:
        self._links += 1
        if self._links > LINKS_MAX:
            raise GuestFault(Errno.ELOOP)
        if link.target.startswith("/"):
            while self._passed:
                self._directory, _ = self._passed.pop()
        self._reached = None
        self._must = self._must or (not self._pending and link.target.endswith("/"))
        self._pending.extend(_parts(link.target))

    def _into_mount(self, mount: Mount) -> Remote | None:
        rest = _lexical(self._pending)
        if rest is None:
            self._pending = _without_mount(self._pending)
            return None
        return Remote("/".join([mount.path, *rest]), mount)

    def _missing(self, part: str) -> Local | Remote:
        """
        Where a path leads whose component `part` does not exist: at the root, to the gate.
        """
        if not self._passed:
            return Remote("/" + "/".join([part, *(_lexical(self._pending) or [])]), None)
        if self._pending:
            raise GuestFault(Errno.ENOENT)
        return Local(self._directory, self._path(), part, None, self._must)

    def _arrive(self, part: str, node: Node) -> None:
        self._reached = Local(self._directory, self._path(), part, node, self._must)
        if isinstance(node, Directory):
            self._passed.append((self._directory, part))
            self._directory = node

    def _place(self) -> Local:
        if self._reached is None:
            # The walk ended with dots, or never left the root: the directory names itself.
            here = self._directory
            return Local(here, self._path(), self._dots, here, must_be_directory=True)
        found = self._reached
        if self._must and self._last is not Last.NAME and not isinstance(found.node, Directory):
            raise GuestFault(Errno.ENOTDIR)
        return found

    def _path(self) -> str:
        return "/" + "/".join(name for _, name in self._passed)


def _parts(path: str) -> list[str]:
    """
    The components in reverse; a dot counts only at the end, where it asks for a directory.
    """
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if path.rstrip("/").rpartition("/")[2] == ".":
        parts.append(".")
    return parts[::-1]


def _lexical(pending: list[str]) -> list[str] | None:
    """
    What is left of a path below a mount, without dots; None when it climbs out of the mount.
    """
    rest: list[str] = []
    for part in reversed(pending):
        if part == "..":
            if not rest:
                return None
            rest.pop()
        elif part != ".":
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
