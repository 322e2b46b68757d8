"""
renameat2(2): two names exchanged, or one moved to where nothing is, each in one step that a crash
does before or after.
"""

import ctypes
import os
from enum import Enum

from executor.kernel.descriptors import Descriptor


class _Flag(Enum):
    """
    The flags of renameat2(2), include/uapi/linux/fs.h.
    """

    NOREPLACE = 1
    EXCHANGE = 2


_LIBC = ctypes.CDLL(None, use_errno=True)
_renameat2 = _LIBC.renameat2
_renameat2.restype = ctypes.c_int
_renameat2.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
)


def exchange(one: Descriptor, name: str, other: Descriptor, other_name: str) -> None:
    """
    Exchange what two names mean. Raises OSError: ENOENT where one of them means nothing, EINVAL
    where the file system cannot do it.
    """
    _rename(one, name, other, other_name, _Flag.EXCHANGE)


def move(source: Descriptor, name: str, target: Descriptor, new: str) -> None:
    """
    Move a name to where nothing is. Raises OSError: ENOENT, EEXIST, EINVAL as above.
    """
    _rename(source, name, target, new, _Flag.NOREPLACE)


def _rename(one: Descriptor, name: str, other: Descriptor, other_name: str, flag: _Flag) -> None:
    failed = _renameat2(one.number, name.encode(), other.number, other_name.encode(), flag.value)
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
