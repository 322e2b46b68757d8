"""
Whether a process that says it is ready is the one that was started, and is locked.

The network brokers and the supervisor show what they are before they are given anything: the
kernel names the process that sent their first word, which has to be the launcher's child and held
by a filter.

Sources: unix(7) (SO_PASSCRED, SCM_CREDENTIALS), proc(5), pidfd_open(2).
"""

import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from executor.children.workers import require_locked
from executor.errors import ProtocolBroken
from executor.linux.pidfd import Process

_CREDENTIALS: Final = struct.Struct("3i")
ROOM: Final = socket.CMSG_SPACE(_CREDENTIALS.size)
"""The bytes that the kernel's word on a sender takes in recvmsg(2), where SO_PASSCRED is set."""


def vouched(ancillary: Iterable[tuple[int, int, bytes]], parent: int) -> Process:
    """
    The process that the kernel names as the sender of a message with `ancillary`, once it is seen
    to be a child of process `parent` and held by a filter in every thread.

    Raises ProtocolBroken where it is not, or has ended; MechanismError where no descriptor is free.
    """
    pid = _sender(ancillary)
    try:
        process = Process(pid)
    except ProcessLookupError as error:
        raise ProtocolBroken("it ended when it was ready") from error
    try:
        # Read after the pidfd was opened: what is read is about the process that it holds.
        if _parent_of(pid) != parent:
            raise ProtocolBroken(f"process {pid} speaks for it, which the launcher did not start")
        require_locked(pid)
        if process.ended():
            raise ProtocolBroken("it ended when it was ready")
    except BaseException:
        process.close()
        raise
    return process


def _sender(ancillary: Iterable[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid, _, _ = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
            return int(pid)
    raise ProtocolBroken("the kernel does not say who sent its first word")


def _parent_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    except OSError as error:
        raise ProtocolBroken(f"its process cannot be looked at: {error}") from error
    return int(dict(line.split(":", 1) for line in lines)["PPid"])
