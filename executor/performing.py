"""
A client's results of tool calls, from the messages that follow the first one of `Execute`.

The client may be anybody who can reach the server: each part is bounded, results are joined for
calls alone that wait for one, and the first message that does not fit ends the stream, and with it
the cell. What one client sends costs its own session.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Self

from codecage.v1 import codecage_pb2 as wire
from executor.cells import Reader
from executor.errors import InvalidRequest
from executor.kernel.tooling import MOST_AT_ONCE, MOST_HELD, MOST_RESULT
from executor.kernel.tools import Outcome, Tools, Unexpected
from executor.session import Session

_MOST_PARTS: Final = 1024


class Performing:
    """
    The reading of one stream's results, while a cell of `session` runs. Use it with `async with`.
    What the client may not send is raised where `reader` is read.
    """

    def __init__(
        self,
        session: Session,
        reader: Reader,
        requests: AsyncIterator[wire.ExecuteRequest],
    ) -> None:
        self._session = session
        self._reader = reader
        self._requests = requests
        self._parts: dict[int, bytearray] = {}
        self._counts: dict[int, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[object] | None = None
        self._failure: InvalidRequest | None = None

    async def __aenter__(self) -> Self:
        self._sender = asyncio.current_task()
        self._task = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _read(self) -> None:
        tools = self._session.tools
        try:
            async for request in self._requests:
                self._take(tools, request)
        except InvalidRequest as error:
            self._reader.abort(error)
            tools.gone()
            return
        finally:
            self._parts.clear()
        tools.gone()

    def _take(self, tools: Tools, request: wire.ExecuteRequest) -> None:
        if request.WhichOneof("message") != "tool_result":
            raise InvalidRequest(
                "TOOL_RESULT_EXPECTED", "after `start`, Execute takes `tool_result` alone"
            )
        result = request.tool_result
        held = self._joined(tools, result)
        if result.more:
            return
        del self._parts[result.call], self._counts[result.call]
        try:
            tools.take(result.call, Outcome(bytes(held), failed=result.failed))
        except Unexpected as error:
            raise _unexpected(str(error)) from None

    def _joined(self, tools: Tools, result: wire.ToolResult) -> bytearray:
        if result.call not in self._parts and not tools.expects(result.call):
            raise _unexpected(f"no call {result.call} waits for its result")
        if result.call not in self._parts and len(self._parts) >= MOST_AT_ONCE:
            raise _unexpected("parts of more results than there can be calls")
        held = self._parts.setdefault(result.call, bytearray())
        self._counts[result.call] = self._counts.get(result.call, 0) + 1
        if len(held) + len(result.data) > MOST_RESULT or self._counts[result.call] > _MOST_PARTS:
            raise InvalidRequest(
                "TOOL_RESULT_TOO_LARGE",
                f"the result of call {result.call} has more than {MOST_RESULT:,} bytes, or comes "
                f"in more than {_MOST_PARTS:,} parts; send an error in its place",
            )
        if sum(map(len, self._parts.values())) + len(result.data) > MOST_HELD:
            raise InvalidRequest(
                "TOOL_RESULT_TOO_LARGE",
                f"unfinished results have more than {MOST_HELD:,} bytes together; send the parts "
                "of one result after each other",
            )
        held += result.data
        return held


def _unexpected(message: str) -> InvalidRequest:
    return InvalidRequest("TOOL_RESULT_UNEXPECTED", f"{message}; answer each `tool_call` once")
