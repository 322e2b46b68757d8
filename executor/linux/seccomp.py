"""
Loading seccomp filters; `filters.py` makes them. Source: seccomp(2).
"""

import ctypes
import platform
import sys

from executor.linux import prctl
from executor.linux.bpf import INSTRUCTION_BYTES, Program, encode
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.linux.libc import call

MECHANISM = "seccomp"

SET_MODE_FILTER = 1
FLAG_TSYNC = 1
# NEW_LISTENER, TSYNC_ESRCH (with a listener, a thread left behind is an errno) and
# WAIT_KILLABLE_RECV: once it is being answered, only a deadly signal ends the wait.
_FLAGS_WATCHED = FLAG_TSYNC | 1 << 3 | 1 << 4 | 1 << 5


def install(program: Program | bytes, *, tsync: bool) -> None:
    """
    Load `program` for this thread, or with `tsync` for every thread of the process.

    Sets no_new_privs first (an unprivileged process needs it, and it must hold anyway). There
    is no way back. Raises MechanismMissing on another machine than x86-64 or a kernel without
    filters; MechanismFailed when the kernel refuses, or a thread could not be brought along.
    Source: seccomp(2).
    """
    require_machine()
    prctl.set_no_new_privs()
    load(program, tsync=tsync)


def install_watched(program: Program | bytes) -> int:
    """
    `install` for all threads, with a listener to which the program's notifications go.

    Returns the listener, close-on-exec: see `notifications.py`. A call that notifies waits from
    here on until somebody answers at it. Raises as `install` does; MechanismFailed also for a
    kernel before 5.19, and for a thread that could not be brought along.
    """
    require_machine()
    prctl.set_no_new_privs()
    encoded = program if isinstance(program, bytes) else encode(program)
    header = _Header(len(encoded) // INSTRUCTION_BYTES, encoded)
    mend = "use Linux 5.19 or later, and lock before threads start"
    with asking(MECHANISM, "loading a filter with a listener", mend):
        return call("seccomp", SET_MODE_FILTER, _FLAGS_WATCHED, ctypes.addressof(header))


def load(program: Program | bytes, *, tsync: bool) -> None:
    """
    `install` without setting no_new_privs, for a thread whose filter already forbids prctl.

    Bytes are a program that is encoded already.
    """
    encoded = program if isinstance(program, bytes) else encode(program)
    header = _Header(len(encoded) // INSTRUCTION_BYTES, encoded)
    with asking(MECHANISM, "loading a filter", "use a kernel with CONFIG_SECCOMP_FILTER"):
        left_behind = call(
            "seccomp", SET_MODE_FILTER, FLAG_TSYNC if tsync else 0, ctypes.addressof(header)
        )
    if left_behind:
        raise MechanismFailed(
            MECHANISM, f"thread {left_behind} has filters of its own; lock before threads start"
        )


def require_machine() -> None:
    """
    Raises MechanismMissing unless this is a 64-bit process on x86-64 Linux.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine != "x86_64" or sys.maxsize < 1 << 32:
        raise MechanismMissing(
            MECHANISM,
            f"filters are written for 64-bit x86_64 Linux and this is {sys.platform} {machine};"
            " run the server on such a machine",
        )


class _Header(ctypes.Structure):
    """
    `struct sock_fprog`: how many instructions, and where.
    """

    # The bytes that the pointer is made from are held as long as the structure.
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))
