"""
The lock of a native zygote, taken before it imports the first package.

A zygote imports an image's packages, which are foreign code, and is root where the server was
started as root. So it gives up first what the making of boxes does not need, and as boxes are made
by nobody else it is the boxes' needs that this was found by: starting from nothing, by what failed.

    user namespace   of its own, with uid 0, its own block of boxes' users, and nobody else. No
                     right that it has counts outside, and no process of the host is open to it
    mounts           of its own, read-only, without devices and set-id programs (`mounts_closed`).
                     Writable: its control groups, where those of boxes are made, and what /proc
                     has of each process, where a box's users are written
    network          of its own, with no interface; and no socket that has a name in the host's
                     files, for a read-only mount does not keep anybody from connecting
    IPC, keys        of its own: what the server was started with is not possessed here
    capabilities     three, over those users alone: see `_APART`; none where it is not root. Whoever
                     makes a user namespace has all rights over what is in it, so no box needs more
                     of its maker
    filter           the rows below

The file system is read as before: what the zygote's user may read, an import can read.

No row stands here for what the kernel refuses without a capability, such as ptrace of the host's
processes, bpf, or setns. Boxes inherit this filter, and where it refuses, it does so before a
box's own can tell the record what was tried. For the same reason Landlock is missing: it would
forbid the mounts that boxes are made with.

Hosts that let only root make namespaces (kernel.unprivileged_userns_clone, AppArmor), or nobody,
give none to a process that has lost that right. That is tried first, in a child; the zygote then
stays where it is with the capabilities of `_WHERE_IT_IS`, and has the longer filter.

Rejected: to refuse by notification without a listener, which a box's own filter would outrank. So
would one that an import loads, and answers itself with "continue".
"""

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from executor.linux import (
    capset,
    cgroups,
    mounts,
    mounts_closed,
    prctl,
    seccomp,
    unshare,
)
from executor.linux.barring import all_but, barred, reaching_host
from executor.linux.canary import Canary
from executor.linux.capset import Capability
from executor.linux.errors import MechanismError, MechanismFailed, MechanismMissing, asking
from executor.linux.filters import (
    ALLOW,
    ENOSYS,
    EPERM,
    Allow,
    Filter,
    MaskedEquals,
    OneOf,
    Row,
    compile_filter,
    equals,
)
from executor.linux.libc import call
from executor.linux.lock_steps import require_sockets_alone
from executor.linux.namespaces import Namespace
from executor.linux.sealing import require_one_thread
from executor.linux.unshare import Extent
from executor.process.slots import Slots
from executor.process.steps_mounts import READABLE_DEVICES, WRITABLE_DEVICES

MECHANISM: Final = "zygote's lock"

_OWN: Final = Namespace.MOUNT | Namespace.NETWORK | Namespace.IPC
_DEVICES: Final = (*WRITABLE_DEVICES, *READABLE_DEVICES, "/dev/fuse")
# Root's program that runs when a group gets empty: who may write this file is root of the host.
_AGENT: Final = "release_agent"
_JOIN_SESSION_KEYRING: Final = 1
# A container's filter refuses keys altogether, and a kernel may be without them.
_NO_KEYS: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES})
_ALL: Final = 2**64 - 1
_SOCKET_FLAGS: Final = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
_NETLINK_ROUTE: Final = 0
_LEFT: Final = b"+"
_LONGEST: Final = 2048

_APART: Final = (
    # To write the maps of a box's users and groups; nobody else's are in this user namespace.
    Capability.SETUID,
    Capability.SETGID,
    # Over files of root and of boxes: to make control groups below one that nobody may write, as
    # the first of each hierarchy is, and to list a box's descriptors, which belong to its user.
    Capability.DAC_OVERRIDE,
)
_WHERE_IT_IS: Final = (
    *_APART,  # a box's directories are removed, whatever it did to them
    Capability.SYS_ADMIN,  # namespaces, on hosts that give them to nobody else
    Capability.SETPCAP,  # a box without namespaces empties its bounding set
    Capability.CHOWN,  # its directories are its user's
    Capability.FOWNER,
    Capability.KILL,  # it is ended
    Capability.SYS_PTRACE,  # and looked at
)


def _rows() -> tuple[Row, ...]:
    family = "its own network namespace, where a box's listeners are made and lo is set up"
    return (
        Allow("socket", family, (OneOf(0, (socket.AF_INET, socket.AF_INET6)),)),
        # Unix sockets have names in files, vsock reaches the machine's host, AF_ALG the kernel.
        Allow(
            "socket",
            family,
            (equals(0, socket.AF_NETLINK), equals(2, _NETLINK_ROUTE)),
            otherwise=EPERM,
        ),
        # A datagram socket of a pair could be sent to any named socket.
        Allow(
            "socketpair",
            "the talk with a box, and wake-ups of asyncio",
            (equals(0, socket.AF_UNIX), _kind(socket.SOCK_STREAM)),
        ),
        Allow(
            "socketpair",
            "the talk with a box",
            (equals(0, socket.AF_UNIX), _kind(socket.SOCK_SEQPACKET)),
            otherwise=EPERM,
        ),
        *barred("io_uring_setup io_uring_enter io_uring_register", "acts unseen", ENOSYS),
    )


def _kind(kind: int) -> MaskedEquals:
    return MaskedEquals(1, _ALL & ~_SOCKET_FLAGS, kind)


# Of what reaches the rest of the host, what boxes and their making need.
_NEEDED: Final = (
    # mounts are made and moved by descriptor
    "fsopen fsconfig fsmount open_tree open_tree_attr move_mount mount_setattr pivot_root umount2"
    # a box gets its name, and becomes its user
    " sethostname setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid"
    # its guest's, within the box
    " setpriority ioprio_set sched_setaffinity sched_setattr sched_setparam sched_setscheduler"
    " shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl"
    " mq_open mq_unlink"
)

