"""
A guest's frames about tools, as asks of the gate, and the answers as the guest reads them.

Both cages' workers do this, each with its own channel. A frame that is none of the four is refused
here; what is in the documents is looked at by the gate, and by the client.
"""

import errno
from collections.abc import Callable
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.tooling import LONGEST_NAME, MOST_ARGUMENTS, MOST_RESULT

_NUMBER: Final = 4
LONGEST_FRAME: Final = 1 + _NUMBER + LONGEST_NAME + MOST_ARGUMENTS
"""What a guest may send at once (bytes)."""
Asks = Callable[[wire.Ask], wire.Answer]


def answered(frame: bytes, ask: Asks) -> bytes:
    """
    The reply to a guest's frame. `ask` asks the gate, and gives its answer also where that refuses.
    """
    if len(frame) > LONGEST_FRAME:
        return refused(errno.EMSGSIZE, f"a call has more than {MOST_ARGUMENTS:,} bytes")
    request = _request(frame)
    if request is None:
        return refused(errno.EINVAL, "this is no frame about a tool")
    answer = ask(request)
    if answer.errno:
        return refused(answer.errno, answer.reason)
    kind, called = frame[:1], answer.called
    if kind == b"F":
        return b"V"
    if kind == b"W":
        return b"D" + _bytes(called.call) + _ended(called, ask) if called.call else b"N"
    return _ended(called, ask) if called.done else b"P" + _bytes(called.call)


def refused(number: int, reason: str) -> bytes:
    """
    The reply that refuses, with a Linux error number.
    """
    return f"R{errno.errorcode.get(number, 'EIO')}\0{reason}".encode("utf-8", "replace")


def _request(frame: bytes) -> wire.Ask | None:
    kind, rest = frame[:1], frame[1:]
    if kind == b"F":
        return wire.Ask(final=rest)
    if len(rest) < _NUMBER:
        return None
    number, rest = int.from_bytes(rest[:_NUMBER], "little"), rest[_NUMBER:]
    if kind == b"W":
        return wire.Ask(collect=number)
    if kind not in {b"C", b"S"} or number > LONGEST_NAME:
        return None
    name = rest[:number].decode("utf-8", "backslashreplace")
    call = wire.CallAsk(name=name, arguments=rest[number:], begin=kind == b"S")
    return wire.Ask(call=call)


def _ended(called: wire.Called, ask: Asks) -> bytes:
    if called.errno:
        return refused(called.errno, called.reason)
    size = min(called.size, MOST_RESULT)
    data = bytearray(called.data)
    while len(data) < size:
        answer = ask(wire.Ask(rest=len(data)))
        if answer.errno or not answer.called.data:
            return refused(answer.errno or errno.EIO, answer.reason or "the result broke off")
        data += answer.called.data
    return (b"E" if called.failed else b"V") + data


def _bytes(number: int) -> bytes:
    return number.to_bytes(_NUMBER, "little")
