"""
The messages between the server and its zygotes: one datagram each.

The sockets are SOCK_SEQPACKET, so a datagram arrives whole with the descriptors that were sent
with it. A spawn request carries one socket and a number, for a native zygote also the order of a
box, which has what a policy decides; nothing else ever enters a zygote: what a session is comes to
its worker over the socket, after the worker is locked.

The messages of native zygotes (`boxing.py` beside this file) have tags of their own; `starting.py`
has what the launcher is asked.
"""

import signal
import struct
from dataclasses import dataclass
from typing import Any, Final, Self

# How the server stops a running cell: the worker's watchdog makes either a KeyboardInterrupt.
# Real-time signals queue, so that none is lost and each can be counted (signal(7)).
INTERRUPT_SIGNAL: Final = int(signal.SIGRTMIN)
LIMIT_SIGNAL: Final = int(signal.SIGRTMIN) + 1
# Follows each of the two to a native worker: C code that looks for signals finds this one, while
# whoever counts the others cannot run. Nobody counts it, and who has no handler ignores it.
NUDGE_SIGNAL: Final = int(signal.SIGURG)
# Every message fits; a longer datagram is cut by the kernel and then has the wrong length.
MESSAGE_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class ZygoteReady:
    """
    From a zygote: booted. `digest` is the SHA-256 of its guest's linear memory, `memory` that
    memory's size in bytes.
    """

    digest: bytes
    memory: int
    _form = struct.Struct("<4s32sQ")

    def pack(self) -> bytes:
        """
        The datagram.
        """
        return self._form.pack(b"rdy1", self.digest, self.memory)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The message in a datagram; ValueError if it is another.
        """
        return cls(*_checked(cls._form, b"rdy1", data))


@dataclass(frozen=True, slots=True)
class SpawnWorker:
    """
    To a zygote: fork worker `number`. Its socket comes along.
    """

    number: int
    _form = struct.Struct("<4sI")

    def pack(self) -> bytes:
        """
        The datagram.
        """
        return self._form.pack(b"spn1", self.number)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The message in a datagram; ValueError if it is another.
        """
        return cls(*_checked(cls._form, b"spn1", data))


@dataclass(frozen=True, slots=True)
class WorkerSpawned:
    """
    From a zygote: worker `number` is process `pid`; its pidfd comes along.
    """

    number: int
    pid: int
    _form = struct.Struct("<4sII")

    def pack(self) -> bytes:
        """
        The datagram.
        """
        return self._form.pack(b"pid1", self.number, self.pid)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The message in a datagram; ValueError if it is another.
        """
        return cls(*_checked(cls._form, b"pid1", data))


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """
    From a zygote: it reaped worker `number`, whose wait status (waitpid(2)) was `status`.
    """

    number: int
    status: int
    _form = struct.Struct("<4sIi")

    def pack(self) -> bytes:
        """
        The datagram.
        """
        return self._form.pack(b"end1", self.number, self.status)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """
        The message in a datagram; ValueError if it is another.
        """
        return cls(*_checked(cls._form, b"end1", data))


def _checked(form: struct.Struct, tag: bytes, data: bytes) -> tuple[Any, ...]:
    if len(data) != form.size or not data.startswith(tag):
        raise ValueError(f"expected a {tag.decode()} message of {form.size} bytes, got {data!r}")
    return form.unpack(data)[1:]
