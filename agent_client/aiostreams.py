"""
The streams of `Execute` that stay open between the cells of a session, for asyncio: see
`streams.py`, which says why and when.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

import grpc
import grpc.aio

from agent_client.link import Link
from agent_client.resuming import AsyncMessages
from agent_client.streams import MOST, is_last
from codecage.v1 import codecage_pb2 as pb


class Connection(Protocol):
    """
    What streams are opened on.
    """

    def listen(self, method: str, request: Any) -> AsyncMessages:
        """
        Send a request in a call of its own, and give the messages that come back.
        """
        ...

    def converse(self) -> tuple[Any, Link]:
        """
        Open a stream both ways, and give what says what its errors mean.
        """
        ...


class AsyncStreams:
    """
    Those of one connection, one for each session at most; it comes with each cell, and is not kept.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Any, Link]] = {}

    def run(
        self, connection: Connection, request: pb.ExecuteRequest, *, first: bool
    ) -> AsyncMessages:
        """
        Send what starts a cell without tools, the `first` of its session or a later one, and give
        the messages that come back; leaving early interrupts it.
        """
        if first:
            return connection.listen("Execute", request)
        return self._following(connection, request)

    def drop(self, session: str) -> None:
        """
        No cell of this session follows.
        """
        if (found := self._waiting.pop(session, None)) is not None:
            found[0].cancel()

    def close(self) -> None:
        """
        End all that wait.
        """
        for session in list(self._waiting):
            self.drop(session)

    async def _following(
        self, connection: Connection, request: pb.ExecuteRequest
    ) -> AsyncGenerator[pb.Event, None]:
        request.start.another = True
        found = await self._sent(request)
        call, link = found or connection.converse()
        begun = over = stays = False
        try:
            if found is None:
                await call.write(request)
            while (message := await call.read()) is not grpc.aio.EOF:
                if not begun:
                    begun, stays = True, message.started.another
                if stays and is_last(message):
                    # Before it is known that the cell has ended: the next may come at once.
                    over = True
                    self._keep(request.start.session_id, call, link)
                yield message
                if over:
                    return
        except grpc.aio.AioRpcError as error:
            raise link.failure(error) from None
        finally:
            if not over:
                call.cancel()
        if not begun:
            async with aclosing(connection.listen("Execute", request)) as messages:
                async for message in messages:
                    yield message

    async def _sent(self, request: pb.ExecuteRequest) -> tuple[Any, Link] | None:
        """
        The stream that waited for this request, and has taken it.
        """
        found = self._waiting.pop(request.start.session_id, None)
        if found is None or found[0].done():
            return None
        found[1].check_open()
        try:
            await found[0].write(request)
        except grpc.aio.AioRpcError:
            # It ends just now; gRPC says that it cannot write, and does not say why.
            return None
        return found

    def _keep(self, session: str, call: Any, link: Link) -> None:
        self.drop(session)
        self._waiting[session] = call, link
        if len(self._waiting) > MOST:
            self.drop(next(iter(self._waiting)))
