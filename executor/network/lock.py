"""
What the network broker may still do when a stranger's bytes have taken it over.

It resolves, connects outward, moves bytes and answers one socket. It opens no file, starts no
process and no thread, takes no connection, and makes no socket but of the internet's families.
The rows below are that sentence, call by call; a row that no test needs fails the build.

What the lock does not hold: it may connect anywhere that this host may, since no filter sees the
address behind a pointer. That is why the server judges every address, why one broker holds one
policy's secrets and no other's, and why a firewall of the host is a good second line.

The order matters. What needs /proc or rights comes first; a change of user resets dumpable and
the parent-death signal, so those follow it; Landlock needs no_new_privs; seccomp, which forbids
all of these, is last. All that will be imported is imported, and the loop, which needs sockets
that the filter forbids, is made.

Rejected: threads for names or TLS. The filter would need clone, and the loop needs neither.
Rejected: Landlock's rules for ports. The ports of a policy are checked before a connection is
opened, and name servers are chosen by the host.
"""

import errno
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.linux import descriptors, landlock, prctl, rlimits, sealing, seccomp
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.linux.filters import (
    EPERM,
    KILL_PROCESS,
    Allow,
    Filter,
    MaskedEquals,
    OneOf,
    OwnPid,
    Refuse,
    compile_filter,
    equals,
    only_bits,
)
from executor.linux.landlock import Handled, NetworkAccess
from executor.linux.libc import call
from executor.linux.rlimits import Limit

CONNECTIONS_MAX: Final = 256
# Each has its guest's stream and one socket to the world, or two while a name is looked up.
_DESCRIPTORS: Final = 3 * CONNECTIONS_MAX + 64
# A connection holds at most a few pieces of 128 KiB each way, and its TLS.
_DATA_GROWTH: Final = CONNECTIONS_MAX * 2**21 + 2**27

_PROT_READ_WRITE: Final = 0x1 | 0x2
_MAP_FIXED: Final = 0x10
_MAP_NORESERVE: Final = 0x4000
_MAP_STACK: Final = 0x2_0000
_MAP_PRIVATE_ANONYMOUS: Final = 0x02 | 0x20
_MREMAP_MAYMOVE: Final = 1
_FIONBIO: Final = 0x5421
_F_GETFL: Final = 3
_FUTEX_WAKE_PRIVATE: Final = 0x81
_OWN_CLOCKS: Final = (0, 1, 2, 3)
_GRND_NONBLOCK: Final = 1
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_KINDS: Final = tuple(
    kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
)
_MESSAGE_FLAGS: Final = socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT
_STANDARD_ERROR: Final = 2

_NEVER: Final = "a broker has no use for it, and it is a known way out: an attempt ends it"
_NEVER_NAMES: Final = (
    "execve execveat fork vfork clone"
    " ptrace process_vm_readv process_vm_writev pidfd_getfd process_madvise kcmp"
    " bpf kexec_load kexec_file_load init_module finit_module delete_module perf_event_open"
    " userfaultfd io_uring_setup io_uring_enter io_uring_register modify_ldt iopl ioperm reboot"
    " mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig fsmount"
    " fspick mount_setattr unshare setns open_by_handle_at swapon swapoff"
    " add_key keyctl request_key personality pkey_mprotect remap_file_pages shmat uselib"
)

