# ruff: noqa: N802 - the methods bear the names of the protocol
"""
The wire API: each method decodes, asks the part that knows, and encodes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from codecage.v1 import codecage_pb2 as wire
from codecage.v1 import codecage_pb2_grpc
from executor.api import convert, proving
from executor.api.answering import many, one
from executor.audit import read
from executor.audit.record import Record
from executor.errors import InvalidRequest, SessionNotFound
from executor.kernel.boxing import Holding
from executor.kernel.frames import MAX_CODE
from executor.sessions import files, transacting
from executor.sessions.cells import Reader
from executor.sessions.given import given
from executor.sessions.performing import Performing
from executor.sessions.registry import Sessions
from policy.types import Policy

Reload = Callable[[], Awaitable[Mapping[str, Policy]]]
_Context = grpc.aio.ServicerContext[Any, Any]
_PAGE: Final = 500
# How long the first events of a cell wait for those of its end, in seconds.
_HOLD: Final = 0.005
# A client that opens a stream has something to say at once.
_FIRST_MESSAGE: Final = 10.0


def _unknown(_image: str) -> Holding | None:
    return None


@dataclass(frozen=True, slots=True)
class About:
    """
    What the server says of itself; `holding` is how boxes of an image are held, by its name, as
    far as that is known.
    """

    version: str
    wasmtime_version: str
    user: str
    images: tuple[wire.ImageInfo, ...]
    holding: Callable[[str], Holding | None] = _unknown


class Service(codecage_pb2_grpc.CodecageServicer):
    """
    The service `codecage.v1.Codecage`; `audit` is where the record is read from, `reload` reads the
    policies anew, where there is something to read.
    """

    def __init__(
        self, about: About, sessions: Sessions, audit: Path, reload: Reload | None = None
    ) -> None:
        self._about = about
        self._sessions = sessions
        self._audit = audit
        self._reload = reload

    @one
    async def GetServerInfo(self, _: wire.GetServerInfoRequest, __: _Context) -> wire.ServerInfo:
        """
        What a client may ask for.
        """
        about = self._about
        return wire.ServerInfo(
            version=about.version,
            wasmtime_version=about.wasmtime_version,
            images=[_held(image, about.holding(image.name)) for image in about.images],
            user=about.user,
            max_code_bytes=MAX_CODE,
        )

    @one
    async def ListPolicies(
        self, _: wire.ListPoliciesRequest, __: _Context
    ) -> wire.ListPoliciesResponse:
        """
        The policies, by name.
        """
        found = sorted(self._sessions.policies.items())
        return wire.ListPoliciesResponse(policies=[convert.policy(policy) for _, policy in found])

    @one
    async def ReloadPolicies(
        self, _: wire.ReloadPoliciesRequest, __: _Context
    ) -> wire.ReloadPoliciesResponse:
        """
        Read the policies anew, all of them or none.
        """
        policies = self._sessions.policies if self._reload is None else await self._reload()
        found = sorted(policies.items())
        return wire.ReloadPoliciesResponse(policies=[convert.policy(policy) for _, policy in found])

    @one
    async def CreateSession(self, request: wire.CreateSessionRequest, _: _Context) -> wire.Session:
        """
        Open a session.
        """
        labels = convert.labels(request.labels)
        image, gives = convert.image(request.image), given(request)
        made = await self._sessions.create(request.policy, labels, image, gives)
        return convert.session(made)

    @one
    async def GetSession(self, request: wire.GetSessionRequest, _: _Context) -> wire.Session:
        """
        One session.
        """
        return convert.session(self._sessions.get(request.session_id))

    @one
    async def ListSessions(
        self, _: wire.ListSessionsRequest, __: _Context
    ) -> wire.ListSessionsResponse:
        """
        All sessions, the oldest first.
        """
        found = self._sessions.list()
        return wire.ListSessionsResponse(sessions=[convert.session(one) for one in found])

    @one
    async def CloseSession(
        self, request: wire.CloseSessionRequest, _: _Context
    ) -> wire.CloseSessionResponse:
        """
        End a session.
        """
        facts = self._sessions.get(request.session_id).facts
        head = await self._sessions.close(facts.id, "closed by the client")
        capture = convert.capture(facts)
        return wire.CloseSessionResponse(audit_head=convert.head(head), capture=capture)

    @one
    async def Execute(  # type: ignore[override]
        self, requests: AsyncIterator[wire.ExecuteRequest], context: _Context
    ) -> None:
        """
        Run one cell, or those of a session that follow each other on this stream.

        It writes its events, which gRPC allows as well as giving them: that costs a short cell two
        generators less.
        """
        self._sessions.require_serving()
        cell = convert.cell_request(await _first(requests))
        while True:
            session = self._sessions.get(cell.session)
            with await session.execute(cell.asked) as reader:
                if cell.asked.answers:
                    async with Performing(session.tools, reader, requests):
                        await _tell(reader, context, together=cell.together)
                else:
                    await _tell(reader, context, together=cell.together)
            request = await session.following.next(requests) if cell.another else None
            if request is None:
                return
            self._sessions.require_serving()
            cell = convert.next_request(request, cell.session)

    @many
    async def Attach(self, request: wire.AttachRequest, _: _Context) -> AsyncIterator[wire.Event]:
        """
        The events of a cell, running or last.
        """
        session = self._sessions.get(request.session_id)
        with session.attach(request.cell, request.after_sequence) as reader:
            async for numbered in reader:
                yield convert.event(numbered)

    @one
    async def Interrupt(
        self, request: wire.InterruptRequest, _: _Context
    ) -> wire.InterruptResponse:
        """
        Interrupt the running cell.
        """
        session = self._sessions.get(request.session_id)
        return wire.InterruptResponse(interrupted=session.interrupt())

    @one
    async def PutFile(
        self, requests: AsyncIterator[wire.PutFileRequest], _: _Context
    ) -> wire.FileInfo:
        """
        Write a file of the session.
        """
        start = convert.put_start(await _first(requests))
        session = self._sessions.get(start.session_id)
        path = convert.guest_path(start.path)
        found = await files.put(session, path, convert.put_data(requests))
        return convert.file_info(found.path, found.status)

    @many
    async def GetFile(
        self, request: wire.GetFileRequest, _: _Context
    ) -> AsyncIterator[wire.GetFileResponse]:
        """
        Read a file of the session.
        """
        session = self._sessions.get(request.session_id)
        async for data in files.get(session, convert.guest_path(request.path)):
            yield wire.GetFileResponse(data=data)

    @one
    async def ListFiles(
        self, request: wire.ListFilesRequest, _: _Context
    ) -> wire.ListFilesResponse:
        """
        What is in a directory of the session.
        """
        session = self._sessions.get(request.session_id)
        found = await files.listing(session, convert.guest_path(request.path))
        return wire.ListFilesResponse(
            files=[convert.file_info(one.path, one.status) for one in found]
        )

    @one
    async def RemoveFile(
        self, request: wire.RemoveFileRequest, _: _Context
    ) -> wire.RemoveFileResponse:
        """
        Remove a file of the session.
        """
        session = self._sessions.get(request.session_id)
        await files.remove(session, convert.guest_path(request.path))
        return wire.RemoveFileResponse()

    @one
    async def Commit(self, request: wire.CommitRequest, _: _Context) -> wire.CommitResponse:
        """
        Make the changes of a transaction the host's, or tell what that would do.
        """
        session = self._sessions.get(request.session_id)
        mount = convert.mount(request.mount)
        return await transacting.commit(session, mount, dry_run=request.dry_run)

    @one
    async def Rollback(self, request: wire.RollbackRequest, _: _Context) -> wire.RollbackResponse:
        """
        Drop the changes of a transaction.
        """
        session = self._sessions.get(request.session_id)
        return await transacting.rollback(session, convert.mount(request.mount))

    @many
    async def ReadAudit(
        self, request: wire.ReadAuditRequest, _: _Context
    ) -> AsyncIterator[wire.AuditRecord]:
        """
        The records of a session, also of one that is closed.
        """
        after, seen = min(request.after_sequence, 2**62), False
        while page := await self._page(request.session_id, after):
            for record in page:
                yield convert.record(record)
            after, seen = page[-1].sequence, True
        if not seen and not request.after_sequence:
            raise SessionNotFound

    @one
    async def ReadProof(
        self, request: wire.ReadProofRequest, _: _Context
    ) -> wire.ReadProofResponse:
        """
        A proof about the record.
        """
        return await proving.proof(self._audit, request)

    async def _page(self, session: str, after: int) -> list[Record]:
        if not session:
            raise SessionNotFound
        return await asyncio.to_thread(
            read.records, self._audit, session=session, after_sequence=after, limit=_PAGE
        )


def _held(image: wire.ImageInfo, holding: Holding | None) -> wire.ImageInfo:
    found = wire.ImageInfo()
    found.CopyFrom(image)
    if holding is not None:
        found.isolation_level = holding.level
        found.isolation_parts.extend(convert.isolation_parts(holding))
    return found


async def _tell(reader: Reader, context: _Context, *, together: bool) -> None:
    """
    Write the events of a cell, each once the client's side has taken the one before.
    """
    if together:
        while group := await reader.group(_HOLD):
            await context.write(convert.together(group))
    else:
        async for numbered in reader:
            await context.write(convert.event(numbered))


async def _first(requests: AsyncIterator[Any]) -> Any:
    try:
        async with asyncio.timeout(_FIRST_MESSAGE):
            return await anext(aiter(requests), None)
    except TimeoutError as error:
        raise InvalidRequest(
            "START_MISSING", f"nothing came within {_FIRST_MESSAGE:g} s; send `start` first"
        ) from error
