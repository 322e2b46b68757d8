"""
The streams of `Execute` that stay open between the cells of a session.

A cell on an open stream costs a message each way; with a call of its own a short one costs client,
server and worker a quarter more CPU time. The first cell of a session has its own call all the
same, since many sessions have no second. `aiostreams.py` is the same for asyncio.

That a stream ends between two cells is no failure: so a server lets go of a session. A cell that
was sent by then was not run, for what is run says so first (`started`) and what is refused ends
with an error; so it is sent again, on a call of its own.
"""

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Lock
from typing import Any, Final, Protocol

import grpc

from agent_client.link import Link
from agent_client.resuming import Messages
from codecage.v1 import codecage_pb2 as pb

# How many wait for a next cell. A connection has 256 calls at a time, running cells included.
MOST: Final = 64


class Connection(Protocol):
    """
    What streams are opened on.
    """

    def listen(self, method: str, request: Any) -> Messages:
        """
        Send a request in a call of its own, and give the messages that come back.
        """
        ...

    def converse(self, requests: Iterator[Any]) -> Any:
        """
        Open a stream both ways.
        """
        ...


class _Stream:
    """
    One call of `Execute` with messages both ways.
    """

    def __init__(self, converse: Callable[[Iterator[pb.ExecuteRequest]], Any]) -> None:
        self._sending: SimpleQueue[pb.ExecuteRequest | None] = SimpleQueue()
        self.send = self._sending.put
        self.replies = converse(iter(self._sending.get, None))

    @property
    def lives(self) -> bool:
        return bool(self.replies.is_active())

    def end(self) -> None:
        # A running cell is interrupted by this.
        self.replies.cancel()
        self._sending.put(None)

    def __del__(self) -> None:
        # gRPC's thread waits for what is sent.
        self._sending.put(None)


class Streams:
    """
    Those of one connection, one for each session at most. `link` says what an error means.

    The connection comes with each cell and is not kept: one that is forgotten without `close` goes
    at once, and its private server with it.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._waiting: dict[str, _Stream] = {}
        self._lock = Lock()

    def run(self, connection: Connection, request: pb.ExecuteRequest, *, first: bool) -> Messages:
        """
        Send what starts a cell without tools, the `first` of its session or a later one, and give
        the messages that come back; leaving early interrupts it.
        """
        if first:
            return connection.listen("Execute", request)
        self._link.check_open()
        request.start.another = True
        stream = self._take(request.start.session_id)
        if stream is None:
            stream = _Stream(connection.converse)
        stream.send(request)
        return self._messages(connection, stream, request)

    def drop(self, session: str) -> None:
        """
        No cell of this session follows.
        """
        if not self._link.is_ours:
            return
        with self._lock:
            stream = self._waiting.pop(session, None)
        if stream is not None:
            stream.end()

    def close(self) -> None:
        """
        End all that wait.
        """
        for session in list(self._waiting):
            self.drop(session)

    def _messages(
        self, connection: Connection, stream: _Stream, request: pb.ExecuteRequest
    ) -> Messages:
        begun = over = stays = False
        try:
            for message in stream.replies:
                if not begun:
                    begun, stays = True, message.started.another
                if stays and is_last(message):
                    # Before it is known that the cell has ended: the next may come at once.
                    over = True
                    self._keep(request.start.session_id, stream)
                yield message
                if over:
                    return
        except grpc.RpcError as error:
            raise self._link.failure(error) from None
        finally:
            if not over:
                stream.end()
        if not begun:
            yield from connection.listen("Execute", request)

    def _take(self, session: str) -> _Stream | None:
        with self._lock:
            stream = self._waiting.pop(session, None)
        if stream is not None and not stream.lives:
            stream.end()
            return None
        return stream

    def _keep(self, session: str, stream: _Stream) -> None:
        with self._lock:
            # Of two threads that run cells of one session in turn, each may have opened one.
            ended = [self._waiting.pop(session, None)]
            self._waiting[session] = stream
            if len(self._waiting) > MOST:
                ended.append(self._waiting.pop(next(iter(self._waiting))))
        for one in ended:
            if one is not None:
                one.end()


def is_last(message: pb.Event) -> bool:
    """
    Whether a message has the last event of its cell.
    """
    last = message.more[-1] if message.more else message
    return last.WhichOneof("event") == "ended"
