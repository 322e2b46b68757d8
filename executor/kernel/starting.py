"""
What the server gives its launcher: a table of command lines once, then a datagram for each zygote.

The launcher has two processors to share with the first zygote, which imports at the same time, and
with the server, so this imports `struct` alone: no dataclass, and not what a dataclass brings.
"""

import struct

# Of the table (bytes); the kernel's bound for one datagram is twice that.
TABLE_MAX = 100_000
# Every request fits; a longer datagram is cut by the kernel and then has the wrong length.
REQUEST_MAX = 256
_TAG = b"zyg1"
_FORM = struct.Struct("<4sII")


def zygote_request(number: int, image: int) -> bytes:
    """
    The datagram that asks for zygote `number`, of row `image` of the table. Its end of the socket
    comes along.
    """
    return _FORM.pack(_TAG, number, image)


def requested_row(data: bytes) -> int:
    """
    The row that a datagram asks for; ValueError if it asks for nothing.
    """
    if len(data) != _FORM.size or not data.startswith(_TAG):
        raise ValueError(f"expected a request for a zygote of {_FORM.size} bytes, got {data!r}")
    _, _, row = _FORM.unpack(data)
    return int(row)
