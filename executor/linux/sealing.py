"""
What a process makes sure of before it locks itself: one thread, one user, no writable code.

Neither Landlock nor seccomp reaches a thread that is there already, and neither takes back memory
that is writable and executable. ctypes keeps the entry points of its callbacks in such pages: all
callbacks are made by then, and one that is freed or made later ends the process.
Source: proc_pid_maps(5), personality(2), credentials(7).
"""

import os
from typing import Final

from executor.linux import proc
from executor.linux.errors import MechanismFailed, asking
from executor.linux.libc import call

_READ_IMPLIES_EXEC: Final = 0x0040_0000
_READ_PERSONALITY: Final = 0xFFFF_FFFF
_PROT_READ_EXECUTE: Final = 0x1 | 0x4
# What may be executed, and can be written here or by who shares it: the second field of a line.
_OPEN: Final = (b" rwxp ", b" -wxp ", b" rwxs ", b" -wxs ", b" r-xs ", b" --xs ")


def require_one_thread() -> None:
    """
    Raises MechanismFailed when this process has more threads than the calling one, or no /proc.
    """
    with asking("threads", "listing /proc/self/task", "mount /proc"):
        tasks = sorted(os.listdir("/proc/self/task"))  # noqa: PTH208 - see proc.py
    if len(tasks) != 1:
        raise MechanismFailed(
            "threads", f"tasks {tasks} where there may be one; start threads afterwards"
        )


def require_data_is_not_code() -> None:
    """
    Raises MechanismFailed when every readable page could be executed.
    """
    with asking("personality", "reading it", "allow personality(0xffffffff)"):
        persona = call("personality", _READ_PERSONALITY)
    if persona & _READ_IMPLIES_EXEC:
        raise MechanismFailed(
            "personality", "READ_IMPLIES_EXEC is set: start the server without `setarch -X`"
        )


def seal_code() -> None:
    """
    Take the right to write from all memory that holds code.

    Raises MechanismFailed when some is left, such as code that is shared with another mapping.
    """
    found = _open_code()
    for first, last, rights in found:
        if rights == b"rwxp":
            with asking("memory", "sealing code", "allow mprotect to give up PROT_WRITE"):
                call("mprotect", first, last - first, _PROT_READ_EXECUTE)
    # Where there was none to seal, that look is the last one already.
    if found and (found := _open_code()):
        open_code = [f"{first:#x} {rights.decode()}" for first, _, rights in found]
        raise MechanismFailed(
            "memory", f"code at {open_code} can be written; do not load what maps it so"
        )


def become(uid: int, gid: int) -> None:
    """
    Be user `uid` and group `gid` (1 or more) for good, without any other group.

    Raises MechanismFailed when this process is neither root nor that user already.
    """
    if uid < 1 or gid < 1:
        raise MechanismFailed("identity", f"asked to be {uid}:{gid}; give a user that is not root")
    if os.geteuid() == 0:
        with asking("identity", f"becoming {uid}:{gid}", "give it CAP_SETUID and CAP_SETGID"):
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
    if (os.getresuid(), os.getresgid()) != ((uid,) * 3, (gid,) * 3):
        raise MechanismFailed("identity", f"not wholly {uid}:{gid}; start the server as one user")


def _open_code() -> list[tuple[int, int, bytes]]:
    """
    The code that can be written: first and last address, and rights.
    """
    with asking("memory", "reading /proc/self/maps", "mount /proc"):
        maps = proc.read("/proc/self/maps")
    found = []
    # Looked for as they are: a pattern takes longer than the kernel did, and an object for each
    # line is a page that a worker no longer shares.
    for rights in _OPEN:
        at = maps.find(rights)
        while at >= 0:
            place = maps[maps.rfind(b"\n", 0, at) + 1 : at]
            if b" " not in place:  # or it is a part of a file's name
                first, last = place.split(b"-")
                found.append((int(first, 16), int(last, 16), rights.strip()))
            at = maps.find(rights, at + 1)
    return found
