"""
Coming back to a cell whose connection broke, from the event after the last one that was read.

Only a cell that was started with `keep` is there to come back to, and only one whose number is
known: before its first event nobody knows whether it runs, and running it again could do twice
what it does. A cell with tools is not resumed either, since nobody answers calls on `Attach`.
Nothing else is asked again by this client.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, closing
from typing import TypeAlias

from agent_client.cell import CellReader
from agent_client.errors import ServerUnavailable
from codecage.v1 import codecage_pb2 as pb

Messages: TypeAlias = Generator[pb.Event, None, None]
AsyncMessages: TypeAlias = AsyncGenerator[pb.Event, None]
Again: TypeAlias = Callable[[], Messages | None]
AgainAsync: TypeAlias = Callable[[], Awaitable[AsyncMessages | None]]
# Connections that break again before they bring one more event.
_TRIES = 10


class _Patience:
    """
    Whether to try again: as often as there is something new, and some times without.
    """

    def __init__(self, reader: CellReader) -> None:
        self._reader = reader
        self._seen = -1
        self._tries = 0

    def give_up(self) -> bool:
        if self._reader.sequence != self._seen:
            self._seen, self._tries = self._reader.sequence, 0
        self._tries += 1
        return not self._reader.cell or self._tries > _TRIES


def resumed(first: Messages, again: Again, reader: CellReader) -> Messages:
    """
    The messages of a cell, `first` and, each time that the connection breaks, those of `again`,
    which waits for a new one and gives None where there is none in time.

    Raises ServerUnavailable, the one of the break, where it does not go on.
    """
    messages, patience = first, _Patience(reader)
    while True:
        try:
            with closing(messages):
                yield from messages
        except ServerUnavailable:
            found = None if patience.give_up() else again()
            if found is None:
                raise
            messages = found
        else:
            return


async def resumed_async(
    first: AsyncMessages, again: AgainAsync, reader: CellReader
) -> AsyncMessages:
    """
    The same for asyncio.
    """
    messages, patience = first, _Patience(reader)
    while True:
        try:
            async with aclosing(messages):
                async for message in messages:
                    yield message
        except ServerUnavailable:
            found = None if patience.give_up() else await again()
            if found is None:
                raise
            messages = found
        else:
            return