# A call of a newer kernel passes here; it does in no box.
APART_FILTER: Final = Filter("native zygote", _rows(), ALLOW)
WHERE_IT_IS_FILTER: Final = all_but(
    "native zygote without namespaces",
    (
        *_rows(),
        *reaching_host(EPERM, _NEEDED),
        *barred("mknod mknodat", "makes devices", EPERM),
        *barred("execveat", "starts a program without a place", EPERM),
    ),
)


class Hold(Enum):
    """
    What holds a zygote: all that is said above, or capabilities and the longer filter alone.
    """

    APART = "apart"
    WHERE_IT_IS = "where it is"


@dataclass(frozen=True, slots=True)
class Locked:
    """
    What holds now; `reason` is why it is not more.
    """

    hold: Hold
    reason: str = ""


def lock(slots: Slots | None, changed: Sequence[str] = ()) -> Locked:
    """
    Lock this process, irrevocably, with one thread, before it imports what is foreign.

    `slots` are the host users (and groups) that its boxes will have; None where it is not root.
    `changed` are directories of files that imports want to write: they are copied into memory.
    Raises MechanismMissing for another machine, MechanismFailed naming what does not hold; the
    process must then end.
    """
    seccomp.require_machine()
    require_one_thread()
    require_sockets_alone(loop=False)
    _leave_keys()
    theirs = [] if slots is None else [slots.identities]
    users, groups = [(os.geteuid(), 1), *theirs], [(os.getegid(), 1), *theirs]
    reason = _why_not_apart(users, groups)
    locked = Locked(Hold.WHERE_IT_IS, reason) if reason else Locked(Hold.APART)
    if locked.hold is Hold.APART:
        unshare.leave_mapped(_OWN, users, groups)
        places = _groups()
        agents = tuple(f"{place}/{_AGENT}" for place in places)
        mounts_closed.close(places, _there(_DEVICES), _there(agents), changed)
    _lose_rights(locked.hold)
    table = APART_FILTER if locked.hold is Hold.APART else WHERE_IT_IS_FILTER
    seccomp.install(compile_filter(table, os.getpid()), tsync=True)
    _OF_THE_FILTER.ask()
    if locked.hold is Hold.APART:
        _OF_THE_MOUNTS.ask()
    return locked


def _leave_keys() -> None:
    """
    Have a session keyring of its own, with nothing in it. Source: keyctl(2).
    """
    try:
        call("keyctl", _JOIN_SESSION_KEYRING, 0)
    except OSError as error:
        if error.errno not in _NO_KEYS:
            raise MechanismFailed("keys", f"joining a new keyring: {error.strerror}") from error


def _there(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(path for path in paths if Path(path).exists())


def _groups() -> tuple[str, ...]:
    """
    The directories of its own control groups; none where there are none for it.
    """
    try:
        return tuple(str(place) for place in dict.fromkeys(cgroups.own().values()))
    except MechanismMissing:
        return ()


def _why_not_apart(users: Sequence[Extent], groups: Sequence[Extent]) -> str:
    """
    Try in a child what a box needs of a process that has left and lost its rights; empty when all
    is there, else what is not.
    """
    (told, telling), (waiting, going) = os.pipe(), os.pipe()
    with asking(MECHANISM, "forking", "allow it more processes"):
        child = os.fork()
    if child == 0:
        os.close(told)
        os.close(going)
        os._exit(_rehearse(telling, waiting))
    os.close(telling)
    os.close(waiting)
    why = ""
    try:
        if os.read(told, 1) == _LEFT:
            unshare.map_users(child, users, groups)
            os.write(going, _LEFT)
    except MechanismError as error:
        why = str(error)
    os.close(going)
    why = why or os.read(told, _LONGEST).decode()
    os.close(told)
    _, status = os.waitpid(child, 0)
    return why or ("its rehearsal did not end well" if status else "")


def _rehearse(telling: int, waiting: int) -> int:
    try:
        unshare.leave(Namespace.USER | Namespace.MOUNT)
        os.write(telling, _LEFT)
        if os.read(waiting, 1) != _LEFT:
            return 1
        _lose_rights(Hold.APART)
        unshare.leave(Namespace.USER | Namespace.MOUNT)
        mounts.isolate()
    except MechanismError as error:
        os.write(telling, b"-" + str(error).encode()[:_LONGEST])
        return 1
    return 0


def _lose_rights(hold: Hold) -> None:
    kept = _APART if hold is Hold.APART else _WHERE_IT_IS
    prctl.drop_bounding_set()
    capset.keep_only(*(kept if os.geteuid() == 0 else ()))
    prctl.set_no_new_privs()
    # A change of rights may have changed it. Without root a parent may map the users of its box's
    # namespace only while both are dumpable: the files in /proc are root's otherwise.
    if os.geteuid():
        prctl.set_dumpable()
    else:
        prctl.set_not_dumpable()


def _make_unix_socket() -> None:
    socket.socket(socket.AF_UNIX).close()


def _make_file() -> None:
    # Without a name: it does no harm where it is not refused.
    os.close(os.open("/", os.O_TMPFILE | os.O_RDWR))


_OF_THE_FILTER: Final = Canary(seccomp.MECHANISM, "a unix socket", errno.EPERM, _make_unix_socket)
_OF_THE_MOUNTS: Final = Canary(mounts.MECHANISM, "a file in /", errno.EROFS, _make_file)
