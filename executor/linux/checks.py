"""
What this host offers, found by trying it, for `codecage doctor` and for the start of the server.

Each probe that confines does so in a thread of its own: filters, Landlock domains and
no_new_privs belong to a thread, and end with it. So nothing is forked from a process that may
have threads, and the caller stays as it was.
"""

import errno
import fcntl
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from threading import Thread

from executor.linux import landlock, prctl, seccomp
from executor.linux.errors import MechanismError, MechanismMissing
from executor.linux.filters import ALLOW, EPERM, Filter, Refuse, compile_filter
from executor.linux.libc import call
from executor.linux.pidfd import Process

_OLDEST_KERNEL = (5, 13)
_OLDEST_GLIBC = (2, 28)
_F_ADD_SEALS = 1033
_F_SEAL_WRITE = 0x8
_PROBE_FILTER = Filter("probe", (Refuse("getppid", "shows that filters act", EPERM),), ALLOW)


class Status(Enum):
    """
    The outcome of one check. `FAILED` means that no wasm session can start at level W2.
    """

    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """
    One mechanism: what was found, and, when it failed, how to mend that (else empty).
    """

    name: str
    status: Status
    found: str
    mend: str = ""


def checks() -> list[Check]:
    """
    Try every mechanism that the wasm cage needs, in a few milliseconds.

    Raises nothing that a host's lack explains. Starts threads that end before it returns, so
    it is not for a zygote or a worker.
    """
    return [probe() for probe in _PROBES]


def _machine() -> Check:
    libc = _glibc()
    found = f"{sys.platform} {platform.machine()}, glibc {_dotted(libc) or 'none'}"
    try:
        seccomp.require_machine()
    except MechanismMissing:
        return Check("machine", Status.FAILED, found, "use 64-bit x86_64 Linux")
    mend = f"use a distribution with glibc {_dotted(_OLDEST_GLIBC)} or later; musl is not supported"
    return _judge("machine", found, mend, passed=libc >= _OLDEST_GLIBC)


def _kernel() -> Check:
    release = platform.release()
    mend = f"use Linux {_dotted(_OLDEST_KERNEL)} or later"
    return _judge("kernel", release, mend, passed=_numbers(release) >= _OLDEST_KERNEL)


def _seccomp() -> Check:
    mend = "use a kernel with CONFIG_SECCOMP_FILTER, in a container that allows seccomp(2)"
    found = _in_thread(_refuses_getppid)
    return _judge("seccomp", found, mend, passed=found == "a filter acts")


def _no_new_privs() -> Check:
    mend = "allow prctl(PR_SET_NO_NEW_PRIVS) where the server runs"
    found = _in_thread(_keeps_no_new_privs)
    return _judge("no_new_privs", found, mend, passed=found == "is kept")


def _landlock() -> Check:
    mend = "add `landlock` to the kernel's lsm= line"
    version = _in_thread(lambda: f"ABI {landlock.abi()}")
    found = _in_thread(_cannot_open_root)
    return _judge("Landlock", f"{version}, {found}", mend, passed=found == "a domain acts")


def _pidfd() -> Check:
    mend = "use Linux 5.3 or later, in a container that allows pidfd_open(2)"
    found = _in_thread(_sees_itself)
    return _judge("pidfd", found, mend, passed=found == "follows a process")


def _memfd() -> Check:
    mend = "use a kernel with CONFIG_MEMFD_CREATE, in a container that allows memfd_create(2)"
    found = _in_thread(_seals)
    return _judge("memfd sealing", found, mend, passed=found == "a seal holds")


_PROBES = (_machine, _kernel, _seccomp, _no_new_privs, _landlock, _pidfd, _memfd)


def _judge(name: str, found: str, mend: str, *, passed: bool) -> Check:
    return Check(name, Status.PASSED, found) if passed else Check(name, Status.FAILED, found, mend)


def _in_thread(probe: Callable[[], str]) -> str:
    """
    What `probe` says, or the error that it met; it runs, and is confined, in its own thread.
    """
    said = ["did not answer"]

    def run() -> None:
        try:
            said[0] = probe()
        except (MechanismError, OSError) as error:
            said[0] = str(error)

    thread = Thread(target=run, name="codecage-probe")
    thread.start()
    thread.join()
    return said[0]


def _refuses_getppid() -> str:
    seccomp.install(compile_filter(_PROBE_FILTER, os.getpid()), tsync=False)
    try:
        call("getppid")
    except OSError as error:
        return "a filter acts" if error.errno == errno.EPERM else str(error)
    return "a filter loads and does not act"


def _keeps_no_new_privs() -> str:
    prctl.set_no_new_privs()
    return "is kept"


def _cannot_open_root() -> str:
    landlock.restrict()
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except PermissionError:
        return "a domain acts"
    return "a domain is entered and does not act"


def _sees_itself() -> str:
    with Process(os.getpid()) as process:
        process.send(0)
        alive = not process.ended() and process.cpu_time() > 0
    return "follows a process" if alive else "says that this process has ended"


def _seals() -> str:
    held = os.memfd_create("codecage-probe", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        fcntl.fcntl(held, _F_ADD_SEALS, _F_SEAL_WRITE)
        os.write(held, b"x")
    except PermissionError:
        return "a seal holds"
    finally:
        os.close(held)
    return "a sealed file was written"


def _glibc() -> tuple[int, ...]:
    try:
        said = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ()
    return _numbers(said.removeprefix("glibc "))


def _numbers(version: str) -> tuple[int, ...]:
    """
    The leading two numbers of a version: (6, 18) of "6.18.44-generic", () of "unknown".
    """
    parts = version.split("-", 1)[0].split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
