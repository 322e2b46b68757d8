"""
The namespaces of a process, and whether it shares one with another.

Source: namespaces(7).
"""

import os
from enum import IntFlag

from executor.linux.errors import asking

MECHANISM = "namespaces"


class Namespace(IntFlag):
    """
    The kinds of namespaces that a box has of its own, with the kernel's bits (CLONE_NEW*).
    """

    MOUNT = 0x0002_0000
    CGROUP = 0x0200_0000
    HOST_NAME = 0x0400_0000
    IPC = 0x0800_0000
    USER = 0x1000_0000
    PID = 0x2000_0000
    NETWORK = 0x4000_0000


ALL = Namespace(sum(Namespace))

_FILES = {
    Namespace.MOUNT: "mnt",
    Namespace.CGROUP: "cgroup",
    Namespace.HOST_NAME: "uts",
    Namespace.IPC: "ipc",
    Namespace.USER: "user",
    Namespace.PID: "pid",
    Namespace.NETWORK: "net",
}


def shared(pid: int) -> Namespace:
    """
    The namespaces that process `pid` has in common with this one.

    Raises MechanismFailed when they cannot be read: the process is gone, or not ours to ask.
    """
    return Namespace(sum(kind for kind in _FILES if _inode(pid, kind) == _inode(None, kind)))


def _inode(pid: int | None, kind: Namespace) -> tuple[int, int]:
    path = f"/proc/{'self' if pid is None else pid}/ns/{_FILES[kind]}"
    with asking(MECHANISM, "reading {}", "mount /proc and look at a process of your own", path):
        found = os.stat(path)  # noqa: PTH116 - see proc.py
    return found.st_dev, found.st_ino
