"""
The events of one cell, and its calls of tools between them; `aiocells.py` is the same for asyncio.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from queue import SimpleQueue
from typing import Any, TypeAlias

from agent_client.cell import CellReader
from agent_client.events import Event, ToolCalled, ToolCancelled
from agent_client.resuming import Messages
from agent_client.tools import Background, Send, Toolbox
from codecage.v1 import codecage_pb2 as pb

Listen: TypeAlias = Callable[[str, Any], Messages]


def events_of(messages: Messages, reader: CellReader) -> Generator[Event, None, None]:
    """
    The events of a cell from its messages. Raises ServerUnavailable where its end is missing.
    """
    with closing(messages):
        for message in messages:
            yield from reader.read(message)
    reader.finish()


def performed(
    listen: Listen,
    toolbox: Toolbox,
    background: Background,
    request: pb.ExecuteRequest,
    reader: CellReader,
) -> Generator[Event, None, None]:
    """
    The events of a cell; its calls of tools are made between them, those of async ones beside.
    """
    sending: SimpleQueue[pb.ExecuteRequest | None] = SimpleQueue()
    sending.put(request)
    messages = listen("Converse", iter(sending.get, None))
    try:
        with closing(events_of(messages, reader)) as events:
            for event in events:
                yield event
                if isinstance(event, ToolCalled):
                    _perform(toolbox, background, event, sending.put)
                elif isinstance(event, ToolCancelled):
                    background.cancel(event.number)
    finally:
        sending.put(None)


def _perform(toolbox: Toolbox, background: Background, called: ToolCalled, send: Send) -> None:
    if toolbox.is_async(called.name):
        background.begin(toolbox, called, send)
        return
    for message in toolbox.call(called):
        send(message)
