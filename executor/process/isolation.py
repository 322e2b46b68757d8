"""
What holds a box, part by part: the report that a session's owner gets, and may insist on.

A level says how much was asked of the host; this says what came of it. A part is enforced only
where something saw that it holds: the kernel as it shows the process from outside, or a canary
that was refused inside. What a host lacks is said, never made up for in words.
"""

from dataclasses import dataclass
from enum import Enum

from executor.linux.cgroups import Group
from executor.process.plan import BoxPlan, Level


class Part(Enum):
    """
    What a box is held in; the values are the names that a policy's `isolation.require` may say.
    """

    FILES = "files"
    ACCESS = "access"
    CALLS = "calls"
    PROCESSES = "processes"
    NETWORK = "network"
    IPC = "ipc"
    RIGHTS = "rights"
    USER = "user"
    MEMORY = "memory"
    TASKS = "tasks"
    CPU = "cpu"
    CPUS = "cpus"
    DISK = "disk"
    KILL = "kill"
    AUDIT = "audit"


class Hold(Enum):
    """
    How much a part holds.
    """

    ENFORCED = "enforced"
    PARTIAL = "partial"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    How much one part holds; `how` says by what, how that was verified, and what is missing.
    """

    part: Part
    hold: Hold
    how: str


@dataclass(frozen=True, slots=True)
class Vector:
    """
    All parts of one box, each once, in the order of `Part`.
    """

    level: Level
    findings: tuple[Finding, ...]


def found(plan: BoxPlan, level: Level, landlock_abi: int, group: Group | None) -> Vector:
    """
    What holds a box of `plan` that was made and verified: see `status.py` and `canaries.py`.
    """
    bare = level is Level.P2
    rows = (
        *(_WITHOUT_NAMESPACES if bare else _WITH_NAMESPACES),
        *(_NOTIFIED if bare and plan.network else ()),
        (Part.ACCESS, Hold.ENFORCED, f"Landlock ABI {landlock_abi}; a canary was refused"),
        (Part.CALLS, Hold.ENFORCED, "seccomp mode 2 as the kernel says; canaries were refused"),
        (Part.RIGHTS, Hold.ENFORCED, "no capabilities and no_new_privs, as the kernel says"),
        _user(plan),
        *_of_group(plan, level, group),
        _share(plan, group),
        _audit(plan),
    )
    by_part = {part: Finding(part, hold, how) for part, hold, how in rows}
    return Vector(level, tuple(by_part[part] for part in Part))


_Row = tuple[Part, Hold, str]
_WITH_NAMESPACES: tuple[_Row, ...] = (
    (Part.FILES, Hold.ENFORCED, "a mount namespace with the plan's mounts alone, each looked at"),
    (Part.PROCESSES, Hold.ENFORCED, "a pid namespace of its own, compared from outside"),
    (Part.NETWORK, Hold.ENFORCED, "a network namespace of its own, compared from outside"),
    (Part.IPC, Hold.ENFORCED, "an ipc namespace of its own, compared from outside"),
    (Part.DISK, Hold.ENFORCED, "file systems in memory of a fixed size, each looked at"),
    (Part.KILL, Hold.ENFORCED, "all end with the first process of the pid namespace"),
)
_WITHOUT_NAMESPACES: tuple[_Row, ...] = (
    (
        Part.FILES,
        Hold.PARTIAL,
        "names, sizes and times of the host's files can be asked for, not read; written code loads",
    ),
    (
        Part.PROCESSES,
        Hold.PARTIAL,
        "no pid namespace: signals and questions about others are refused by seccomp alone",
    ),
    (
        Part.NETWORK,
        Hold.PARTIAL,
        "no network namespace: sockets are refused by seccomp alone, the server makes granted ones",
    ),
    (Part.IPC, Hold.PARTIAL, "no ipc namespace: its calls are refused by seccomp alone"),
    (Part.DISK, Hold.PARTIAL, "directories of the host: the size of each file is limited, no more"),
    (Part.KILL, Hold.ENFORCED, "one process that cannot make others, held by a pidfd"),
)


_NOTIFIED: tuple[_Row, ...] = (
    (
        Part.NETWORK,
        Hold.PARTIAL,
        "no network namespace: seccomp tells of TCP, which the server judges and connects",
    ),
)


def _user(plan: BoxPlan) -> _Row:
    if plan.identity is not None:
        return (Part.USER, Hold.ENFORCED, "a host user of its own, as the kernel says")
    return (Part.USER, Hold.PARTIAL, "the server's own user: only root gives each box another")


def _of_group(plan: BoxPlan, level: Level, group: Group | None) -> tuple[_Row, ...]:
    if group is not None:
        told = "its control group, which it was seen to be in"
        counted = group.cpu_time() is not None
        return (
            (Part.MEMORY, Hold.ENFORCED, told),
            (Part.TASKS, Hold.ENFORCED, told),
            (
                Part.CPU,
                Hold.ENFORCED if counted or not plan.children else Hold.PARTIAL,
                f"RLIMIT_CPU of each process{', and its control group counts' if counted else ''}",
            ),
        )
    each = "no control group: RLIMIT_{} of {}"
    return (
        (
            Part.MEMORY,
            Hold.PARTIAL,
            each.format("DATA", "each process; shared memory is not in it"),
        ),
        _tasks(plan, level),
        (
            Part.CPU,
            Hold.PARTIAL if plan.children else Hold.ENFORCED,
            each.format("CPU", "each process"),
        ),
    )


def _share(plan: BoxPlan, group: Group | None) -> _Row:
    """
    What it may have of processors; a group above that gives less holds as well.
    """
    share = None if group is None else group.cpu_percent()
    if share is None:
        said = "no control group with the controller cpu: its threads take what the host gives"
        return (Part.CPUS, Hold.ABSENT, said)
    if share > plan.cpu_percent:
        return (Part.CPUS, Hold.PARTIAL, f"its control group gives {share / 100:g} processors")
    told = f"its control group gives {share / 100:g} processors, read back"
    return (Part.CPUS, Hold.ENFORCED, told)


def _tasks(plan: BoxPlan, level: Level) -> _Row:
    if level is Level.P2 and plan.identity is None:
        said = "no control group, and RLIMIT_NPROC would count all of the server's user"
        return (Part.TASKS, Hold.ABSENT, said)
    return (Part.TASKS, Hold.ENFORCED, "RLIMIT_NPROC, which nobody else counts against")


def _audit(plan: BoxPlan) -> _Row:
    if plan.watched:
        return (Part.AUDIT, Hold.ENFORCED, "refused system calls are notified; canaries were")
    return (Part.AUDIT, Hold.ABSENT, "refused system calls are not told of")
