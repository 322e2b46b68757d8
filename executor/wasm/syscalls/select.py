"""
select(2), for the guests whose libc does not make poll of it.
"""

import struct
from typing import Final

from executor.wasm.abi import POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, Errno, GuestFault
from executor.wasm.openfiles import OpenFile
from executor.wasm.process import Process
from executor.wasm.syscalls.open_files import events_of
from executor.wasm.waiting import Waited, wait_until_ready

_SET_SIZE: Final = 1024
_SET_BYTES: Final = _SET_SIZE // 8
# struct timeval of wasm32 with a 64-bit time_t: seconds, microseconds, padding.
_TIMEVAL: Final = struct.Struct("<qi")
# What makes a descriptor ready in each of the three sets; an error wakes readers and writers.
_WANTED: Final = (POLLIN | POLLHUP | POLLERR, POLLOUT | POLLERR, 0)


def newselect(
    process: Process, count: int, reading: int, writing: int, failing: int, timeout: int
) -> int:
    """
    Wait until a descriptor is ready; the sets are rewritten to those that are: select(2).

    As with poll, connections alone become ready while it waits.
    """
    if count > _SET_SIZE:
        raise GuestFault(Errno.EINVAL)
    sets = [_read_set(process, pointer) for pointer in (reading, writing, failing)]
    seconds = _seconds(process, timeout)
    found = _all_ready(process, sets, count)
    if not any(found) and seconds > 0:
        waited = wait_until_ready(process.sleeper, _asked(process, sets, count), seconds)
        if waited is Waited.INTERRUPTED:
            raise GuestFault(Errno.EINTR)
        found = _all_ready(process, sets, count)
    for pointer, one in zip((reading, writing, failing), found, strict=True):
        if pointer:
            process.memory.write(pointer, one.to_bytes(_SET_BYTES, "little"))
    return sum(one.bit_count() for one in found)


def _read_set(process: Process, pointer: int) -> int:
    return int.from_bytes(process.memory.read(pointer, _SET_BYTES), "little") if pointer else 0


def _seconds(process: Process, pointer: int) -> float:
    if not pointer:
        return float("inf")
    seconds, microseconds = _TIMEVAL.unpack(process.memory.read(pointer, _TIMEVAL.size))
    if seconds < 0 or microseconds < 0:
        raise GuestFault(Errno.EINVAL)
    return float(seconds + microseconds / 1e6)


def _asked(process: Process, sets: list[int], count: int) -> list[tuple[OpenFile, int]]:
    """
    The open files in the sets, with the events that make each of them ready.
    """
    found: dict[int, int] = {}
    for asked, wanted in zip(sets, _WANTED, strict=True):
        for descriptor in range(count):
            if asked >> descriptor & 1:
                found[descriptor] = found.get(descriptor, 0) | wanted
    return [(process.descriptors.get(number), events) for number, events in found.items()]


def _all_ready(process: Process, sets: list[int], count: int) -> list[int]:
    return [
        _ready(process, asked, count, wanted) for asked, wanted in zip(sets, _WANTED, strict=True)
    ]


def _ready(process: Process, asked: int, count: int, wanted: int) -> int:
    ready = 0
    for descriptor in range(count):
        if not asked >> descriptor & 1:
            continue
        events = events_of(process, descriptor)
        if events & POLLNVAL:
            raise GuestFault(Errno.EBADF)
        if events & wanted:
            ready |= 1 << descriptor
    return ready
