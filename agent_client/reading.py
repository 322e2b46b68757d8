"""
From the wire's messages to this package's records.
"""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from agent_client.records import (
    AuditHead,
    AuditRecord,
    CageKind,
    FileInfo,
    Hold,
    ImageInfo,
    IsolationPart,
    Limits,
    Mount,
    PolicyInfo,
    ServerInfo,
    SessionInfo,
    SessionState,
)
from codecage.v1 import codecage_pb2 as pb

_STATES = {
    pb.SESSION_STATE_IDLE: SessionState.IDLE,
    pb.SESSION_STATE_RUNNING: SessionState.RUNNING,
    pb.SESSION_STATE_LOST: SessionState.LOST,
}
_CAGES = {
    pb.CAGE_KIND_WASM: CageKind.WASM,
    pb.CAGE_KIND_PROCESS: CageKind.PROCESS,
}
_HOLDS = {
    pb.HOLD_ENFORCED: Hold.ENFORCED,
    pb.HOLD_PARTIAL: Hold.PARTIAL,
    pb.HOLD_ABSENT: Hold.ABSENT,
}


def server(info: pb.ServerInfo) -> ServerInfo:
    """
    What the server says of itself.
    """
    return ServerInfo(
        version=info.version,
        wasmtime_version=info.wasmtime_version,
        images=tuple(map(_image, info.images)),
        user=info.user,
        max_code_bytes=info.max_code_bytes,
    )


def policy(info: pb.PolicyInfo) -> PolicyInfo:
    """
    A policy as its server describes it.
    """
    mounts = tuple(
        Mount(mount.path, mount.writable, mount.scratch, mount.transaction) for mount in info.mounts
    )
    return PolicyInfo(
        name=info.name,
        description=info.description,
        digest=info.digest,
        image=info.image,
        # An older server has one image for each policy, and does not repeat it.
        images=tuple(info.images) or (info.image,),
        mounts=mounts,
        limits=_limits(info.limits),
        audit_mode=info.audit_mode,
    )


def session(info: pb.Session) -> SessionInfo:
    """
    A session as its server describes it.
    """
    return SessionInfo(
        id=info.id,
        policy=policy(info.policy_info),
        image=info.image,
        state=_STATES.get(info.state, SessionState.UNKNOWN),
        created=_moment(info.created),
        cells=info.cells,
        isolation=info.isolation,
        labels=dict(info.labels),
        lost_reason=info.lost_reason,
        cage=_CAGES.get(info.cage, CageKind.UNKNOWN),
        isolation_parts=tuple(map(_part, info.isolation_parts)),
        capture=info.capture,
    )


def file(info: pb.FileInfo) -> FileInfo:
    """
    A file of a session.
    """
    return FileInfo(info.path, info.size, info.directory, _moment(info.modified))


def head(audit_head: pb.AuditHead) -> AuditHead:
    """
    The end of the audit log.
    """
    return AuditHead(audit_head.sequence, audit_head.hash)


def record(record: pb.AuditRecord) -> AuditRecord:
    """
    One record of the audit log.
    """
    return AuditRecord(
        sequence=record.sequence,
        time=_moment(record.time),
        origin=record.origin,
        cell=record.cell,
        event=record.event,
        request=record.request,
        decision=record.decision,
        rule=record.rule,
        outcome=record.outcome,
        policy_digest=record.policy_digest,
        detail=record.detail,
        hash=record.hash,
        leaf=record.leaf,
    )


def _image(info: pb.ImageInfo) -> ImageInfo:
    return ImageInfo(
        name=info.name,
        key=info.key,
        python_version=info.python_version,
        packages=tuple(info.packages),
        cage=_CAGES.get(info.cage, CageKind.UNKNOWN),
        isolation_level=info.isolation_level,
        isolation_parts=tuple(map(_part, info.isolation_parts)),
    )


def _part(part: pb.IsolationPart) -> IsolationPart:
    return IsolationPart(part.name, _HOLDS.get(part.hold, Hold.UNKNOWN), part.how)


def _limits(limits: pb.Limits) -> Limits:
    return Limits(
        memory_bytes=limits.memory_bytes,
        cpu_time=limits.cpu_time.ToNanoseconds() / 1e9,
        wall_time=limits.wall_time.ToNanoseconds() / 1e9,
        output_bytes=limits.output_bytes,
        cells=limits.cells,
        idle_timeout=limits.idle_timeout.ToNanoseconds() / 1e9,
    )


def _moment(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
