"""
What a guest is given that neither its code nor a frame determines, written down or given again.

The random bytes of a captured session are a stream over a seed, files and tools come by frames that
the server sees, and all else is a function of these. What is left comes in here: looks at clocks,
how waits ended, and what connections had when they were asked. A worker that captures appends one
entry for each and sends them in `Inputs`; one that replays takes the same entries in the same
order, and asks no clock and no connection. Who asks for another thing than the record has next has
diverged, and its guest ends there.

An entry is a byte that says what was asked, and a number as a zigzag varint; clocks as the distance
from their last value, bytes as their number plus one (0: nothing had come) and themselves.
"""

import time
from collections.abc import Callable
from enum import IntEnum
from typing import Final

# Sent before a cell ends once so much waits: a frame is small, and a killed worker loses little.
FLUSH_BYTES: Final = 2**15
_NOTHING: Final = 0


class Input(IntEnum):
    """
    What was asked of the host. The set is closed; numbers are of the format and stay.
    """

    WALL = 1
    MONOTONIC = 2
    CPU = 3
    # How a wait for the time, and one for connections, ended: 1 by an interrupt.
    WAIT = 4
    WAIT_FOR = 5
    # What of a connection: bytes, how many were sent, whether sending ended, events, a count.
    RECEIVE = 6
    SEND = 7
    FINISH = 8
    EVENTS = 9
    AVAILABLE = 10
    # How long a wait for connections has gone on.
    WAITED = 11


_CLOCKS: Final = frozenset({Input.WALL, Input.MONOTONIC, Input.CPU, Input.WAITED})


class Diverged(Exception):
    """
    A guest that is replayed asked for something else than the record has next.
    """


class Tape:
    """
    The entries of one segment after another. `send` takes those that have gathered.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._data = bytearray()
        self._last = dict.fromkeys(_CLOCKS, 0)

    def number(self, kind: Input, live: Callable[[], int]) -> int:
        """
        The number that `live` gives, written down.
        """
        value = live()
        self._put(kind, value)
        return value

    def bytes_of(self, kind: Input, live: Callable[[], bytes | None]) -> bytes | None:
        """
        The bytes that `live` gives, or None, written down.
        """
        data = live()
        self._put(kind, _NOTHING if data is None else len(data) + 1, data or b"")
        return data

    def begin_segment(self) -> None:
        """
        The next segment begins: a cell, or a client's file command.
        """

    def flush(self) -> bytes:
        """
        What has gathered since the last time; the caller sends it.
        """
        data = bytes(self._data)
        self._data.clear()
        return data

    def _put(self, kind: Input, value: int, data: bytes = b"") -> None:
        told = value
        if kind in _CLOCKS:
            told, self._last[kind] = value - self._last[kind], value
        self._data.append(kind)
        put_varint(self._data, told)
        self._data += data
        if len(self._data) >= FLUSH_BYTES:
            self._send(self.flush())


class ReplayedTape(Tape):
    """
    Gives the entries that it was fed, and writes down what it gave: so the other side sees that all
    was asked for. With `live` clocks go on from where the record left them.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__(send)
        self._coming = bytearray()
        self._fed = b""
        self._at = 0
        self._live = False
        self._known = dict.fromkeys(_CLOCKS, 0)
        self._since = 0

    def feed(self, data: bytes, *, live: bool) -> None:
        """
        Have more entries of the segment that comes next, or `live` from its end on.
        """
        self._coming += data
        if live and not self._live:
            self._live, self._since = True, time.monotonic_ns()

    def begin_segment(self) -> None:
        """
        The next segment begins. Raises Diverged where the last one had more entries.
        """
        if self._at != len(self._fed):
            left = len(self._fed) - self._at
            raise Diverged(f"{left} bytes of inputs were recorded that nothing has asked for")
        self._fed, self._at = bytes(self._coming), 0
        self._coming.clear()

    def number(self, kind: Input, live: Callable[[], int]) -> int:
        """
        The number that the record has next.
        """
        if self._is_beyond:
            return self._now(kind) if kind in _CLOCKS else live()
        value = self._take(kind)
        self._put(kind, value)
        return value

    def bytes_of(self, kind: Input, live: Callable[[], bytes | None]) -> bytes | None:
        """
        The bytes that the record has next.
        """
        if self._is_beyond:
            return live()
        count = self._take(kind)
        data = None if count == _NOTHING else self._bytes(count - 1)
        self._put(kind, count, data or b"")
        return data

    @property
    def _is_beyond(self) -> bool:
        return self._live and self._at == len(self._fed)

    def _now(self, kind: Input) -> int:
        """
        Beyond the record: the last time that it has, and what has gone by since.
        """
        return self._known[kind] + time.monotonic_ns() - self._since

    def _take(self, kind: Input) -> int:
        if self._at == len(self._fed):
            raise Diverged(f"the guest asked for {kind.name}, and the record has nothing more here")
        recorded = self._fed[self._at]
        if recorded != kind:
            named = Input(recorded).name if recorded in _KNOWN else f"input {recorded}"
            raise Diverged(f"the guest asked for {kind.name}, and the record has {named} here")
        value, self._at = take_varint(self._fed, self._at + 1)
        if kind in _CLOCKS:
            value += self._known[kind]
            self._known[kind] = value
        return value

    def _bytes(self, count: int) -> bytes:
        data = self._fed[self._at : self._at + count]
        if len(data) != count:
            raise Diverged("the record of a connection's bytes is cut off")
        self._at += count
        return data


_KNOWN: Final = frozenset(int(one) for one in Input)


def put_varint(data: bytearray, value: int) -> None:
    """
    Append a whole number (any) as a zigzag varint: seven bits a byte, the lowest first.
    """
    value = value * 2 if value >= 0 else -value * 2 - 1
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)


def take_varint(data: bytes, at: int) -> tuple[int, int]:
    """
    The number at `at`, and where it ends. Raises Diverged where it is cut off or over 128 bits.
    """
    value = shift = 0
    while at < len(data) and shift < 128:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    raise Diverged("a recorded number is cut off")
