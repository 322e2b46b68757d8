# ruff: noqa: ARG002, N802 - the names and arguments are those of the generated servicer
"""
A server that keeps the wire contract and runs nothing: each code text has its events written down.

It listens on a real unix socket and answers real gRPC calls, so that what is tested above it is
the client, its connection and its errors.
"""

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2  # the originals, as servers send them
from grpc_status import rpc_status

from codecage import values
from codecage.v1 import codecage_pb2 as pb
from codecage.v1.codecage_pb2_grpc import CodecageServicer, add_CodecageServicer_to_server

PATIENCE = 20
ESCAPES = b'\x1b]52;c;ZXZpbA==\x07\x1b[2J\x00RESULT {"status": "ok"}\n'


def output(data: bytes, stream: int = pb.STREAM_STDOUT) -> dict[str, Any]:
    return {"output": pb.Output(stream=stream, data=data)}


def value(text: str, full_length: int | None = None) -> dict[str, Any]:
    cut = full_length is not None
    return {"value": pb.Value(text=text, full_length=full_length or len(text), truncated=cut)}


def display(**forms: bytes) -> dict[str, Any]:
    """
    Forms by their media types, with `_` for the slash.
    """
    data = {kind.replace("_", "/"): form for kind, form in forms.items()}
    return {"display": pb.Display(data=data)}


def ended(status: int = pb.CELL_STATUS_OK, written: int = 0, **fields: Any) -> dict[str, Any]:
    usage = pb.Usage(
        wall_time=Duration(seconds=10, nanos=20_000_000),
        cpu_time=Duration(nanos=5_000_000),
        peak_memory_bytes=1 << 20,
        stdout_bytes=written,
        output_truncated=fields.pop("truncated", False),
        requests=3,
        denied=1,
    )
    head = pb.AuditHead(sequence=7, hash=b"\xab\xcd")
    return {"ended": pb.CellEnded(status=status, usage=usage, audit_head=head, **fields)}


# As much of a picture of 640 by 480 pixels as says its size.
PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes([0, 0, 2, 128, 0, 0, 1, 224]) + b"\x08\x02\0\xff"
FIGURE = {"text_plain": b"<Figure>", "image_png": PICTURE}
TABLE = {"text_plain": b"   a\n0  1", "text_html": b"<table>\x1b[2J"}
ERROR = pb.CellError(
    name="ZeroDivisionError",
    message="division by zero",
    traceback='Traceback (most recent call last):\n  File "<cell 1>", line 1\n'
    "ZeroDivisionError: division by zero\n",
)
LOST = {"session_lost": True, "reason": "its memory limit was reached"}
SCRIPTS: dict[str, list[dict[str, Any]]] = {
    "2 + 2": [value("4"), ended()],
    "pass": [ended()],
    "print('hi')": [output(b"hi\n"), ended(written=3)],
    "both": [
        output(b"out 1\n"),
        output(b"err 1\n", pb.STREAM_STDERR),
        output(b"out"),
        output(b" 2\n"),
        value("'v'"),
        ended(written=18),
    ],
    "utf8": [
        output(b"\xe2\x82"),
        output(b"\xff", pb.STREAM_STDERR),
        output(b"\xac \xff\n\xe2"),
        ended(written=7),
    ],
    "1/0": [output(b"before\n"), ended(pb.CELL_STATUS_ERROR, 7, error=ERROR)],
    "big": [output(b"x" * 100), ended(written=5_000_000, truncated=True)],
    "long value": [value("[0, 1", 1000), ended()],
    "late": [output(b"half"), ended(pb.CELL_STATUS_TIMED_OUT, 4)],
    "burn": [ended(pb.CELL_STATUS_CPU_LIMIT)],
    "exit(0)": [ended(pb.CELL_STATUS_EXITED)],
    "exit(3)": [ended(pb.CELL_STATUS_EXITED, exit_code=3)],
    "die": [output(b"last words"), ended(pb.CELL_STATUS_WORKER_LOST, 10, **LOST)],
    "escapes": [output(ESCAPES), value("'\x1b[31m'"), ended(written=len(ESCAPES))],
    "table": [display(**TABLE), value("   a\n0  1"), ended()],
    "figures": [
        output(b"one\n"),
        display(**FIGURE),
        output(b"two\n"),
        display(**FIGURE),
        output(b"err\n", pb.STREAM_STDERR),
        value("7"),
        ended(written=12),
    ],
    "markdown": [display(text_plain=b"Note()", text_markdown=b"# A note\n"), ended()],
    "picture alone": [
        output(b"no end of line"),
        display(image_png=b"no picture"),
        ended(written=14),
    ],
    "shown and failed": [
        display(**FIGURE),
        ended(pb.CELL_STATUS_ERROR, error=ERROR),
    ],
    "not shown": [output(b"hi\n"), ended(written=3, truncated=True)],
    "final_answer(42)": [
        output(b"log\n"),
        {"final": pb.Final(value=values.encode(42))},
        ended(written=4),
    ],
    "print(' ')": [output(b" \n"), ended(written=2)],
    "cut off": [output(b"then nothing")],
    "newer": [{}, {"output": pb.Output(stream=9, data=b"?")}, ended(99, 1)],
}


