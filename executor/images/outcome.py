"""
Reading what a tool left behind.

A tool reads foreign data and may have been taken over by it. It writes into a directory of its
own and nowhere else; the build takes files by name from there, and copies their bytes to where
they belong. A link in place of a file would have the build read, with its own rights, what the
tool could not.
"""

import os
import stat
from pathlib import Path

from executor.images.errors import ToolFailedError

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def taken(path: Path, limit: int) -> bytes:
    """
    The bytes of a regular file, at most `limit`, directly in the directory that the tool had.

    Raises ToolFailedError where it is missing, of another kind, or longer (open(2), O_NOFOLLOW).
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise ToolFailedError(f"A tool was to write {path.name}: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ToolFailedError(f"A tool was to write {path.name} and made no regular file.")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ToolFailedError(f"A tool wrote more than the {limit} bytes allowed to {path.name}.")
    return data
