"""
Frames on the socket between the server and one worker or one network broker: a length, then one
protobuf message.

Both ends treat the length as an attacker's: it is compared with the limit of its direction
before a byte of the message is waited for.
"""

import struct
from typing import Final

from executor.kernel.errors import InternalError

_LENGTH: Final = struct.Struct("<I")
# A cell's code is at most MAX_CODE; an answer carries at most one chunk of a file.
MAX_CODE: Final = 2**20
CHUNK: Final = 2**18
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


class FrameBuffer:
    """
    Bytes in, whole messages out; holds at most one unfinished frame of up to `limit` bytes.
    """

    __slots__ = ("_data", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """
        Take bytes as they were received.
        """
        self._data += data

    def take(self) -> bytes | None:
        """
        The next whole message, or None. Raises FrameTooLongError.
        """
        if len(self._data) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._data)
        if length > self._limit:
            raise FrameTooLongError(f"a frame of {length} bytes; {self._limit} are allowed")
        end = _LENGTH.size + length
        if len(self._data) < end:
            return None
        message = bytes(self._data[_LENGTH.size : end])
        del self._data[:end]
        return message
