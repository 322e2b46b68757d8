"""
What a finished box asks of the kernel once, to see that each layer refuses.

Harmless where a layer were missing: nothing here changes anything of the host. Each canary is
answered by one layer alone, so that a layer that does nothing is not covered by another.
"""

import errno
import mmap
import os
import signal
import socket
from pathlib import Path

from executor.linux.canary import Canary
from executor.linux.libc import call
from executor.process.plan import BoxPlan, Level, NewCode

_CLONE_NEWUSER = 0x1000_0000
_SIGNAL_AT_END = int(signal.SIGCHLD)


def ask(plan: BoxPlan, level: Level) -> None:
    """
    Ask all that fit. Raises MechanismFailed naming the layer that let one pass.
    """
    for canary in (
        *_ALWAYS,
        *(_BARE if level is Level.P2 else _IN_NAMESPACES),
        *(_NOTIFIED if level is Level.P2 and plan.network else ()),
        *(() if plan.children else _ALONE),
        *(() if plan.new_code is NewCode.ALLOWED else _OF_MEMORY),
    ):
        canary.ask()


def _make_code() -> None:
    rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    mmap.mmap(-1, mmap.PAGESIZE, prot=rights).close()


def _write_random() -> None:
    os.close(os.open("/dev/urandom", os.O_WRONLY | os.O_CLOEXEC))


def _list(path: str) -> None:
    list(Path(path).iterdir())


def _look(path: str) -> None:
    os.stat(path)  # noqa: PTH116 - as the call is named


def _another_process() -> None:
    # Not os.fork, which first has every library get ready for one.
    if call("clone", _SIGNAL_AT_END) == 0:
        os._exit(1)


def _unix_socket() -> None:
    socket.socket(socket.AF_UNIX).close()


def _internet_socket() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


_ALWAYS = (
    Canary("Landlock", "opening /dev/urandom for writing", errno.EACCES, _write_random),
    Canary("seccomp", "a user namespace", errno.EPERM, lambda: call("unshare", _CLONE_NEWUSER)),
    Canary("seccomp", "a unix socket", errno.EAFNOSUPPORT, _unix_socket),
)
_IN_NAMESPACES = (
    Canary("mounts", "a look at the host's processes", errno.ENOENT, lambda: _look("/proc/1")),
    Canary("mounts", "a look at the host's settings", errno.ENOENT, lambda: _look("/sys/kernel")),
    # A box has one process or, with one that waits for children, two.
    Canary("pid namespace", "a look at a third process", errno.ESRCH, lambda: os.getpgid(3)),
)
_BARE = (
    Canary("Landlock", "a list of the host's files", errno.EACCES, lambda: _list("/")),
    Canary("Landlock", "reading its own status", errno.EACCES, lambda: _list("/proc/self")),
    Canary("seccomp", "the rights of a file", errno.EPERM, lambda: Path("/").chmod(0o755)),
    Canary("seccomp", "a look at another process", errno.EPERM, lambda: os.kill(1, 0)),
)
# Its maker hears of it, and refuses: nobody has judged anything yet.
_NOTIFIED = (
    Canary("seccomp", "a socket in the host's network", errno.EPERM, _internet_socket),
    Canary("seccomp", "a connection", errno.EPERM, lambda: call("connect", -1, 0, 0)),
)
_ALONE = (Canary("seccomp", "another process", errno.EPERM, _another_process),)
_OF_MEMORY = (
    Canary("memory-deny-write-execute", "memory that is code and data", errno.EACCES, _make_code),
)
