"""
The lock of a zygote, taken before the guest runs its first instruction.

A zygote imports a guest's packages, which are foreign code, and every worker is a copy of it: a
zygote that has been taken over has all later sessions. The guest is confined by the engine; this
is what stands behind it. After the lock a zygote has no network but the sockets it is handed,
starts no program, changes no file, and reads proc(5) alone: all that it imports it has imported,
and the image is open (sealed memory files, which no rule has to name).

It still forks, and under this lock it takes the jail's steps that children have by fork(2), when
its guest has booted (`jail.hold`), and each worker the rest (`jail.lock_down`): filters and
domains only ever add up. So a row here must bar nothing that a step of the jail does, and that
is why this is a list of what is barred. What the jail needs and what is therefore left:

    /proc            read: maps, status and task of its own. Written by nobody: a worker is born
                     with its oom_score_adj (`linux.oom`), which is opened before
    executable       callbacks are made by libffi in memory that is writable and executable, and
    memory           modules are mapped; the jail forbids both when the guest has booted
    prctl, capset,   they can only take away
    landlock, seccomp

Rejected: a table of what is allowed, as the worker has. It would be the worker's rows and all
its steps' and the boot's, for every Python and libc, and still be weaker than the worker's own.

Signals are barred by call, since before Landlock ABI 6 and at level W1 nothing else does it: also
those that a descriptor's owner is sent (F_SETOWN in fcntl(2), FIOSETOWN), so fcntl and ioctl
have lists of what passes.

A zygote is not dumpable and its workers never are: no process of its user opens their memory.
What it takes is bounded, with room for its workers, whose own limits are lower: data for a
guest's whole memory twice and what the host holds of it, no core, no file, no queue. Memory that
is shared counts under none of these limits, and a zygote can still map it.
"""

import errno
import functools
import os
import signal
import socket
from dataclasses import dataclass

from executor.linux import landlock, prctl, rlimits, sealing, seccomp
from executor.linux.barring import (
    ATTRIBUTE_CHANGES,
    NAME_CHANGES,
    all_but,
    barred,
    forks,
    host_rows,
)
from executor.linux.canary import Canary
from executor.linux.errors import MechanismFailed
from executor.linux.filters import (
    EPERM,
    KILL_PROCESS,
    Allow,
    OneOf,
    OwnPid,
    Prepared,
    equals,
    prepare,
)
from executor.linux.landlock import Handled, PathRule, Reach
from executor.linux.libc import call
from executor.linux.lock_steps import require_landlock
from executor.linux.rlimits import Limit
from executor.wasm.jail import Level

_PROC = "/proc"
_NULL = "/dev/null"

# Of private writable memory: a guest's 4 GiB at boot and 4 GiB that a worker may add at most,
# each with its 64 MiB, and 2 GiB of Python, engine and modules.
DATA_GROWTH = 2 * (2**32 + 2**26) + 2**31

# DUPFD, GETFD, SETFD, GETFL, SETFL, locks (both kinds), DUPFD_CLOEXEC, the pipe's size, seals.
_DESCRIPTOR_ACTS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032, 1033, 1034)
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX.
_DEVICE_ACTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)

_PAIR = socket.SOCK_STREAM | socket.SOCK_CLOEXEC

# Killed: calls that no code of ours makes. Refused: calls that a library may try and do without.
ZYGOTE_FILTER = all_but(
    "zygote",
    (
        *host_rows(KILL_PROCESS),
        *barred("execve execveat", "starts a program", KILL_PROCESS),
        *barred("vfork", "is there for starting programs", KILL_PROCESS),
        *barred(
            "socket connect bind listen accept accept4",
            "reaches the network; a zygote has its socket and is handed those of its workers",
            EPERM,
        ),
        Allow(
            "socketpair",
            "what wakes the main thread of a worker, which makes it before its own lock",
            (equals(0, socket.AF_UNIX), equals(1, _PAIR), equals(2, 0)),
            otherwise=EPERM,
        ),
        *barred(
            "kill tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal",
            "signals other processes; the server ends workers",
            EPERM,
        ),
        # No filter can name the processes that will inherit it: abort(3) in a worker is refused
        # this and goes on to an instruction that faults, which ends it by SIGSEGV instead.
        Allow(
            "tgkill",
            "abort of the zygote, and no signal to anyone else",
            (OwnPid(0), equals(2, signal.SIGABRT)),
            otherwise=EPERM,
        ),
        Allow(
            "fcntl",
            "copies, flags, locks and seals, and no signal to whom it names",
            (OneOf(1, _DESCRIPTOR_ACTS),),
            otherwise=EPERM,
        ),
        Allow(
            "ioctl",
            "what Python asks of descriptors, and no signal to whom it names",
            (OneOf(1, _DEVICE_ACTS),),
            otherwise=EPERM,
        ),
        *barred(NAME_CHANGES, "changes files", EPERM),
        *barred(ATTRIBUTE_CHANGES, "changes files, and Landlock has no right for it", EPERM),
        *forks(KILL_PROCESS),
    ),
)


@dataclass(frozen=True, slots=True)
class Locked:
    """
    What holds now, for the log. `landlock_abi` is 0 at level W1.
    """

    level: Level
    landlock_abi: int


def lock(minimum: Level = Level.W2) -> Locked:
    """
    Lock this process, irrevocably. For a zygote that has opened its image and given up root.

    To be called with one thread, before the guest boots. `minimum` is what the host must offer,
    as in `jail.Confinement`: at W1 without Landlock nothing protects files that this user may
    write. Raises MechanismMissing naming what the host lacks, MechanismFailed when root has not
    been given up, a thread runs, or a mechanism does not hold; the zygote must then end.
    """
    seccomp.require_machine()
    need = "level W2 needs it for zygotes too"
    abi = require_landlock(need) if minimum is Level.W2 else landlock.abi()
    _require_user()
    sealing.require_one_thread()
    program = _prepared().for_process(os.getpid())
    rlimits.lower(_bounds())
    prctl.drop_bounding_set()
    prctl.drop_capabilities()
    prctl.set_no_new_privs()
    if abi:
        landlock.restrict(_rules(landlock.handled_by(abi)))
    seccomp.install(program, tsync=True)
    prctl.set_not_dumpable()
    _OF_THE_FILTER.ask()
    if abi:
        _OF_THE_DOMAIN.ask()
    return Locked(Level.W2 if abi else Level.W1, abi)


@functools.cache
def _prepared() -> Prepared:
    return prepare(ZYGOTE_FILTER)


def _require_user() -> None:
    # As root, the files of /proc that exist include those of the kernel.
    if 0 in os.getresuid():
        raise MechanismFailed(
            "identity", "a zygote that is still root was to be locked; give it a user before"
        )


def _bounds() -> dict[Limit, int]:
    return {
        Limit.CORE: 0,
        Limit.FILE_SIZE: 0,
        Limit.LOCKED_MEMORY: 0,
        Limit.MESSAGE_QUEUES: 0,
        Limit.DATA: rlimits.data_in_use() + DATA_GROWTH,
    }


def _rules(handled: Handled) -> tuple[PathRule, ...]:
    reached = ((_PROC, Reach.READ), (_NULL, Reach.UPDATE))
    return tuple(landlock.beneath(path, reach, handled) for path, reach in reached)


def _connect() -> None:
    call("connect", -1, 0, 0)


def _open_root() -> None:
    os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


_OF_THE_FILTER = Canary(seccomp.MECHANISM, "a connection", errno.EPERM, _connect)
_OF_THE_DOMAIN = Canary(landlock.MECHANISM, "opening /", errno.EACCES, _open_root)
