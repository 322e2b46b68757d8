"""
The client for ordinary programs: every call waits for its answer.

`aio.py` is the same for asyncio; what the calls say and mean stands in `calls.py`, once.
Sessions and connections may be used from several threads, for example to interrupt a cell.
"""

import io
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import grpc
import grpc.experimental

from agent_client import calls, embedded, reading
from agent_client.calls import PLAINLY, Call, Gives, Manner
from agent_client.cell import CellReader, Collector, OnDisplay, OnOutput
from agent_client.cells import events_of, performed
from agent_client.command import CommandResult, code_of, result_of
from agent_client.embedded import AnyPath
from agent_client.errors import CodecageError, ServerUnavailable, SessionNotFound
from agent_client.events import Event
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
from agent_client.resuming import Messages, resumed
from agent_client.streams import Streams
from agent_client.tools import Background, Function, Toolbox
from agent_client.transactions import CommitReport

Result = TypeVar("Result")
# Replies that come as a stream are read by the thread that waits for them: else gRPC starts one
# for each call, which costs a short cell a fifth of its time.
_OWN_THREAD: Final = ((grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),)


def connect(
    address: str | None = None,
    *,
    policies: AnyPath | None = None,
    audit: AnyPath | None = None,
    run_as: str | None = None,
    secrets: AnyPath | None = None,
    trust: AnyPath | None = None,
    resolvers: Sequence[str] = (),
) -> "Cage":
    """
    Connect to a server, or start a private one.

    `address` is `unix:PATH`; without it the environment's CODECAGE_ADDRESS counts, and without
    that a private server is started, which ends with the connection. The other arguments are for
    the private server: `policies` a directory of policy files, `audit` where its audit store is
    kept (else it is removed with the server), `run_as` the account as which it opens files, see
    `agent_client.embedded.account`; for policies that grant connections, `secrets` the directory
    of the secrets that they name, `trust` a file of certificates that are believed besides the
    system's, `resolvers` name servers as `ADDRESS:PORT` in place of the system's. Giving one keeps
    CODECAGE_ADDRESS from counting.

    Raises InvalidRequest for an address that is none or for both at once, ServerMissing where
    no server is installed, ServerUnavailable if none answers.
    """
    asked = embedded.Options(policies, audit, run_as, secrets, trust, resolvers)
    found = address_or_private(address, private=asked.given)
    if found is not None:
        return Cage(Link(found, None))
    server = embedded.start(asked)
    return Cage(Link(server.address, server))


