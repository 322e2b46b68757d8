"""
Connections of a guest's own TCP at the gate: the same decisions and records as those it asks for.
"""

import errno
import socket

import pytest
from net_world import PATIENCE, NetScene, network_policy, on_net

from codecage.network.v1 import network_pb2 as broker_pb2
from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.arrivals import KEPT, Arrival, Arrivals, Place
from executor.kernel.connection import End
from executor.kernel.errors import GuestError, InternalError
from executor.kernel.names import NAMES_MAX, Names

CLEAR = "  - {host: '*.test.example', ports: [443], raw: true, tls: false}\n"
TLS = "  - {host: '*.test.example', ports: [443]}\n"


def connection() -> tuple[socket.socket, socket.socket]:
    """
    The guest's end of a TCP connection, and ours.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname(), timeout=PATIENCE)
        ours, _ = server.accept()
    return theirs, ours


async def arrive(scene: NetScene, host: str, port: int = 443) -> tuple[socket.socket, int]:
    """
    Have a connection to `host` accepted; the guest's end and its port.
    """
    theirs, ours = connection()
    theirs.setblocking(False)
    scene.streams.append(theirs)
    own = theirs.getsockname()[1]
    await scene.gate.net.accept(Arrival(host, port, own, ours))
    return theirs, own


async def why(scene: NetScene, host: str, port: int = 0, own_port: int = 0) -> wire.Answer:
    return await scene.ask(refusal=wire.RefusalAsk(host=host, port=port, own_port=own_port))


async def reads_reset(scene: NetScene, end: socket.socket) -> bool:
    await scene.gate.net._until(lambda: not scene.gate.net._open, PATIENCE)
    end.settimeout(PATIENCE)
    with pytest.raises(ConnectionResetError):
        end.recv(1)
    return True


def test_the_name_that_an_address_was_made_for_is_decided_and_carried(tmp_path):
    async def scenario(scene: NetScene) -> None:
        address = await scene.gate.net.address_of("ECHO.test.example")
        assert address == await scene.gate.net.address_of("echo.test.example.")
        end, own = await arrive(scene, address)
        assert await why(scene, address, 443, own) == wire.Answer()
        assert await why(scene, "echo.test.example", 443, own) == wire.Answer()
        end.close()
        await scene.gate.net._until(lambda: not scene.gate.net._open, PATIENCE)
        assert await scene.rows() == [
            ("connect echo.test.example:443", "allow"),
            ("> connect echo.test.example:443", "ok"),
        ]

    on_net(tmp_path, scenario, network_policy(CLEAR))


def test_what_is_denied_is_reset_and_its_reason_is_told_once(tmp_path):
    async def scenario(scene: NetScene) -> None:
        for host, port in (("10.0.0.1", 443), ("::1", 443), ("198.18.9.9", 443)):
            end, own = await arrive(scene, host, port)
            assert await reads_reset(scene, end)
            told = await why(scene, host, port, own)
            assert told.errno == errno.EACCES
            assert told.reason.startswith("[policy test, rule network] connect ")
            assert await why(scene, host, port, own) == wire.Answer()
        assert [told for _, told in await scene.rows()] == ["deny"] * 3
        assert scene.gate.counts.connections == 0

    on_net(tmp_path, scenario, network_policy(CLEAR))


def test_without_a_broker_a_connection_is_reset_as_well(tmp_path):
    async def scenario(scene: NetScene) -> None:
        end, own = await arrive(scene, await scene.gate.net.address_of("echo.test.example"))
        assert await reads_reset(scene, end)
        assert (await why(scene, "echo.test.example", 443, own)).errno == errno.EIO

    on_net(tmp_path, scenario, network_policy(CLEAR), broker=("--broken",))


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("http: [{methods: [GET]}]", "network[0].http"),
        ("credentials: {header: X-Key, secret: key}", "network[0].credentials"),
    ],
)
def test_a_grant_whose_requests_are_to_be_read_over_tls_is_denied(tmp_path, key, rule):
    async def scenario(scene: NetScene) -> None:
        end, _ = await arrive(scene, await scene.gate.net.address_of("api.test.example"))
        assert await reads_reset(scene, end)
        ((record),) = await scene.written()
        assert (record.answer.value, record.rule) == ("deny", rule)

    grant = f"  - {{host: api.test.example, ports: [443], {key}}}\n"
    on_net(tmp_path, scenario, network_policy(grant))


def test_a_broker_tells_of_a_greeting_only_where_the_guest_speaks_tls(tmp_path):
    def said(number: int, **fields: object) -> broker_pb2.FromBroker:
        (kind,) = fields
        return broker_pb2.FromBroker(**{kind: {"connection": number, **fields[kind]}})

    async def scenario(scene: NetScene) -> None:
        net = scene.gate.net
        pair = await scene.connect("stubborn.test.example")
        with pytest.raises(InternalError, match="'greeted' while"):
            net._open[pair.number].heard(said(net._open[pair.number].number, greeted={}))
        await arrive(scene, await net.address_of("stubborn.test.example"))
        own = net._open[pair.number + 1]
        # What a broker may not do is to look a name up before it has told of the greeting.
        with pytest.raises(InternalError, match="'resolved' while greeting"):
            own.heard(said(own.number, resolved={"addresses": [{"text": "1.1.1.1"}]}))

    on_net(tmp_path, scenario, network_policy(TLS))


def test_a_session_has_so_many_names_and_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("executor.kernel.names.NAMES_MAX", 2)

    async def scenario(scene: NetScene) -> None:
        for name in ("a", "b"):
            await scene.gate.net.address_of(f"{name}.test.example")
        with pytest.raises(GuestError) as caught:
            await scene.gate.net.address_of("c.test.example")
        assert caught.value.errno == errno.ENOMEM
        assert (await why(scene, "c.test.example")).errno == errno.ENOMEM
        assert await scene.gate.net.address_of("a.test.example") == "198.18.0.1"

    on_net(tmp_path, scenario, network_policy(CLEAR))


def test_every_name_has_an_address_of_its_own_in_a_range_that_is_never_routed():
    names = Names()
    made = [names.add(f"{number}.test") for number in range(NAMES_MAX)]
    assert len({*made}) == NAMES_MAX
    assert made[0] == "198.18.0.1"
    assert made[-1] == "198.18.16.0"
    assert names.add("one.too.many") is None
    assert (names.name_of("198.18.0.1"), names.address_of("0.test")) == ("0.test", "198.18.0.1")
    assert names.name_of("10.0.0.1") is None
    assert names.add("0.test") == "198.18.0.1"


def test_ends_are_kept_as_many_as_fit_the_oldest_forgotten_first():
    arrivals = Arrivals()
    for port in range(1, KEPT + 2):
        arrivals.end(Place("a.test", 443, port), End(errno.EACCES, f"{port}"))
    assert arrivals.take(Place("a.test", 443, 1)) is None
    assert arrivals.take(Place("a.test", 443, 2)) == End(errno.EACCES, "2")
    assert arrivals.take(Place("a.test", 443, 2)) == End()
    # Without the guest's port: the latest, and then the one before it.
    assert arrivals.take(Place("a.test", 443)) == End(errno.EACCES, f"{KEPT + 1}")
    assert arrivals.take(Place("a.test", 443)) == End(errno.EACCES, f"{KEPT}")
    assert arrivals.take(Place("a.test", 80)) is None
    arrivals.begin(Place("a.test", 443, 5))
    assert arrivals.is_open(Place("a.test", 443, 5))
