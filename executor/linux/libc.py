"""
System calls by name, for those that Python has no function for.

Every argument goes over as a full 64-bit register: a C `int` would leave its upper half to
chance, and the filters of `seccomp.py` read both halves. Bytes go over as their address.
"""

import ctypes
import os

from executor.linux.syscalls import NUMBERS

_LIBC = ctypes.CDLL(None, use_errno=True)
_SYSCALL = _LIBC.syscall
_SYSCALL.restype = ctypes.c_long
_SYSCALL.argtypes = [ctypes.c_long, *[ctypes.c_void_p] * 6]


def call(name: str, *arguments: int | bytes) -> int:
    """
    Make the system call `name` with up to six integers or addresses; a missing one is 0.

    Bytes are for what the kernel only reads, such as a path: they end with a NUL of their own.

    Returns what the kernel returned. Raises OSError with its errno, KeyError for a name that
    is not in `syscalls.NUMBERS`. Source: syscall(2).
    """
    filled = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    result = int(_SYSCALL(NUMBERS[name], *filled))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
    return result
