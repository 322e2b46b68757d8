"""
Refused system calls that wait for an answer: the reading end of a seccomp filter that notifies.

A caller stands still until it is answered, so whoever has the listener answers every one: with an
errno, with success where somebody else has done what was asked, or with a descriptor, which the
kernel makes the caller's and its answer at once. The kernel offers one more, and that is no answer
but a door: to let the call go on, when the caller's memory may say something else than was judged.

Nothing of the caller's memory is read here. Whoever reads it reads once, asks `is_waiting`
afterwards, and judges and uses what it has read.

Sources: seccomp_unotify(2), Linux `include/uapi/linux/seccomp.h`.
"""

import errno
import fcntl
import os
import select
import struct
from dataclasses import dataclass

from executor.linux.errors import MechanismFailed, asking

MECHANISM = "seccomp notification"

# struct seccomp_notif: id, pid, flags; then struct seccomp_data: nr, arch, instruction pointer,
# six arguments. struct seccomp_notif_resp: id, val, error, flags.
_NOTIFICATION = struct.Struct("=QII iIQ 6Q")
_ANSWER = struct.Struct("=QqiI")
RECEIVE = 0xC000_2100 | _NOTIFICATION.size << 16  # SECCOMP_IOCTL_NOTIF_RECV
SEND = 0xC000_2101 | _ANSWER.size << 16  # SECCOMP_IOCTL_NOTIFSEND
# struct seccomp_notif_addfd: id, flags, srcfd, newfd, newfd_flags.
_ADDED = struct.Struct("=QIIII")
_ID = struct.Struct("=Q")
IS_VALID = 0x4000_2102 | _ID.size << 16  # SECCOMP_IOCTL_NOTIF_ID_VALID
ADD = 0x4000_2103 | _ADDED.size << 16  # SECCOMP_IOCTL_NOTIF_ADDFD
_AND_SEND = 2  # SECCOMP_ADDFD_FLAG_SEND
# The caller was killed or interrupted before it was asked about, or before it was answered.
_GONE = frozenset({errno.ENOENT, errno.EINPROGRESS})
_NO_ROOM = frozenset({errno.EMFILE, errno.ENOMEM})


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
    return _answer(listener, notification, -number)


def accept(listener: int, notification: Notification) -> bool:
    """
    Answer that call with 0: what it asked for is done. Whether its caller was still there.

    Raises MechanismFailed when `listener` is no listener.
    """
    return _answer(listener, notification, 0)


def is_waiting(listener: int, notification: Notification) -> bool:
    """
    Whether the caller still waits, so that what was read of it meanwhile was its own.

    Raises MechanismFailed when `listener` is no listener.
    """
    with asking(MECHANISM, "looking at one", "give the descriptor of a listener"):
        return _is_there(listener, IS_VALID, _ID.pack(notification.id))


def give(listener: int, notification: Notification, descriptor: int, *, cloexec: bool) -> int:
    """
    Answer that call with a copy of `descriptor`, close-on-exec as said: the caller's number for it.

    Raises ProcessLookupError when the caller is gone, OSError (EMFILE) when it can have no more
    descriptors and waits on, MechanismFailed when `listener` is no listener.
    """
    flags = os.O_CLOEXEC if cloexec else 0
    # In memory that can be changed, or what comes back is that, and not the number.
    added = bytearray(_ADDED.pack(notification.id, _AND_SEND, descriptor, 0, flags))
    try:
        number: int = fcntl.ioctl(listener, ADD, added)
    except OSError as error:
        if error.errno in _GONE:
            raise ProcessLookupError(errno.ESRCH, "the caller is gone") from error
        if error.errno in _NO_ROOM:
            raise
        failed = f"giving a descriptor answered {errno.errorcode.get(error.errno or 0)}"
        raise MechanismFailed(MECHANISM, f"{failed}; give the descriptor of a listener") from error
    return number


def _answer(listener: int, notification: Notification, error: int) -> bool:
    answer = _ANSWER.pack(notification.id, 0, error, 0)
    with asking(MECHANISM, "answering one", "give the descriptor of a listener"):
        return _is_there(listener, SEND, answer)


def _is_there(listener: int, request: int, about: bytes) -> bool:
    try:
        fcntl.ioctl(listener, request, bytearray(about))
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise
    return True
