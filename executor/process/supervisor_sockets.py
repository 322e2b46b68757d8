"""
A guest's socket(2) and connect(2) where there is no network namespace: heard, asked for, answered.

The kernel lets neither happen in the guest. For a socket the server is asked; what it makes is put
into the guest as the answer of its call. For a connection the address is read from the guest's
memory, once; that copy is what the server is asked about, and what it connects. The guest may write
what it likes into its memory meanwhile, and the call itself is never let go on.

The memory is read through a descriptor that the box has opened before it was locked, so it is that
memory and no other, whatever becomes of the process or its number; and no right to trace processes
is needed here. Which of the server's sockets a number of the guest's stands for is known by the
number that the guest was given it under: another than it means (it has closed, copied, exchanged
its descriptors) is a socket of the same guest, and what may be connected is judged by address.

Sources: seccomp_unotify(2), proc_pid_mem(5), ip(7), ipv6(7), connect(2).
"""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.linux import notifications
from executor.linux.notifications import Notification
from executor.linux.syscalls import NUMBERS
from executor.process.fuse_acts import Passed
from executor.process.fuse_nodes import Fault

CALLS: Final = frozenset({NUMBERS["socket"], NUMBERS["connect"]})
_SOCKET: Final = NUMBERS["socket"]
_FLAGS: Final = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
_TCP: Final = frozenset({0, socket.IPPROTO_TCP})
_INT: Final = 0xFFFF_FFFF
# Above is the kernel's: Linux Documentation/arch/x86/x86_64/mm.rst.
_MEMORY_END: Final = 1 << 47
# struct sockaddr: its family. sockaddr_in: port, address. sockaddr_in6: port, flow, address.
_FAMILY: Final = struct.Struct("=H")
_FOUR: Final = struct.Struct("!2xH4s8x")
_SIX: Final = struct.Struct("!2xH4x16s")
_LONGEST: Final = 128  # struct sockaddr_storage
_CONNECTED: Final = 0


class Call:
    """
    One call that waits: `then` is told the server's answer. `asked` and `dropped` as of a Job.
    """

    __slots__ = ("asked", "dropped", "then")

    def __init__(self, then: Callable[[Passed | Fault], None]) -> None:
        self.then = then
        self.asked = False
        self.dropped = False

    def go_on(self, told: Passed | Fault) -> None:
        """
        Answer the call.
        """
        self.then(told)


class GuestSockets:
    """
    The sockets of one session's guest. `memory` becomes this object's, `listener` does not; `line`
    takes questions.
    """

    def __init__(self, listener: int, memory: int, line: Callable[[Call, wire.Ask], None]) -> None:
        self._listener = listener
        self._memory = memory
        self._line = line
        # By the guest's number of it: the server's, or that it is connected.
        self._sockets: dict[int, int] = {}

    def close(self) -> None:
        """
        Answer nothing more; the guest's calls answer ENOSYS when the listener closes. A second call
        does nothing.
        """
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def take(self, found: Notification) -> None:
        """
        Answer a call of `CALLS`, now or when the server has been asked. Raises MechanismError.
        """
        if found.number == _SOCKET:
            self._open(found)
        else:
            self._connect(found)

    def _open(self, found: Notification) -> None:
        family, kind, protocol = found.arguments[:3]
        tcp = kind & ~_FLAGS == socket.SOCK_STREAM and protocol in _TCP
        if not tcp or family not in {socket.AF_INET, socket.AF_INET6}:
            self._refuse(found, errno.EAFNOSUPPORT)
            return
        wanted = wire.SocketAsk(
            six=family == socket.AF_INET6, nonblocking=bool(kind & socket.SOCK_NONBLOCK)
        )
        then = Call(lambda told: self._opened(found, told))
        self._line(then, wire.Ask(open_socket=wanted))

    def _opened(self, found: Notification, told: Passed | Fault) -> None:
        if isinstance(told, Fault):
            self._refuse(found, told.number)
            return
        try:
            self._give(found, told)
        finally:
            os.close(told.descriptor)

    def _give(self, found: Notification, told: Passed) -> None:
        if self._memory < 0:
            return
        cloexec = bool(found.arguments[1] & socket.SOCK_CLOEXEC)
        try:
            number = notifications.give(self._listener, found, told.descriptor, cloexec=cloexec)
        except ProcessLookupError:
            return
        except OSError as error:
            self._refuse(found, error.errno or errno.EMFILE)
        else:
            self._sockets[number] = told.answer.socket

    def _connect(self, found: Notification) -> None:
        number, pointer, length = found.arguments[0] & _INT, *found.arguments[1:3]
        held = self._sockets.get(number)
        try:
            host, port = _address(self._read(pointer, length & _INT))
        except OSError as error:
            self._refuse(found, error.errno or errno.EFAULT)
            return
        if held is None or held == _CONNECTED:
            self._refuse(found, errno.EOPNOTSUPP if held is None else errno.EISCONN)
        elif notifications.is_waiting(self._listener, found):
            wanted = wire.DialAsk(socket=held, host=host, port=port)
            then = Call(lambda told: self._dialled(found, number, told))
            self._line(then, wire.Ask(dial=wanted))

    def _dialled(self, found: Notification, number: int, told: Passed | Fault) -> None:
        if isinstance(told, Fault):
            self._refuse(found, told.number)
        elif self._memory >= 0:
            self._sockets[number] = _CONNECTED
            notifications.accept(self._listener, found)

    def _read(self, pointer: int, length: int) -> bytes:
        """
        What the guest has written there, as it is now. Raises OSError as connect(2) does.
        """
        if not _FAMILY.size <= length <= _LONGEST:
            raise OSError(errno.EINVAL, "no address has this length")
        if pointer >= _MEMORY_END:
            raise OSError(errno.EFAULT, "no memory of the guest's")
        try:
            data = os.pread(self._memory, length, pointer)
        except OSError as error:
            raise OSError(errno.EFAULT, "no memory of the guest's") from error
        if len(data) != length:
            raise OSError(errno.EFAULT, "no memory of the guest's")
        return data

    def _refuse(self, found: Notification, number: int) -> None:
        if self._memory >= 0:
            notifications.refuse(self._listener, found, number)


def _address(data: bytes) -> tuple[str, int]:
    """
    The host and port of a socket address. Raises OSError as connect(2) does of a TCP socket: also
    for AF_UNSPEC, which would part what was connected.
    """
    (family,) = _FAMILY.unpack_from(data)
    form = {int(socket.AF_INET): _FOUR, int(socket.AF_INET6): _SIX}.get(family)
    if form is None:
        raise OSError(errno.EAFNOSUPPORT, "no address of the internet")
    if len(data) < form.size:
        raise OSError(errno.EINVAL, "no whole address")
    port, packed = form.unpack_from(data)
    if not port:
        raise OSError(errno.ECONNREFUSED, "nobody has port 0")
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), port
