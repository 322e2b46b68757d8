"""
Run as a script: take limits, give up privileges, be confined, become another program.

    python -I -S limited.py PARENT DATA ADDRESS CPU FILE WALLS CONFINEMENT PROGRAM [ARGUMENT...]

A script of its own, and not `preexec_fn`, because code between fork and exec in a process with
threads can deadlock (subprocess's documentation says so), and because limits set from outside
after the start come too late. PARENT is the process id that must still be the parent; the rest
are RLIMIT_DATA, RLIMIT_AS and RLIMIT_FSIZE in bytes and RLIMIT_CPU in seconds. WALLS is "none",
"W1" (a filter of system calls) or "W2" (the filter and Landlock), and CONFINEMENT what
`confine.Confinement` encodes.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_ROOT = str(Path(__file__).resolve().parents[2])


def main(arguments: list[str]) -> None:
    """
    Apply the limits and the confinement and exec the program. Returns never.

    Exits with a reason on stderr where one of them does not hold. Sources: setrlimit(2), prctl(2).
    """
    parent, data, address, cpu, file = (int(text) for text in arguments[:5])
    walls, confinement, *command = arguments[5:]
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
    if walls != "none":
        _confine(walls, confinement)
    os.execv(command[0], command)  # noqa: S606 - no shell is the point


def _confine(walls: str, confinement: str) -> None:
    # -I has put nothing of ours on the path, and what follows is of the standard library alone.
    sys.path.insert(0, _ROOT)
    from executor.linux import confine  # noqa: PLC0415
    from executor.linux.errors import MechanismError  # noqa: PLC0415

    if walls not in {"W1", "W2"}:
        sys.exit(f"asked for walls {walls!r}; there are none, W1 and W2")
    try:
        confine.confine(confine.decode(confinement), with_landlock=walls == "W2")
    except MechanismError as error:
        sys.exit(f"it was not started, because it could not be confined: {error}")


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
