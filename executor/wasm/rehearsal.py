"""
What a zygote does so that its workers share its pages: it rehearses sessions, and leaves no gaps.

A page is copied when a worker first writes to it, and CPython writes more than its programs do.
Bytecode counts its first runs and is then rewritten in place for the types that it has seen, so
what every session runs is run here until that is over. And a new object takes the first gap among
older ones, wherever that is; so the gaps are filled, and new objects lie together on new pages.
Measured together: 5.8 to 5.4 MB private to a worker of `core` that has run a cell.

Rejected: rehearsing after the first worker was forked, while nobody waits. Then two workers of
one zygote would begin with different memory, and a policy's seed would not give the same run.
"""

import contextlib
import itertools
import socket
from collections.abc import Iterator
from typing import Final

from executor.kernel.frames import encode
from executor.wasm.backend import REHEARSAL, Session
from executor.wasm.booted import Guest

# A function is rewritten after eight runs, an instruction in it after some more.
_SESSIONS: Final = 10
# Of CPython's allocator (Objects/obmalloc.c): sizes that it keeps, and where a pool begins.
_SMALLEST: Final = 16
_LARGEST: Final = 512
_POOL: Final = 16 * 2**10
_POOL_HEAD: Final = 48
# What an object of bytes has beside its bytes (Include/cpython/bytesobject.h).
_BYTES_HEAD: Final = 33
# More gaps than that of one size are not worth their filling.
_MOST: Final = 4096


def rehearse_sessions(guest: Guest) -> None:
    """
    Run sessions of empty cells with a booted guest, which leave nothing that the begin of a
    session does not set. Their chance and their clock are constants.
    """
    entropy = guest.process.kernel_entropy
    for _ in range(_SESSIONS):
        _rehearse(guest)
    guest.process.kernel_entropy = entropy
    guest.hooks.clear()


def _rehearse(guest: Guest) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, contextlib.closing(Session(guest, theirs)) as session:
        ours.sendall(b"".join(map(encode, REHEARSAL)))
        ours.shutdown(socket.SHUT_WR)
        session.serve("", bytes(32))


def gap_fillers() -> list[object]:
    """
    Objects that fill the gaps in the interpreter's pools, for as long as they are kept.

    0.3 MB for a zygote. Where this interpreter's pools are others, some gaps stay.
    """
    sizes = range(_SMALLEST, _LARGEST + 1, _SMALLEST)
    return [filler for size in sizes for filler in _fillers(size)]


def _fillers(size: int) -> Iterator[object]:
    """
    Objects of `size` bytes until one begins a new pool: that one is let go of.
    """
    for _ in itertools.repeat(None, _MOST):
        filler = bytes(bytearray(size - _BYTES_HEAD)) if size > _BYTES_HEAD else _small(size)
        if id(filler) % _POOL == _POOL_HEAD:
            return
        yield filler


def _small(size: int) -> object:
    return object() if size == _SMALLEST else float.fromhex("0x1p-3")
