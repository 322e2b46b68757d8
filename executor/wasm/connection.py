"""
One connection as the worker holds it: a stream whose other end the network's process has.

The first byte of the stream, a zero, says that the connection is made; what follows is the other
side's. At the end of the stream the server is asked once why it ended: for nothing in particular,
or for an error whose reason the guest is then told. A stream that is closed in one direction only
(shutdown(2) on the other side) has not ended.
"""

import select
from typing import Final, Protocol

from executor.kernel.errors import InternalError
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.broker import Broker
from executor.wasm.line import Line

_MADE: Final = b"\0"


class Stream(Protocol):
    """
    What a socket of the guest is connected by: a connection to the world, or one inside the
    worker. No method waits for the other side.

    """

    @property
    def made(self) -> bool:
        """
        Whether it has been made.
        """
        ...

    @property
    def ended(self) -> bool:
        """
        Whether it has ended, or failed.
        """
        ...

    @property
    def fault(self) -> GuestFault | None:
        """
        Why it ended, where that was an error.
        """
        ...

    @property
    def tls(self) -> bool:
        """
        Whether the server's side speaks TLS.
        """
        ...

    @property
    def descriptor(self) -> int | None:
        """
        The host's descriptor, for poll(2); None where nothing outside the guest can change it.
        """
        ...

    def settle(self) -> None:
        """
        See whether it has been made, or has failed.
        """
        ...

    def receive(self, view: memoryview, *, peek: bool = False) -> int | None:
        """
        Fill `view` with what has come: 0 at the end, None while nothing has.
        """
        ...

    def send(self, data: memoryview) -> int | None:
        """
        Send what fits of `data`; None while nothing does.
        """
        ...

    def finish(self) -> None:
        """
        Send no more.
        """
        ...

    def stop_receiving(self) -> bool:
        """
        Receive no more; whether what has come already can still be received.
        """
        ...

    def available(self) -> int:
        """
        How many bytes have come.
        """
        ...

    def events(self) -> int:
        """
        The poll(2) events that hold now.
        """
        ...

    def close(self) -> None:
        """
        Let go of it.
        """
        ...


class Connection:
    """
    A connection that was granted. No method waits, but for the server's word about the end.
    """

    def __init__(self, broker: Broker, number: int, line: Line, *, tls: bool) -> None:
        self._broker = broker
        self._number = number
        self._line = line
        self.tls: Final = tls
        self.made = False
        self.ended = False
        # Why it ended, where that was an error.
        self.fault: GuestFault | None = None

    @property
    def descriptor(self) -> int:
        """
        The host's descriptor, for poll(2).
        """
        return self._line.descriptor

    def settle(self) -> None:
        """
        See whether the connection has been made, or has failed.
        """
        if self.made or self.ended:
            return
        first = self._line.receive(1)
        if first is None:
            return
        if first == _MADE:
            self.made = True
        elif not first:
            self._end()
            # A connection that was never made has not come to a plain end.
            self.fault = self.fault or GuestFault(Errno.ECONNRESET)
        else:
            raise InternalError("a connection that is not made has bytes")

    def receive(self, view: memoryview, *, peek: bool = False) -> int | None:
        """
        Fill `view` (1 byte or more) with what has come: 0 at the end, None while nothing has.

        Raises GuestFault where the connection ended by an error, every time.
        """
        count = self._line.receive_into(view, peek=peek)
        if count == 0 and self._is_hung_up():
            self._end()
            self._raise()
        return count

    def send(self, data: memoryview) -> int | None:
        """
        Send what fits of `data`; None while nothing does.

        Raises GuestFault: the error by which the connection ended, or EPIPE after a plain end.
        What came before the end can still be received.
        """
        sent = self._line.send(data)
        if sent is None or sent >= 0:
            return sent
        self._end()
        self._raise()
        raise GuestFault(Errno.EPIPE)

    def finish(self) -> None:
        """
        Send no more.
        """
        if not self._line.finish():
            raise GuestFault(Errno.ENOTCONN)

    def stop_receiving(self) -> bool:
        """
        Nothing: what has come, and still comes, is not looked at.
        """
        return False

    def available(self) -> int:
        """
        How many bytes have come, 65,536 at most.
        """
        return self._line.available()

    def events(self) -> int:
        """
        The poll(2) events of the stream that hold now.
        """
        return self._line.events()

    def close(self) -> None:
        """
        Let go of it: the other side sees the end.
        """
        self._line.close()

    def _is_hung_up(self) -> bool:
        return bool(self.events() & (select.POLLHUP | select.POLLERR))

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        try:
            self._broker.connection_end(self._number)
        except GuestFault as fault:
            self.fault = fault

    def _raise(self) -> None:
        if self.fault is not None:
            # A new one each time: an exception that is raised again grows its traceback.
            raise GuestFault(self.fault.errno, self.fault.reason)
