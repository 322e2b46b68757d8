"""
Collectors of OpenTelemetry for tests: real servers of the protocol's own stubs, over gRPC and
HTTP, which keep what they are sent and answer as they are told.
"""

import contextlib
import http.server
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

PIECE = 65_536
REQUESTS = {
    "/v1/traces": ("traces", trace.ExportTraceServiceRequest),
    "/v1/metrics": ("metrics", metrics.ExportMetricsServiceRequest),
    "/v1/logs": ("logs", logs.ExportLogsServiceRequest),
}


class Got:
    """
    What a collector was sent, by signal, in order.
    """

    def __init__(self):
        self.requests = {"traces": [], "metrics": [], "logs": []}
        self.headers = []

    @property
    def count(self):
        return sum(map(len, self.requests.values()))

    def clear(self):
        self.requests = {signal: [] for signal in self.requests}

    @property
    def spans(self):
        return [
            span
            for request in self.requests["traces"]
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def events(self):
        return [
            event
            for request in self.requests["logs"]
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for event in scope.log_records
        ]

    @property
    def metrics(self):
        """
        Each metric by its name, of the last request that had it.
        """
        return {
            one.name: one
            for request in self.requests["metrics"]
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for one in scope.metrics
        }


def attributes(of):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


class Grpc:
    """
    The three services. `behave`, where set, is called with the signal and the context before an
    answer: it may abort, wait, or give the answer itself.
    """

    def __init__(self):
        self.got = Got()
        self.behave = None
        self.left = threading.Event()

    def answer(self, signal, kind):
        def export(_, request, context):
            self.got.requests[signal].append(request)
            self.got.headers.append(dict(context.invocation_metadata()))
            said = self.behave(signal, context) if self.behave is not None else None
            return kind() if said is None else said

        return export


@contextlib.contextmanager
def grpc_collector(credentials=None):
    made = Grpc()
    server = grpc.server(ThreadPoolExecutor(2))
    for signal, kind, base, add in (
        (
            "traces",
            trace.ExportTraceServiceResponse,
            trace_grpc.TraceServiceServicer,
            trace_grpc.add_TraceServiceServicer_to_server,
        ),
        (
            "metrics",
            metrics.ExportMetricsServiceResponse,
            metrics_grpc.MetricsServiceServicer,
            metrics_grpc.add_MetricsServiceServicer_to_server,
        ),
        (
            "logs",
            logs.ExportLogsServiceResponse,
            logs_grpc.LogsServiceServicer,
            logs_grpc.add_LogsServiceServicer_to_server,
        ),
    ):
        add(type(signal, (base,), {"Export": made.answer(signal, kind)})(), server)
    if credentials is None:
        made.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
        made.url = f"grpcs://127.0.0.1:{port}"
    server.start()
    try:
        yield made
    finally:
        made.left.set()
        server.stop(None).wait()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signal, kind = REQUESTS[self.path]
        self.server.got.requests[signal].append(kind.FromString(body))
        self.server.got.headers.append(dict(self.headers))
        if self.server.status is None:
            self.wfile.write(b"no status line\r\n\r\n")
            return
        self.send_response(self.server.status)
        if self.server.status in {302, 307}:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        # Who reads no further than it needs closes before all is written.
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(self.server.answer), PIECE):
                self.wfile.write(self.server.answer[start : start + PIECE])
                self.server.written += PIECE

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        # Who does not believe our certificate hangs up; that is no failure of this side.
        pass


@contextlib.contextmanager
def http_collector(tls=None):
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.got, server.status, server.answer, server.written = Got(), 200, b"", 0
        server.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        if tls is not None:
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