BROKER_FILTER: Final = Filter(
    "network broker",
    (
        # Sockets to the world, none that takes connections.
        Allow(
            "socket",
            "connections and questions to name servers",
            (OneOf(0, _FAMILIES), OneOf(1, _KINDS), OneOf(2, (0,))),
        ),
        Allow("connect", "the addresses that the server has judged, and name servers"),
        Allow(
            "setsockopt",
            "small pieces leave at once",
            (equals(1, socket.IPPROTO_TCP), equals(2, socket.TCP_NODELAY)),
        ),
        Allow(
            "setsockopt",
            "a guest's own connection that ends badly is reset",
            (equals(1, socket.SOL_SOCKET), equals(2, socket.SO_LINGER)),
        ),
        Allow(
            "getsockopt",
            "what became of a connect, and what a descriptor for a stream is",
            (
                equals(1, socket.SOL_SOCKET),
                OneOf(2, (socket.SO_ERROR, socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL)),
            ),
        ),
        Allow("getsockname", "Python asks it of a descriptor that it makes a socket of"),
        Allow("shutdown", "a side that has finished sending"),
        # Bytes. sendmsg is missing: it could pass descriptors, unseen.
        Allow("recvfrom", "bytes of either side, without a sender's address", (equals(4, 0),)),
        Allow("recvmsg", "frames of the server, and streams with them"),
        Allow(
            "sendto",
            "bytes to either side, on connected sockets only",
            (only_bits(3, _MESSAGE_FLAGS), equals(4, 0), equals(5, 0)),
        ),
        Allow("epoll_wait", "the loop waits"),
        Allow("epoll_ctl", "what the loop waits for"),
        Allow("poll", "whether something is there"),
        Allow("ioctl", "making a stream non-blocking", (equals(1, _FIONBIO),)),
        Allow("fstat", "what a passed descriptor is"),
        Allow("fcntl", "that a passed stream is for both ways", (equals(1, _F_GETFL),)),
        Allow("close", "connections that are over"),
        Allow(
            "write",
            "fatal errors to standard error, which is /dev/null",
            (equals(0, _STANDARD_ERROR),),
        ),
        # Memory. Nothing executable is ever made.
        Allow(
            "mmap",
            "memory of Python and OpenSSL: private, of no file",
            (
                only_bits(2, _PROT_READ_WRITE),
                MaskedEquals(
                    3,
                    2**64 - 1 & ~(_MAP_FIXED | _MAP_NORESERVE | _MAP_STACK),
                    _MAP_PRIVATE_ANONYMOUS,
                ),
            ),
            otherwise=KILL_PROCESS,
        ),
        Refuse("mprotect", "memory keeps the rights that it was made with", KILL_PROCESS),
        Allow("munmap", "giving memory back"),
        Allow("mremap", "realloc of large blocks", (only_bits(3, _MREMAP_MAYMOVE),)),
        Allow("brk", "malloc's heap"),
        Allow(
            "futex",
            "libc wakes nobody after what is done once; refused, it aborts",
            (equals(1, _FUTEX_WAKE_PRIVATE),),
        ),
        # Time, entropy, ending.
        Allow("clock_gettime", "clocks where there is no vDSO", (OneOf(0, _OWN_CLOCKS),)),
        Allow("getrandom", "keys and numbers of questions", (only_bits(2, _GRND_NONBLOCK),)),
        Allow("getpid", "OpenSSL asks whether it was forked; abort looks up whom to signal"),
        Allow("gettid", "abort looks up whom to signal"),
        Allow("rt_sigprocmask", "abort unblocks its signal"),
        Allow(
            "tgkill", "abort, and no signal to anyone else", (OwnPid(0), equals(2, signal.SIGABRT))
        ),
        Allow("exit_group", "the end"),
        *(Refuse(name, _NEVER, KILL_PROCESS) for name in _NEVER_NAMES.split()),
    ),
    default=EPERM,
)


@dataclass(frozen=True, slots=True)
class Confinement:
    """
    What the broker is to be confined to.

    `parent` is the process that started it; `uid` and `gid` whom it becomes, 0 to stay who it
    is (which must not be root).
    """

    parent: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Step:
    """
    One thing that is taken away, and why at this place.
    """

    name: str
    reason: str
    act: Callable[[Confinement], None]


def lock_down(confinement: Confinement) -> str:
    """
    Confine this process, irrevocably, in the order of `STEPS`; in words, what holds then.

    Raises MechanismMissing naming what the host lacks, MechanismFailed naming what did not hold;
    the process is then half locked, and its only way is out.
    """
    seccomp.require_machine()
    abi = landlock.abi()
    if not abi:
        raise MechanismMissing(
            landlock.MECHANISM,
            "this kernel does not offer it and the network broker needs it; enable it"
            " (CONFIG_SECURITY_LANDLOCK, lsm=landlock)",
        )
    for step in STEPS:
        step.act(confinement)
    return f"seccomp and Landlock ABI {abi}"


def _one_thread(_: Confinement) -> None:
    sealing.require_one_thread()


def _data_is_not_code(_: Confinement) -> None:
    sealing.require_data_is_not_code()


def _seal_code(_: Confinement) -> None:
    sealing.seal_code()


