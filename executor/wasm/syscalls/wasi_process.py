"""
WASI preview 1 on the process: its arguments, and waiting.
"""

from dataclasses import dataclass
from typing import Final

from executor.wasm.abi import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, Errno, GuestFault
from executor.wasm.process import Process
from executor.wasm.syscalls.open_files import events_of
from executor.wasm.syscalls.wasi_abi import (
    EVENT,
    EVENT_HANGUP,
    SUBSCRIPTION,
    SUBSCRIPTION_ABSTIME,
    EventType,
)
from executor.wasm.waiting import Waited, wait_until_ready

_ARGUMENTS: Final = (b"python\0",)
_POLL_MAX: Final = 1024
_REALTIME, _MONOTONIC = 0, 1
_WANTED: Final = {EventType.FD_READ: POLLIN, EventType.FD_WRITE: POLLOUT}


def args_sizes_get(process: Process, count: int, size: int) -> int:
    """
    How many arguments the program has, and their bytes in all.
    """
    process.memory.span(size, 4)
    process.memory.put_u32(count, len(_ARGUMENTS))
    process.memory.put_u32(size, sum(map(len, _ARGUMENTS)))
    return 0


def args_get(process: Process, pointers: int, buffer: int) -> int:
    """
    The arguments, as an array of pointers and their strings.
    """
    process.memory.span(pointers, 4 * len(_ARGUMENTS))
    process.memory.span(buffer, sum(map(len, _ARGUMENTS)))
    for index, text in enumerate(_ARGUMENTS):
        process.memory.put_u32(pointers + 4 * index, buffer)
        process.memory.write(buffer, text)
        buffer += len(text)
    return 0


# ---- waiting ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Subscription:
    """
    What is waited for. `seconds` is until the clock's moment, `subject` a descriptor's number.
    """

    userdata: int
    kind: EventType
    subject: int
    seconds: float


def poll_oneoff(process: Process, wanted: int, events: int, count: int, result: int) -> int:
    """
    Wait for descriptors and clocks: poll(2), clock_nanosleep(2).

    What is ready now is told; else connections are waited for until the earliest clock. An
    interrupt ends the wait early and is no error, because libc makes "not supported" of every
    error here: the clock is told to have come, or nothing, and the interpreter looks for signals
    next.
    """
    if count > _POLL_MAX:
        raise GuestFault(Errno.EINVAL)
    process.memory.span(wanted, count * SUBSCRIPTION.size)
    process.memory.span(events, count * EVENT.size)
    process.memory.span(result, 4)
    asked = [_read(process, wanted + index * SUBSCRIPTION.size) for index in range(count)]
    told = b"".join(_ready(process, one) for one in asked) or _wait(process, asked)
    process.memory.write(events, told)
    process.memory.put_u32(result, len(told) // EVENT.size)
    return 0


def _read(process: Process, pointer: int) -> _Subscription:
    data = process.memory.read(pointer, SUBSCRIPTION.size)
    userdata, tag, subject, timeout, _precision, flags = SUBSCRIPTION.unpack(data)
    if tag not in EventType._value2member_map_:
        raise GuestFault(Errno.EINVAL)
    kind = EventType(tag)
    seconds = _seconds(process, subject, timeout, flags) if kind is EventType.CLOCK else 0.0
    return _Subscription(userdata, kind, subject, seconds)


def _seconds(process: Process, clock: int, timeout: int, flags: int) -> float:
    if clock not in {_REALTIME, _MONOTONIC} or flags & ~SUBSCRIPTION_ABSTIME:
        raise GuestFault(Errno.EINVAL)
    if flags & SUBSCRIPTION_ABSTIME:
        now = process.clock.wall_ns() if clock == _REALTIME else process.clock.monotonic_ns()
        timeout = max(0, timeout - now)
    return timeout / 1e9


def _ready(process: Process, one: _Subscription) -> bytes:
    """
    The event of a subscription that has come, or nothing.
    """
    if one.kind is EventType.CLOCK:
        return _event(one) if one.seconds == 0 else b""
    found = events_of(process, one.subject)
    if found & POLLNVAL:
        return _event(one, Errno.EBADF)
    if not found & (_WANTED[one.kind] | POLLHUP | POLLERR):
        return b""
    return _event(one, flags=EVENT_HANGUP if found & POLLHUP else 0)


def _wait(process: Process, asked: list[_Subscription]) -> bytes:
    clocks = [one for one in asked if one.kind is EventType.CLOCK]
    first = min((one.seconds for one in clocks), default=float("inf"))
    # None is missing: one that is not open would have been told at once.
    files = [
        (process.descriptors.get(one.subject), _WANTED[one.kind])
        for one in asked
        if one.kind is not EventType.CLOCK
    ]
    if wait_until_ready(process.sleeper, files, first) is Waited.READY:
        return b"".join(_ready(process, one) for one in asked)
    return b"".join(_event(one) for one in clocks if one.seconds == first)


def _event(one: _Subscription, error: int = 0, flags: int = 0) -> bytes:
    return EVENT.pack(one.userdata, error, one.kind, 0, flags)
