"""
What a finished box asks of the kernel once, to see that each layer refuses.

Harmless where a layer were missing: nothing here changes anything of the host. Each canary is
answered by one layer alone, so that a layer that does nothing is not covered by another.
"""

import errno
import mmap
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from executor.linux.errors import MechanismFailed
from executor.linux.libc import call
from executor.process.plan import BoxPlan, NewCode

_CLONE_NEWUSER = 0x1000_0000


@dataclass(frozen=True, slots=True)
class Canary:
    """
    Something that must fail with `answer`; `layer` is what refuses it.
    """

    layer: str
    asked: str
    answer: int
    act: Callable[[], object]


def ask(plan: BoxPlan) -> None:
    """
    Ask all of them. Raises MechanismFailed naming the layer that let one pass.
    """
    code = () if plan.new_code is NewCode.ALLOWED else _OF_MEMORY
    for canary in (*_ALWAYS, *code):
        _ask(canary)


def _ask(canary: Canary) -> None:
    try:
        canary.act()
    except OSError as error:
        if error.errno == canary.answer:
            return
        found = errno.errorcode.get(error.errno or 0, str(error))
    else:
        found = "an answer"
    wanted = errno.errorcode[canary.answer]
    raise MechanismFailed(
        canary.layer, f"{canary.asked} got {found} instead of {wanted}; do not run here"
    )


def _make_code() -> None:
    rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    mmap.mmap(-1, mmap.PAGESIZE, prot=rights).close()


def _write_random() -> None:
    os.close(os.open("/dev/urandom", os.O_WRONLY | os.O_CLOEXEC))


_ALWAYS = (
    Canary(
        "mounts", "a look at the host's processes", errno.ENOENT, lambda: Path("/proc/1").stat()
    ),
    Canary(
        "mounts", "a look at the host's settings", errno.ENOENT, lambda: Path("/sys/kernel").stat()
    ),
    Canary("Landlock", "opening /dev/urandom for writing", errno.EACCES, _write_random),
    Canary("seccomp", "a user namespace", errno.EPERM, lambda: call("unshare", _CLONE_NEWUSER)),
    Canary("seccomp", "a socket", errno.EAFNOSUPPORT, socket.socket),
    Canary("seccomp", "another process", errno.EPERM, os.fork),
    Canary("pid namespace", "a look at its parent", errno.ESRCH, lambda: os.getpgid(2)),
)
_OF_MEMORY = (
    Canary("memory-deny-write-execute", "memory that is code and data", errno.EACCES, _make_code),
)
