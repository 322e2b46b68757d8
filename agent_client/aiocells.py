"""
The events of one cell for asyncio, and its calls of tools between them.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

from agent_client.cell import CellReader
from agent_client.events import Event, ToolCalled, ToolCancelled
from agent_client.tools import Toolbox
from codecage.v1 import codecage_pb2 as pb

Listen: TypeAlias = Callable[[str, Any], AsyncGenerator[Any, None]]


async def events_of(
    messages: AsyncGenerator[pb.Event, None], reader: CellReader
) -> AsyncGenerator[Event, None]:
    """
    The events of a cell from its messages. Raises ServerUnavailable where its end is missing.
    """
    async with aclosing(messages):
        async for message in messages:
            for event in reader.read(message):
                yield event
    reader.finish()


async def performed(
    listen: Listen, toolbox: Toolbox, request: pb.ExecuteRequest, reader: CellReader
) -> AsyncGenerator[Event, None]:
    """
    The events of a cell; its calls of tools are tasks beside it, which end with it.
    """
    sending: asyncio.Queue[pb.ExecuteRequest | None] = asyncio.Queue()
    sending.put_nowait(request)
    performing: dict[int, asyncio.Task[None]] = {}
    messages = listen("Converse", _queued(sending))
    try:
        async with aclosing(events_of(messages, reader)) as events:
            async for event in events:
                yield event
                if isinstance(event, ToolCalled):
                    work = _perform(toolbox, event, sending)
                    performing[event.number] = asyncio.create_task(work)
                elif isinstance(event, ToolCancelled) and event.number in performing:
                    performing.pop(event.number).cancel()
    finally:
        for task in performing.values():
            task.cancel()
        sending.put_nowait(None)  # gRPC's task, which waits for what is sent, ends too


async def _queued(
    sending: asyncio.Queue[pb.ExecuteRequest | None],
) -> AsyncIterator[pb.ExecuteRequest]:
    while (request := await sending.get()) is not None:
        yield request


async def _perform(
    toolbox: Toolbox, called: ToolCalled, sending: asyncio.Queue[pb.ExecuteRequest | None]
) -> None:
    for message in await toolbox.call_async(called):
        sending.put_nowait(message)
