"""
The events of one cell: written by its session, read by whoever executes or attaches.

The log holds a few mebibytes and no more. While somebody reads, writing waits for the slowest
reader, and so do the session, the worker and finally the guest's `print`. While nobody reads, the
oldest output and displays are dropped; so they are when a cell is being stopped, because a worker
that waits for a reader cannot stop. The numbers of dropped events are missing from what a reader
gets, which is how it knows. Output that nobody has been given yet is joined to what came before.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final as Constant
from typing import Self

from executor.kernel import bundles
from executor.sessions.events import (
    Display,
    Ended,
    Event,
    Final,
    Numbered,
    Output,
    Stream,
    ToolCall,
    ToolCancelled,
)

KEPT: Constant = 4 * 2**20
# Memory that an event costs besides its bytes, rounded up.
_OVERHEAD: Constant = 512
_LARGEST_OUTPUT: Constant = 2**20
# What goes out together, and what is not held back for more.
_TOGETHER: Constant = 2**20
_MUCH: Constant = 2**14


class CellLog:
    """
    The events of one cell so far. All of it belongs to one event loop.

    `on_left` is called whenever a reader has left and none remains, `on_back` when one comes.
    """

    def __init__(self, on_left: Callable[[], None], on_back: Callable[[], None]) -> None:
        self._entries: dict[int, _Entry] = {}
        self._oldest = self._next = 1
        self._size = 0
        self._given = 0
        self._waits = True
        self._ended = False
        self._called = False
        self._readers: set[Reader] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._on_left = on_left
        self._on_back = on_back

    @property
    def ended(self) -> bool:
        """
        Whether the last event is in the log.
        """
        return self._ended

    def read(self, after: int = 0) -> "Reader":
        """
        A reader of all events with numbers above `after`; whoever has it closes it.
        """
        reader = Reader(self, after)
        self._readers.add(reader)
        self._on_back()
        return reader

    async def add(self, event: Event) -> None:
        """
        Append an event, then wait until the readers have caught up.
        """
        self.put(event)
        while self._is_full() and self._waits and self._readers:
            await self._change()

    def put(self, event: Event) -> None:
        """
        Append an event. For one that a full log takes as well: the first, or the last.
        """
        if not self._join(event):
            self._append(event)
        self._ended = self._ended or isinstance(event, Ended)
        self._called = self._called or isinstance(event, ToolCall)
        self._notify()

    def stop_waiting(self) -> None:
        """
        From now on drop the oldest output rather than wait for a reader.
        """
        self._waits = False
        self._is_full()
        self._notify()

    async def next(self, reader: "Reader") -> Numbered | None:
        """
        The event after the reader's last one, when there is one; None after the end. Raises what
        the reader was aborted by.
        """
        if not await self.more(reader):
            return None
        if (sequence := self._first(reader.position)) is None:
            return None
        self._given = max(self._given, sequence)
        return Numbered(sequence, self._entries[sequence].event())

    async def more(self, reader: "Reader") -> bool:
        """
        Wait for an event after the reader's last one, and tell whether there is one; False after
        the end. Raises what the reader was aborted by.
        """
        while True:
            if reader.aborted:
                raise reader.aborted
            if self._first(reader.position) is not None:
                return True
            if self._ended:
                return False
            await self._change()

    async def settle(self, deadline: float) -> None:
        """
        Wait until the last event is there, or much is, or a call that the guest waits for, or the
        loop's clock has reached `deadline`.
        """
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            self._notify()

        timer = asyncio.get_running_loop().call_at(deadline, give_up)
        try:
            while not (self._ended or late or self._called or self._size >= _MUCH):
                await self._change()
        finally:
            timer.cancel()

    def ready(self, reader: "Reader") -> list[Numbered]:
        """
        The events after the reader's last one that are there now: the first, and more up to a
        mebibyte.
        """
        found: list[Numbered] = []
        size = 0
        for sequence in self._after(reader.position):
            if (entry := self._entries.get(sequence)) is None:
                continue
            size += entry.size
            if found and size > _TOGETHER:
                break
            found.append(Numbered(sequence, entry.event()))
        self._given = max(self._given, found[-1].sequence)
        return found

    def moved(self) -> None:
        """
        A reader has gone on: there may be room.
        """
        self._notify()

    def leave(self, reader: "Reader") -> None:
        """
        A reader will not come back.
        """
        if reader not in self._readers:
            return
        self._readers.discard(reader)
        self._notify()
        if not self._readers:
            self._on_left()

    def _join(self, event: Event) -> bool:
        if not isinstance(event, Output) or self._next - 1 <= self._given:
            return False
        last = self._entries.get(self._next - 1)
        if last is None or not last.join(event):
            return False
        self._size += len(event.data)
        return True

    def _append(self, event: Event) -> None:
        entry = self._entries[self._next] = _Entry(event)
        self._next += 1
        self._size += entry.size

    def _after(self, position: int) -> range:
        """
        The numbers above `position` so far; some of the events may have been dropped.
        """
        return range(max(position + 1, 1), self._next)

    def _first(self, position: int) -> int | None:
        """
        The number of the first event after `position` that is there.
        """
        for number in self._after(position):
            if number in self._entries:
                return number
        return None

    def _is_full(self) -> bool:
        """
        Make room as far as it may be made; whether the log is still over its size.
        """
        if self._size <= KEPT:
            return False
        waiting = [reader.position for reader in self._readers] if self._waits else []
        last = min(waiting, default=self._next - 1)
        while self._size > KEPT and self._oldest <= last:
            entry = self._entries.get(self._oldest)
            if entry is not None and entry.droppable:
                self._size -= entry.size
                del self._entries[self._oldest]
            self._oldest += 1
        return self._size > KEPT

    async def _change(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _notify(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)


class Reader:
    """
    One reader's place in a log: iterate over it, then close it.
    """

    def __init__(self, log: CellLog, after: int) -> None:
        self._log = log
        self.position = after
        self.aborted: Exception | None = None
        self._group: list[Numbered] = []

    async def __aiter__(self) -> AsyncIterator[Numbered]:
        while (found := await self._log.next(self)) is not None:
            yield found
            # Only now has the client's side taken it.
            self.position = found.sequence
            self._log.moved()
            if isinstance(found.event, Ended):
                return

    async def group(self, hold: float) -> list[Numbered]:
        """
        The next events, as many as are there; none after the end. The first group is held back for
        up to `hold` seconds, in which a short cell ends: its events are then one group. Whoever
        asks for the next group has passed the last one on.
        """
        if not self._group:
            await self._log.settle(asyncio.get_running_loop().time() + hold)
        else:
            self.position = self._group[-1].sequence
            self._log.moved()
            if isinstance(self._group[-1].event, Ended):
                return []
        if await self._log.more(self):
            self._group = self._log.ready(self)
            return self._group
        return []

    def abort(self, error: Exception) -> None:
        """
        Have `error` raised where this reader is read.
        """
        self.aborted = error
        self._log.moved()

    def close(self) -> None:
        """
        Leave. The second call does nothing.
        """
        self._log.leave(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Entry:
    """
    An event in the log, and what it counts for there. Output is kept in the pieces that were joined
    to it, of which only the last is small, and is put together once.
    """

    __slots__ = ("_event", "_length", "_pieces", "_stream", "size")

    def __init__(self, event: Event) -> None:
        self.size = _OVERHEAD + _bytes_of(event)
        self._event = event
        self._stream: Stream | None = None
        if isinstance(event, Output):
            self._stream = event.stream
            self._pieces = [event.data]
            self._length = len(event.data)

    @property
    def droppable(self) -> bool:
        return isinstance(self._event, Output | Display | ToolCall | ToolCancelled)

    def join(self, output: Output) -> bool:
        if self._stream is not output.stream:
            return False
        if self._length + len(output.data) > _LARGEST_OUTPUT:
            return False
        if len(self._pieces[-1]) < _MUCH:
            self._pieces[-1] += output.data
        else:
            self._pieces.append(output.data)
        self._length += len(output.data)
        self.size += len(output.data)
        return True

    def event(self) -> Event:
        if self._stream is None:
            return self._event
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return Output(self._stream, self._pieces[0])


def _bytes_of(event: Event) -> int:
    match event:
        case Output():
            return len(event.data)
        case Display():
            return bundles.cost(event.forms)
        case ToolCall():
            return len(event.arguments)
        case Final():
            return len(event.value)
    return 0
