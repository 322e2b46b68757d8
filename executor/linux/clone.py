"""
A copy of this process in namespaces of its own, by one clone3(2).

os.fork and a later unshare(2) would need two forks, for a pid namespace begins with the next
child; that is about twice the time. What os.fork does around the system call (locks of the
interpreter, handlers that packages registered) is done here as well, by the functions that
CPython offers for it. The call goes through PyDLL, which keeps the interpreter's lock: a thread
that took it in between would not exist in the child.

libc does not learn of the clone: nothing of it may be between its own locks, which holds while
there is one thread. Its pthread_atfork handlers do not run, so libraries with threads of their
own (BLAS) must have been through a real fork before.

Sources: clone(2), CPython "PyOS_BeforeFork", "PyOS_AfterFork_Child".
"""

import ctypes
import errno
import os
import signal
import struct
from ctypes import addressof, create_string_buffer
from dataclasses import dataclass

from executor.linux.errors import MechanismFailed, MechanismMissing
from executor.linux.namespaces import Namespace
from executor.linux.sealing import require_one_thread
from executor.linux.syscalls import NUMBERS

MECHANISM = "clone3"

_CLONE_PIDFD = 0x1000
_CLONE_INTO_CGROUP = 0x2_0000_0000
# struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
# set_tid, set_tid_size, cgroup.
_ARGUMENTS = struct.Struct("=11Q")
_INT = struct.Struct("=i")
_CHILD = int(signal.SIGCHLD)
_KEEPING_THE_LOCK = ctypes.PyDLL(None, use_errno=True)
_SYSCALL = _KEEPING_THE_LOCK.syscall
_SYSCALL.restype = ctypes.c_long
_SYSCALL.argtypes = [ctypes.c_long] * 3
# What a kernel or its administrator says who does not let this user make namespaces.
_NOT_HERE = frozenset(
    {errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EUSERS, errno.EINVAL}
)


@dataclass(frozen=True, slots=True)
class Cloned:
    """
    The child as its parent sees it; `pid` 0 says that this is the child. `pidfd` is -1 there.
    """

    pid: int
    pidfd: int


def clone(namespaces: Namespace, group: int | None = None) -> Cloned:
    """
    Continue as two processes, the child in new `namespaces`; with `group`, the descriptor of a
    directory of control groups (version 2), in that group from its first instruction.

    Only for a process with one thread. Raises MechanismFailed when it has more;
    MechanismMissing when this host does not make such namespaces for this user.
    """
    require_one_thread()
    pidfd = create_string_buffer(_INT.pack(-1))
    flags = int(namespaces) | _CLONE_PIDFD | (0 if group is None else _CLONE_INTO_CGROUP)
    arguments = create_string_buffer(
        _ARGUMENTS.pack(flags, addressof(pidfd), 0, 0, _CHILD, 0, 0, 0, 0, 0, group or 0)
    )
    pid, number = _call(addressof(arguments))
    if pid == 0:
        return Cloned(0, -1)
    if pid < 0:
        raise _refusal(namespaces, number)
    return Cloned(pid, _INT.unpack_from(pidfd)[0])


def _call(arguments: int) -> tuple[int, int]:
    """
    What the kernel returned and, when it is negative, its errno.
    """
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(_SYSCALL(NUMBERS["clone3"], arguments, _ARGUMENTS.size))
    number = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    return pid, number


def _refusal(namespaces: Namespace, number: int) -> MechanismMissing | MechanismFailed:
    kind = MechanismMissing if number in _NOT_HERE else MechanismFailed
    return kind(
        MECHANISM,
        f"asked for {namespaces!r}, answered {errno.errorcode.get(number, number)}"
        f" ({os.strerror(number)}); allow user namespaces to this user"
        " (user.max_user_namespaces, the container's profile), or run as root",
    )
