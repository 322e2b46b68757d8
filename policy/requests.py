"""
The words in which both cages ask, and in which a policy answers.

A request names one object and one act on it. It is decoded and normalised before it gets here:
a path is absolute, in the guest's view, without `.`, `..` or empty components.
"""

from dataclasses import dataclass
from enum import Enum


class FileAction(Enum):
    """
    What is to be done with a path; the value is the word used in rules, audit and messages.
    """

    STAT = "stat"
    LIST = "list"
    READ = "read"
    WRITE = "write"
    CREATE = "create"
    TRUNCATE = "truncate"
    REMOVE = "remove"
    MAKE_DIRECTORY = "mkdir"
    REMOVE_DIRECTORY = "rmdir"
    RENAME = "rename"
    SET_TIMES = "utime"

    @property
    def changes(self) -> bool:
        """
        Whether the act changes the file system.
        """
        return self not in _LOOKING


_LOOKING = frozenset({FileAction.STAT, FileAction.LIST, FileAction.READ})


@dataclass(frozen=True, slots=True)
class FileRequest:
    """
    An act on one path. A rename is two: `RENAME` of the old name and `CREATE` of the new one.
    """

    action: FileAction
    path: str

    def __str__(self) -> str:
        return f"{self.action.value} {self.path}"


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """
    A connection to a host, by name or literal address, and a port (0 where none was given).
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"connect {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProcessRequest:
    """
    A program to be started, by the name that the guest gave.
    """

    program: str

    def __str__(self) -> str:
        return f"run {self.program}"


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """
    A session's guest, by the image's name. It is asked when the session is made, by its client;
    no guest asks for one.
    """

    image: str

    def __str__(self) -> str:
        return f"image {self.image}"


Request = FileRequest | NetworkRequest | ProcessRequest | ImageRequest
