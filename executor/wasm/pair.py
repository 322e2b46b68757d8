"""
Two connected sockets inside the worker: socketpair(2) of family AF_UNIX, of one guest.

Each end is a `Socket` over a `Joined`, which is to it what a connection to the world is. Nothing
leaves the worker and nobody else is reached, so the gate has nothing to judge: a pair is two
pipes. Its bytes count in the session's memory while they are on their way.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from executor.wasm.abi import POLLERR, POLLHUP, POLLIN, POLLOUT, Errno, GuestFault
from executor.wasm.socket_abi import AF_UNIX, SOCK_STREAM
from executor.wasm.sockets import Socket
from executor.wasm.space import Space

if TYPE_CHECKING:
    from executor.wasm.network import Network

# What one end can send before the other receives: Linux's own, and what SO_SNDBUF tells.
PAIR_BYTES: Final = 212_992


@dataclass(slots=True)
class _Way:
    """
    The bytes from one end to the other, and whether both ends still want it.
    """

    space: Space
    data: bytearray = field(default_factory=bytearray)
    is_read: bool = True
    is_written: bool = True

    @property
    def is_over(self) -> bool:
        """
        Whether one end has stopped it.
        """
        return not (self.is_read and self.is_written)

    def drop(self) -> bool:
        """
        Let go of what nobody will receive; whether there was any.
        """
        lost = bool(self.data)
        self.is_read = False
        self.space.give(len(self.data))
        self.data.clear()
        return lost


class Joined:
    """
    One end of a pair: a connection that was made at once and does not fail before its end.
    """

    tls: Final = False
    made: Final = True
    ended: Final = False
    # An end is never told why: the other one is the same program's.
    fault: Final = None
    descriptor: Final = None

    def __init__(self, incoming: _Way, outgoing: _Way) -> None:
        self._in = incoming
        self._out = outgoing
        self._reset = False
        self._other: Joined | None = None

    @classmethod
    def two(cls, space: Space) -> "tuple[Joined, Joined]":
        """
        The two ends of a new pair, whose bytes count in `space`.
        """
        there, back = _Way(space), _Way(space)
        first, second = cls(back, there), cls(there, back)
        first._other, second._other = second, first
        return first, second

    def settle(self) -> None:
        """
        Nothing: it is connected from the start.
        """

    def receive(self, view: memoryview, *, peek: bool = False) -> int | None:
        """
        Fill `view` with what has come: 0 at the end, None while nothing has.

        Raises GuestFault(ECONNRESET), once, where the other end closed without having received
        all: unix(7).
        """
        way = self._in
        if not way.data:
            if self._reset:
                self._reset = False
                raise GuestFault(Errno.ECONNRESET)
            return 0 if way.is_over else None
        count = min(len(view), len(way.data))
        view[:count] = way.data[:count]
        if not peek:
            del way.data[:count]
            way.space.give(count)
        return count

    def send(self, data: memoryview) -> int | None:
        """
        Take what fits of `data`; None while nothing does.

        Raises GuestFault: EPIPE where the other end receives no more, ENOBUFS where the session's
        memory is full.
        """
        way = self._out
        if way.is_over:
            raise GuestFault(Errno.EPIPE)
        count = min(len(data), PAIR_BYTES - len(way.data))
        if not count:
            return None
        if not way.space.fits(count):
            raise GuestFault(Errno.ENOBUFS, "the session's memory is full")
        way.space.take(count)
        way.data += data[:count]
        return count

    def finish(self) -> None:
        """
        Send no more: the other end sees the end after what is on its way.
        """
        self._out.is_written = False

    def stop_receiving(self) -> bool:
        """
        Receive no more than what has come: the other end's sending fails.
        """
        self._in.is_read = False
        return True

    def available(self) -> int:
        """
        How many bytes have come.
        """
        return len(self._in.data)

    def events(self) -> int:
        """
        The poll(2) events that hold now.
        """
        coming, going = self._in, self._out
        found = POLLIN if coming.data or coming.is_over else 0
        if len(going.data) < PAIR_BYTES or going.is_over:
            found |= POLLOUT
        if coming.is_over and going.is_over:
            found |= POLLHUP
        return found | (POLLERR if self._reset else 0)

    def close(self) -> None:
        """
        Leave the pair; the other end sees the end, and an error where its bytes are lost.
        """
        self.finish()
        lost = self._in.drop()
        other, self._other = self._other, None
        if other is not None:
            other.left(reset=lost)

    def left(self, *, reset: bool) -> None:
        """
        The other end is closed: what is on its way to here is the last.
        """
        self._other = None
        self._reset = reset
        self._out.is_written = False


def socket_pair(
    network: "Network", space: Space, family: int, kind: int, protocol: int
) -> tuple[Socket, Socket]:
    """
    Two sockets that are connected to each other: socketpair(2).

    Raises GuestFault: EOPNOTSUPP for another family than AF_UNIX, as Linux does, EPROTONOSUPPORT
    for another type than a stream.
    """
    if family != AF_UNIX:
        raise GuestFault(Errno.EOPNOTSUPP, "a pair of sockets has the family AF_UNIX")
    if kind != SOCK_STREAM:
        raise GuestFault(
            Errno.EPROTONOSUPPORT, "a pair of sockets is of type SOCK_STREAM here; use that"
        )
    if protocol:
        raise GuestFault(Errno.EPROTONOSUPPORT)
    one, other = Joined.two(space)
    return Socket.joined(network, one), Socket.joined(network, other)
