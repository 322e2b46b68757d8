"""
The messages between the server and a native zygote, besides those that all zygotes speak.

The server orders a box and has signals sent to it: its processes are another user's, whom the
server, which has given up root, cannot signal itself. The zygote tells what holds its boxes, who
was made or why nobody could be, and what a box had used when it ended.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, Self

from executor.kernel.orders import ORDER_MAX, BoxOrder
from executor.kernel.spawn import INTERRUPT_SIGNAL, LIMIT_SIGNAL

# A native zygote's longest datagrams, to it and from it; longer ones are cut, and then refused.
TO_ZYGOTE_MAX: Final = 2 * ORDER_MAX + 64
FROM_ZYGOTE_MAX: Final = 2**15
# The most descriptors that come with a box: its pidfd, and what `BoxSpawned` counts.
DESCRIPTORS_MAX: Final = 128
# What a reason may have, in characters.
_LONGEST: Final = 2000
_NUMBERS: Final = 1 << 32


class BoxSignal(Enum):
    """
    What a box can be told from outside; the value is the number of the signal.
    """

    INTERRUPT = INTERRUPT_SIGNAL
    LIMIT = LIMIT_SIGNAL
    KILL = 9


@dataclass(frozen=True, slots=True)
class HeldItem:
    """
    One thing that a box keeps apart or bounded: how far (`enforced`, `partial`, `absent`), and how
    that was found.
    """

    name: str
    state: str
    how: str


@dataclass(frozen=True, slots=True)
class Holding:
    """
    What holds a box: the name of its level, the level in words, and its items.
    """

    level: str
    words: str
    items: tuple[HeldItem, ...] = ()

    def __str__(self) -> str:
        return f"{self.level} ({self.words})"


@dataclass(frozen=True, slots=True)
class SpawnBox:
    """
    To a native zygote: make box `number` after `order`. Its socket comes along. Read: `SealedBox`.
    """

    number: int
    order: BoxOrder

    def pack(self) -> bytes:
        """
        The datagram. Raises ValueError for an order that is too long.
        """
        told, whole = self.order.without_names().pack(), self.order.pack()
        return _SPAWN_BOX.pack(b"box1", self.number, len(told)) + told + whole


# A tag, a number, and how long the order without names is; then that order, then the whole one.
_SPAWN_BOX = struct.Struct("<4sII")


@dataclass(frozen=True, slots=True)
class SealedBox:
    """
    A `SpawnBox` as the zygote reads it: `told` is the order without names; of the whole one it has
    the bytes, in the memory where the datagram lies, for the box to read and for it to erase.
    """

    number: int
    told: BoxOrder
    whole: memoryview

    @classmethod
    def unpack(cls, data: memoryview) -> Self:
        """
        The message in a datagram, whose whole order nobody looks at; ValueError if it is another.
        """
        size = _SPAWN_BOX.size
        if len(data) < size or bytes(data[:4]) != b"box1":
            raise ValueError(f"expected a box1 message, got one of {len(data)} bytes")
        _, number, length = _SPAWN_BOX.unpack(data[:size])
        told = BoxOrder.unpack(bytes(data[size : size + length]))
        return cls(number, told, data[size + length :])

    def opened(self) -> BoxOrder:
        """
        The whole order; ValueError if it is none, or not the one that was told of.
        """
        order = BoxOrder.unpack(bytes(self.whole))
        if order.without_names() != self.told:
            raise ValueError("the order of a box is not the one that its zygote was told of")
        return order


@dataclass(frozen=True, slots=True)
class SignalBox:
    """
    To a native zygote: send a signal to box `number`; nothing happens where it has ended.
    """

    number: int
    signal: BoxSignal
    _form = struct.Struct("<4sII")

    def pack(self) -> bytes:
        """
        The datagram.
        """
        return self._form.pack(b"sig1", self.number, self.signal.value)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The message in a datagram; ValueError if it is another.
        """
        if len(data) != cls._form.size or not data.startswith(b"sig1"):
            raise ValueError(f"expected a sig1 message, got {data[:64]!r}")
        _, number, wanted = cls._form.unpack(data)
        return cls(number, BoxSignal(wanted))


