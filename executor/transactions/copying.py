"""
Bytes of one open file written to another, whole (write(2) may take fewer than it was given).
"""

import os
from typing import Final

from executor.kernel.descriptors import Descriptor

_BLOCK: Final = 2**20


def copy(source: Descriptor, target: Descriptor, most: int) -> None:
    """
    Copy at most `most` bytes: what the source had when it was looked at. Raises OSError.
    """
    offset = 0
    while offset < most and (block := os.pread(source.number, min(_BLOCK, most - offset), offset)):
        write_whole(target, block)
        offset += len(block)


def write_whole(target: Descriptor, data: bytes) -> None:
    """
    Write all of `data` at the file's position. Raises OSError.
    """
    written = 0
    while written < len(data):
        written += os.write(target.number, data[written:])
