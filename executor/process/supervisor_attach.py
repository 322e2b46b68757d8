"""
How the server hands a session to the supervisor: one datagram, and the descriptors with it.

The datagram says what each descriptor is for, in their order: the stream, a FUSE device for each
mount, the listener, and the guest's memory last. The stream alone is the session's identity; when
it closes, the session is over. The server is believed and still held to the form.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Self

# Mounts of a box that are served: a plan of more is refused.
MAX_SERVED: Final = 32
ATTACH_MAX: Final = 2**18
# A stream, its devices, a listener and a memory.
DESCRIPTORS_MAX: Final = MAX_SERVED + 3
_LARGEST: Final = 2**62


@dataclass(frozen=True, slots=True)
class ServedMount:
    """
    A served mount: its guest path, and what statfs(2) says of it, in bytes and files.
    """

    path: str
    size: int
    files: int


@dataclass(frozen=True, slots=True)
class Attach:
    """
    A session to serve: its mounts, whether its refused system calls come to a listener, and whether
    its guest's sockets do, for which its memory is read.
    """

    mounts: tuple[ServedMount, ...]
    watched: bool
    sockets: bool = False

    def __post_init__(self) -> None:
        """
        Raises ValueError for sockets that nobody would hear of.
        """
        if self.sockets and not self.watched:
            raise ValueError("sockets are heard of at a listener")

    @property
    def descriptors(self) -> int:
        """
        How many descriptors come with it.
        """
        return 1 + len(self.mounts) + self.watched + self.sockets

    def pack(self) -> bytes:
        """
        As a datagram.
        """
        mounts = [[one.path, one.size, one.files] for one in self.mounts]
        said = {"mounts": mounts, "watched": self.watched, "sockets": self.sockets}
        return json.dumps(said).encode()

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        What a datagram says. Raises ValueError for every other one than `pack` makes.
        """
        found = json.loads(data)
        if not isinstance(found, dict) or found.keys() != {"mounts", "watched", "sockets"}:
            raise ValueError("not the fields of a session to serve")
        mounts, calls = found["mounts"], (found["watched"], found["sockets"])
        listed = isinstance(mounts, list) and len(mounts) <= MAX_SERVED
        if not listed or not all(isinstance(one, bool) for one in calls):
            raise ValueError(f"mounts are a list of at most {MAX_SERVED}, the rest true or false")
        return cls(tuple(_mount(one) for one in mounts), *calls)


def _mount(given: Any) -> ServedMount:
    match given:
        case [str() as path, int() as size, int() as files] if path.startswith("/"):
            if 0 <= size <= _LARGEST and 0 <= files <= _LARGEST:
                return ServedMount(path, size, files)
    raise ValueError("a mount is its absolute path, bytes and files")
