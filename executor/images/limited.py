"""
Run as a script: take limits, give up privileges, become another program.

    python -I -S limited.py PARENT DATA ADDRESS CPU FILE PROGRAM [ARGUMENT...]

A script of its own, and not `preexec_fn`, because code between fork and exec in a process with
threads can deadlock (subprocess's documentation says so), and because limits set from outside
after the start come too late. PARENT is the process id that must still be the parent; the rest
are RLIMIT_DATA, RLIMIT_AS and RLIMIT_FSIZE in bytes and RLIMIT_CPU in seconds.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def main(arguments: list[str]) -> None:
    """
    Apply the limits and exec the program; see setrlimit(2), prctl(2). Returns never.
    """
    parent, data, address, cpu, file = (int(text) for text in arguments[:5])
    for limit, value in (
        (resource.RLIMIT_DATA, data),
        (resource.RLIMIT_AS, address),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, file),
        (resource.RLIMIT_CORE, 0),
    ):
        _lower(limit, value)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    # The parent may have died before the death signal was asked for.
    if os.getppid() != parent:
        sys.exit("the build that started this tool has ended")
    os.execv(arguments[5], arguments[5:])  # noqa: S606 - no shell is the point


def _lower(limit: int, value: int) -> None:
    # A limit that is already lower stays: rights only shrink.
    _, hard = resource.getrlimit(limit)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (allowed, allowed))


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        sys.exit(f"prctl({option}) failed: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main(sys.argv[1:])
