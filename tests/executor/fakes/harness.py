"""
A whole server in the test's own process, but for its cage: the real launcher, zygote protocol,
sessions, gate, record, service and gRPC over a real socket, with the fake cage's workers.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from codecage.v1 import codecage_pb2 as pb
from codecage.v1 import codecage_pb2_grpc
from executor.api.approvers import ApprovalOptions, Door
from executor.api.listening import Place
from executor.api.service import About, Service
from executor.audit import read
from executor.audit.record import Record
from executor.audit.store import AuditStore
from executor.children import launcher
from executor.children.brokers import Brokers
from executor.children.zygotes import ImageRow, Rotation, Zygotes
from executor.kernel.pool import FilePool
from executor.sessions.approving import Approver, Desk
from executor.sessions.registry import Served, Sessions
from policy.builtin import CALCULATOR
from policy.parse import parse
from policy.types import Policy

FAKE = Path(__file__).with_name("cage.py")
FAKE_BROKER = Path(__file__).with_name("broker.py")
KEY = "0" * 64


def key_of(image: str) -> str:
    return KEY if image == "core" else hashlib.sha256(image.encode()).hexdigest()


def fake_command(*options: str, program: Path = FAKE) -> list[str]:
    return [sys.executable, "-I", "-B", str(program), json.dumps(launcher.import_paths()), *options]


def policy(text: str, name: str = "test", base: str = "/") -> Policy:
    head = f"version: 1\nname: {name}\ndescription: a test's policy\n"
    return parse(head + text, file=f"{name}.yaml", base=base)


@contextlib.contextmanager
def launched(*options: str) -> Iterator[launcher.Launcher]:
    with launched_images({"core": options}) as started:
        yield started


@contextlib.contextmanager
def launched_images(
    images: Mapping[str, Sequence[str]], broker: Sequence[str] = ()
) -> Iterator[launcher.Launcher]:
    """
    The rows are the images', and after them the network broker's.
    """
    rows = [fake_command(*options) for options in images.values()]
    started = launcher.launch([*rows, fake_command(*broker, program=FAKE_BROKER)])
    try:
        yield started
    finally:
        started.stop()


@dataclass(slots=True)
class Running:
    stub: Any
    sessions: Sessions
    zygotes: Zygotes
    store: AuditStore
    audit: Path
    channel: grpc.aio.Channel
    address: str
    launcher: launcher.Launcher
    desk: Desk | None = None
    open: list[Any] = field(default_factory=list)

    async def create(self, name: str = "calculator", *, image: str = "", **labels: str) -> str:
        request = pb.CreateSessionRequest(policy=name, image=image, labels=labels)
        return (await self.stub.CreateSession(request)).id

    async def run(self, session: str, code: str, **options: Any) -> list[pb.Event]:
        call = self.execute(session, code, **options)
        return [event async for event in call]

    def execute(self, session: str, code: str, *, timeout: float | None = 30, **options: Any):
        start = pb.StartCell(session_id=session, code=code, **options)
        return self.stub.Execute(iter([pb.ExecuteRequest(start=start)]), timeout=timeout)

    def records(self, session: str | None = None) -> list[Record]:
        return read.records(self.audit, session=session, limit=10_000)

    def worker_pid(self, session: str) -> int:
        return self.sessions.get(session)._worker.pid


@contextlib.asynccontextmanager
async def running(
    place: Path,
    policies: Sequence[Policy] = (),
    *,
    options: Sequence[str] = (),
    images: Mapping[str, Sequence[str]] | None = None,
    pool: int = 0,
    rotation: Rotation | None = None,
    most_sessions: int = 64,
    most_message: int = 4 * 2**20,
    broker: Sequence[str] = (),
    approvers: Sequence[Approver] = (),
) -> AsyncIterator[Running]:
    place.mkdir(0o700, exist_ok=True)  # noqa: ASYNC240 - nothing else runs yet
    offered: Mapping[str, Policy] = {one.name: one for one in (CALCULATOR, *policies)}
    audit = place / "audit.sqlite3"
    table = images or {"core": options}
    with launched_images(table, broker) as started, AuditStore.open(audit) as store:
        rows = [ImageRow(name, key_of(name)) for name in table]
        zygotes = Zygotes(started, rows, pool=pool, rotation=rotation)
        files = FilePool()
        brokers = Brokers(started, len(table))
        desk = Desk() if approvers else None
        served = Served(offered, store, zygotes, files, most_sessions, brokers, desk=desk)
        sessions = Sessions(served)
        door = desk and Door(
            ApprovalOptions(Place(place / "door"), tuple(approvers)), Place(place / "inner"), desk
        )
        server = grpc.aio.server(options=(("grpc.max_receive_message_length", most_message),))
        about = About("test", "0", "nobody", ())
        codecage_pb2_grpc.add_CodecageServicer_to_server(Service(about, sessions, audit), server)
        address = f"unix:{place / 'sock'}"
        server.add_insecure_port(address)
        await server.start()
        if door is not None:
            await door.open()
        channel = grpc.aio.insecure_channel(address)
        stub = codecage_pb2_grpc.CodecageStub(channel)
        try:
            yield Running(stub, sessions, zygotes, store, audit, channel, address, started, desk)
        finally:
            await channel.close()
            await sessions.drain(0.0, _never())
            if door is not None:
                await door.close()
                del door._server._server  # as below
            await server.stop(None)
            # Its finaliser would schedule another stop, on a loop that may be closed by then.
            del server._server
            brokers.close()
            await zygotes.close()
            files.close()


def _never() -> Any:
    return asyncio.get_running_loop().create_future()


def reason(error: grpc.aio.AioRpcError) -> str:
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            status = pb.StatusDetails.FromString(value)
            return pb.ErrorInfo.FromString(status.details[0].value).reason
    return ""


def metadata(error: grpc.aio.AioRpcError) -> dict[str, str]:
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            status = pb.StatusDetails.FromString(value)
            return dict(pb.ErrorInfo.FromString(status.details[0].value).metadata)
    return {}


def ended(events: Sequence[pb.Event]) -> pb.CellEnded:
    assert [event.WhichOneof("event") for event in events].count("ended") == 1
    assert events[-1].WhichOneof("event") == "ended"
    return events[-1].ended


def output(events: Sequence[pb.Event]) -> str:
    data = b"".join(event.output.data for event in events if event.HasField("output"))
    return data.decode()