class Cage:
    """
    A connection to a server. Use it with `with`, or call `close`.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel = grpc.insecure_channel(link.address, (*CHANNEL_OPTIONS, *_OWN_THREAD))
        self._stub = calls.stub(self._channel)
        self.streams = Streams(link)
        try:
            self._info = self.call(calls.server_info())
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """
        Where the server listens.
        """
        return self._link.address

    def info(self) -> ServerInfo:
        """
        Versions, images and limits of the server, as they were when this connected.
        """
        return self._info

    def policies(self) -> tuple[PolicyInfo, ...]:
        """
        The policies that the server offers.
        """
        return self.call(calls.policies())

    def reload_policies(self) -> tuple[PolicyInfo, ...]:
        """
        Have the server read its policies anew, and return them; sessions that exist keep theirs.
        Raises an error where they are refused, and then nothing has changed.
        """
        return self.call(calls.reload_policies())

    def verify(self, held: AuditHead) -> AuditHead:
        """
        Have the server prove that its record has only grown since a head that was kept
        (`Observation.audit_head`), check the proof here, and give the head of now, to keep instead.

        Raises RecordChanged where that is not shown: something before `held` was cut or changed.
        """
        return self.call(calls.growth_since(held))

    def sessions(self) -> tuple[SessionInfo, ...]:
        """
        The sessions that the server holds now.
        """
        return self.call(calls.sessions())

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
    ) -> "Session":
        """
        Open a session under a policy of the server; without a name, one that may only compute.

        `image` is what the session can import, one of those that the policy has; without it, the
        policy's first. The first session of an image may wait some seconds for it. `labels` are
        words of your own (up to 16 pairs of 64 and 256 bytes) that the audit record keeps.

        `tools` are functions of yours that the session's code can call, as far as the policy's
        `tools:` grant it; they are called in the thread that runs the cell, async ones in one of
        their own. `variables` are values that the code finds by these names. With `final_answer`
        it has a function of that name, which ends its cell; see `Observation.final`. `imports` is
        what the code's own import statements may name, `math` or `numpy.*` or `*`: guidance for a
        model, in smolagents' words, and no protection.

        Raises PolicyNotFound, Denied for an image that the policy does not have, InvalidRequest
        for one that the server's machine does not have (the message says how to build it), and
        LimitReached where no further session is possible.
        """
        toolbox = Toolbox(tools)
        gives = Gives(toolbox, variables, final_answer, imports)
        info = self.call(calls.create_session(policy, image, labels, gives))
        return Session(self, info, toolbox)

    def attach(self, session_id: str, *, tools: Sequence[Function] = ()) -> "Session":
        """
        Come back to a session of the server by its id. Raises SessionNotFound.

        `tools` are those that the session was opened with: who runs a cell performs its calls.
        """
        return Session(self, self.call(calls.get_session(session_id)), Toolbox(tools))

    def close(self) -> None:
        """
        Close the connection, and end the private server if there is one; may be called twice.

        Sessions of another server stay, until they are closed or their idle time is over.
        """
        if self._link.mark_closed():
            self.streams.close()
            self._channel.close()
            self._link.stop_server()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, call: Call[Result], patience: float | None = PATIENCE_SECONDS) -> Result:
        """
        Make one call and wait for its reply, at most `patience` seconds, or for as long as it takes
        where that is None. Raises what `failures.py` makes of its status.
        """
        return call.read(self.wait(call.method, call.request, patience))

    def wait(self, method: str, request: Any, timeout: float | None = None) -> Any:
        """
        Send a request, or an iterator of them, and wait for the one reply.
        """
        self._link.check_open()
        try:
            return getattr(self._stub, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            raise self._link.failure(error) from None

    def listen(self, method: str, request: Any) -> Generator[Any, None, None]:
        """
        Send a request and give the messages that come back; leaving early cancels the call.
        """
        self._link.check_open()
        replies = getattr(self._stub, method)(request)
        return self._messages(replies)

    def converse(self, requests: Iterator[Any]) -> Any:
        """
        Send requests for as long as they come, and give gRPC's call for what comes back.
        """
        self._link.check_open()
        return self._stub.Converse(requests)

    def reconnected(self, seconds: float) -> bool:
        """
        Wait until the server can be reached again; tells whether it could within `seconds`.
        """
        if not self._link.may_come_back():
            return False
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout=seconds)
        except grpc.FutureTimeoutError:
            return False
        finally:
            ready.cancel()
        return True

    def _messages(self, replies: Any) -> Generator[Any, None, None]:
        try:
            yield from replies
        except grpc.RpcError as error:
            raise self._link.failure(error) from None
        finally:
            replies.cancel()


class Session(SessionHandle):
    """
    A session: variables and files that live from cell to cell. Use it with `with`, or `close` it.
    """

    def __init__(self, cage: Cage, info: SessionInfo, toolbox: Toolbox) -> None:
        super().__init__(info)
        self._cage = cage
        self._toolbox = toolbox
        self._background = Background()

    def run(
        self,
        code: str,
        *,
        timeout: float | None = None,
        on_output: OnOutput | None = None,
        on_display: OnDisplay | None = None,
        max_chars: int = DEFAULT_MAX_CHARS,
        keep: float | None = None,
        narrow: Collection[str] = (),
        cwd: str = "",
        assigned: bool = False,
    ) -> Observation:
        """
        Run Python and wait for its end.

        `timeout` is in seconds, and can only shorten what the policy allows. `on_output` is called
        with the stream's name and a text as the output arrives, `on_display` with what is shown.
        `max_chars` (500 or more) bounds the observation's `text`. `keep` lets the cell go on for so
        many seconds if the connection breaks, and has this call come back to it; else it is
        interrupted, as it is when an exception leaves this call. `narrow` names rights that the
        cell does without, whatever the policy grants: `network`, `tools`, or `tools.` and a tool's
        name. `cwd` is the directory from this cell on, an absolute path of the session; with
        `assigned` what a last statement assigns to names is the value.

        What the code does wrong is in the observation. Raises CellRunning, SessionLost,
        SessionNotFound, LimitReached, InvalidRequest, ServerUnavailable.
        """
        collector = Collector(calls.checked_max_chars(max_chars), on_output, on_display)
        reader, manner = CellReader(), Manner(narrow, cwd, assigned)
        try:
            with closing(self._cell(code, timeout, keep, reader, manner)) as events:
                for event in events:
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
    ) -> Iterator[Event]:
        """
        Run Python and give its events as they happen; the last one is `Ended`.

        Arguments and errors are those of `run`. Leaving the iterator early interrupts the cell.
        """
        manner = Manner(narrow, cwd, assigned)
        return self._cell(code, timeout, keep, CellReader(), manner)

    def command(
        self, words: Sequence[str], *, timeout: float | None = None, cwd: str = ""
    ) -> CommandResult:
        """
        Run a program with its arguments, where the policy's `process.programs` has it, and wait for
        its end. `timeout` and `cwd` are those of `run`, and so are the errors.

        No shell reads the words. A refusal, and a program that is not there, are in the result.
        """
        return result_of(self.run(code_of(words), timeout=timeout, cwd=cwd))

    def follow(self, cell: int, *, after: int = 0) -> Iterator[Event]:
        """
        Come back to a cell, running or last, by its number: its events after event `after`.
        """
        request = calls.attach(self._open_id(), cell, after)
        return events_of(self._cage.listen("Attach", request), CellReader())

    def interrupt(self) -> bool:
        """
        Raise KeyboardInterrupt in the running cell; tells whether there was one.
        """
        return self._cage.call(calls.interrupt(self._open_id()))

    def put(self, path: str, data: bytes | Path) -> FileInfo:
        """
        Write a file of the session: `data` itself, or the local file that a `Path` names.
        """
        where = calls.guest_path(path)
        session_id = self._open_id()
        with calls.opened(data) as source:
            reply = self._cage.wait("PutFile", calls.put_file(session_id, where, source))
        return reading.file(reply)

    def get(self, path: str) -> bytes:
        """
        Read a file of the session. Raises PathNotFound.
        """
        request = calls.get_file(self._open_id(), path)
        found = io.BytesIO()  # grows where it lies, and gives its bytes without copying them
        for reply in self._cage.listen("GetFile", request):
            found.write(reply.data)
        return found.getvalue()

    def files(self, path: str = "/work") -> tuple[FileInfo, ...]:
        """
        What is in a directory of the session. Raises PathNotFound.
        """
        return self._cage.call(calls.list_files(self._open_id(), path))

    def remove(self, path: str) -> None:
        """
        Remove a file of the session. Raises PathNotFound.
        """
        self._cage.call(calls.remove_file(self._open_id(), path))

    def commit(self, mount: str = "", *, dry_run: bool = False) -> CommitReport:
        """
        Make what the session has changed below `mount` the host's, all of it or nothing; with
        `dry_run`, only say what that would do. `mount` may be left out where there is one alone.

        A conflict is an answer. Raises Denied where the policy grants no commit, InvalidRequest
        where there is no transaction or a file is still open, CellRunning, SessionLost.
        """
        # As long as gates and approvers take, which the policy bounds.
        return self._cage.call(calls.commit(self._open_id(), mount, dry_run=dry_run), None)

    def rollback(self, mount: str = "") -> None:
        """
        Drop what the session has changed below `mount`. Raises as `commit` does.
        """
        self._cage.call(calls.rollback(self._open_id(), mount))

    def audit(self, *, after: int = 0) -> tuple[AuditRecord, ...]:
        """
        The audit records of this session, in order; also once the session is closed.
        """
        request = calls.read_audit(self.id, after)
        return tuple(map(reading.record, self._cage.listen("ReadAudit", request)))

    def verify(self, held: AuditHead) -> AuditHead:
        """
        What `Cage.verify` does, and have the server prove too that each record of this session,
        by its hash, is under the head that comes back. Also once the session is closed.

        Raises RecordChanged. That a record says what was hashed is for `codecage audit verify`.
        """
        now = self._cage.verify(held)
        for record in self.audit():
            if record.sequence <= now.sequence:
                self._cage.call(calls.inclusion(self.id, record, now))
        return now

    def close(self) -> AuditHead | None:
        """
        End the session: its process is killed, its variables and files are gone.

        Gives the end of the audit log; None if the session was closed or gone already.
        """
        if self._closed:
            return None
        self._closed = True
        self._background.close()
        self._cage.streams.drop(self.id)
        try:
            return self._cage.call(calls.close_session(self.id))
        except SessionNotFound:
            return None  # its idle time was over: it is as closed as it was to be

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
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
    ) -> Generator[Event, None, None]:
        answers = bool(self._toolbox)
        request = calls.execute(
            self._open_id(), code, timeout, keep, answers=answers, manner=manner
        )
        if answers:
            return performed(self._cage.listen, self._toolbox, self._background, request, reader)
        messages = self._cage.streams.run(self._cage, request, first=self._is_first())
        if keep is not None:
            messages = resumed(messages, lambda: self._again(reader, keep), reader)
        return events_of(messages, reader)

    def _again(self, reader: CellReader, seconds: float) -> Messages | None:
        request = calls.attach(self._open_id(), reader.cell, reader.sequence)
        return self._cage.listen("Attach", request) if self._cage.reconnected(seconds) else None
