"""
Large pages for a process that forks often.

A fork copies an entry for each page of 4 KiB that was ever written, and the end of the child takes
each back: with a worker that runs one cell, a quarter of all its time. What lies in 2 MiB that are
aligned can be one page instead, which is copied as one entry; where a process then writes, it has
4 KiB to itself as before, and those around them still go together.

Made when the memory is as it shall be, by MADV_COLLAPSE: to have asked for large pages before
would take 2 MiB for each first byte. One takes a millisecond or three, so a caller makes them when
nobody waits for it. A kernel before 6.1 has no such advice, and one without a large page to spare
refuses; nothing else changes then. It is an order and no wish: a machine whose setting for
transparent large pages is `never` makes these too. Sources: madvise(2), proc_pid_maps(5).
"""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Final

from executor.linux import proc
from executor.linux.libc import call

SIZE: Final = 2**21

# <asm-generic/mman-common.h>
_COLLAPSE: Final = 25
# Steps that do nothing: a server of few sessions does without large pages.
_UNHURRIED: Final = 4


def in_passing() -> Iterator[bool]:
    """
    `collapse` for a zygote, a step behind each of its children; behind the first few nothing is
    made, and nothing behind the last large page.
    """
    return chain(repeat(False, _UNHURRIED), collapse(), repeat(False))


def collapse() -> Iterator[bool]:
    """
    Make a large page of this process's memory with each step; whether the kernel did.

    The memory is that of the first step: private, of no file, and such as can be read and written.
    There is none where /proc cannot be read.
    """
    try:
        maps = proc.read("/proc/self/maps")
    except OSError:
        return
    for first, last in _anonymous(maps):
        for address in range(-(-first // SIZE) * SIZE, last - SIZE + 1, SIZE):
            yield _collapse(address)


def _anonymous(maps: bytes) -> Iterator[tuple[int, int]]:
    """
    First and last address of each mapping that counts. Without the stack, which grows.
    """
    for line in maps.splitlines():
        place, rights, _, _, file, *name = line.split(maxsplit=5)
        if rights == b"rw-p" and file == b"0" and name != [b"[stack]"]:
            first, last = place.split(b"-")
            yield int(first, 16), int(last, 16)


def _collapse(address: int) -> bool:
    try:
        call("madvise", address, SIZE, _COLLAPSE)
    except OSError:
        return False
    return True
