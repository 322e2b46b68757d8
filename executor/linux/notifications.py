"""
Refused system calls that wait for an answer: the reading end of a seccomp filter that notifies.

A caller stands still until it is answered, so whoever has the listener answers every one. The only
answer made here is an errno. The kernel offers two more, and both are doors: to let the call go on
(its memory may say something else by then), and to put a descriptor into the caller. Nothing of
the caller's memory is read, so there is nothing to race.

Sources: seccomp_unotify(2), Linux `include/uapi/linux/seccomp.h`.
"""

import errno
import fcntl
import select
import struct
from dataclasses import dataclass

from executor.linux.errors import asking

MECHANISM = "seccomp notification"

# struct seccomp_notif: id, pid, flags; then struct seccomp_data: nr, arch, instruction pointer,
# six arguments. struct seccomp_notif_resp: id, val, error, flags.
_NOTIFICATION = struct.Struct("=QII iIQ 6Q")
_ANSWER = struct.Struct("=QqiI")
RECEIVE = 0xC000_2100 | _NOTIFICATION.size << 16  # SECCOMP_IOCTL_NOTIF_RECV
SEND = 0xC000_2101 | _ANSWER.size << 16  # SECCOMP_IOCTL_NOTIFSEND
# The caller was killed or interrupted before it was asked about, or before it was answered.
_GONE = frozenset({errno.ENOENT, errno.EINPROGRESS})


@dataclass(frozen=True, slots=True)
class Notification:
    """
    One call that waits: its `id`, the caller (0 where its pid namespace is unknown here), number.

    Registers are what the caller put there; an address among them is never followed.
    """

    id: int
    pid: int
    number: int
    arguments: tuple[int, ...]


def receive(listener: int) -> Notification | None:
    """
    The next call that waits at `listener`; None when there is none any more.

    Does not wait. Raises MechanismFailed when `listener` is no listener.
    """
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    if not any(events & select.POLLIN for _, events in waiting.poll(0)):
        return None
    room = bytearray(_NOTIFICATION.size)
    with asking(MECHANISM, "receiving one", "give the descriptor of a listener"):
        try:
            fcntl.ioctl(listener, RECEIVE, room)
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise
    found, pid, _, number, _, _, *arguments = _NOTIFICATION.unpack(room)
    return Notification(found, pid, number, tuple(arguments))


def refuse(listener: int, notification: Notification, number: int) -> bool:
    """
    Answer that call with errno `number` (1 to 4095); whether its caller was still there.

    Raises MechanismFailed when `listener` is no listener.
    """
    answer = bytearray(_ANSWER.pack(notification.id, 0, -number, 0))
    with asking(MECHANISM, "answering one", "give the descriptor of a listener"):
        try:
            fcntl.ioctl(listener, SEND, answer)
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise
    return True
