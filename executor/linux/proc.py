"""
Files of the kernel's own, read whole: those of /proc and of control groups.

Not by pathlib and text streams: whoever makes boxes reads dozens of these for each, and every
object on the way is a page that its boxes no longer share with it.
"""

import os

_CHUNK = 2**15


def read(path: str) -> bytes:
    """
    All that the file at `path` says now. Raises OSError as open(2) and read(2) do.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = b""
        while more := os.read(file, _CHUNK):
            found += more
    finally:
        os.close(file)
    return found


def write(path: str, value: bytes) -> None:
    """
    Write `value` there, by one write(2): such a file takes it whole or not at all. Raises OSError.
    """
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, value)
    finally:
        os.close(file)
