"""
Resource limits, set hard and soft at once, so that the process cannot raise them again.

What counts where (Linux): RLIMIT_DATA counts private writable mappings, heap included, also
those that become writable by mprotect; a reservation without rights is free. So it bounds what
a wasm memory grows into inside its reserved 4 GiB, where RLIMIT_AS would refuse the reservation.
RLIMIT_NPROC counts a user's processes, not a process's children: one wasm worker would starve the
others, so fork is refused them by seccomp instead. Source: getrlimit(2).
"""

import math
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum

from executor.linux import proc
from executor.linux.errors import MechanismFailed, asking

MECHANISM = "rlimits"
_MEND = "raise the server's own hard limits, or ask for less"


class Limit(IntEnum):
    """
    The limits that we set, in bytes; DESCRIPTORS is one past the highest, CPU counts seconds, and
    PROCESSES and PENDING_SIGNALS what a user has.
    """

    CORE = resource.RLIMIT_CORE
    FILE_SIZE = resource.RLIMIT_FSIZE
    DESCRIPTORS = resource.RLIMIT_NOFILE
    LOCKED_MEMORY = resource.RLIMIT_MEMLOCK
    MESSAGE_QUEUES = resource.RLIMIT_MSGQUEUE
    DATA = resource.RLIMIT_DATA
    STACK = resource.RLIMIT_STACK
    CPU = resource.RLIMIT_CPU
    PROCESSES = resource.RLIMIT_NPROC
    PENDING_SIGNALS = resource.RLIMIT_SIGPENDING


def apply(limits: Mapping[Limit, int]) -> None:
    """
    Set each limit, soft and hard, to its value (0 to 2**63 - 1).

    Raises MechanismFailed when a limit is negative or above the hard limit that the process
    already has, or reads back otherwise; the limits before it in the mapping are then set.
    """
    for limit, value in limits.items():
        _apply(limit, value)


def lower(limits: Mapping[Limit, int]) -> None:
    """
    As `apply`, but what the host limits to less already stays as it is.
    """
    for limit, value in limits.items():
        _apply(limit, _least(value, _hard(limit)))


def at_least(limit: Limit, value: int) -> None:
    """
    Raise the soft limit to `value` where it is lower. Raises MechanismFailed above the hard one.
    """
    soft, hard = resource.getrlimit(limit)
    if soft == resource.RLIM_INFINITY or soft >= value:
        return
    if hard != resource.RLIM_INFINITY and value > hard:
        raise MechanismFailed(
            MECHANISM, f"{limit.name} {value} is above the hard limit {hard}; {_MEND}"
        )
    _set(limit, (value, hard))


def raise_soft(limit: Limit, value: int) -> None:
    """
    Raise the soft limit to `value`, or as far as the hard one goes; lower it never.
    """
    soft, hard = resource.getrlimit(limit)
    wanted = _least(value, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        _set(limit, (wanted, hard))


@contextmanager
def within_seconds(seconds: int) -> Iterator[None]:
    """
    Let the process use `seconds` (1 or more) more of CPU time inside; SIGXCPU then ends it.

    The hard limit stays, so the limit is gone afterwards, also for children: it stops a mistake,
    and nobody who means to raise it. Raises MechanismFailed when it cannot be set or taken back.
    Source: getrlimit(2), RLIMIT_CPU.
    """
    before = resource.getrlimit(Limit.CPU)
    used = resource.getrusage(resource.RUSAGE_SELF)
    bound = math.ceil(used.ru_utime + used.ru_stime) + seconds
    _set(Limit.CPU, (_least(bound, before[0]), before[1]))
    try:
        yield
    finally:
        _set(Limit.CPU, before)


def data_in_use(pid: int | None = None) -> int:
    """
    The bytes that RLIMIT_DATA counts now, of this process or of process `pid`.

    Raises MechanismFailed when /proc is not mounted or the process is gone. Source:
    proc_pid_status(5), VmData.
    """
    path = f"/proc/{'self' if pid is None else pid}/status"
    with asking(MECHANISM, "reading {}", "mount /proc", path):
        status = proc.read(path)
    _, _, rest = status.partition(b"\nVmData:")
    if rest:
        return int(rest.split(maxsplit=1)[0]) * 1024
    raise MechanismFailed(MECHANISM, f"{path} has no VmData; mount the kernel's own /proc")


def limit_data_of(pid: int, growth: int) -> None:
    """
    Let process `pid` add at most `growth` bytes (0 or more) to the data that it has now.

    For a process that has locked itself before it was known how much it may have. Raises
    MechanismFailed when it is gone or belongs to another user. Source: prlimit(2).
    """
    limit = data_in_use(pid) + growth
    with asking(MECHANISM, f"prlimit of process {pid}", "run both processes as one user"):
        resource.prlimit(pid, resource.RLIMIT_DATA, (limit, limit))


def _apply(limit: Limit, value: int) -> None:
    # -1 is RLIM_INFINITY: "no limit" must never come out of an arithmetic mistake.
    if value < 0:
        raise MechanismFailed(MECHANISM, f"{limit.name} {value}; limits are 0 or more")
    hard = _hard(limit)
    if hard != resource.RLIM_INFINITY and value > hard:
        raise MechanismFailed(
            MECHANISM, f"{limit.name} {value} is above the hard limit {hard}; {_MEND}"
        )
    _set(limit, (value, value))


def _least(value: int, limit: int) -> int:
    return value if limit == resource.RLIM_INFINITY else min(value, limit)


def _hard(limit: Limit) -> int:
    with asking(MECHANISM, "reading {0.name}", _MEND, limit):
        return resource.getrlimit(limit)[1]


def _set(limit: Limit, wanted: tuple[int, int]) -> None:
    with asking(MECHANISM, "setting {0.name} to {1[0]}", _MEND, limit, wanted):
        resource.setrlimit(limit, wanted)
        found = resource.getrlimit(limit)
    if found != wanted:
        raise MechanismFailed(MECHANISM, f"{limit.name} does not read back as {wanted[0]}; {_MEND}")
