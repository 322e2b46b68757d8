"""
Every call of the wire API: what is sent, and what its answer means.

A `Call` names a method, its request and the reading of its reply; the two clients differ only in
how they wait for it. Arguments are checked here, before anything is sent.
"""

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from google.protobuf.duration_pb2 import Duration

from agent_client import reading, transactions
from agent_client.errors import InvalidRequest, RecordChanged
from agent_client.observation import MIN_MAX_CHARS
from agent_client.proofs import proves_growth, proves_inclusion
from agent_client.records import (
    AuditHead,
    AuditRecord,
    FileInfo,
    PolicyInfo,
    ServerInfo,
    SessionInfo,
)
from agent_client.tools import Toolbox, variables_of
from agent_client.transactions import CommitReport
from codecage.v1 import codecage_pb2 as pb
from codecage.v1.codecage_pb2_grpc import CodecageStub

Result = TypeVar("Result")

# Fewer and larger messages cost less, and this is what the server hands on as one piece.
_CHUNK_BYTES = 1024 * 1024
_MAX_SECONDS = 366 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """
    One method of the service, its request, and how its reply is read.
    """

    method: str
    request: Any
    read: Callable[[Any], Result]


def server_info() -> Call[ServerInfo]:
    """
    Versions, images and limits.
    """
    return Call("GetServerInfo", pb.GetServerInfoRequest(), reading.server)


def policies() -> Call[tuple[PolicyInfo, ...]]:
    """
    The policies on offer.
    """
    return Call("ListPolicies", pb.ListPoliciesRequest(), _policies)


def reload_policies() -> Call[tuple[PolicyInfo, ...]]:
    """
    The policies read anew.
    """
    return Call("ReloadPolicies", pb.ReloadPoliciesRequest(), _policies)


def _policies(
    reply: pb.ListPoliciesResponse | pb.ReloadPoliciesResponse,
) -> tuple[PolicyInfo, ...]:
    return tuple(map(reading.policy, reply.policies))


@dataclass(frozen=True, slots=True)
class Gives:
    """
    What a session is given when it is opened: tools, variables, whether it may give an answer,
    and what its import statements may name (None: anything).
    """

    toolbox: Toolbox
    variables: Mapping[str, object]
    final_answer: bool
    imports: Sequence[str] | None


def create_session(
    policy: str | None, image: str | None, labels: Mapping[str, str], gives: Gives
) -> Call[SessionInfo]:
    """
    Open a session under the named policy, or the built-in one that grants only computing; with
    the named image, or the policy's first.
    """
    sent = {_text(key, "a label"): _text(value, "a label") for key, value in labels.items()}
    request = pb.CreateSessionRequest(
        policy=_text(policy or "", "the policy's name"),
        image=_text(image or "", "the image's name"),
        labels=sent,
        tools=gives.toolbox.described(),
        variables=variables_of(gives.variables),
        final_answer=gives.final_answer,
    )
    if gives.imports is not None:
        request.imports.SetInParent()
        request.imports.allow.extend(_several(gives.imports, "imports", "['math', 'numpy.*']"))
    return Call("CreateSession", request, reading.session)


def get_session(session_id: str) -> Call[SessionInfo]:
    """
    One session as it is now.
    """
    request = pb.GetSessionRequest(session_id=_text(session_id, "the session's id"))
    return Call("GetSession", request, reading.session)


def sessions() -> Call[tuple[SessionInfo, ...]]:
    """
    The sessions of the server.
    """

    def read(reply: pb.ListSessionsResponse) -> tuple[SessionInfo, ...]:
        return tuple(map(reading.session, reply.sessions))

    return Call("ListSessions", pb.ListSessionsRequest(), read)


def close_session(session_id: str) -> Call[AuditHead]:
    """
    End a session.
    """
    request = pb.CloseSessionRequest(session_id=session_id)
    return Call("CloseSession", request, lambda reply: reading.head(reply.audit_head))


def interrupt(session_id: str) -> Call[bool]:
    """
    Interrupt the running cell; tells whether there was one.
    """
    request = pb.InterruptRequest(session_id=session_id)
    return Call("Interrupt", request, lambda reply: bool(reply.interrupted))


