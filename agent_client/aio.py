"""
The client for asyncio programs: `client.py` with `await`.

Every name means what it means there, and so do the arguments and errors; what the calls say
stands in `calls.py`, once. One connection belongs to one event loop.
"""

import asyncio
import io
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
from agent_client.aiocells import events_of, performed
from agent_client.aiostreams import AsyncStreams
from agent_client.calls import PLAINLY, Call, Gives, Manner
from agent_client.cell import CellReader, Collector, OnDisplay, OnOutput
from agent_client.command import CommandResult, code_of, result_of
from agent_client.embedded import AnyPath
from agent_client.errors import CodecageError, ServerUnavailable, SessionNotFound
from agent_client.events import Event
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
from agent_client.resuming import AsyncMessages, resumed_async
from agent_client.tools import Function, Toolbox
from agent_client.transactions import CommitReport

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
        self.streams = AsyncStreams()
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

    async def verify(self, held: AuditHead) -> AuditHead:
        """
        Have the server prove that its record has only grown since a head that was kept
        (`Observation.audit_head`), check the proof here, and give the head of now, to keep instead.

        Raises RecordChanged where that is not shown: something before `held` was cut or changed.
        """
        return await self.call(calls.growth_since(held))

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
        imports: Sequence[str] | None = None,
    ) -> "Opening":
        """
        Open a session: `await` it, or enter it with `async with`, which also closes it.

        See `Cage.session`. Async functions of `tools` run on this event loop, others in threads.
        """
        toolbox = Toolbox(tools)
        gives = Gives(toolbox, variables, final_answer, imports)
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
            self.streams.close()
            await self._channel.close()
            await asyncio.to_thread(self._link.stop_server)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(self, call: Call[Result], patience: float | None = PATIENCE_SECONDS) -> Result:
        """
        Make one call and wait for its reply, at most `patience` seconds, or for as long as it takes
        where that is None. Raises what `failures.py` makes of its status.
        """
        return call.read(await self.wait(call.method, call.request, patience))

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

    def converse(self) -> tuple[Any, Link]:
        """
        Open a stream both ways: gRPC's call, and what says what its errors mean.
        """
        link = self._open_link()
        return self._stub.Converse(), link

    async def reconnected(self, seconds: float) -> bool:
        """
        Wait until the server can be reached again; tells whether it could within `seconds`.
        """
        if self._channel is None or not self._open_link().may_come_back():
            return False
        try:
            await asyncio.wait_for(self._channel.channel_ready(), seconds)
        except TimeoutError:
            return False
        return True

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
        cwd: str = "",
        assigned: bool = False,
    ) -> Observation:
        """
        Run Python and wait for its end; see `Session.run`. Cancelling this interrupts the cell.
        """
        collector = Collector(calls.checked_max_chars(max_chars), on_output, on_display)
        reader, manner = CellReader(), Manner(narrow, cwd, assigned)
        try:
            async with aclosing(self._cell(code, timeout, keep, reader, manner)) as events:
                async for event in events:
                    collector.add(event)
        except ServerUnavailable as error:
            error.chunks = collector.chunks()
            raise
        return collector.observation(reader.shown_bytes)

    def stream(
        self,
        code: str,
        *,
        timeout: float | None = None,
        keep: float | None = None,
        narrow: Collection[str] = (),
        cwd: str = "",
        assigned: bool = False,
    ) -> AsyncIterator[Event]:
        """
        Run Python and give its events as they happen; see `Session.stream`.
        """
        manner = Manner(narrow, cwd, assigned)
        return self._cell(code, timeout, keep, CellReader(), manner)

    async def command(
        self,
        words: Sequence[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        cwd: str = "",
    ) -> CommandResult:
        """
        Run a program; see `Session.command`.
        """
        return result_of(await self.run(code_of(words), timeout=timeout, cwd=cwd))

    def follow(self, cell: int, *, after: int = 0) -> AsyncIterator[Event]:
        """
        Come back to a cell by its number; see `Session.follow`.
        """
        request = calls.attach(self._open_id(), cell, after)
        return events_of(self._cage.listen("Attach", request), CellReader())

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
        found = io.BytesIO()  # as the other client's
        async for reply in self._cage.listen("GetFile", request):
            found.write(reply.data)
        return found.getvalue()

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
        # As long as gates and approvers take, which the policy bounds.
        return await self._cage.call(calls.commit(self._open_id(), mount, dry_run=dry_run), None)

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

    async def verify(self, held: AuditHead) -> AuditHead:
        """
        Have the server prove that its record has only grown since `held`, and has each record of
        this session; see `Session.verify`.
        """
        now = await self._cage.verify(held)
        for record in await self.audit():
            if record.sequence <= now.sequence:
                await self._cage.call(calls.inclusion(self.id, record, now))
        return now

    async def close(self) -> AuditHead | None:
        """
        End the session; see `Session.close`.
        """
        if self._closed:
            return None
        self._closed = True
        self._cage.streams.drop(self.id)
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
        manner: Manner = PLAINLY,
    ) -> AsyncGenerator[Event, None]:
        answers = bool(self._toolbox)
        request = calls.execute(
            self._open_id(), code, timeout, keep, answers=answers, manner=manner
        )
        if answers:
            return performed(self._cage.listen, self._toolbox, request, reader)
        messages = self._cage.streams.run(self._cage, request, first=self._is_first())
        if keep is not None:
            messages = resumed_async(messages, lambda: self._again(reader, keep), reader)
        return events_of(messages, reader)

    async def _again(self, reader: CellReader, seconds: float) -> AsyncMessages | None:
        request = calls.attach(self._open_id(), reader.cell, reader.sequence)
        found = await self._cage.reconnected(seconds)
        return self._cage.listen("Attach", request) if found else None


def _stop_unwanted(starting: "asyncio.Future[embedded.PrivateServer]") -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().stop()


def _not_open() -> CodecageError:
    return closed("the connection, which 'async with' or open() begins,")
