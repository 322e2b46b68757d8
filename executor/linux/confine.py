"""
Confining a program that is not ours before it starts: Landlock for objects, seccomp for calls.

For the tools of an image build, which read what came from the network. Two kinds:

    without network  reads what is named, changes what is named, starts no process, no socket
    with network     reads what this user can read, changes what is named, connects outward

A tool with network reads freely because its user's configuration (certificates, proxies,
registries, tokens) may lie anywhere, and it has to have it. So what it could leak is not held
by this; what it could leave behind is. Both execute only files that are named. That keeps a
tool from starting a shell, and does not keep it from doing what a shell would do: code that it
maps is as confined as code that it executes.

What an older Landlock lacks: before ABI 6 a tool with network may signal its user's processes.

Rejected: namespaces. They need privileges or a setting of the host, and a second root to fill.
Sources: landlock(7), seccomp(2).
"""

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum

from executor.linux import capset, landlock, prctl, seccomp
from executor.linux.barring import ATTRIBUTE_CHANGES, all_but, barred, forks, host_rows
from executor.linux.filters import (
    EPERM,
    Allow,
    MaskedEquals,
    OneOf,
    OwnPid,
    Row,
    compile_filter,
    equals,
)
from executor.linux.landlock import FileAccess, Handled, NetworkAccess, PathRule, Reach

_CLONE_THREAD = 0x1_0000
_NEW_NAMESPACES = 0x7E02_0000
_TYPE_OF_SOCKET = 0xF  # SOCK_TYPE_MASK of <linux/net.h>; the rest are flags
_NETLINK_ROUTE = 0
_NULL = "/dev/null"


class Network(Enum):
    """
    What of the network a tool has: nothing, or connections that it opens itself.
    """

    NONE = "none"
    OUTWARD = "outward"


@dataclass(frozen=True, slots=True)
class Confinement:
    """
    What a program is confined to: absolute paths, each with all that lies below it.

    `runs` are the files that it may execute, beginning with its own; `reads` what it may read
    and list (not looked at where there is network: see above); `lists` directories whose names
    it may see; `changes` the directories in which it may make, write and remove files.
    """

    network: Network
    runs: tuple[str, ...]
    reads: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    def encode(self) -> str:
        """
        As one line of text, for a command line.
        """
        return json.dumps(asdict(self) | {"network": self.network.value})


def decode(text: str) -> Confinement:
    """
    The confinement that `encode` wrote. Raises ValueError or TypeError for anything else.
    """
    fields = json.loads(text)
    network = Network(fields.pop("network"))
    return Confinement(network, **{name: tuple(paths) for name, paths in fields.items()})


def confine(confinement: Confinement, *, with_landlock: bool) -> None:
    """
    Confine this process, single-threaded, and what it becomes by execve. Irrevocable.

    Without Landlock files are not protected at all: the caller has it from whoever may say so.
    Raises MechanismMissing without a mechanism, MechanismFailed when one does not hold or a
    path is not there; the process is then half confined and must end.
    """
    seccomp.require_machine()
    prctl.set_no_new_privs()
    # Root's build reads what is in users' directories (sudo, and an interpreter of the user's).
    # All else goes: with CAP_PERFMON, for one, it would read the environment of every process.
    capset.keep_only(capset.Capability.DAC_READ_SEARCH)
    if with_landlock:
        _restrict(confinement)
    table = OFFLINE_FILTER if confinement.network is Network.NONE else ONLINE_FILTER
    seccomp.install(compile_filter(table, os.getpid()), tsync=True)


def _restrict(confinement: Confinement) -> None:
    known = landlock.handled_by(max(1, landlock.abi()))
    handled = known if confinement.network is Network.NONE else _only_changes(known)
    landlock.restrict(tuple(_rules(confinement, handled)), handled=handled)


def _only_changes(known: Handled) -> Handled:
    free = FileAccess.READ_FILE | FileAccess.READ_DIR
    return Handled(FileAccess(int(known.files) & ~int(free)), NetworkAccess(0), known.scopes)


def _rules(confinement: Confinement, handled: Handled) -> Iterator[PathRule]:
    granted = [
        (confinement.runs, Reach.RUN),
        (confinement.changes, Reach.CHANGE),
        ((_NULL,), Reach.UPDATE),
    ]
    if handled.files & FileAccess.READ_FILE:
        granted += [(confinement.reads, Reach.READ), (confinement.lists, Reach.LIST)]
    for paths, reach in granted:
        yield from (landlock.beneath(path, reach, handled) for path in paths)


_SOCKETS = "socket socketpair connect bind listen accept accept4 sendmmsg recvmmsg"
_NODES = "mknod mknodat"
_SIGNALS = "tkill rt_sigqueueinfo rt_tgsigqueueinfo pidfd_send_signal"


def _own_signals() -> tuple[Row, ...]:
    return (
        Allow("kill", "raising a signal in itself", (OwnPid(0),), otherwise=EPERM),
        Allow("tgkill", "abort, and signals between its threads", (OwnPid(0),), otherwise=EPERM),
        *barred(_SIGNALS, "signals other processes", EPERM),
    )


def _outward_sockets() -> tuple[Row, ...]:
    # Unix sockets are missing: those of the host's services and agents would answer. A resolver
    # that wants one (nscd, nss-resolve) is passed over for the next.
    return (
        *(
            Allow(
                "socket",
                "names and connections",
                (
                    OneOf(0, (socket.AF_INET, socket.AF_INET6)),
                    MaskedEquals(1, _TYPE_OF_SOCKET, kind),
                ),
            )
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        ),
        Allow(
            "socket",
            "libc asks which addresses this host has",
            (equals(0, socket.AF_NETLINK), equals(2, _NETLINK_ROUTE)),
            otherwise=EPERM,
        ),
        Allow("socketpair", "pipes to its children", (equals(0, socket.AF_UNIX),), otherwise=EPERM),
        *barred("listen accept accept4", "lets others connect", EPERM),
    )


OFFLINE_FILTER = all_but(
    "tool without network",
    (
        *host_rows(EPERM),
        *_own_signals(),
        *barred(_SOCKETS, "reaches the network or a service of the host", EPERM),
        *barred(ATTRIBUTE_CHANGES, "no right of Landlock covers it", EPERM),
        *barred(_NODES, "makes devices and sockets", EPERM),
        *barred("truncate", "older Landlock (before ABI 3) has no right for it", EPERM),
        *barred("fork vfork", "starts a process", EPERM),
        Allow(
            "clone",
            "threads",
            (MaskedEquals(0, _NEW_NAMESPACES | _CLONE_THREAD, _CLONE_THREAD),),
            otherwise=EPERM,
        ),
    ),
)

ONLINE_FILTER = all_but(
    "tool with network",
    (
        *host_rows(EPERM),
        *_outward_sockets(),
        *barred(_NODES, "makes devices and sockets", EPERM),
        *barred("truncate", "older Landlock (before ABI 3) has no right for it", EPERM),
        *forks(EPERM),
    ),
)
