"""
A collector of OpenTelemetry, asked over gRPC or HTTP to take what is sent.

It is nobody's friend: it has `TIMEOUT` seconds for each request, its answer is read up to a
bound, it sends us nowhere else, and what it says of itself is kept to a line. Credentials come
from the environment, as the specification of OpenTelemetry's exporters names it. The SDK's own
exporters answer yes or no; these tell what was not taken, and why.

Source: OpenTelemetry protocol 1.x, "OTLP/gRPC" and "OTLP/HTTP"; "Protocol Exporter".
"""

import http.client
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace
from opentelemetry.util.re import parse_env_headers

TIMEOUT: Final = 10.0
_ANSWER_MAX: Final = 65_536
_TOLD_MAX: Final = 200
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _ANSWER_MAX),
    # What was not taken is counted: a second try of which nobody knows would be hidden load.
    ("grpc.enable_retries", 0),
)

Message = (
    trace.ExportTraceServiceRequest
    | metrics.ExportMetricsServiceRequest
    | logs.ExportLogsServiceRequest
)
_Answer = (
    trace.ExportTraceServiceResponse
    | metrics.ExportMetricsServiceResponse
    | logs.ExportLogsServiceResponse
)


class Signal(Enum):
    """
    What is sent: the value is the path over HTTP.
    """

    TRACES = "traces"
    METRICS = "metrics"
    LOGS = "logs"


_METHODS: Final = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
_ANSWERS: Final[Mapping[Signal, type[_Answer]]] = {
    Signal.TRACES: trace.ExportTraceServiceResponse,
    Signal.METRICS: metrics.ExportMetricsServiceResponse,
    Signal.LOGS: logs.ExportLogsServiceResponse,
}


@dataclass(frozen=True, slots=True)
class Refused:
    """
    How many of what was sent were not taken (0: all were), and what was said about it.
    """

    count: int
    why: str


class Collector(Protocol):
    """
    Where data go.
    """

    def take(self, signal: Signal, message: Message, count: int) -> Refused:
        """
        Send a message of `count` data, once, and tell how many were not taken.
        """

    def close(self) -> None:
        """
        Let go of the connection.
        """


def collector(to: str) -> Collector:
    """
    The collector at an address: `grpc://HOST:PORT` and `grpcs:` speak gRPC, `http:` and `https:`
    HTTP. Nothing is sent yet. Raises OSError where a certificate that was named is not readable,
    LookupError where a header that was named cannot be sent.
    """
    headers = parse_env_headers(os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), liberal=True)
    if not all(word.isascii() and word.isprintable() for pair in headers.items() for word in pair):
        raise LookupError("OTEL_EXPORTER_OTLP_HEADERS: a header is printable ASCII")
    found = urlsplit(to)
    if found.scheme in {"http", "https"}:
        return _Http(to, headers)
    return _Grpc(_channel(found.netloc, secure=found.scheme == "grpcs"), headers)


class _Grpc:
    def __init__(self, channel: grpc.Channel, headers: Mapping[str, str]) -> None:
        self._channel = channel
        self._headers = tuple(headers.items())
        self._calls: Mapping[Signal, grpc.UnaryUnaryMultiCallable[Message, _Answer]] = {
            signal: channel.unary_unary(
                method,
                request_serializer=_bytes,
                response_deserializer=_ANSWERS[signal].FromString,
            )
            for signal, method in _METHODS.items()
        }

    def take(self, signal: Signal, message: Message, count: int) -> Refused:
        try:
            answer = self._calls[signal](message, timeout=TIMEOUT, metadata=self._headers)
        except grpc.RpcError as error:
            return Refused(count, _said_by(error))
        return _partly(answer, count)

    def close(self) -> None:
        self._channel.close()


class _Http:
    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = urlsplit(url)
        self._headers = {**headers, "Content-Type": "application/x-protobuf"}

    def take(self, signal: Signal, message: Message, count: int) -> Refused:
        try:
            status, said = self._post(f"/v1/{signal.value}", message.SerializeToString())
        except (OSError, http.client.HTTPException) as error:
            return Refused(count, str(error)[:_TOLD_MAX] or type(error).__name__)
        if status // 100 != 2:
            return Refused(count, f"HTTP {status}")
        try:
            return _partly(_ANSWERS[signal].FromString(said), count)
        except DecodeError:
            # It said 200; what else it said is no OTLP, or was longer than an answer is.
            return Refused(0, "")

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        kind = _KINDS[self._url.scheme]
        with closing(kind(self._url.hostname or "", self._url.port, timeout=TIMEOUT)) as connection:
            connection.connect()
            with _cut_after(TIMEOUT, connection.sock):
                connection.request("POST", self._url.path.rstrip("/") + path, body, self._headers)
                answer = connection.getresponse()
                with answer:
                    return answer.status, answer.read(_ANSWER_MAX)

    def close(self) -> None:
        return


_KINDS: Final[Mapping[str, type[http.client.HTTPConnection]]] = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}


@contextmanager
def _cut_after(seconds: float, sock: socket.socket) -> Iterator[None]:
    """
    End the connection after so long: its own timeout begins anew with each byte.
    """

    def cut() -> None:
        with suppress(OSError):
            # Of the plain class: that of TLS would pull the session away under who is reading.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _channel(place: str, *, secure: bool) -> grpc.Channel:
    if not secure:
        return grpc.insecure_channel(place, options=_OPTIONS)
    roots = os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE")
    held = Path(roots).read_bytes() if roots else None
    return grpc.secure_channel(place, grpc.ssl_channel_credentials(held), options=_OPTIONS)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


def _partly(answer: _Answer, count: int) -> Refused:
    said = answer.partial_success
    number = next((value for field, value in said.ListFields() if field.number == 1), 0)
    # It may claim what it likes: more than all, or less than none.
    return Refused(max(0, min(count, number)), said.error_message[:_TOLD_MAX])


def _said_by(error: grpc.RpcError) -> str:
    if not isinstance(error, grpc.Call):
        return str(error)[:_TOLD_MAX]
    return f"{error.code().name}: {error.details() or ''}"[:_TOLD_MAX]
