"""
A client's results of tool calls, from the messages that follow the first one of `Execute`.

The client may be anybody who can reach the server: each part is bounded, results are joined for
calls alone that wait for one, and the first message that does not fit ends the stream, and with it
the cell. What one client sends costs its own session.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, Self

from codecage.v1 import codecage_pb2 as wire
from executor.errors import InvalidRequest
from executor.kernel.calling import Outcome, Unexpected
from executor.kernel.tooling import MOST_AT_ONCE, MOST_HELD, MOST_RESULT
from executor.kernel.tools import Tools
from executor.sessions.cells import Reader

_MOST_PARTS: Final = 1024


@dataclass(slots=True)
class _Parts:
    """
    What has come of a result that is not whole.
    """

    data: bytearray = field(default_factory=bytearray)
    count: int = 0


class Performing:
    """
    The reading of one stream's results for `tools`, while a cell runs. Use it with `async with`.
    What the client may not send is raised where `reader` is read.
    """

    def __init__(
        self, tools: Tools, reader: Reader, requests: AsyncIterator[wire.ExecuteRequest]
    ) -> None:
        self._tools = tools
        self._reader = reader
        self._requests = requests
        self._parts: dict[int, _Parts] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _read(self) -> None:
        try:
            async for request in self._requests:
                self._take(request)
        except InvalidRequest as error:
            self._reader.abort(error)
        finally:
            self._parts.clear()
        self._tools.gone()

    def _take(self, request: wire.ExecuteRequest) -> None:
        if request.WhichOneof("message") != "tool_result":
            raise InvalidRequest(
                "TOOL_RESULT_EXPECTED", "after `start`, Execute takes `tool_result` alone"
            )
        result = request.tool_result
        if (whole := self._whole(result)) is None:
            return
        try:
            self._tools.take(result.call, Outcome(whole, failed=result.failed))
        except Unexpected as error:
            raise _unexpected(str(error)) from None

    def _whole(self, result: wire.ToolResult) -> bytes | None:
        """
        The result of which this is the last part; None where more of it follows.
        """
        data = result.data  # once: each reading of it is a copy
        held = self._parts.get(result.call) or self._begun(result.call)
        held.count += 1
        if len(held.data) + len(data) > MOST_RESULT or held.count > _MOST_PARTS:
            raise InvalidRequest(
                "TOOL_RESULT_TOO_LARGE",
                f"the result of call {result.call} has more than {MOST_RESULT:,} bytes, or comes "
                f"in more than {_MOST_PARTS:,} parts; send an error in its place",
            )
        if sum(len(one.data) for one in self._parts.values()) + len(data) > MOST_HELD:
            raise InvalidRequest(
                "TOOL_RESULT_TOO_LARGE",
                f"unfinished results have more than {MOST_HELD:,} bytes together; send the parts "
                "of one result after each other",
            )
        if result.more:
            held.data += data
            return None
        del self._parts[result.call]
        return bytes(held.data) + data if held.data else data

    def _begun(self, call: int) -> _Parts:
        if not self._tools.expects(call):
            raise _unexpected(f"no call {call} waits for its result")
        if len(self._parts) >= MOST_AT_ONCE:
            raise _unexpected("parts of more results than there can be calls")
        parts = self._parts[call] = _Parts()
        return parts


def _unexpected(message: str) -> InvalidRequest:
    return InvalidRequest("TOOL_RESULT_UNEXPECTED", f"{message}; answer each `tool_call` once")
