"""
From a gRPC status to one of this package's errors.

The server adds a google.rpc.ErrorInfo to a status: a reason that names exactly what happened. It
travels in the trailing metadata `grpc-status-details-bin` as a google.rpc.Status, and is believed
only from the domain "codecage". Without one, the status code alone decides; that is so for what
gRPC itself reports, such as a server that is not there.
Source: https://google.aip.dev/193 and the gRPC specification of status codes.
"""

from collections.abc import Iterable
from typing import TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError

from agent_client.errors import (
    CellRunning,
    CodecageError,
    Denied,
    InvalidRequest,
    LimitReached,
    NoAnswer,
    PathNotFound,
    PolicyNotFound,
    RecordChanged,
    ServerFailed,
    ServerUnavailable,
    SessionClosed,
    SessionLost,
    SessionNotFound,
)
from codecage.v1 import codecage_pb2 as pb

# What both kinds of call give; the stubs know of one only.
Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]

_DOMAIN = "codecage"
_DETAILS_KEY = "grpc-status-details-bin"
_MESSAGE_CHARS = 2_000

# What each reason of the server means here. Its messages already say what to do, in words of the
# wire API; an advice is added where this client has a name of its own for that.
_REASONS: dict[str, tuple[type[CodecageError], str]] = {
    "POLICY_NOT_FOUND": (PolicyNotFound, "Cage.policies() lists those that the server offers"),
    "SESSION_NOT_FOUND": (SessionNotFound, ""),
    "SESSION_LOST": (SessionLost, ""),
    "CELL_RUNNING": (CellRunning, ""),
    "CELL_NOT_FOUND": (InvalidRequest, ""),
    "AUDIT_NOT_PROVED": (RecordChanged, ""),
}
_CODES: dict[grpc.StatusCode, tuple[type[CodecageError], str]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (InvalidRequest, ""),
    grpc.StatusCode.OUT_OF_RANGE: (InvalidRequest, ""),
    grpc.StatusCode.FAILED_PRECONDITION: (InvalidRequest, ""),
    grpc.StatusCode.ALREADY_EXISTS: (InvalidRequest, ""),
    grpc.StatusCode.NOT_FOUND: (PathNotFound, ""),
    grpc.StatusCode.ABORTED: (CellRunning, "try again"),
    grpc.StatusCode.PERMISSION_DENIED: (Denied, ""),
    grpc.StatusCode.UNAUTHENTICATED: (Denied, ""),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (LimitReached, ""),
    grpc.StatusCode.DEADLINE_EXCEEDED: (NoAnswer, "see whether it is overloaded, and try again"),
    grpc.StatusCode.UNAVAILABLE: (
        ServerUnavailable,
        "start one there with 'codecage serve', or connect without an address to get a private one",
    ),
    grpc.StatusCode.CANCELLED: (SessionClosed, "this program ended the call"),
    grpc.StatusCode.UNIMPLEMENTED: (
        ServerFailed,
        "the server is older than this client: install the same version of both",
    ),
}


def failure(error: grpc.RpcError, address: str) -> CodecageError:
    """
    What a failed call to the server at `address` means.
    """
    code = error.code()
    info = _error_info(cast("Metadata", error.trailing_metadata() or ()))
    kind, advice = _meaning(code, info.reason)
    said = (error.details() or code.name)[:_MESSAGE_CHARS]
    if not info.reason:
        # gRPC's own words, which lack the address and what to do.
        said = f"the server at {address}: {said}"
    elif "policy" in info.metadata:
        said = f"policy {info.metadata['policy']!r}: {said}"
    message = f"{said}; {advice}" if advice else said
    return kind(message, reason=info.reason, metadata=dict(info.metadata))


def _meaning(code: grpc.StatusCode, reason: str) -> tuple[type[CodecageError], str]:
    if reason in _REASONS:
        return _REASONS[reason]
    kind, advice = _CODES.get(code, (ServerFailed, ""))
    return kind, "" if reason else advice


def closed(what: str) -> SessionClosed:
    """
    The error of using `what` ("the session", "the connection") after closing it.
    """
    return SessionClosed(f"{what} was closed by this program; open a new one")


def _error_info(metadata: Metadata) -> pb.ErrorInfo:
    found = next((value for key, value in metadata if key == _DETAILS_KEY), b"")
    status, info = pb.StatusDetails(), pb.ErrorInfo()
    try:
        status.ParseFromString(found if isinstance(found, bytes) else b"")
        for detail in status.details:
            if detail.type_url.endswith("/google.rpc.ErrorInfo"):
                info.ParseFromString(detail.value)
                return info if info.domain == _DOMAIN else pb.ErrorInfo()
    except DecodeError:
        # Details that cannot be read leave the status, which is enough.
        return pb.ErrorInfo()
    return info
