"""
The worker's end of one connection's stream: what is asked of the host for it, and nothing else.

It is one of the few places where what the code does not determine comes in, so a session that is
captured has these answers on its tape (`TapedLine`), and one that is replayed has them from there:
its lines have no stream.
"""

import select
import socket
from typing import Final, Protocol

from executor.wasm.tape import Input, Tape

_AT_ONCE: Final = socket.MSG_DONTWAIT
# What FIONREAD counts at most.
_LOOK: Final = 65_536
# What `send` answers where the other side receives no more, and what a tape has for "nothing".
BROKEN: Final = -1
_NOT_NOW: Final = -2


class Line(Protocol):
    """
    One end of a stream. No method waits.
    """

    @property
    def descriptor(self) -> int:
        """
        The host's descriptor, or a number in its place; no other open line has it.
        """
        ...

    def receive(self, count: int) -> bytes | None:
        """
        Up to `count` bytes of what has come: none at the end, None while nothing has.
        """
        ...

    def receive_into(self, view: memoryview, *, peek: bool) -> int | None:
        """
        The same into `view`; how many. With `peek` they stay.
        """
        ...

    def send(self, data: memoryview) -> int | None:
        """
        Send what fits; None while nothing does, BROKEN where nobody receives.
        """
        ...

    def finish(self) -> bool:
        """
        Send no more; whether it was connected.
        """
        ...

    def events(self) -> int:
        """
        The poll(2) events that hold now.
        """
        ...

    def available(self) -> int:
        """
        How many bytes have come, 65,536 at most.
        """
        ...

    def close(self) -> None:
        """
        Let go of it.
        """
        ...


class HostLine:
    """
    A line over a socket, which becomes its own.
    """

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    @property
    def descriptor(self) -> int:
        """
        The socket's.
        """
        return self._stream.fileno()

    def receive(self, count: int) -> bytes | None:
        """
        As `Line` has it: recv(2). A reset is an end.
        """
        try:
            return self._stream.recv(count, _AT_ONCE)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    def receive_into(self, view: memoryview, *, peek: bool) -> int | None:
        """
        The same without a copy.
        """
        flags = _AT_ONCE | (socket.MSG_PEEK if peek else 0)
        try:
            return self._stream.recv_into(view, len(view), flags)
        except BlockingIOError:
            return None
        except ConnectionError:
            return 0

    def send(self, data: memoryview) -> int | None:
        """
        As `Line` has it: send(2).
        """
        try:
            return self._stream.send(data, _AT_ONCE | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return None
        except ConnectionError:
            return BROKEN

    def finish(self) -> bool:
        """
        As `Line` has it: shutdown(2).
        """
        try:
            self._stream.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def events(self) -> int:
        """
        As `Line` has it: poll(2).
        """
        poller = select.poll()
        poller.register(self._stream, select.POLLIN | select.POLLOUT)
        return dict(poller.poll(0)).get(self.descriptor, 0)

    def available(self) -> int:
        """
        As `Line` has it, by looking.
        """
        try:
            return len(self._stream.recv(_LOOK, _AT_ONCE | socket.MSG_PEEK))
        except (BlockingIOError, ConnectionError):
            return 0

    def close(self) -> None:
        """
        Close the socket: the other side sees the end.
        """
        self._stream.close()


class NoLine:
    """
    The line of a replay, behind its tape: there is no stream, and whoever asks it finds an end.
    """

    def __init__(self, number: int) -> None:
        self.descriptor: Final = number

    def receive(self, count: int) -> bytes | None:  # noqa: ARG002 - the protocol's signature
        """
        The end.
        """
        return b""

    def receive_into(self, view: memoryview, *, peek: bool) -> int | None:  # noqa: ARG002
        """
        The end.
        """
        return 0

    def send(self, data: memoryview) -> int | None:  # noqa: ARG002
        """
        Nobody receives.
        """
        return BROKEN

    def finish(self) -> bool:
        """
        It is not connected.
        """
        return False

    def events(self) -> int:
        """
        Hung up.
        """
        return select.POLLHUP

    def available(self) -> int:
        """
        Nothing.
        """
        return 0

    def close(self) -> None:
        """
        Nothing to let go of.
        """


class TapedLine:
    """
    A line whose every answer goes over a tape.
    """

    def __init__(self, line: Line, tape: Tape) -> None:
        self._line = line
        self._tape = tape

    @property
    def descriptor(self) -> int:
        """
        The line's: nothing that a guest sees depends on which it is.
        """
        return self._line.descriptor

    def receive(self, count: int) -> bytes | None:
        """
        As `Line` has it.
        """
        return self._tape.bytes_of(Input.RECEIVE, lambda: self._line.receive(count))

    def receive_into(self, view: memoryview, *, peek: bool) -> int | None:
        """
        As `Line` has it; what was looked at is on the tape like what was taken.
        """

        def live() -> bytes | None:
            count = self._line.receive_into(view, peek=peek)
            return None if count is None else bytes(view[:count])

        data = self._tape.bytes_of(Input.RECEIVE, live)
        if data is None:
            return None
        taken = data[: len(view)]
        view[: len(taken)] = taken
        return len(taken)

    def send(self, data: memoryview) -> int | None:
        """
        As `Line` has it. What was sent is the guest's own, and a count alone comes in.
        """

        def live() -> int:
            sent = self._line.send(data)
            return _NOT_NOW if sent is None else sent

        sent = self._tape.number(Input.SEND, live)
        return None if sent == _NOT_NOW else min(sent, len(data))

    def finish(self) -> bool:
        """
        As `Line` has it.
        """
        return bool(self._tape.number(Input.FINISH, lambda: int(self._line.finish())))

    def events(self) -> int:
        """
        As `Line` has it.
        """
        return self._tape.number(Input.EVENTS, self._line.events)

    def available(self) -> int:
        """
        As `Line` has it.
        """
        return self._tape.number(Input.AVAILABLE, self._line.available)

    def close(self) -> None:
        """
        As `Line` has it: nothing comes in by it.
        """
        self._line.close()
