"""
A session's network as a box has it, all of it real: a guest in its box, the server's side of it,
the gate's, a network broker, and servers in the world.
"""

import array
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from codecage.worker.v1 import worker_pb2 as wire
from executor.audit import read
from executor.audit.record import Event, Record
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.children import launcher
from executor.children.brokers import Brokers
from executor.identity import Account
from executor.kernel.docket import Docket
from executor.kernel.errors import GuestError
from executor.kernel.net import Net
from executor.kernel.refusals import answer_to
from executor.kernel.standing import Standing
from executor.networking import NetworkOptions, broker_command
from executor.process.network import BoxNetwork, ports_of
from policy.decide import compile_policy
from policy.parse import parse
from policy.types import Policy

GUEST = Path(__file__).with_name("network_guest.py")
ROOT = GUEST.parents[3]
PATIENCE = 30.0
NOBODY = 65534


@dataclass(slots=True)
class Guest:
    """
    The process in the box; `run` gives the value of an expression there.
    """

    jobs: TextIO

    async def run(self, code: str, before: str = "") -> Any:
        async with asyncio.timeout(PATIENCE):
            return await asyncio.to_thread(self._run, code, before)

    def _run(self, code: str, before: str) -> Any:
        print(json.dumps({"code": code, "before": before}), file=self.jobs, flush=True)
        said = json.loads(self.jobs.readline())
        assert "error" not in said, said["error"]
        return said["value"]


@contextlib.contextmanager
def guest(ports: Sequence[int]) -> Iterator[tuple[Guest, list[socket.socket]]]:
    """
    A guest in a box with these ports, and our ends: of the names, of each port.
    """
    ours, theirs = socket.socketpair()
    jobs, worked = socket.socketpair()
    numbers = (theirs.fileno(), worked.fileno())
    process = subprocess.Popen(
        [sys.executable, "-B", str(GUEST), *map(str, numbers), json.dumps([*ports])],
        pass_fds=numbers,
        env={"PYTHONPATH": f"{ROOT}:{GUEST.parent}", "PATH": os.defpath},
        cwd="/",
    )
    theirs.close()
    worked.close()
    try:
        with ours, jobs, jobs.makefile("rw") as spoken:
            ours.settimeout(PATIENCE)
            jobs.settimeout(PATIENCE)
            yield Guest(spoken), _received(ours)
            jobs.shutdown(socket.SHUT_RDWR)
    finally:
        process.wait(PATIENCE)


def _received(channel: socket.socket) -> list[socket.socket]:
    _, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(4 * 128))
    numbers = array.array("i")
    for _, _, data in ancillary:
        numbers.frombytes(data)
    assert numbers, "the guest has sent no sockets"
    return [socket.socket(fileno=number) for number in numbers]


@dataclass(slots=True)
class Scene:
    """
    One session: `run` is the guest's, `ask` the worker's half of it.
    """

    guest: Guest
    net: Net
    docket: Docket
    network: BoxNetwork
    brokers: Brokers
    log: SessionLog
    audit: Path

    async def run(self, code: str, before: str = "") -> Any:
        return await self.guest.run(code, before)

    async def why(self, host: str, port: int = 0, own_port: int = 0) -> wire.Answer:
        refusal = wire.RefusalAsk(host=host, port=port, own_port=own_port)
        try:
            return (await self.net.answer("refusal", wire.Ask(refusal=refusal))).answer
        except GuestError as error:
            return answer_to(error)

    async def written(self) -> list[Record]:
        await self.log.file_rpc("so far", "ok")
        found = read.records(self.audit, session="s", limit=10_000)
        return [one for one in found if one.event in {Event.DECISION, Event.OUTCOME}]

    async def rows(self) -> list[tuple[str, str]]:
        """
        Decisions as (what, answer), outcomes as (> what, outcome).
        """
        found = await self.written()
        asked = {one.sequence: one.request for one in found}
        return [
            (f"{one.request}", one.answer.value)
            if one.answer
            else (f"> {asked[one.refers]}", f"{one.outcome}")
            for one in found
        ]

    async def over(self) -> None:
        """
        Wait until no connection is open.
        """
        async with asyncio.timeout(PATIENCE):
            while self.net._open:
                await self.net._changed.wait()


def network_policy(grants: str, limits: str = "") -> Policy:
    head = "version: 1\nname: test\ndescription: a test's policy\n"
    return parse(f"{head}network:\n{grants}{limits}", file="test.yaml", base="/")


def on_box_net(
    place: Path,
    scenario: Callable[[Scene], Awaitable[None]],
    rules: Policy,
    *,
    options: NetworkOptions | None = None,
) -> None:
    async def main() -> None:
        audit = place / "record" / "audit.sqlite3"
        account = Account("nobody", NOBODY, NOBODY, changes=os.geteuid() == 0)
        given = options or NetworkOptions()
        started = launcher.launch([broker_command(given, account)])
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(started.stop)
            store = stack.enter_context(AuditStore.open(audit))
            made, (names, *listeners) = stack.enter_context(guest(ports_of(rules)))
            brokers = Brokers(started, 0, given.resolvers)
            stack.callback(brokers.close)
            log = SessionLog(store, "s", rules.digest, rules.limits.requests)
            await log.create(rules.name)
            docket = Docket(Standing(compile_policy(rules)), log)
            net = Net(docket, brokers.join(rules))
            stack.push_async_callback(net.close)
            network = BoxNetwork(net, listeners, names)
            network.start()
            stack.push_async_callback(network.close)
            await scenario(Scene(made, net, docket, network, brokers, log, audit))

    asyncio.run(main())