@dataclass(frozen=True, slots=True)
class BoxesHold:
    """
    From a native zygote, before it is ready: a box was made here, attacked, and holds like this.
    """

    holding: Holding

    def pack(self) -> bytes:
        """
        The datagram.
        """
        return _pack(b"hld1", _said(self.holding))

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The message in a datagram; ValueError if it is another.
        """
        return cls(_holding(_unpack(b"hld1", data, frozenset({"level", "words", "items"}))))


@dataclass(frozen=True, slots=True)
class BoxSpawned:
    """
    From a native zygote: box `number` is process `pid`, held as `holding` says; `group` are the
    directories of its control group by controller, none where it has none.

    Descriptors come along in this order: a pidfd; with `listener`, that of its refused system
    calls; `served` of the file systems in the order's order; `listeners` of its ports, likewise;
    with `names`, the socket on which it asks for names; with `memory`, its memory, to be read.
    """

    number: int
    pid: int
    holding: Holding
    group: tuple[tuple[str, Path], ...] = ()
    unified: bool = False
    listener: bool = False
    served: int = 0
    listeners: int = 0
    names: bool = False
    memory: bool = False

    @property
    def descriptors(self) -> int:
        """
        How many have to come along.
        """
        return 1 + self.listener + self.served + self.listeners + self.names + self.memory

    def pack(self) -> bytes:
        """
        The datagram.
        """
        said = {
            "number": self.number,
            "pid": self.pid,
            "holding": _said(self.holding),
            "group": [[name, str(place)] for name, place in self.group],
            "unified": self.unified,
            "listener": self.listener,
            "served": self.served,
            "listeners": self.listeners,
            "names": self.names,
            "memory": self.memory,
        }
        return _pack(b"bxd1", said)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The message in a datagram; ValueError if it is another.
        """
        names = frozenset(cls.__dataclass_fields__)
        said = _unpack(b"bxd1", data, names)
        group = tuple((str(name), Path(place)) for name, place in said.pop("group"))
        return cls(**{**said, "holding": _holding(said["holding"]), "group": group})


@dataclass(frozen=True, slots=True)
class BoxRefused:
    """
    From a native zygote: box `number` was not made, and why; with number 0, that none can be.

    `missing` says that the host lacks something, so that it is in vain to try again.
    """

    number: int
    missing: bool
    reason: str

    def pack(self) -> bytes:
        """
        The datagram; a long reason is cut.
        """
        said = {"number": self.number, "missing": self.missing, "reason": self.reason[:_LONGEST]}
        return _pack(b"ref1", said)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The message in a datagram; ValueError if it is another.
        """
        return cls(**_unpack(b"ref1", data, frozenset(cls.__dataclass_fields__)))


@dataclass(frozen=True, slots=True)
class BoxExited:
    """
    From a native zygote: it reaped box `number`, whose wait status (waitpid(2)) was `status`.

    `out_of_memory` counts how often the kernel ended one of its processes for its memory limit;
    `cpu_us` is the CPU time that all of them used (microseconds), `memory_peak` the most that they
    held at once (bytes), 0 where nobody counts.
    """

    number: int
    status: int
    out_of_memory: int = 0
    cpu_us: int = 0
    memory_peak: int = 0
    _form = struct.Struct("<4sIiIQQ")

    def pack(self) -> bytes:
        """
        The datagram.
        """
        count = min(self.out_of_memory, _NUMBERS - 1)
        return self._form.pack(
            b"bxe1", self.number, self.status, count, self.cpu_us, self.memory_peak
        )

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The message in a datagram; ValueError if it is another.
        """
        if len(data) != cls._form.size or not data.startswith(b"bxe1"):
            raise ValueError(f"expected a bxe1 message, got {data[:64]!r}")
        return cls(*cls._form.unpack(data)[1:])


def _pack(tag: bytes, said: Mapping[str, Any]) -> bytes:
    data = tag + json.dumps(said, separators=(",", ":")).encode()
    if len(data) > FROM_ZYGOTE_MAX:
        raise ValueError(f"a {tag.decode()} message of {len(data)} bytes")
    return data


def _unpack(tag: bytes, data: bytes, names: frozenset[str]) -> dict[str, Any]:
    said = json.loads(data[len(tag) :]) if data.startswith(tag) else None
    if not isinstance(said, dict) or said.keys() != names:
        raise ValueError(f"expected a {tag.decode()} message, got {data[:64]!r}")
    return said


def _said(holding: Holding) -> dict[str, Any]:
    items = [[item.name, item.state, item.how] for item in holding.items]
    return {"level": holding.level, "words": holding.words, "items": items}


def _holding(said: Mapping[str, Any]) -> Holding:
    items = tuple(HeldItem(*item) for item in said["items"])
    return Holding(said["level"], said["words"], items)
