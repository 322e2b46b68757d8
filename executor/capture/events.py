"""
The events of a capture, and how a batch of them is bytes.

An event is a kind, a length (32 bits, little endian) and that many bytes. Frames are kept as they
were sent, so a capture has every word between a worker and the server, in order. What is long and
was kept before in the same capture is kept once: later events recall it by its digest.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

_HEAD: Final = struct.Struct("<BI")


class Kind(IntEnum):
    """
    What an event is. The set is closed; numbers are of the format and stay.
    """

    # What the session was made of: JSON.
    HEADER = 1
    TO_WORKER = 2
    FROM_WORKER = 3
    # A record of the session's in the audit record: the SHA-256 of what was to be written.
    RECORD = 4
    # Nothing after this was captured: why.
    LOST = 5
    # An event as before: its kind, and the digest of its bytes.
    RECALL = 6


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event; `data` is its bytes.
    """

    kind: Kind
    data: bytes


def put(batch: bytearray, kind: Kind, data: bytes) -> None:
    """
    Append an event to a batch.
    """
    batch += _HEAD.pack(kind, len(data))
    batch += data


def decode(batch: bytes) -> Iterator[Event]:
    """
    The events of a batch. Raises ValueError for bytes that are none.
    """
    at = 0
    while at < len(batch):
        if at + _HEAD.size > len(batch):
            raise ValueError("an event is cut off")
        kind, length = _HEAD.unpack_from(batch, at)
        at += _HEAD.size
        if at + length > len(batch):
            raise ValueError("an event is cut off")
        yield Event(Kind(kind), batch[at : at + length])
        at += length