class Scripted(CodecageServicer):
    def __init__(self) -> None:
        self.created: list[pb.CreateSessionRequest] = []
        self.executed: list[pb.StartCell] = []
        self.closed: list[str] = []
        self.files: dict[str, bytes] = {}
        self.running = threading.Event()
        self.interrupted = threading.Event()
        self.cancelled = threading.Event()

    def GetServerInfo(self, request, context):
        image = pb.ImageInfo(name="core", key="k", python_version="3.14.2", packages=["sympy"])
        return pb.ServerInfo(version="0.1.0", images=[image], user="nobody", max_code_bytes=9)

    def ListPolicies(self, request, context):
        return pb.ListPoliciesResponse(policies=[policy("analyst"), policy("calculator")])

    def CreateSession(self, request, context):
        self.created.append(request)
        if request.policy not in {"", "analyst"}:
            refuse(context, grpc.StatusCode.NOT_FOUND, "POLICY_NOT_FOUND", policy=request.policy)
        if request.image == "denied":
            named = {"policy": request.policy, "image": "denied", "allowed": "core data"}
            refuse(context, grpc.StatusCode.PERMISSION_DENIED, "IMAGE_NOT_ALLOWED", **named)
        if request.image == "missing":
            refuse(context, grpc.StatusCode.FAILED_PRECONDITION, "IMAGE_NOT_BUILT", image="missing")
        return session(f"s{len(self.created)}", request)

    def GetSession(self, request, context):
        if request.session_id != "s1":
            refuse(context, grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")
        return session("s1", pb.CreateSessionRequest())

    def ListSessions(self, request, context):
        return pb.ListSessionsResponse(sessions=[session("s1", pb.CreateSessionRequest())])

    def CloseSession(self, request, context):
        if request.session_id in self.closed or request.session_id == "gone":
            refuse(context, grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")
        self.closed.append(request.session_id)
        return pb.CloseSessionResponse(audit_head=pb.AuditHead(sequence=9, hash=b"\x01"))

    def Execute(self, request_iterator, context):
        start = next(request_iterator).start
        self.executed.append(start)
        context.add_callback(self.cancelled.set)
        yield from numbered(self._script(start, context))

    def Attach(self, request, context):
        if request.cell != 1:
            refuse(context, grpc.StatusCode.NOT_FOUND, "CELL_NOT_FOUND")
        events = list(numbered(iter([{"started": pb.CellStarted(cell=1)}, *SCRIPTS["both"]])))
        yield from (event for event in events if event.sequence > request.after_sequence)

    def Interrupt(self, request, context):
        was_running = self.running.is_set()
        self.interrupted.set()
        return pb.InterruptResponse(interrupted=was_running)

    def PutFile(self, request_iterator, context):
        start = next(request_iterator).start
        self.files[start.path] = b"".join(request.data for request in request_iterator)
        return file(start.path, len(self.files[start.path]))

    def GetFile(self, request, context):
        data = self._file(request.path, context)
        for at in range(0, len(data), 65_536):
            yield pb.GetFileResponse(data=data[at : at + 65_536])

    def ListFiles(self, request, context):
        return pb.ListFilesResponse(files=[file(p, len(d)) for p, d in self.files.items()])

    def RemoveFile(self, request, context):
        self._file(request.path, context)
        del self.files[request.path]
        return pb.RemoveFileResponse()

    def ReadAudit(self, request, context):
        for sequence in range(request.after_sequence + 1, 4):
            yield pb.AuditRecord(sequence=sequence, event="decision", decision="deny")

    def ReadProof(self, request, context):
        return self.proof

    def _file(self, path: str, context: Any) -> bytes:
        if path not in self.files:
            refuse(context, grpc.StatusCode.NOT_FOUND, "FILE_REFUSED", errno="ENOENT")
        return self.files[path]

    def _script(self, start: pb.StartCell, context: Any) -> Iterator[dict[str, Any]]:
        code = start.code.strip()
        failures = {
            "busy": (grpc.StatusCode.FAILED_PRECONDITION, "CELL_RUNNING"),
            "lost": (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_LOST"),
            "too long": (grpc.StatusCode.INVALID_ARGUMENT, "CODE_TOO_LONG"),
            "too much": (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED"),
            "broken": (grpc.StatusCode.INTERNAL, "INTERNAL"),
        }
        if code in failures:
            refuse(context, *failures[code])
        yield {"started": pb.CellStarted(session_id=start.session_id, cell=len(self.executed))}
        if code == "wait":
            yield output(b"waiting\n")
            self.running.set()
            self.interrupted.wait(PATIENCE)
            yield ended(pb.CELL_STATUS_INTERRUPTED, 8)
        elif code == "endless":
            while context.is_active():
                yield output(b"more\n")
        else:
            yield from SCRIPTS.get(code, [output(start.code.encode()), ended()])


def numbered(events: Iterator[dict[str, Any]]) -> Iterator[pb.Event]:
    for sequence, fields in enumerate(events, 1):
        yield pb.Event(sequence=sequence, **fields)


def policy(name: str) -> pb.PolicyInfo:
    limits = pb.Limits(memory_bytes=1, wall_time=Duration(seconds=60), cells=5)
    mounts = [pb.Mount(path="/data", writable=False, scratch=False)]
    info = pb.PolicyInfo(name=name, description="d", digest="e" * 64, mounts=mounts, limits=limits)
    info.image = "core"
    if name == "analyst":
        info.images.extend(["core", "data"])
    return info


def session(name: str, request: pb.CreateSessionRequest) -> pb.Session:
    return pb.Session(
        id=name,
        policy=request.policy or "calculator",
        policy_info=policy(request.policy or "calculator"),
        image=request.image or "core",
        state=pb.SESSION_STATE_IDLE,
        created=Timestamp(seconds=1_700_000_000),
        isolation="W2",
        labels=request.labels,
    )


def file(path: str, size: int) -> pb.FileInfo:
    return pb.FileInfo(path=path, size=size, modified=Timestamp(seconds=1_700_000_000))


def refuse(context: Any, code: grpc.StatusCode, reason: str, **metadata: str) -> NoReturn:
    info = error_details_pb2.ErrorInfo(reason=reason, domain="codecage", metadata=metadata)
    status = status_pb2.Status(code=code.value[0], message=f"refused: {reason}")
    status.details.add().Pack(info)
    context.abort_with_status(rpc_status.to_status(status))


@contextmanager
def serving(directory: Path, scripted: Scripted | None = None) -> Iterator[tuple[Scripted, str]]:
    """
    A scripted server and its address; stopped at the end.
    """
    scripted = scripted or Scripted()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    add_CodecageServicer_to_server(scripted, server)
    address = f"unix:{directory}/sock"
    server.add_insecure_port(address)
    server.start()
    try:
        yield scripted, address
    finally:
        scripted.interrupted.set()
        server.stop(0).wait()
