"""
A session's gate with a real broker process behind it, which behaves as the host's name says.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from codecage.worker.v1 import worker_pb2 as wire
from executor.audit import read
from executor.audit.record import Event, Record
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.children.brokers import Brokers, Lease
from executor.kernel.gate import Gate
from executor.kernel.paths import HostTrees
from executor.kernel.pool import FilePool
from executor.kernel.standing import Standing
from policy.decide import compile_policy
from policy.types import Policy
from tests.executor.fakes.harness import launched_images, policy

PATIENCE = 20.0


@dataclass(slots=True)
class Stream:
    """
    The guest's end of a connection.
    """

    number: int
    tls: bool
    socket: socket.socket

    async def made(self) -> bool:
        """
        Whether the first byte says that the connection is made, and not the end of the stream.
        """
        return await self.receive(1) == b"\0"

    async def receive(self, count: int = 2**16) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.get_running_loop().sock_recv(self.socket, count)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def request(self, method: str, path: str, query: str = "-", hops: int = 0) -> bytes:
        await self.send(f"{method} {path} {query} {hops}\n".encode())
        return await self.receive()

    def close(self) -> None:
        self.socket.close()


@dataclass(slots=True)
class NetScene:
    gate: Gate
    store: AuditStore
    audit: Path
    log: SessionLog
    brokers: Brokers
    way: Lease
    streams: list[socket.socket] = field(default_factory=list)

    async def ask(self, **fields: object) -> wire.Answer:
        reply = await self.gate.answer(wire.Ask(**fields))  # type: ignore[arg-type]
        reply.close()
        return reply.answer

    async def connect(self, host: str, port: int = 443) -> Stream:
        ask = wire.Ask(connect=wire.ConnectAsk(host=host, port=port))
        reply = await self.gate.answer(ask)
        assert reply.stream is not None, reply.answer
        reply.stream.setblocking(False)
        self.streams.append(reply.stream)
        connected = reply.answer.connected
        return Stream(connected.connection, connected.tls, reply.stream)

    async def denied(self, host: str, port: int = 443) -> wire.Answer:
        answer = await self.ask(connect=wire.ConnectAsk(host=host, port=port))
        assert answer.errno
        return answer

    async def end(self, stream: Stream) -> wire.Answer:
        """
        How a connection ended, once its stream has.
        """
        while await stream.receive():
            pass
        return await self.ask(connection_end=stream.number)

    async def written(self) -> list[Record]:
        """
        The decisions and outcomes so far, all of them on disk.
        """
        await self.log.file_rpc("so far", "ok")
        found = read.records(self.audit, session="s", limit=10_000)
        return [one for one in found if one.event in {Event.DECISION, Event.OUTCOME}]

    async def rows(self) -> list[tuple[str, str]]:
        """
        The same, as (what, answer or outcome); an outcome names what it is the outcome of.
        """
        found = await self.written()
        asked = {one.sequence: one.request for one in found}
        return [
            (f"{one.request}", one.answer.value)
            if one.answer
            else (f"> {asked[one.refers]}", f"{one.outcome}")
            for one in found
        ]


def network_policy(grants: str, limits: str = "") -> Policy:
    return policy(f"network:\n{grants}{limits}")


def on_net(
    place: Path,
    scenario: Callable[[NetScene], Awaitable[None]],
    rules: Policy,
    *,
    broker: tuple[str, ...] = (),
    idle: float = 60.0,
) -> None:
    async def main() -> None:
        audit = place / "record" / "audit.sqlite3"
        files = FilePool()
        with launched_images({}, broker) as started, AuditStore.open(audit) as store:
            brokers = Brokers(started, 0, idle=idle)
            way = brokers.join(rules)
            log = SessionLog(store, "s", rules.digest, rules.limits.requests)
            await log.create(rules.name)
            trees = HostTrees(rules.filesystem)
            gate = Gate(Standing(compile_policy(rules)), trees, log, files.share("test"), way)
            assert isinstance(way, Lease)
            scene = NetScene(gate, store, audit, log, brokers, way)
            try:
                await scenario(scene)
            finally:
                for stream in scene.streams:
                    stream.close()
                await gate.hang_up()
                gate.close()
                brokers.close()
                files.close()

    asyncio.run(main())
