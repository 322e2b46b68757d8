"""
Sockets that the server makes for a guest without a network namespace: connected when it is decided,
to nobody but us.
"""

import asyncio
import errno
import socket

import pytest
from net_world import PATIENCE, NetScene, network_policy, on_net

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.askers import require_of_worker
from executor.kernel.boxsockets import HELD_MAX, joined
from executor.kernel.errors import GuestError, WorkerFault
from executor.kernel.reply import Reply
from executor.linux import descriptors
from policy.types import CageKind

CLEAR = "  - {host: '*.test.example', ports: [443], raw: true, tls: false}\n"


async def opened(scene: NetScene, **asked: bool) -> tuple[socket.socket, int]:
    """
    The guest's socket, and its number.
    """
    reply = await scene.gate.serve(wire.Ask(open_socket=wire.SocketAsk(**asked)))
    assert reply.stream is not None
    scene.streams.append(reply.stream)
    return reply.stream, reply.answer.socket


async def dialled(scene: NetScene, number: int, host: str, port: int = 443) -> Reply:
    return await scene.gate.serve(wire.Ask(dial=wire.DialAsk(socket=number, host=host, port=port)))


@pytest.mark.parametrize("six", [True, False])
@pytest.mark.parametrize("nonblocking", [True, False])
def test_a_socket_is_connected_when_it_may_be_and_carried(six, nonblocking, tmp_path):
    async def scenario(scene: NetScene) -> None:
        made, number = await opened(scene, six=six, nonblocking=nonblocking)
        assert made.family == (socket.AF_INET6 if six else socket.AF_INET)
        with pytest.raises(OSError, match="not connected"):
            made.getpeername()
        address = await scene.gate.net.address_of("echo.test.example")
        assert (await dialled(scene, number, address)).answer == wire.Answer()
        assert made.getpeername()[0].removeprefix("::ffff:").startswith("127.")
        own = wire.RefusalAsk(host=address, port=443, own_port=made.getsockname()[1])
        assert await scene.ask(refusal=own) == wire.Answer()
        made.close()
        await scene.gate.net._until(lambda: not scene.gate.net._open, PATIENCE)
        assert await scene.rows() == [
            ("connect echo.test.example:443", "allow"),
            ("> connect echo.test.example:443", "ok"),
        ]

    on_net(tmp_path, scenario, network_policy(CLEAR))


def test_what_is_denied_leaves_the_socket_as_it_was(tmp_path):
    async def scenario(scene: NetScene) -> None:
        made, number = await opened(scene)
        answer = (await dialled(scene, number, "10.0.0.1")).answer
        assert answer.errno == errno.EACCES
        assert answer.reason.startswith("[policy test, rule network] connect 10.0.0.1:443 is not")
        with pytest.raises(OSError, match="not connected"):
            made.getpeername()
        told = await scene.ask(refusal=wire.RefusalAsk(host="10.0.0.1", port=443))
        assert (told.errno, told.reason) == (answer.errno, answer.reason)
        assert await scene.rows() == [("connect 10.0.0.1:443", "deny")]
        address = await scene.gate.net.address_of("echo.test.example")
        assert (await dialled(scene, number, address)).answer == wire.Answer()

    on_net(tmp_path, scenario, network_policy(CLEAR))


def test_a_socket_is_connected_once_and_of_many_the_oldest_never(tmp_path):
    async def scenario(scene: NetScene) -> None:
        _, first = await opened(scene)
        numbers = [(await opened(scene))[1] for _ in range(HELD_MAX)]
        address = await scene.gate.net.address_of("echo.test.example")
        assert (await dialled(scene, first, address)).answer.errno == errno.EOPNOTSUPP
        assert (await dialled(scene, numbers[0], address)).answer == wire.Answer()
        assert (await dialled(scene, numbers[0], address)).answer.errno == errno.EOPNOTSUPP

    on_net(tmp_path, scenario, network_policy(CLEAR))


def test_sockets_that_are_made_and_left_hold_so_many_descriptors_and_at_the_end_none(tmp_path):
    async def scenario(scene: NetScene) -> None:
        before = descriptors.own()
        for _ in range(3 * HELD_MAX):
            reply = await scene.gate.serve(wire.Ask(open_socket=wire.SocketAsk()))
            reply.close()
        assert len(descriptors.own() - before) == HELD_MAX
        await scene.gate.hang_up()
        assert descriptors.own() <= before

    on_net(tmp_path, scenario, network_policy(CLEAR))


def test_what_no_supervisor_asks_is_its_fault(tmp_path):
    async def scenario(scene: NetScene) -> None:
        _, number = await opened(scene)
        for asked in ((number + 1, 443), (number, 0), (number, 2**16)):
            with pytest.raises(WorkerFault):
                await dialled(scene, asked[0], "10.0.0.1", asked[1])

    on_net(tmp_path, scenario, network_policy(CLEAR))


def test_without_a_grant_nobody_is_given_a_socket(tmp_path):
    async def scenario(scene: NetScene) -> None:
        await scene.gate.hang_up()
        with pytest.raises(WorkerFault, match="no connection is granted"):
            await opened(scene)

    on_net(tmp_path, scenario, network_policy(CLEAR))


@pytest.mark.parametrize("cage", list(CageKind))
@pytest.mark.parametrize("kind", ["open_socket", "dial"])
def test_a_worker_may_not_ask_as_its_supervisor(cage, kind):
    with pytest.raises(WorkerFault):
        require_of_worker(cage, kind, wire.Ask())


def test_an_address_is_for_the_guest_whose_names_have_some(tmp_path):
    with pytest.raises(WorkerFault, match="names of its own"):
        require_of_worker(CageKind.WASM, "address", wire.Ask(address="x"))

    async def scenario(scene: NetScene) -> None:
        # This gate's worker is of the other cage.
        reply = await scene.gate.net.answer("address", wire.Ask(address="echo.test.example"))
        assert reply.answer.address == "198.18.0.1"
        with pytest.raises(GuestError, match=r"resolve evil\.example is not granted"):
            await scene.gate.net.answer("address", wire.Ask(address="evil.example"))

    on_net(tmp_path, scenario, network_policy(CLEAR))


def bound() -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


def test_a_stranger_who_comes_first_is_sent_away(monkeypatch):
    """
    Who finds the place where the two ends meet gets nothing, and the ends find each other.
    """
    strangers: list[socket.socket] = []

    class Crowded(socket.socket):
        def listen(self, *backlog: int) -> None:
            super().listen(*backlog)
            strangers.append(socket.create_connection(self.getsockname(), timeout=PATIENCE))

    async def scenario() -> None:
        with bound() as own:
            monkeypatch.setattr(socket, "socket", Crowded)
            ours = await joined(own)
            monkeypatch.undo()
            with ours, strangers[0]:
                assert ours.getpeername() == own.getsockname()
                own.sendall(b"own")
                strangers[0].setblocking(False)
                assert await asyncio.get_running_loop().sock_recv(ours, 9) == b"own"
                assert await asyncio.get_running_loop().sock_recv(strangers[0], 9) == b""

    asyncio.run(scenario())


def test_a_socket_that_cannot_be_connected_is_an_errno_and_leaves_nothing():
    async def scenario() -> None:
        with bound() as own:
            first = await joined(own)
            with first, pytest.raises(GuestError, match="endpoint is already connected") as refused:
                await joined(own)
            assert refused.value.errno == errno.EHOSTUNREACH

    asyncio.run(scenario())
