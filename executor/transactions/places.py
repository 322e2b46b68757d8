"""
Names within a mount: paths that start at its root, and the one name there that is ours.
"""

import os
from typing import Final

from executor.kernel.descriptors import Descriptor

STAGING: Final = ".codecage-commit"
"""
The directory in which a commit keeps what it puts in place, at the root of the mount's source:
files can be exchanged within one file system only. No guest sees it under any grant.
"""


def split(path: str) -> list[str]:
    """
    The components of a path; none for the root itself, "".
    """
    return path.split("/") if path else []


def joined(directory: str, name: str) -> str:
    """
    The path of a name in a directory.
    """
    return f"{directory}/{name}" if directory else name


def depth(path: str) -> int:
    """
    How many components a path has.
    """
    return len(split(path))


def parent_of(path: str) -> tuple[str, str]:
    """
    The path of the directory that a name stands in, and the name.
    """
    directory, _, name = path.rpartition("/")
    return directory, name


def is_path(path: str) -> bool:
    """
    Whether it is one that `joined` makes: no empty components, no dots, no NUL.
    """
    return "\0" not in path and not {"", ".", ".."} & {*path.split("/")}


def held_at(root: Descriptor, path: str) -> Descriptor:
    """
    The object at `path` below `root`, held; no link is followed and no mount crossed.

    Raises OSError.
    """
    held = root.duplicate()
    try:
        for name in split(path):
            below = held.step(name.encode())
            held.close()
            held = below
    except BaseException:
        held.close()
        raise
    return held


def opened(directory: Descriptor, name: str, flags: int, mode: int = 0) -> Descriptor:
    """
    A file or directory by its name, never through a link (open(2)).
    """
    number = os.open(
        name.encode(),
        flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY,
        mode,
        dir_fd=directory.number,
    )
    return Descriptor(number)


def sync_directory(directory: Descriptor) -> None:
    """
    Wait until the names in a directory are on the device (fsync(2)).
    """
    with directory.reopen(os.O_RDONLY | os.O_DIRECTORY) as readable:
        os.fsync(readable.number)
