"""
What has a place in the guest's tree, and what a path can lead to.
"""

from dataclasses import dataclass, field

from executor.wasm.space import Space


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
    A file in memory; `data` is a bytearray where it grows, and bytes or a mapping of them where
    the image holds it.
    """

    data: bytes | bytearray | memoryview = field(default_factory=bytearray)
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
    A character device: `null`, `zero`, `urandom`, `stdin`, `stdout`, `stderr`, `denial`,
    `display`, `tools`.
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

    `path` is the directory's own, without links or dots. The last name is ".", ".." or empty
    where the path ended so: the node is then the directory that was reached.
    """

    directory: Directory
    path: str
    name: str
    node: Node | None
    must_be_directory: bool

    @property
    def named(self) -> bool:
        """
        Whether the last name is one: what is made, removed or renamed must have a name.
        """
        return self.name not in {"", ".", ".."}

    @property
    def full_path(self) -> str:
        """
        The path of the node.
        """
        return f"{self.path.rstrip('/')}/{self.name}" if self.named else self.path


@dataclass(frozen=True, slots=True)
class Remote:
    """
    Where a path led outside: a normalised absolute guest path for the broker.

    `mount` is None where no mount covers it: the gate will say why it is denied.
    """

    path: str
    mount: Mount | None
