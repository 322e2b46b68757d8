"""
Between the wire and the server: requests are checked and decoded here, replies are put together.

A request that passes has fields of the right size; whether it may be done is decided elsewhere.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from codecage.v1 import codecage_pb2 as wire
from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.escape import visible
from executor.audit.record import Head, Record, Text
from executor.errors import InvalidRequest
from executor.facts import WORK, Facts
from executor.kernel.boxing import Holding
from executor.kernel.errors import GuestError
from executor.kernel.frames import MAX_CODE
from executor.kernel.paths import check_path
from executor.sessions import events
from executor.sessions.running import Asked
from executor.sessions.session import Session, State
from policy.cages import cage_of
from policy.ratchets import RIGHT
from policy.types import Access, CageKind, Limits, Mode, Policy

_IMAGE_NAME: Final = 64
_LONGEST_PATH: Final = 4096
_LABELS: Final = 16
_LABEL_NAME: Final = 64
_LABEL_VALUE: Final = 256
_MOST_RIGHTS: Final = 64
# Nobody waits longer; a policy's wall time is less anyway.
_LONGEST_SECONDS: Final = 10**7


@dataclass(frozen=True, slots=True)
class CellRequest:
    """
    A checked `StartCell`: which session runs what, whether events that happen together come in
    one message, and whether another may follow on its stream.
    """

    session: str
    asked: Asked
    together: bool
    another: bool


def cell_request(first: wire.ExecuteRequest | None) -> CellRequest:
    """
    What is to be run and how, from the first message of the stream. Raises InvalidRequest.
    """
    if first is None or not first.HasField("start"):
        raise InvalidRequest("START_MISSING", "the first message of Execute has to be `start`")
    message = first.start
    if (size := len(message.code.encode())) > MAX_CODE:
        raise InvalidRequest(
            "CODE_TOO_LONG",
            f"the code has {size} bytes and {MAX_CODE} are allowed; put data into files instead",
        )
    wall_time = _seconds(message.wall_time) if message.HasField("wall_time") else None
    if wall_time is not None and wall_time <= 0:
        raise InvalidRequest("WALL_TIME_INVALID", "wall_time is more than 0, or left out")
    keep = None
    if message.WhichOneof("on_disconnect") == "keep":
        keep = _seconds(message.keep.duration)
        if keep < 0:
            raise InvalidRequest("KEEP_INVALID", "keep.duration has to be 0 or more")
    narrow = _narrow(message.narrow)
    asked = Asked(
        message.code,
        wall_time,
        keep,
        message.answers_tools,
        narrow,
        _directory(message.directory),
        message.assigned,
    )
    # Whoever answers tools goes on sending, and what is read for one cell is lost for the next.
    another = message.another and not message.answers_tools
    return CellRequest(message.session_id, asked, message.together, another)


def next_request(request: wire.ExecuteRequest, session: str) -> CellRequest:
    """
    What is to be run next on the stream of a cell of `session`. Raises InvalidRequest.
    """
    cell = cell_request(request)
    if cell.session != session:
        raise InvalidRequest(
            "SESSION_INVALID", "another `start` on a stream is one of the same session"
        )
    return cell


def _directory(path: str) -> str:
    """
    The directory of a cell, or none; whether there is one of that name the guest says.
    """
    if path and (not path.startswith("/") or "\0" in path or len(path.encode()) > _LONGEST_PATH):
        raise InvalidRequest(
            "DIRECTORY_INVALID",
            f"directory is {path[:64]!r}; give an absolute path of the session of at most "
            f"{_LONGEST_PATH} bytes, or leave it out",
        )
    return path


def _narrow(rights: Sequence[str]) -> frozenset[str]:
    if len(rights) > _MOST_RIGHTS or not all(map(RIGHT.fullmatch, rights)):
        raise InvalidRequest(
            "NARROW_INVALID",
            f"narrow names at most {_MOST_RIGHTS} rights that the cell does without, each "
            "`network`, `tools`, or `tools.` and a tool's name",
        )
    return frozenset(rights)


def put_start(first: wire.PutFileRequest | None) -> wire.PutFileStart:
    """
    Where a file is to go, from the first message of the stream. Raises InvalidRequest.
    """
    if first is None or not first.HasField("start"):
        raise InvalidRequest("START_MISSING", "the first message of PutFile has to be `start`")
    return first.start


async def put_data(messages: AsyncIterator[wire.PutFileRequest]) -> AsyncIterator[bytes]:
    """
    The data of the messages after the first. Raises InvalidRequest.
    """
    async for message in messages:
        if message.WhichOneof("message") != "data":
            raise InvalidRequest("DATA_MISSING", "after `start`, PutFile takes `data` alone")
        yield message.data


def image(asked: str) -> str:
    """
    The name of an image that a caller asks for. Raises InvalidRequest where it is too long.
    """
    if len(asked.encode()) > _IMAGE_NAME:
        raise InvalidRequest(
            "IMAGE_NAME_TOO_LONG", f"an image's name has {_IMAGE_NAME} bytes at most"
        )
    return asked


def labels(given: Mapping[str, str]) -> dict[str, str]:
    """
    A caller's labels. Raises InvalidRequest where they are too many or too long.
    """
    if len(given) > _LABELS:
        raise InvalidRequest("TOO_MANY_LABELS", f"{len(given)} labels; {_LABELS} are allowed")
    for name, value in given.items():
        if not 1 <= len(name.encode()) <= _LABEL_NAME or len(value.encode()) > _LABEL_VALUE:
            raise InvalidRequest(
                "LABEL_TOO_LONG",
                f"a label has a name of 1 to {_LABEL_NAME} bytes and a value of at most "
                f"{_LABEL_VALUE}",
            )
    return dict(given)


def guest_path(path: str) -> str:
    """
    A path that a client names. Raises InvalidRequest unless it is absolute and normalised.
    """
    try:
        check_path(path)
    except GuestError as error:
        raise InvalidRequest("PATH_INVALID", error.message) from error
    return path


def session(found: Session) -> wire.Session:
    """
    A session as clients see it.
    """
    facts = found.facts
    return wire.Session(
        id=facts.id,
        policy=facts.policy.name,
        policy_digest=facts.policy.digest,
        image=facts.image,
        state=_STATES[found.state],
        created=timestamp(facts.created_ns),
        cells=found.cells,
        policy_info=policy(facts.policy),
        isolation=found.isolation,
        labels=dict(facts.labels),
        lost_reason=found.lost_reason,
        cage=CAGES[cage_of(facts.image)],
        isolation_parts=isolation_parts(found.holding),
        capture=capture(facts),
    )


def capture(facts: Facts) -> str:
    """
    How far a session is captured; empty where its policy asks for no capture.
    """
    return facts.capture.status if facts.capture is not None else ""


def mount(path: str) -> str:
    """
    A mount that a client names; "" where it names none. Raises InvalidRequest.
    """
    return guest_path(path) if path else ""


def isolation_parts(found: Holding | None) -> list[wire.IsolationPart]:
    """
    What holds a box, part by part.
    """
    if found is None:
        return []
    return [
        wire.IsolationPart(name=item.name, hold=_HOLDS[item.state], how=item.how)
        for item in found.items
    ]


def policy(found: Policy) -> wire.PolicyInfo:
    """
    What a client may know of a policy: mounts by guest path, and the limits.
    """
    mounts = [
        wire.Mount(
            path=grant.mount,
            writable=grant.access.writes,
            scratch=grant.source is None,
            transaction=grant.access is Access.TRANSACTION,
        )
        for grant in found.filesystem
    ]
    if all(mount.path != WORK for mount in mounts):
        mounts.append(wire.Mount(path=WORK, writable=True, scratch=True))
    return wire.PolicyInfo(
        name=found.name,
        description=found.description,
        digest=found.digest,
        image=found.image,
        images=found.images,
        mounts=mounts,
        limits=_limits(found.limits),
        audit_mode=found.mode is Mode.AUDIT,
    )


def event(numbered: events.Numbered) -> wire.Event:
    """
    An event of a cell.
    """
    body = wire.Event()
    _tell(body, numbered)
    return body


def together(group: Sequence[events.Numbered]) -> wire.Event:
    """
    One message for events (at least one) that go out together.
    """
    first = event(group[0])
    for numbered in group[1:]:
        _tell(first.more.add(), numbered)
    return first


def _tell(body: wire.Event, numbered: events.Numbered) -> None:
    """
    Write an event into an empty message, each field where it stays: a message that is given to
    another one is serialised and parsed on the way.
    """
    match numbered.event:
        case events.Started(identity, cell):
            started = body.started
            started.session_id, started.cell, started.another = identity, cell, True
        case events.Output(stream, data):
            body.output.stream, body.output.data = _STREAMS[stream], data
        case events.Display(forms):
            body.display.SetInParent()
            body.display.data.update(forms)
        case events.Value(text, full_length, truncated):
            value = body.value
            value.text, value.full_length, value.truncated = text, full_length, truncated
        case events.ToolCall(number, name, arguments, beside):
            call = body.tool_call
            call.call, call.name, call.arguments, call.beside = number, name, arguments, beside
        case events.ToolCancelled(number):
            body.tool_cancelled.call = number
        case events.Final(document):
            body.final.value = document
        case events.Ended() as ended:
            _tell_end(body.ended, ended)
    body.sequence = numbered.sequence


def head(found: Head) -> wire.AuditHead:
    """
    The head of the record.
    """
    return wire.AuditHead(sequence=found.sequence, hash=found.hash)


def file_info(path: str, status: frames_pb2.FileStatus) -> wire.FileInfo:
    """
    A file as the worker described it.
    """
    return wire.FileInfo(
        path=path,
        size=status.size,
        directory=status.kind == frames_pb2.KIND_DIRECTORY,
        modified=timestamp(min(status.modified_ns, 2**62)),
    )


def record(found: Record) -> wire.AuditRecord:
    """
    A record; its texts are a guest's words, written so that a terminal can show them.
    """
    detail = "; ".join(f"{name}={_shown(value)}" for name, value in found.detail)
    return wire.AuditRecord(
        sequence=found.sequence,
        time=timestamp(found.wall_ns),
        origin=found.origin.value,
        cell=found.cell or 0,
        event=found.event.value,
        request=_shown(found.request),
        decision=found.answer.value if found.answer else "",
        rule=" ".join(filter(None, (_shown(found.rule), _shown(found.rule_place)))),
        outcome=_shown(found.outcome),
        policy_digest=found.policy_digest or "",
        detail=detail,
        hash=found.root,
        leaf=found.hash,
    )


def timestamp(nanoseconds: int) -> Timestamp:
    """
    A time, from nanoseconds since 1970.
    """
    seconds, nanos = divmod(nanoseconds, 10**9)
    return Timestamp(seconds=seconds, nanos=nanos)


def duration(seconds: float) -> Duration:
    """
    A length of time (seconds, 0 or more).
    """
    body = Duration()
    _tell_duration(body, seconds)
    return body


def _tell_duration(body: Duration, seconds: float) -> None:
    body.seconds, body.nanos = divmod(int(seconds * 1e9), 10**9)


def _seconds(given: Duration) -> float:
    return max(-1.0, min(float(_LONGEST_SECONDS), given.seconds + given.nanos / 1e9))


def _limits(limits: Limits) -> wire.Limits:
    return wire.Limits(
        memory_bytes=limits.memory,
        cpu_time=duration(limits.cpu_time),
        wall_time=duration(limits.wall_time),
        output_bytes=limits.output,
        cells=limits.cells,
        idle_timeout=duration(limits.idle_timeout),
    )


def _tell_end(body: wire.CellEnded, ended: events.Ended) -> None:
    body.status = _STATUS[ended.status]
    body.exit_code = ended.exit_code
    _tell_usage(body.usage, ended.usage)
    body.audit_head.sequence, body.audit_head.hash = ended.head.sequence, ended.head.hash
    body.session_lost = ended.session_lost
    body.reason = ended.reason
    body.audit_mode = ended.audit_mode
    if (error := ended.error) is not None:
        failure = body.error
        failure.name, failure.message = error.name, error.message
        failure.traceback = error.traceback


def _tell_usage(body: wire.Usage, usage: events.Usage) -> None:
    _tell_duration(body.wall_time, usage.wall_time)
    _tell_duration(body.cpu_time, usage.cpu_time)
    body.peak_memory_bytes = usage.peak_memory
    body.stdout_bytes = usage.stdout
    body.stderr_bytes = usage.stderr
    body.output_truncated = usage.truncated
    body.requests = usage.requests
    body.denied = usage.denied
    body.connections = usage.connections
    body.http_requests = usage.exchanges
    body.requests_by_kind.update(usage.kinds)
    body.network_sent_bytes = usage.sent
    body.network_received_bytes = usage.received
    body.tool_calls = usage.tool_calls


def _shown(text: Text | int | None) -> str:
    if text is None:
        return ""
    return str(text) if isinstance(text, int) else visible(text)


CAGES: Final = {
    CageKind.WASM: wire.CAGE_KIND_WASM,
    CageKind.PROCESS: wire.CAGE_KIND_PROCESS,
}
_HOLDS: Final = {
    "enforced": wire.HOLD_ENFORCED,
    "partial": wire.HOLD_PARTIAL,
    "absent": wire.HOLD_ABSENT,
}
_STATES: Final = {
    State.IDLE: wire.SESSION_STATE_IDLE,
    State.RUNNING: wire.SESSION_STATE_RUNNING,
    State.LOST: wire.SESSION_STATE_LOST,
    State.CLOSED: wire.SESSION_STATE_LOST,
}
_STREAMS: Final = {
    events.Stream.STDOUT: wire.STREAM_STDOUT,
    events.Stream.STDERR: wire.STREAM_STDERR,
}
_STATUS: Final = {
    events.CellStatus.OK: wire.CELL_STATUS_OK,
    events.CellStatus.ERROR: wire.CELL_STATUS_ERROR,
    events.CellStatus.EXITED: wire.CELL_STATUS_EXITED,
    events.CellStatus.INTERRUPTED: wire.CELL_STATUS_INTERRUPTED,
    events.CellStatus.TIMED_OUT: wire.CELL_STATUS_TIMED_OUT,
    events.CellStatus.CPU_LIMIT: wire.CELL_STATUS_CPU_LIMIT,
    events.CellStatus.WORKER_LOST: wire.CELL_STATUS_WORKER_LOST,
}
