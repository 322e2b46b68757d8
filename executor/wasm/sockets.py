"""
A stream socket of the guest: connect(2), recv(2), send(2), and how they wait.

The guest has client sockets alone. Each is connected through the gate (`Network.connect`), and
what is not there (binding, listening, datagrams) is refused before a socket exists. A blocking
call waits for the connection's stream, its own timeout or an interrupt; Python's own timeouts
come as poll(2) on a socket that does not block. One end of a pair (`pair`) is a socket, too.
"""

import math
from typing import TYPE_CHECKING, Final, Self

from executor.wasm.abi import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    Errno,
    GuestFault,
    Open,
)
from executor.wasm.connection import Stream
from executor.wasm.openfiles import OpenFile
from executor.wasm.socket_abi import (
    AF_INET,
    AF_UNIX,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_ERROR,
    SOL_SOCKET,
)
from executor.wasm.socket_options import Options
from executor.wasm.waiting import Waited, wait_until_ready

if TYPE_CHECKING:
    from executor.wasm.network import Network

_ENDED = POLLIN | POLLOUT | POLLHUP
_FOR_EVER: Final = (
    "this would wait for ever: the other end belongs to the same program, which has one thread."
    " Make the socket not block, or use asyncio, so that both ends get their turn"
)


class Socket(OpenFile):
    """
    A stream socket of family AF_INET or AF_INET6, or of AF_UNIX where it is one of a pair.
    """

    def __init__(self, network: "Network", family: int = AF_INET) -> None:
        super().__init__(Open.RDWR)
        self.family = family
        # What it was connected by: a name, or an address as text.
        self.host = ""
        self.port = 0
        self._network = network
        self._connection: Stream | None = None
        self._options = Options(family)
        self._told_of_success = False
        self._told_of_failure = False
        self._reads, self._writes = True, True

    @classmethod
    def joined(cls, network: "Network", stream: Stream) -> Self:
        """
        One end of a pair, which is connected by `stream`.
        """
        made = cls(network, AF_UNIX)
        made._connection = stream
        made._told_of_success = True
        return made

    # ---- connecting -----------------------------------------------------------------------------

    @property
    def tls(self) -> bool:
        """
        Whether the server's side of the connection speaks TLS.
        """
        return self._connection is not None and self._connection.tls

    @property
    def is_connected(self) -> bool:
        """
        Whether a connection has been made, and did not end by an error.
        """
        held = self._settled()
        return held is not None and held.made and held.fault is None

    def connect(self, host: str, port: int) -> None:
        """
        Connect to a name or an address.

        Raises GuestFault: what the gate says, EINPROGRESS where it does not block or its timeout
        is over and EALREADY where it did so before, EISCONN, EINTR, and the error by which an
        attempt has failed: then the socket is as new.
        """
        if self._connection is None:
            self._begin(host, port)
        elif self._told_of_success:
            raise GuestFault(Errno.EISCONN)
        elif self._is_under_way() and not self._blocks:
            raise GuestFault(Errno.EALREADY)
        if self._is_under_way():
            if not self._blocks:
                raise GuestFault(Errno.EINPROGRESS)
            self._wait(POLLOUT, self._options.send_seconds, Errno.EINPROGRESS)
        self._finish_connecting(host, port)

    def _begin(self, host: str, port: int) -> None:
        self._connection = self._network.connect(host, port)
        self.host, self.port = host, port
        self._told_of_success = self._told_of_failure = False
        self._reads = self._writes = True

    def _finish_connecting(self, host: str, port: int) -> None:
        held = self._settled()
        if held is None or held.fault is None:
            self._told_of_success = True
            return
        told = self._told_of_failure
        self._drop()
        if not told:
            raise GuestFault(held.fault.errno, held.fault.reason)
        # SO_ERROR has told of the failure: this is a new attempt.
        self.connect(host, port)

    def _is_under_way(self) -> bool:
        held = self._settled()
        return held is not None and not held.made and not held.ended

    def _settled(self) -> Stream | None:
        if self._connection is not None:
            self._connection.settle()
        return self._connection

    def error(self) -> GuestFault | None:
        """
        The error by which the connection failed or ended, once: SO_ERROR of socket(7).
        """
        held = self._settled()
        if held is None or self._told_of_failure:
            return None
        self._told_of_failure = held.fault is not None
        return held.fault

    # ---- transfer -------------------------------------------------------------------------------

    def receive(self, view: memoryview, *, peek: bool = False, wait: bool = True) -> int:
        """
        Fill `view` with what has come, waiting until something has; 0 at the end.

        Raises GuestFault: ENOTCONN, EAGAIN where it would wait and `wait` is off, the socket does
        not block or its timeout is over, EINTR, and the error by which the connection ended.
        """
        if self._connection is None:
            raise GuestFault(Errno.ENOTCONN)
        while self._reads and len(view):
            held = self._established()
            count = held.receive(view, peek=peek) if held is not None else None
            if count is not None:
                return count
            if not (wait and self._blocks):
                raise GuestFault(Errno.EAGAIN)
            self._wait(POLLIN, self._options.receive_seconds, Errno.EAGAIN)
        return 0

    def send(self, data: bytes | memoryview, *, wait: bool = True) -> int:
        """
        Send, waiting until all of it has gone; how much has, where something ends the wait.

        Raises GuestFault when nothing has gone: EPIPE without a connection or after the end, and
        else as `receive`.
        """
        view = memoryview(data)
        sent = 0
        while True:
            try:
                sent += self._send_some(view[sent:])
                if sent == len(view):
                    return sent
                if not (wait and self._blocks):
                    raise GuestFault(Errno.EAGAIN)
                self._wait(POLLOUT, self._options.send_seconds, Errno.EAGAIN)
            except GuestFault:
                if sent:
                    return sent
                raise

    def _send_some(self, view: memoryview) -> int:
        if self._connection is None or not self._writes:
            raise GuestFault(Errno.EPIPE)
        held = self._established()
        return (held.send(view) or 0) if held is not None and len(view) else 0

    def _established(self) -> Stream | None:
        """
        The connection once it is made; raises what it failed by.
        """
        held = self._settled()
        if held is None or held.made:
            return held
        if held.fault is not None:
            raise GuestFault(held.fault.errno, held.fault.reason)
        return None

    def shutdown(self, how: int) -> None:
        """
        Receive no more, send no more, or both: shutdown(2).
        """
        if how not in {SHUT_RD, SHUT_WR, SHUT_RDWR}:
            raise GuestFault(Errno.EINVAL)
        held = self._settled()
        if held is None or not held.made:
            raise GuestFault(Errno.ENOTCONN)
        if how != SHUT_RD and self._writes:
            held.finish()
            self._writes = False
        if how != SHUT_WR and self._reads:
            self._reads = held.stop_receiving()

    def available(self) -> int:
        """
        How many bytes can be received at once, 65,536 at most.
        """
        held = self._settled()
        return held.available() if held is not None and held.made and self._reads else 0

    # ---- as an open file ------------------------------------------------------------------------

    def read(self, view: memoryview) -> int:
        """
        Receive: read(2).
        """
        return self.receive(view)

    def read_more(self, view: memoryview) -> int:
        """
        Receive what has come, if anything.
        """
        try:
            return self.receive(view, wait=False)
        except GuestFault:
            # What was read before is the result of the call; an error comes again with the next.
            return 0

    def write(self, data: bytes) -> int:
        """
        Send: write(2).
        """
        return self.send(data)

    def ready(self) -> int:
        """
        What poll(2) says of it now.
        """
        held = self._settled()
        if held is None:
            return POLLOUT | POLLHUP
        if held.fault is not None:
            return _ENDED | POLLERR
        if not held.made:
            return 0
        events = held.events() & _ENDED
        if events & POLLHUP:
            return _ENDED
        return events | (0 if self._reads else POLLIN)

    def waits_on(self, events: int) -> tuple[int, int] | None:
        """
        The host's descriptor and its events on which these events of the socket depend.
        """
        held = self._settled()
        if held is None or held.fault is not None or held.descriptor is None:
            return None
        return held.descriptor, events & (POLLIN | POLLOUT) if held.made else POLLIN

    def close(self) -> None:
        """
        Close the connection.
        """
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._network.release(self._connection)
            self._connection = None

    # ---- options --------------------------------------------------------------------------------

    def option(self, level: int, name: int) -> bytes:
        """
        The value of an option: getsockopt(2). Raises GuestFault(ENOPROTOOPT) for others.

        SO_ERROR is here a number without its reason: `error` has both.
        """
        if (level, name) == (SOL_SOCKET, SO_ERROR):
            fault = self.error()
            return int(fault.errno if fault else 0).to_bytes(4, "little")
        self._require_option_of_family(level)
        return self._network.tls_option(self, level, name) or self._options.value(level, name)

    def _require_option_of_family(self, level: int) -> None:
        """
        A pair has the options of sockets alone: unix(7).
        """
        if self.family == AF_UNIX and level != SOL_SOCKET:
            raise GuestFault(Errno.EOPNOTSUPP)

    def set_option(self, level: int, name: int, value: bytes) -> None:
        """
        Set an option: setsockopt(2). Timeouts are followed, TLS is checked, the others that are
        known are remembered. Raises GuestFault(ENOPROTOOPT) for the rest.
        """
        self._require_option_of_family(level)
        if not self._network.set_tls_option(self, level, name, value):
            self._options.set(level, name, value)

    # ---- waiting --------------------------------------------------------------------------------

    @property
    def _blocks(self) -> bool:
        return Open.NONBLOCK not in self.flags

    def _wait(self, events: int, seconds: float | None, late: Errno) -> None:
        if seconds is None and self.family == AF_UNIX:
            raise GuestFault(Errno.EDEADLK, _FOR_EVER)
        waited = wait_until_ready(
            self._network.sleeper(), [(self, events)], math.inf if seconds is None else seconds
        )
        if waited is Waited.INTERRUPTED:
            raise GuestFault(Errno.EINTR)
        if waited is Waited.OVER:
            raise GuestFault(late)
