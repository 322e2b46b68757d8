"""
Short writes that are gathered without asking the host, and the host's side of them.

A program prints line by line, and each line was a call of the host: 20 us, where the interpreter
takes 4 for it. Now the first one is, and while the worker holds back what it has for 10 ms anyway
(`output.py`) those behind it are put on a shelf by code of the engine's
(`gathering_modules.py`). The guest sees no difference: each write is done when it returns, in its
order, and where the shelf's memory is it cannot look.

One thread puts there, the one that runs the guest. Any thread takes, with the lock of whoever has
the output. The shelf begins anew only while the guest stands still, so nobody waits for the
other. What is put there while another thread says that it is over is seen by the one or by the
other: the guest's side looks whether it is over after it has put something, and the host's looks
once more later. (Between a store and the look after it a processor needs no time that a thread
could notice.)
"""

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, cast

import wasmtime

from executor.wasm import gathering_modules
from executor.wasm.gathering_modules import (
    CHANGE,
    CHANGES,
    DATA,
    END_OF_DATA,
    ON,
    STREAM_NOW,
    STREAM_OF,
)
from executor.wasm.memory import GuestMemory

_DESCRIPTORS: Final = (1, 2)
_WORD: Final = struct.Struct("<I")


class Gathering:
    """
    The shelf of one guest. Until `join`, and while `start` was not called, the host is asked.
    """

    def __init__(self, engine: wasmtime.Engine, store: wasmtime.Store) -> None:
        self._engine = engine
        self._store = store
        made = wasmtime.Module(engine, gathering_modules.shelf())
        self._exports = cast("Any", wasmtime.Instance(store, made, []).exports(store))
        self._memory = GuestMemory(store, self._exports["memory"], gathering_modules.SIZE)
        self._host: Any = None
        self.is_on = False
        self._taken = DATA
        self._changes = 0
        self._stream = 0

    def before(self, host: wasmtime.Func) -> Any:
        """
        What the guest is given for its fd_write instead of `host`.
        """
        self._host = host
        self._exports["table"].set(self._store, 0, host)
        return self._exports["fd_write"]

    def join(self, memory: wasmtime.Memory) -> None:
        """
        From now on writes out of this memory may be gathered.
        """
        made = wasmtime.Module(self._engine, gathering_modules.writer())
        given = [self._exports[name] for name in ("room", "put", "put_byte", "keep")]
        instance = wasmtime.Instance(self._store, made, [memory, self._host, *given])
        writer = cast("Any", instance.exports(self._store))
        self._exports["table"].set(self._store, 0, writer["fd_write"])

    def set_stream(self, descriptor: int, stream: int) -> None:
        """
        Say which stream a descriptor is, 0 for none. While the guest stands still.
        """
        if descriptor in _DESCRIPTORS:
            self._memory.put_u32(STREAM_OF + 4 * descriptor, stream)

    # ---- what the host does while it has the output's lock --------------------------------------

    def start(self) -> None:
        """
        Gather what is written from now on, or go on doing so. While the guest stands still, with
        all taken.
        """
        self.is_on = True
        self._taken, self._changes, self._stream = DATA, 0, 0
        for where, value in ((END_OF_DATA, DATA), (CHANGES, 0), (STREAM_NOW, 0), (ON, 1)):
            self._memory.put_u32(where, value)

    def stop(self) -> None:
        """
        Have the host asked for each write again. What is there stays.
        """
        if self.is_on:
            self.is_on = False
            self._memory.put_u32(ON, 0)

    def take(self) -> list[tuple[int, bytes]]:
        """
        What was put there since the last time: pieces, each with its stream, in their order.
        """
        end = self._memory.u32(END_OF_DATA)
        if end <= self._taken:
            return []
        data = self._memory.read(self._taken, end - self._taken)
        changes = list(self._changed(end))
        places = [self._taken, *(place for place, _ in changes), end]
        streams = [self._stream, *(stream for _, stream in changes)]
        pieces = [
            (stream, data[first - self._taken : last - self._taken])
            for stream, (first, last) in zip(streams, pairwise(places), strict=True)
            if first < last
        ]
        self._taken, self._stream = end, streams[-1]
        return pieces

    def _changed(self, end: int) -> Iterator[tuple[int, int]]:
        """
        The changes of the stream before `end` that were not seen yet. (One stands there before
        its bytes do.)
        """
        count = self._memory.u32(CHANGES)
        words = self._memory.read(CHANGE + 4 * self._changes, 4 * (count - self._changes))
        for (word,) in _WORD.iter_unpack(words):
            if word >> 2 >= end:
                return
            self._changes += 1
            yield word >> 2, word & 3
