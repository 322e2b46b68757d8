"""
What a process of the server's own may still do when a stranger's bytes have taken it over.

Such a service (the network broker, the supervisor) waits in a loop, takes frames and descriptors
from the server, answers, and does one work. The rows below are all but that work, whose rows the
service has itself: a row that no test of a service needs fails the build.

The order of the steps matters. What needs /proc or rights comes first; a change of user resets
dumpable and the parent-death signal, so those follow it; Landlock needs no_new_privs; seccomp,
which forbids all of these, is last. All that will be imported is imported, and the loop, which
needs sockets that the filter forbids, is made.

Rejected: threads, such as for names or TLS. The filter would need clone, and a loop needs none.
"""

import fcntl
import os
import socket
import sys
from dataclasses import dataclass
from typing import Final

from executor.linux import descriptors, landlock, rlimits, sealing, seccomp
from executor.linux.filters import (
    EPERM,
    KILL_PROCESS,
    Allow,
    Filter,
    Refuse,
    Row,
    compile_filter,
    equals,
    only_bits,
)
from executor.linux.landlock import Handled, NetworkAccess
from executor.linux.lock_rows import CLOCKS_AND_ENTROPY, ENDING, MEMORY, no_way_out
from executor.linux.lock_steps import (
    BOUNDING_SET,
    CANARY,
    CAPABILITIES,
    NO_NEW_PRIVILEGES,
    NO_WAY_AROUND,
    NOT_DUMPABLE,
    Step,
    die_with,
    leave_directory,
    require_landlock,
    require_sockets_alone,
)
from executor.linux.rlimits import Limit

_FUTEX_WAKE_PRIVATE: Final = 0x81
_MESSAGE_FLAGS: Final = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT
_NO_COPIES: Final = "fork vfork clone"

_ROWS: Final[tuple[Row, ...]] = (
    Allow("epoll_wait", "the loop waits"),
    Allow("epoll_ctl", "what the loop waits for"),
    Allow("poll", "whether something is there"),
    # sendmsg is missing: it could pass descriptors, unseen.
    Allow("recvmsg", "what the server says, and descriptors with it"),
    Allow(
        "sendto",
        "bytes to the server and to what it has passed, on connected sockets only",
        (only_bits(3, _MESSAGE_FLAGS), equals(4, 0), equals(5, 0)),
    ),
    Allow("fstat", "what a passed descriptor is"),
    Allow("fcntl", "what a passed descriptor is open for", (equals(1, fcntl.F_GETFL),)),
    Allow("getsockname", "Python asks it of a descriptor that it makes a socket of"),
    Allow("close", "what is over"),
    *MEMORY,
    Refuse("mprotect", "memory keeps the rights that it was made with", KILL_PROCESS),
    Allow(
        "futex",
        "libc wakes nobody after what is done once; refused, it aborts",
        (equals(1, _FUTEX_WAKE_PRIVATE),),
    ),
    *CLOCKS_AND_ENTROPY,
    *ENDING,
    Allow("gettid", "abort looks up whom to signal"),
    Allow("rt_sigprocmask", "abort unblocks its signal"),
)


def service_filter(name: str, rows: tuple[Row, ...], never: str = "") -> Filter:
    """
    The filter of the service `name`: its own `rows`, and those of every service.

    `never` are names of calls, separated by spaces, that end it as the known ways out do.
    """
    return Filter(name, (*rows, *_ROWS, *no_way_out(name, f"{_NO_COPIES} {never}")), EPERM)


@dataclass(frozen=True, slots=True)
class Service:
    """
    What one kind of service has of its own.

    `descriptors` is one past the highest; `data_growth` the bytes of private memory that it may
    add to what it has when it is locked; `ports` what Landlock leaves it on ports.
    """

    filter: Filter
    descriptors: int
    data_growth: int
    ports: NetworkAccess


@dataclass(frozen=True, slots=True)
class Confinement:
    """
    What one process is to be confined to.

    `parent` is the process that started it; `uid` and `gid` whom it becomes, 0 to stay who it
    is (which must not be root).
    """

    service: Service
    parent: int
    uid: int
    gid: int

    @property
    def name(self) -> str:
        """
        What the service is called in words.
        """
        return self.service.filter.name


def lock_down(confinement: Confinement) -> str:
    """
    Confine this process, irrevocably, in the order of `STEPS`; in words, what holds then.

    Raises MechanismMissing naming what the host lacks, MechanismFailed naming what did not hold;
    the process is then half locked, and its only way is out.
    """
    seccomp.require_machine()
    abi = require_landlock(f"the {confinement.name} needs it")
    for step in STEPS:
        step.act(confinement)
    return f"seccomp and Landlock ABI {abi}"


def _limits(confinement: Confinement) -> None:
    rlimits.lower({Limit.DESCRIPTORS: confinement.service.descriptors})
    rlimits.apply(
        {
            Limit.CORE: 0,
            Limit.LOCKED_MEMORY: 0,
            Limit.MESSAGE_QUEUES: 0,
            Limit.DATA: rlimits.data_in_use() + confinement.service.data_growth,
        }
    )


def _change_user(confinement: Confinement) -> None:
    sealing.become(confinement.uid or os.geteuid(), confinement.gid or os.getegid())


def _silence(_: Confinement) -> None:
    # Messages of the steps that follow are lost; the server sees that the process has ended.
    sys.stderr.flush()
    descriptors.silence()
    # Not before: the server's log is a file, and what is missing has to be told there.
    rlimits.apply({Limit.FILE_SIZE: 0})


def _landlock(confinement: Confinement) -> None:
    known = landlock.handled_by(landlock.abi())
    ports = NetworkAccess(int(known.network) & ~int(confinement.service.ports))
    landlock.restrict(handled=Handled(known.files, ports, known.scopes))


def _seccomp(confinement: Confinement) -> None:
    seccomp.install(compile_filter(confinement.service.filter, os.getpid()), tsync=True)


STEPS: Final[tuple[Step[Confinement], ...]] = (
    *NO_WAY_AROUND,
    Step(
        "descriptors",
        "needs /proc; nothing that was opened before is a way around",
        lambda _: require_sockets_alone(loop=True),
    ),
    Step(
        "working directory",
        "no directory of the host is held",
        lambda confinement: leave_directory(confinement.name),
    ),
    Step("limits", "needs /proc; hard, so that they stay", _limits),
    BOUNDING_SET,
    Step("user", "strangers' bytes are never read as uid 0", _change_user),
    CAPABILITIES,
    NOT_DUMPABLE,
    Step(
        "parent",
        "a change of user clears the parent-death signal",
        lambda confinement: die_with(confinement.parent),
    ),
    Step("standard streams", "needs /dev; the server's log is not this process's", _silence),
    NO_NEW_PRIVILEGES,
    Step("landlock", "no path, no signal outside, no port but those of its work", _landlock),
    Step("seccomp", "forbids all of the above, so it is last", _seccomp),
    CANARY,
)