def list_files(session_id: str, path: str) -> Call[tuple[FileInfo, ...]]:
    """
    What is in a directory of the session.
    """

    def read(reply: pb.ListFilesResponse) -> tuple[FileInfo, ...]:
        return tuple(map(reading.file, reply.files))

    request = pb.ListFilesRequest(session_id=session_id, path=guest_path(path))
    return Call("ListFiles", request, read)


def remove_file(session_id: str, path: str) -> Call[None]:
    """
    Remove a file of the session.
    """
    request = pb.RemoveFileRequest(session_id=session_id, path=guest_path(path))
    return Call("RemoveFile", request, lambda _: None)


def commit(session_id: str, mount: str, *, dry_run: bool) -> Call[CommitReport]:
    """
    Commit a transaction, or ask what that would do.
    """
    where = guest_path(mount) if mount else ""
    request = pb.CommitRequest(session_id=session_id, mount=where, dry_run=dry_run)
    return Call("Commit", request, transactions.report)


def rollback(session_id: str, mount: str) -> Call[None]:
    """
    Drop the changes of a transaction.
    """
    request = pb.RollbackRequest(session_id=session_id, mount=guest_path(mount) if mount else "")
    return Call("Rollback", request, lambda _: None)


def get_file(session_id: str, path: str) -> pb.GetFileRequest:
    """
    Ask for a file's bytes, which come as a stream.
    """
    return pb.GetFileRequest(session_id=session_id, path=guest_path(path))


def opened(data: bytes | Path) -> AbstractContextManager[io.BufferedIOBase]:
    """
    What is to be put, as an open file: bytes, or the local file at a `pathlib.Path`.

    Raises InvalidRequest for anything else: a str could be a name or a text. Raises OSError as
    `open` does.
    """
    if isinstance(data, Path):
        return data.open("rb")
    if isinstance(data, bytes):
        return io.BytesIO(data)
    kind = type(data).__name__
    raise InvalidRequest(f"put() was given a {kind}; give bytes, or a pathlib.Path to read")


def put_file(session_id: str, path: str, source: io.BufferedIOBase) -> Iterator[pb.PutFileRequest]:
    """
    The messages that put a file: where to, then its bytes in pieces.
    """
    start = pb.PutFileStart(session_id=session_id, path=path)
    yield pb.PutFileRequest(start=start)
    while piece := source.read(_CHUNK_BYTES):
        yield pb.PutFileRequest(data=piece)


@dataclass(frozen=True, slots=True)
class Manner:
    """
    How a cell is run: rights that it does without, the directory in which it begins (empty: where
    the last one left), and whether a last assignment's value is its own.
    """

    narrow: Collection[str] = ()
    directory: str = ""
    assigned: bool = False


PLAINLY = Manner()


def execute(
    session_id: str,
    code: str,
    timeout: float | None,
    keep: float | None,
    *,
    answers: bool = False,
    manner: Manner = PLAINLY,
) -> pb.ExecuteRequest:
    """
    Start a cell. `timeout` and `keep` are seconds; `keep` lets it outlive a broken connection.
    `answers` says that calls of tools are performed here.
    """
    # Filled where it stays: a message that is given to another one is copied on the way.
    request = pb.ExecuteRequest()
    start = request.start
    start.session_id = session_id
    start.code = _text(code, "the code")
    start.together = True
    if manner.directory:
        start.directory = guest_path(manner.directory)
    start.assigned = manner.assigned
    if timeout is not None:
        start.wall_time.CopyFrom(_duration(timeout, "timeout"))
    start.answers_tools = answers
    if manner.narrow != ():
        start.narrow.extend(_several(manner.narrow, "narrow", "['network', 'tools.send']"))
    if keep is None:
        start.cancel.SetInParent()
    else:
        start.keep.duration.CopyFrom(_duration(keep, "keep"))
    return request


def _several(given: Collection[str], name: str, example: str) -> Iterable[str]:
    """
    Each of several texts; a single one would be taken for its letters.
    """
    if isinstance(given, str):
        raise InvalidRequest(f"{name} is {given!r}; give a list, such as {example}")
    return (_text(one, name) for one in given)