def _sockets_alone(_: Confinement) -> None:
    """
    No descriptor of a file or a directory is held: a filter that forbids open would not help.
    """
    for number in sorted(descriptors.own() - {0, 1, 2}):
        mode = os.fstat(number).st_mode
        kind = Path(f"/proc/self/fd/{number}").readlink()
        if not stat.S_ISSOCK(mode) and str(kind) != "anon_inode:[eventpoll]":
            raise MechanismFailed(
                "descriptors", f"{number} is {kind}; close everything but sockets before the lock"
            )


def _working_directory(_: Confinement) -> None:
    with asking("working directory", "chdir /", "make / searchable for the broker"):
        os.chdir("/")


def _limits(_: Confinement) -> None:
    rlimits.lower({Limit.DESCRIPTORS: _DESCRIPTORS})
    rlimits.apply(
        {
            Limit.CORE: 0,
            Limit.LOCKED_MEMORY: 0,
            Limit.MESSAGE_QUEUES: 0,
            Limit.DATA: rlimits.data_in_use() + _DATA_GROWTH,
        }
    )


def _bounding_set(_: Confinement) -> None:
    prctl.drop_bounding_set()


def _change_user(confinement: Confinement) -> None:
    sealing.become(confinement.uid or os.geteuid(), confinement.gid or os.getegid())


def _capabilities(_: Confinement) -> None:
    prctl.drop_capabilities()


def _not_dumpable(_: Confinement) -> None:
    prctl.set_not_dumpable()


def _die_with_parent(confinement: Confinement) -> None:
    prctl.set_parent_death_signal(signal.SIGKILL)
    # Only now: a parent that ended before the signal was set would never be missed.
    if os.getppid() != confinement.parent:
        raise MechanismFailed(
            "parent-death signal", f"parent {confinement.parent} has ended; nobody needs this one"
        )


def _silence(_: Confinement) -> None:
    # Messages of the steps that follow are lost; the server sees that the process has ended.
    sys.stderr.flush()
    descriptors.silence()
    # Not before: the server's log is a file, and what is missing has to be told there.
    rlimits.apply({Limit.FILE_SIZE: 0})


def _no_new_privileges(_: Confinement) -> None:
    prctl.set_no_new_privs()


def _landlock(_: Confinement) -> None:
    known = landlock.handled_by(landlock.abi())
    network = NetworkAccess(int(known.network) & ~int(NetworkAccess.CONNECT_TCP))
    landlock.restrict(handled=Handled(known.files, network, known.scopes))


def _seccomp(_: Confinement) -> None:
    seccomp.install(compile_filter(BROKER_FILTER, os.getpid()), tsync=True)


def _canary(_: Confinement) -> None:
    """
    Ask for something harmless that the filter must refuse: that it holds is not to be believed.
    """
    try:
        call("getppid")
    except OSError as error:
        if error.errno == errno.EPERM:
            return
    raise MechanismFailed(seccomp.MECHANISM, "loaded, and getppid still answers; do not run here")


STEPS: Final = (
    Step("one thread", "neither Landlock nor seccomp reaches a thread that exists", _one_thread),
    Step("personality", "or every readable page would be executable", _data_is_not_code),
    Step("code", "the filter forbids new code, not writing to what is there", _seal_code),
    Step(
        "descriptors", "needs /proc; nothing that was opened before is a way around", _sockets_alone
    ),
    Step("working directory", "no directory of the host is held", _working_directory),
    Step("limits", "needs /proc; hard, so that they stay", _limits),
    Step("bounding set", "needs CAP_SETPCAP, which the next step loses", _bounding_set),
    Step("user", "strangers' bytes are never read as uid 0", _change_user),
    Step("capabilities", "those that a change of user leaves", _capabilities),
    Step("not dumpable", "a change of user resets it", _not_dumpable),
    Step("parent", "a change of user clears the parent-death signal", _die_with_parent),
    Step("standard streams", "needs /dev; the server's log is not this process's", _silence),
    Step("no new privileges", "Landlock and seccomp need it", _no_new_privileges),
    Step("landlock", "no path, no port to listen on, no signal outside", _landlock),
    Step("seccomp", "forbids all of the above, so it is last", _seccomp),
    Step("canary", "a filter that does not refuse is none", _canary),
)
