"""
What the supervisor may still do when a guest's requests have taken it over.

It reads FUSE devices, listeners and streams that it is handed, answers them, and reads files that
the gate has opened, and the memory of guests whose sockets are made for them. It opens nothing,
starts nothing, connects to nothing and takes no memory that could be code. A session's files and
connections go through it, so what a taken-over one could do is ask the gate for what the policies
of its sessions grant, read those guests' memory, and lie to them; the record is the server's.

The rows below and those of every service (`executor.linux.service_lock`) are that, call by call.

Rejected: threads for reads that wait for a disk. The server has threads, shared out by policy, so
it is asked for what is not in memory (preadv2(2), RWF_NOWAIT). Rejected: FUSE_PASSTHROUGH, which
needs rights over the host's whole user namespace.
"""

from typing import Final

from executor.linux import notifications
from executor.linux.filters import Allow, OneOf
from executor.linux.landlock import NetworkAccess
from executor.linux.service_lock import Service, service_filter

_DESCRIPTORS: Final = 2**16
_DATA_GROWTH: Final = 2**30

_FIONBIO: Final = 0x5421
_NOTIFIED: Final = (
    notifications.RECEIVE,
    notifications.SEND,
    notifications.IS_VALID,
    notifications.ADD,
)

SUPERVISOR_FILTER: Final = service_filter(
    "supervisor",
    (
        Allow("read", "requests of the kernel from a FUSE device"),
        Allow("writev", "answers to them"),
        Allow("preadv2", "bytes that are in memory, of files that the gate has opened"),
        Allow(
            "ioctl",
            "notifications of refused calls, received and answered; streams that do not block",
            (OneOf(1, (*_NOTIFIED, _FIONBIO)),),
        ),
        Allow("pread64", "the address that a guest connects to, in its memory"),
    ),
    never="open openat creat openat2 socket connect bind sendmsg",
)

SUPERVISOR: Final = Service(SUPERVISOR_FILTER, _DESCRIPTORS, _DATA_GROWTH, NetworkAccess(0))