def attach(session_id: str, cell: int, after: int) -> pb.AttachRequest:
    """
    Ask for the events of a cell after a sequence number.
    """
    if not (0 < cell < 2**32 and 0 <= after < 2**64):
        asked = f"cell {cell} after event {after}"
        raise InvalidRequest(f"{asked} was asked for; cells count from 1, events from 0 (all)")
    return pb.AttachRequest(session_id=session_id, cell=cell, after_sequence=after)


def read_audit(session_id: str, after: int) -> pb.ReadAuditRequest:
    """
    Ask for the audit records of a session after a sequence number.
    """
    if not 0 <= after < 2**64:
        raise InvalidRequest(f"records after {after} were asked for; they count from 0 (all)")
    return pb.ReadAuditRequest(session_id=session_id, after_sequence=after)


def growth_since(held: AuditHead) -> Call[AuditHead]:
    """
    Ask for the proof that the record has only grown since a head, check it, and give the head of
    now. Its reading raises RecordChanged.
    """

    def read(reply: pb.ReadProofResponse) -> AuditHead:
        now = reading.head(reply.head)
        sizes = held.sequence + 1, now.sequence + 1
        if not proves_growth(reply.path, sizes[0], held.hash, sizes[1], now.hash):
            raise RecordChanged(f"the server's head {now} is not shown to extend {held}")
        return now

    return Call("ReadProof", pb.ReadProofRequest(head=_head(held)), read)


def inclusion(session_id: str, record: AuditRecord, held: AuditHead) -> Call[None]:
    """
    Ask for the proof that a record is under a head, and check it. Its reading raises RecordChanged.
    """

    def read(reply: pb.ReadProofResponse) -> None:
        size = held.sequence + 1
        if not proves_inclusion(reply.path, record.leaf, record.sequence, size, held.hash):
            raise RecordChanged(f"record {record.sequence} is not shown to be under {held}")

    request = pb.ReadProofRequest(head=_head(held), sequence=record.sequence, session_id=session_id)
    return Call("ReadProof", request, read)


def _head(held: AuditHead) -> pb.AuditHead:
    if not 0 <= held.sequence < 2**62 or len(held.hash) != 32:
        raise InvalidRequest(f"{held} is no head; Observation.audit_head and Ended.audit_head are")
    return pb.AuditHead(sequence=held.sequence, hash=held.hash)


def checked_max_chars(max_chars: int) -> int:
    """
    `max_chars` itself, if a text can be kept to it.
    """
    if max_chars < MIN_MAX_CHARS:
        raise InvalidRequest(f"max_chars is {max_chars}; {MIN_MAX_CHARS} or more is needed")
    return max_chars


def guest_path(path: str) -> str:
    """
    `path` itself, if it can name something in a session; the server decides the rest.
    """
    if not path.startswith("/") or "\0" in path:
        asked = f"{path!r} was given as a path of the session"
        raise InvalidRequest(f"{asked}; give an absolute one, such as '/work/data.csv'")
    return _text(path, "the path")


def _text(text: str, what: str) -> str:
    """
    Lone surrogates have no place in UTF-8, which is what travels (RFC 3629, section 3).
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"U+{ord(text[error.start]):04X} at index {error.start}"
        raise InvalidRequest(
            f"{what} holds half of a surrogate pair ({found}), which is not Unicode text; "
            "replace it, for example by text.encode('utf-8', 'replace').decode()"
        ) from None
    return text


def _duration(seconds: float, name: str) -> Duration:
    # The comparison also refuses NaN.
    if not 0 < seconds <= _MAX_SECONDS:
        raise InvalidRequest(f"{name} is {seconds} s; give more than 0 and at most {_MAX_SECONDS}")
    duration = Duration()
    duration.FromNanoseconds(max(1, round(seconds * 1e9)))
    return duration


def stub(channel: Any) -> Any:
    """
    The methods of the service on a channel of either kind: `Converse` is `Execute` as what it is,
    with messages that go both ways, and `Execute` is sent as one request and half-closed.

    The method takes a stream of requests, and one message with the end of the stream behind it
    is such a stream. Without an iterator of requests gRPC needs no thread to read it.
    """
    made = cast("Any", CodecageStub(channel))
    made.Converse = made.Execute
    made.Execute = channel.unary_stream(
        "/codecage.v1.Codecage/Execute",
        request_serializer=pb.ExecuteRequest.SerializeToString,
        response_deserializer=pb.Event.FromString,
    )
    return made
