"""
The client for asyncio programs: `client.py` with `await`.

Every name means what it means there, and so do the arguments and errors; what the calls say
stands in `calls.py`, once. One connection belongs to one event loop.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Collection,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from agent_client import calls, embedded, reading
from agent_client.calls import Call, Gives
from agent_client.cell import CellReader, Collector
from agent_client.client import OnDisplay, OnOutput
from agent_client.displays import Display
from agent_client.embedded import AnyPath
from agent_client.errors import CodecageError, ServerUnavailable, SessionNotFound
from agent_client.events import Event, Output, ToolCalled, ToolCancelled
from agent_client.failures import closed
from agent_client.link import (
    CHANNEL_OPTIONS,
    NO_LABELS,
    NO_VARIABLES,
    PATIENCE_SECONDS,
    Link,
    SessionHandle,
    address_or_private,
)
from agent_client.observation import DEFAULT_MAX_CHARS, Observation
from agent_client.records import (
    AuditHead,
    AuditRecord,
    FileInfo,
    PolicyInfo,
    ServerInfo,
    SessionInfo,
)
from agent_client.tools import Function, Toolbox
from agent_client.transactions import CommitReport
from codecage.v1 import codecage_pb2 as pb

Result = TypeVar("Result")


def connect_async(
    address: str | None = None,
    *,
    policies: AnyPath | None = None,
    audit: AnyPath | None = None,
    run_as: str | None = None,
    secrets: AnyPath | None = None,
    trust: AnyPath | None = None,
    resolvers: Sequence[str] = (),
) -> "AsyncCage":
    """
    What `connect` is, for asyncio: `async with connect_async() as cage`.

    The connection, and a private server, begin with that `async with`, or with `await
    cage.open()`; the errors of `connect` are raised there.
    """
    asked = embedded.Options(policies, audit, run_as, secrets, trust, resolvers)
    return AsyncCage(address, asked)


class AsyncCage:
    """
    A connection to a server. Use it with `async with`, or call `open` and `close`.
    """

    def __init__(self, address: str | None, private: embedded.Options) -> None:
        self._private = private
        self._asked = address_or_private(address, private=private.given)
        self._link: Link | None = None
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._info: ServerInfo | None = None

    async def open(self) -> Self:
        """
        Connect, starting the private server if that was asked for.
        """
        if self._link is None:
            self._link = await self._reach()
            self._channel = grpc.aio.insecure_channel(self._link.address, CHANNEL_OPTIONS)
            self._stub = calls.stub(self._channel)
        try:
            self._info = await self.call(calls.server_info())
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def address(self) -> str:
        """
        Where the server listens.
        """
        return self._open_link().address

    def info(self) -> ServerInfo:
        """
        Versions, images and limits of the server, as they were when this connected.
        """
        if self._info is None:
            raise _not_open()
        return self._info

    async def policies(self) -> tuple[PolicyInfo, ...]:
        """
        The policies that the server offers.
        """
        return await self.call(calls.policies())

    async def reload_policies(self) -> tuple[PolicyInfo, ...]:
        """
        Have the server read its policies anew, and return them; sessions that exist keep theirs.
        Raises an error where they are refused, and then nothing has changed.
        """
        return await self.call(calls.reload_policies())

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """
        The sessions that the server holds now.
        """
        return await self.call(calls.sessions())

    def session(
        self,
        policy: str | None = None,
        *,
        image: str | None = None,
        labels: Mapping[str, str] = NO_LABELS,
        tools: Sequence[Function] = (),
        variables: Mapping[str, object] = NO_VARIABLES,
        final_answer: bool = False,
    ) -> "Opening":
        """
        Open a session: `await` it, or enter it with `async with`, which also closes it.

        See `Cage.session`. Async functions of `tools` run on this event loop, others in threads.
        """
        toolbox = Toolbox(tools)
        gives = Gives(toolbox, variables, final_answer)
        return Opening(self, calls.create_session(policy, image, labels, gives), toolbox)

    def attach(self, session_id: str, *, tools: Sequence[Function] = ()) -> "Opening":
        """
        Come back to a session of the server by its id, in the same two ways.
        """
        return Opening(self, calls.get_session(session_id), Toolbox(tools))

    async def close(self) -> None:
        """
        Close the connection, and end the private server if there is one; may be called twice.
        """
        if self._link is not None and self._channel is not None and self._link.mark_closed():
            await self._channel.close()
            await asyncio.to_thread(self._link.stop_server)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(self, call: Call[Result]) -> Result:
        """
        Make one call and wait for its reply. Raises what `failures.py` makes of its status.
        """
        return call.read(await self.wait(call.method, call.request, PATIENCE_SECONDS))

    async def wait(self, method: str, request: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - gRPC has a deadline of its own, which also reaches the server
        """
        Send a request, or an iterator of them, and wait for the one reply.
        """
        link = self._open_link()
        try:
            return await getattr(self._stub, method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise link.failure(error) from None

    async def listen(self, method: str, request: Any) -> AsyncGenerator[Any, None]:
        """
        Send a request and give the messages that come back; leaving early cancels the call.
        """
        link = self._open_link()
        replies = getattr(self._stub, method)(request)
        try:
            async for reply in replies:
                yield reply
        except grpc.aio.AioRpcError as error:
            raise link.failure(error) from None
        finally:
            replies.cancel()

    async def _reach(self) -> Link:
        if self._asked is not None:
            return Link(self._asked, None)
        # In a thread, since it waits for the server's start.
        starting = asyncio.ensure_future(asyncio.to_thread(embedded.start, self._private))
        try:
            server = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread goes on; what it starts must not outlive the wish for it.
            starting.add_done_callback(_stop_unwanted)
            raise
        return Link(server.address, server)

    def _open_link(self) -> Link:
        if self._link is None:
            raise _not_open()
        self._link.check_open()
        return self._link


class Opening:
    """
    A session to come: `await` gives it, `async with` gives it and closes it at the end.
    """

    def __init__(self, cage: AsyncCage, call: Call[SessionInfo], toolbox: Toolbox) -> None:
        self._cage = cage
        self._call = call
        self._toolbox = toolbox
        self._session: AsyncSession | None = None

    def __await__(self) -> Generator[Any, None, "AsyncSession"]:
        return self._open().__await__()

    async def __aenter__(self) -> "AsyncSession":
        self._session = await self._open()
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.__aexit__(kind, error, trace)

    async def _open(self) -> "AsyncSession":
        return AsyncSession(self._cage, await self._cage.call(self._call), self._toolbox)


class AsyncSession(SessionHandle):
    """
    A session: variables and files that live from cell to cell.
    """

    def __init__(self, cage: AsyncCage, info: SessionInfo, toolbox: Toolbox) -> None:
        super().__init__(info)
        self._cage = cage
        self._toolbox = toolbox

    async def run(
        self,
        code: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - measured by the server, where the code runs
        on_output: OnOutput | None = None,
        on_display: OnDisplay | None = None,
        max_chars: int = DEFAULT_MAX_CHARS,
        keep: float | None = None,
        narrow: Collection[str] = (),
    ) -> Observation:
        """
        Run Python and wait for its end; see `Session.run`. Cancelling this interrupts the cell.
        """
        collector = Collector(calls.checked_max_chars(max_chars))
        reader = CellReader()
        try:
            async with aclosing(self._cell(code, timeout, keep, reader, narrow)) as events:
                async for event in events:
                    collector.add(event)
                    if on_output is not None and isinstance(event, Output):
                        on_output(event.stream.value, event.text)
                    elif on_display is not None and isinstance(event, Display):
                        on_display(event)
        except ServerUnavailable as error:
            error.chunks = collector.chunks()
            raise
        return collector.observation(reader.shown_bytes)

    def stream(
        self, code: str, *, timeout: float | None = None, keep: float | None = None
    ) -> AsyncIterator[Event]:
        """
        Run Python and give its events as they happen; see `Session.stream`.
        """
        return self._cell(code, timeout, keep, CellReader())

    def follow(self, cell: int, *, after: int = 0) -> AsyncIterator[Event]:
        """
        Come back to a cell by its number; see `Session.follow`.
        """
        request = calls.attach(self._open_id(), cell, after)
        return _events(self._cage.listen("Attach", request), CellReader())

    async def interrupt(self) -> bool:
        """
        Raise KeyboardInterrupt in the running cell; tells whether there was one.
        """
        return await self._cage.call(calls.interrupt(self._open_id()))

    async def put(self, path: str, data: bytes | Path) -> FileInfo:
        """
        Write a file of the session: `data` itself, or the local file that a `Path` names.
        """
        where = calls.guest_path(path)
        session_id = self._open_id()
        with calls.opened(data) as source:
            reply = await self._cage.wait("PutFile", calls.put_file(session_id, where, source))
        return reading.file(reply)

    async def get(self, path: str) -> bytes:
        """
        Read a file of the session. Raises PathNotFound.
        """
        request = calls.get_file(self._open_id(), path)
        replies = self._cage.listen("GetFile", request)
        return b"".join([reply.data async for reply in replies])

    async def files(self, path: str = "/work") -> tuple[FileInfo, ...]:
        """
        What is in a directory of the session. Raises PathNotFound.
        """
        return await self._cage.call(calls.list_files(self._open_id(), path))

    async def remove(self, path: str) -> None:
        """
        Remove a file of the session. Raises PathNotFound.
        """
        await self._cage.call(calls.remove_file(self._open_id(), path))

    async def commit(self, mount: str = "", *, dry_run: bool = False) -> CommitReport:
        """
        Make what the session has changed below `mount` the host's, all of it or nothing; with
        `dry_run`, only say what that would do. `mount` may be left out where there is one alone.

        A conflict is an answer. Raises Denied where the policy grants no commit, InvalidRequest
        where there is no transaction or a file is still open, CellRunning, SessionLost.
        """
        return await self._cage.call(calls.commit(self._open_id(), mount, dry_run=dry_run))

    async def rollback(self, mount: str = "") -> None:
        """
        Drop what the session has changed below `mount`. Raises as `commit` does.
        """
        await self._cage.call(calls.rollback(self._open_id(), mount))

    async def audit(self, *, after: int = 0) -> tuple[AuditRecord, ...]:
        """
        The audit records of this session, in order; also once the session is closed.
        """
        records = self._cage.listen("ReadAudit", calls.read_audit(self.id, after))
        return tuple([reading.record(record) async for record in records])

    async def close(self) -> AuditHead | None:
        """
        End the session; see `Session.close`.
        """
        if self._closed:
            return None
        self._closed = True
        try:
            return await self._cage.call(calls.close_session(self.id))
        except SessionNotFound:
            return None  # its idle time was over: it is as closed as it was to be

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        except CodecageError:
            # What went wrong inside the block is the news; a dead server cannot close, too.
            if error is None:
                raise

    def _cell(
        self,
        code: str,
        timeout: float | None,
        keep: float | None,
        reader: CellReader,
        narrow: Collection[str] = (),
    ) -> AsyncGenerator[Event, None]:
        answers = bool(self._toolbox)
        request = calls.execute(
            self._open_id(), code, timeout, keep, answers=answers, narrow=narrow
        )
        if answers:
            return self._performed(request, reader)
        return _events(self._cage.listen("Execute", request), reader)

    async def _performed(
        self, request: pb.ExecuteRequest, reader: CellReader
    ) -> AsyncGenerator[Event, None]:
        """
        The events of a cell; its calls of tools are tasks beside it, which end with it.
        """
        sending: asyncio.Queue[pb.ExecuteRequest] = asyncio.Queue()
        sending.put_nowait(request)
        performing: dict[int, asyncio.Task[None]] = {}
        messages = self._cage.listen("Converse", _queued(sending))
        try:
            async with aclosing(_events(messages, reader)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, ToolCalled):
                        work = _perform(self._toolbox, event, sending)
                        performing[event.number] = asyncio.create_task(work)
                    elif isinstance(event, ToolCancelled) and event.number in performing:
                        performing.pop(event.number).cancel()
        finally:
            for task in performing.values():
                task.cancel()


async def _events(
    messages: AsyncGenerator[pb.Event, None], reader: CellReader
) -> AsyncGenerator[Event, None]:
    async with aclosing(messages):
        async for message in messages:
            for event in reader.read(message):
                yield event
    reader.finish()


async def _queued(sending: asyncio.Queue[pb.ExecuteRequest]) -> AsyncIterator[pb.ExecuteRequest]:
    while True:
        yield await sending.get()


async def _perform(
    toolbox: Toolbox, called: ToolCalled, sending: asyncio.Queue[pb.ExecuteRequest]
) -> None:
    for message in await toolbox.call_async(called):
        sending.put_nowait(message)


def _stop_unwanted(starting: "asyncio.Future[embedded.PrivateServer]") -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().stop()


def _not_open() -> CodecageError:
    return closed("the connection, which 'async with' or open() begins,")
