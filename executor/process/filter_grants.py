"""
What a grant adds to the filter of a box: sockets, children, programs.

Sockets. Everything a box can reach is in its own network namespace: the loopback interface, with
the listeners of whoever made the box on it. So it is not addresses that are filtered here but the
kernel's code that a guest can call into: two kinds of sockets, a short list of options, no binding.

Where there is no network namespace, the only one is the host's (`WITHOUT_NAMESPACE`). Nothing that
gives a packet a destination then happens in the guest: a socket of TCP is made, and connected, by
whoever hears of it (`supervisor_sockets.py`), and what sends with an address of its own is refused.
Fast open is such a way (MSG_FASTOPEN, TCP_FASTOPEN_CONNECT), and one that Landlock lets pass.
Nor may such a socket linger: the server has a copy of it, and whoever closes the last one waits,
for as long as the guest has said, until what it sent has been taken.
(Rejected: bind and listen. What listens there reaches nobody but the guest itself; it could take
the addresses that our listeners have, and code that no guest needs would be open to all of them.)

Children. Boxes with children have a pid namespace of their own: signals, groups and sessions end
at it. A thread's and a child's flags of clone are compared whole, so no namespace comes with them.

Programs. execve alone; which files may be executed Landlock says, and no place that the guest can
write is executable. execveat runs descriptors, memfd_create makes files without a place: neither.
"""

import errno
import socket

from executor.linux.filters import (
    Action,
    Allow,
    MaskedEquals,
    OneOf,
    Row,
    Tell,
    Verdict,
    equals,
    only_bits,
)

NO_FAMILY = Action(Verdict.ERRNO, errno.EAFNOSUPPORT)

_ALL = 2**64 - 1
_SOCKET_FLAGS = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
_TCP, _UDP = 6, 17
_SOL_IP, _SOL_TCP = 0, 6
_IP_RECVERR = 11
_MAP_HUGETLB = 0x4_0000
# <asm-generic/socket.h>: REUSEADDR, SNDBUF, RCVBUF, KEEPALIVE, LINGER, RCVTIMEO, SNDTIMEO.
_LINGER = 13
_SET_SOCKET = (2, 7, 8, 9, _LINGER, 20, 21)
# Those, TYPE, ERROR, BROADCAST, ACCEPTCONN, PROTOCOL, DOMAIN. Not PEERPIDFD, a descriptor of the
# process that made the pair, which for the channel is the server; not filters, labels and groups.
_GET_SOCKET = (2, 3, 4, 6, 7, 8, 9, 13, 20, 21, 30, 38, 39)
# <linux/tcp.h>: NODELAY, KEEPIDLE, KEEPINTVL, KEEPCNT, QUICKACK, USER_TIMEOUT.
_TCP_OPTIONS = (1, 4, 5, 6, 12, 18)
_TCP_INFO = 11
# What a call that sends may ask for besides: to be urgent, not to wait, to end a record, no signal,
# more to come. Not FASTOPEN, which connects.
_SEND = (
    socket.MSG_OOB | socket.MSG_DONTWAIT | socket.MSG_EOR | socket.MSG_NOSIGNAL | socket.MSG_MORE
)
_SIGCHLD = 17
# <linux/sched.h>: of pthread_create; CHILD_SETTID and CHILD_CLEARTID (glibc's fork); VM and VFORK
# (posix_spawn). The lowest byte is the signal that tells the parent of the end.
_THREAD = 0x3D_0F00
_FORK = 0x0120_0000 | _SIGCHLD
_SPAWN = 0x4100 | _SIGCHLD
_ARCH_SET_FS = 0x1002


def _sockets() -> tuple[Row, ...]:
    kinds = (
        (socket.AF_INET, socket.SOCK_STREAM, _TCP),
        (socket.AF_INET6, socket.SOCK_STREAM, _TCP),
        (socket.AF_INET, socket.SOCK_DGRAM, _UDP),
    )
    return tuple(
        Allow(
            "socket",
            "TCP, and UDP for names; no raw sockets, no other protocol such as MPTCP or SCTP",
            (
                equals(0, family),
                MaskedEquals(1, _ALL & ~_SOCKET_FLAGS, kind),
                OneOf(2, (0, protocol)),
            ),
            NO_FAMILY,
        )
        for family, kind, protocol in kinds
    )


GET_SOCKET = Allow(
    "getsockopt",
    "type, family and error of a socket",
    (equals(1, socket.SOL_SOCKET), OneOf(2, _GET_SOCKET)),
)


def _set_socket(options: tuple[int, ...]) -> Row:
    return Allow(
        "setsockopt",
        "timeouts, sizes and keep-alive, no filters of packets",
        (equals(1, socket.SOL_SOCKET), OneOf(2, options)),
    )


_OPTIONS: tuple[Row, ...] = (
    Allow(
        "setsockopt",
        "delay and keep-alive, no other protocol on top",
        (equals(1, _SOL_TCP), OneOf(2, _TCP_OPTIONS)),
    ),
    GET_SOCKET,
    Allow(
        "getsockopt",
        "what was set",
        (equals(1, _SOL_TCP), OneOf(2, (*_TCP_OPTIONS, _TCP_INFO))),
    ),
)

NETWORK: tuple[Row, ...] = (
    *_sockets(),
    Allow("connect", "to listeners in its own network namespace"),
    Allow("sendto", "datagrams to its own network namespace"),
    Allow("sendmmsg", "libc's resolver sends two questions at once"),
    Allow(
        "setsockopt",
        "libc's resolver asks for errors that ICMP tells",
        (equals(1, _SOL_IP), equals(2, _IP_RECVERR)),
    ),
    _set_socket(_SET_SOCKET),
    *_OPTIONS,
)

WITHOUT_NAMESPACE: tuple[Row, ...] = (
    *(
        Tell(
            "socket",
            "TCP, made for the guest by who hears of it; no other kind in the host's network",
            (
                equals(0, family),
                MaskedEquals(1, _ALL & ~_SOCKET_FLAGS, socket.SOCK_STREAM),
                OneOf(2, (0, _TCP)),
            ),
            NO_FAMILY,
        )
        for family in (socket.AF_INET, socket.AF_INET6)
    ),
    Tell("connect", "judged, and done for the guest by who hears of it"),
    Allow(
        "sendto",
        "bytes to where it is connected",
        (equals(4, 0), equals(5, 0), only_bits(3, _SEND)),
    ),
    Allow("sendmsg", "bytes to where it is connected", (only_bits(2, _SEND),)),
    _set_socket(tuple(one for one in _SET_SOCKET if one != _LINGER)),
    *_OPTIONS,
)

CHILDREN: tuple[Row, ...] = (
    Allow("clone", "threads, fork and posix_spawn", (OneOf(0, (_THREAD, _FORK, _SPAWN)),)),
    Allow("vfork", "subprocess"),
    Allow("kill", "children of its own, in its own pid namespace"),
    Allow("tgkill", "abort in a child, in its own pid namespace"),
    Allow("setsid", "children with a session of their own"),
    Allow("setpgid", "jobs of a shell"),
)

NEW_CODE: tuple[Row, ...] = (
    Allow(
        "mmap", "memory, files and code, without huge pages", (MaskedEquals(3, _MAP_HUGETLB, 0),)
    ),
    Allow("mprotect", "memory that becomes code, as compilers within a process want"),
)
PROGRAMS: tuple[Row, ...] = (
    Allow("execve", "programs that Landlock names"),
    Allow("arch_prctl", "libc's thread register, at a program's start", (equals(0, _ARCH_SET_FS),)),
    Allow("set_tid_address", "libc, at a program's start"),
)
