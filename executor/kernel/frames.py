"""
Frames on the socket between the server and one worker or one network broker: a length, then one
protobuf message.

Both ends treat the length as an attacker's: it is compared with the limit of its direction
before a byte of the message is waited for.
"""

import struct
from typing import Final

from google.protobuf.message import Message

from executor.kernel.errors import InternalError

_LENGTH: Final = struct.Struct("<I")
# A piece below this many bytes is put together with the next at once.
_SMALL: Final = 2**14
# Of what is sent from where it lies: so much goes out with the head of its frame, which by itself
# would wake the other end for nothing.
FIRST: Final = 2**14
# A cell's code is at most MAX_CODE; an answer carries at most one chunk of a file.
MAX_CODE: Final = 2**20
CHUNK: Final = 2**18
# A client's file goes in pieces: fewer and larger than a guest's reads, which wait for each.
PIECE: Final = 2**20
MAX_TO_WORKER: Final = MAX_CODE + 2**16
# Output grows to 1 MiB a frame while the reader is behind; a traceback or value stays below.
MAX_OUTPUT: Final = 2**20
MAX_FROM_WORKER: Final = MAX_OUTPUT + 2**16
# The longest thing that a network broker asks about is one request's line.
MAX_FROM_BROKER: Final = 2**17

# How the reason of a guest's end begins where its code trapped, where our side of its calls failed,
# and where its replay differed.
TRAPPED: Final = "the guest trapped: "
FAILED: Final = "the cage failed: "
DIVERGED: Final = "the replay differs: "


class FrameTooLongError(InternalError):
    """
    The other end announced a frame that is longer than any it may send.
    """


def encode(message: bytes) -> bytes:
    """
    A serialised message with its length before it.
    """
    return _LENGTH.pack(len(message)) + message


def head(numbers: tuple[int, ...], message: Message, field: int, size: int) -> bytes:
    """
    What stands before `size` bytes of data in a frame in which the fields `numbers`, one in the
    other, lead to `message`, of which they are the bytes of `field`: so what is large is sent from
    where it is, and never copied.

    Fields may stand in any order, so the large one can be the last. Source: the protocol buffers'
    encoding, https://protobuf.dev/programming-guides/encoding/
    """
    told = message.SerializeToString() + _key(field) + _varint(size)
    for number in reversed(numbers):
        told = _key(number) + _varint(len(told) + size) + told
    return _LENGTH.pack(len(told) + size) + told


def _key(field: int) -> bytes:
    """
    Before a field that has a length: bytes, or a message.
    """
    return _varint(field << 3 | 2)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


class FrameBuffer:
    """
    Bytes in, whole messages out; holds at most one unfinished frame of up to `limit` bytes, and
    what was received with its end.

    Pieces are kept as they came and put together once, when a frame is whole.
    """

    __slots__ = ("_limit", "_pieces", "_size", "_start", "_wanted")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        # Where in the first piece the next frame begins, and how many bytes there are from there.
        self._start = 0
        self._size = 0
        self._wanted = 0

    @property
    def has_begun(self) -> bool:
        """
        Whether it holds some of a frame, or of several.
        """
        return self._size > 0

    def feed(self, data: bytes) -> None:
        """
        Take bytes as they were received.
        """
        if self._pieces and len(self._pieces[-1]) < _SMALL:
            # Else a sender of single bytes would have us keep an object for each.
            self._pieces[-1] += data
        elif data:
            self._pieces.append(data)
        self._size += len(data)

    @property
    def missing(self) -> int:
        """
        How many bytes the frame that has begun still wants, as `take` found: 0 before it looked.
        """
        return max(0, self._wanted - self._size)

    def take(self) -> bytes | None:
        """
        The next whole message, or None. Raises FrameTooLongError.
        """
        if self._size < _LENGTH.size:
            return None
        while len(self._pieces[0]) - self._start < _LENGTH.size:
            self._pieces[:2] = [self._pieces[0][self._start :] + self._pieces[1]]
            self._start = 0
        (length,) = _LENGTH.unpack_from(self._pieces[0], self._start)
        if length > self._limit:
            raise FrameTooLongError(f"a frame of {length} bytes; {self._limit} are allowed")
        if self._size < _LENGTH.size + length:
            self._wanted = _LENGTH.size + length
            return None
        self._wanted = 0
        return self._cut(_LENGTH.size + length)

    def _cut(self, size: int) -> bytes:
        """
        Take a frame of `size` bytes out, which are there; its message.
        """
        self._size -= size
        first = self._pieces[0]
        begin, end = self._start + _LENGTH.size, self._start + size
        parts = [memoryview(first)[begin:end]]
        while end >= len(self._pieces[0]):
            end -= len(self._pieces.pop(0))
            if not end:
                break
            parts.append(memoryview(self._pieces[0])[:end])
        self._start = end
        return b"".join(parts)
