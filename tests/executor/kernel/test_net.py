"""
What the gate does with connections: decided here, performed by a broker process that the test
tells by the host's name how to behave.
"""

import asyncio
import errno
import os
import select
import socket

import pytest
from net_world import PATIENCE, NetScene, network_policy, on_net

from codecage.network.v1 import network_pb2 as broker_pb2
from codecage.worker.v1 import worker_pb2 as wire
from executor.audit.record import Event
from executor.kernel import accounts
from executor.kernel.errors import InternalError
from executor.linux.descriptors import own

RAW = "  - {host: '*.test.example', ports: [443], raw: true}\n"
WEB = "  - host: '*.test.example'\n    http: [{methods: [GET, POST], paths: ['/open/**']}]\n"


def test_a_granted_connection_carries_bytes_and_has_its_decision_and_outcome(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("echo.test.example")
        assert stream.tls
        assert await stream.made()
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        stream.socket.shutdown(socket.SHUT_WR)
        assert (await scene.end(stream)) == wire.Answer()
        assert await scene.rows() == [
            ("connect echo.test.example:443", "allow"),
            ("> connect echo.test.example:443", "ok"),
        ]
        decision, outcome = await scene.written()
        assert decision.rule == "network[0]"
        assert outcome.size == 10
        assert outcome.detail == (("address", "1.1.1.1"), ("received", 5), ("sent", 5))
        counts = scene.gate.counts
        assert (counts.connections, counts.sent, counts.received) == (1, 5, 5)

    on_net(tmp_path, scenario, network_policy(RAW))


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("evil.example", 443),
        ("test.example", 443),
        ("echo.test.example.evil.example", 443),
        ("echo.test.example", 80),
        ("echo.test.example", 0),
        ("echo.test.example", 65979),
        ("echo\0.test.example", 443),
        ("echo.test.example\n", 443),
        ("a@echo.test.example", 443),
        ("1.1.1.1", 443),
        ("2130706433", 443),
        ("x" * 5000 + ".test.example", 443),
    ],
)
def test_what_no_rule_grants_is_denied_with_one_record_and_no_frame_to_the_broker(
    tmp_path, host, port
):
    async def scenario(scene: NetScene) -> None:
        answer = await scene.denied(host, port)
        assert answer.errno == errno.EACCES
        assert answer.reason.startswith("[policy test, rule network")
        (record,) = await scene.written()
        assert record.event is Event.DECISION
        assert scene.gate.counts.connections == 0

    on_net(tmp_path, scenario, network_policy(RAW))


def test_one_form_of_a_name_is_decided_and_dialled(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("ECHO.Test.Example.")
        assert await stream.made()
        stream.close()
        assert (await scene.written())[0].request == "connect echo.test.example:443"

    on_net(tmp_path, scenario, network_policy(RAW))


def test_a_granted_name_may_be_resolved_without_a_record_and_another_may_not(tmp_path):
    async def scenario(scene: NetScene) -> None:
        assert await scene.ask(resolve="echo.test.example") == wire.Answer()
        assert (await scene.ask(resolve="evil.example")).errno == errno.EACCES
        assert await scene.rows() == [("resolve evil.example", "deny")]
        assert scene.gate.counts.requests == 2

    on_net(tmp_path, scenario, network_policy(RAW))


@pytest.mark.parametrize("host", ["private", "mixed", "own"])
def test_one_address_that_is_not_granted_refuses_the_connection(tmp_path, host):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect(f"{host}.test.example")
        answer = await scene.end(stream)
        assert answer.errno == errno.EACCES
        assert answer.reason.startswith("[policy test, rule network[0].addresses] ")
        rows = await scene.rows()
        assert [answer for _, answer in rows] == ["allow", "deny", "EACCES"]
        assert rows[1][0].startswith(f"dial {host}.test.example:443 at ")
        assert "address" not in dict((await scene.written())[-1].detail)

    on_net(tmp_path, scenario, network_policy(RAW))


def test_an_address_class_that_the_grant_names_may_be_dialled(tmp_path):
    async def scenario(scene: NetScene) -> None:
        for name in ("private", "mixed"):
            stream = await scene.connect(f"{name}.test.example")
            assert await stream.made()
            stream.close()

    grant = RAW.replace("raw: true", "raw: true, addresses: [private]")
    on_net(tmp_path, scenario, network_policy(grant))


@pytest.mark.parametrize(
    ("host", "number", "reason"),
    [
        ("refused", errno.ECONNREFUSED, "nobody listens there"),
        ("nowhere", errno.EHOSTUNREACH, "there is no such name"),
    ],
)
def test_what_the_world_refuses_is_the_guests_errno_and_the_outcome(tmp_path, host, number, reason):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect(f"{host}.test.example")
        assert await scene.end(stream) == wire.Answer(errno=number, reason=reason)
        outcome = (await scene.written())[-1]
        assert outcome.outcome == errno.errorcode[number]
        assert dict(outcome.detail)["reason"] == reason

    on_net(tmp_path, scenario, network_policy(RAW))


# ---- requests on a connection ---------------------------------------------------------------


def test_an_allowed_request_has_its_decision_and_its_outcome_with_the_status(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("web.test.example")
        assert await stream.made()
        assert await stream.request("GET", "/open/a", "q=1") == b"done\n"
        assert await stream.request("POST", "/open/b") == b"done\n"
        await scene.gate.settle()
        _, get, got, post, posted = await scene.written()
        assert get.request.startswith("GET https://web.test.example:443/open/a?(3 bytes, sha256 ")
        assert (get.rule, post.rule) == ("network[0].http[0]", "network[0].http[0]")
        for outcome, of in ((got, get), (posted, post)):
            assert (outcome.refers, outcome.outcome, outcome.size) == (of.sequence, "ok", 1100)
            assert outcome.detail == (("received", 1000), ("sent", 100), ("status", 200))
        counts = scene.gate.counts
        assert (counts.exchanges, counts.sent, counts.received) == (2, 200, 2000)
        assert counts.requests == 3
        stream.close()

    on_net(tmp_path, scenario, network_policy(WEB))


@pytest.mark.parametrize(
    ("request_line", "rule"),
    [
        (("GET", "/secret"), "network[0].http"),
        (("DELETE", "/open/a"), "network[0].http"),
        (("GET", "/open/../secret"), "network[0].http"),
        (("CONNECT", "/open/a"), "network[0].http"),
        (("GET", "open/a"), "network[0].http"),
        (("G" * 3000, "/open/a"), "network[0].http"),
        (("GET", "/open/a", "-", 6), "network[0].http[0]"),
    ],
)
def test_a_denied_request_ends_the_connection_with_the_policys_words(tmp_path, request_line, rule):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("web.test.example")
        assert await stream.made()
        assert await stream.request(*request_line) == b""
        answer = await scene.ask(connection_end=stream.number)
        assert answer.errno == errno.EACCES
        assert answer.reason.startswith(f"[policy test, rule {rule}] ")
        connected, denied, outcome = await scene.written()
        assert (denied.answer.value, denied.rule) == ("deny", rule)
        assert (outcome.refers, outcome.outcome) == (connected.sequence, "EACCES")
        assert scene.gate.counts.exchanges == 0

    on_net(tmp_path, scenario, network_policy(WEB))


def test_five_redirects_are_followed(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("web.test.example")
        assert await stream.made()
        assert await stream.request("GET", "/open/a", "-", 5) == b"done\n"
        stream.close()

    on_net(tmp_path, scenario, network_policy(WEB))


def test_an_exchange_that_breaks_off_has_the_connections_outcome(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("truncated.test.example")
        assert await stream.made()
        assert await stream.request("GET", "/open/a") == b""
        assert (await scene.ask(connection_end=stream.number)).errno == errno.ECONNRESET
        assert [answer for _, answer in await scene.rows()] == [
            *("allow", "allow"),
            *("ECONNRESET", "ECONNRESET"),
        ]

    on_net(tmp_path, scenario, network_policy(WEB))


# ---- limits ---------------------------------------------------------------------------------


def test_a_grants_bytes_are_for_the_whole_session(tmp_path):
    async def scenario(scene: NetScene) -> None:
        first = await scene.connect("echo.test.example")
        assert await first.made()
        await first.send(b"x" * 512)
        first.socket.shutdown(socket.SHUT_WR)
        assert (await scene.end(first)).errno == 0
        answer = await scene.denied("echo.test.example")
        assert answer.errno == errno.EDQUOT
        assert answer.reason.startswith("[policy test, rule network[0].max_bytes] ")

    grant = RAW.replace("raw: true", "raw: true, max_bytes: 1Ki")
    on_net(tmp_path, scenario, network_policy(grant))


def test_connections_beyond_the_limit_wait_for_a_place_and_are_then_refused(tmp_path):
    async def scenario(scene: NetScene) -> None:
        first = await scene.connect("echo.test.example")
        second = await scene.connect("echo.test.example")
        assert await first.made()
        assert await second.made()
        answer = await scene.denied("echo.test.example")
        assert answer.errno == errno.EMFILE
        assert answer.reason.startswith("[policy test, rule limits.connections] ")
        first.close()
        third = await scene.connect("echo.test.example")
        assert await third.made()

    on_net(tmp_path, scenario, network_policy(RAW, "limits: {connections: 2}\n"))


def test_so_many_names_below_a_wildcard_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(accounts, "MOST_NAMES", 3)

    async def scenario(scene: NetScene) -> None:
        for name in ("a", "b", "c", "a"):
            stream = await scene.connect(f"{name}.test.example")
            assert await stream.made()
            stream.close()
        answer = await scene.denied("d.test.example")
        assert answer.errno == errno.EACCES
        assert "3 names" in answer.reason
        assert (await scene.ask(resolve="e.test.example")).errno == 0

    on_net(tmp_path, scenario, network_policy(RAW))


def test_requests_on_a_connection_count_among_the_sessions_requests(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("web.test.example")
        assert await stream.made()
        assert await stream.request("GET", "/open/a") == b"done\n"
        assert await stream.request("GET", "/open/a") == b""
        answer = await scene.ask(connection_end=stream.number)
        assert answer.errno == errno.EDQUOT
        assert answer.reason.startswith("[policy test, rule limits.requests] ")

    on_net(tmp_path, scenario, network_policy(WEB, "limits: {requests: 2}\n"))


def test_without_a_record_nothing_is_connected(tmp_path):
    async def scenario(scene: NetScene) -> None:
        scene.store.close()
        answer = await scene.denied("echo.test.example")
        assert answer.errno == errno.EIO
        assert scene.gate.counts.connections == 0

    on_net(tmp_path, scenario, network_policy(RAW))


def test_what_cannot_be_taken_back_is_not_done_while_the_record_is_not_on_disk(tmp_path):
    """
    A disk that takes writes and no syncs: what is read is written down, which still works.
    """

    async def scenario(scene: NetScene) -> None:
        reader, writer = os.pipe()
        os.dup2(reader, scene.store._durability._wal)  # fdatasync(2) of a pipe: EINVAL
        os.close(reader)
        os.close(writer)
        for method, answer in (("GET", b"done\n"), ("POST", b"")):
            stream = await scene.connect("web.test.example")
            assert await stream.made()
            assert await stream.request(method, "/open/a") == answer
        assert (await scene.end(stream)).errno == errno.EIO
        assert (await scene.denied("echo.other.example")).errno == errno.EIO
        assert scene.gate.counts.connections == 2
        assert scene.gate.counts.exchanges == 1

    on_net(tmp_path, scenario, network_policy(WEB + RAW.replace("test", "other")))


# ---- ends -----------------------------------------------------------------------------------


def test_the_end_of_a_session_drops_its_connections_with_an_outcome_each(tmp_path):
    async def scenario(scene: NetScene) -> None:
        first = await scene.connect("refused.test.example")
        assert await first.receive() == b""
        await scene.end(first)
        first.close()
        await scene.written()
        before = own()
        streams = [await scene.connect("echo.test.example") for _ in range(3)]
        for stream in streams:
            assert await stream.made()
        await scene.gate.hang_up()
        for stream in streams:
            assert await stream.receive() == b""
            stream.close()
        assert [outcome for _, outcome in await scene.rows()][5:] == ["ECONNABORTED"] * 3
        assert own() == before

    on_net(tmp_path, scenario, network_policy(RAW))


def test_a_broker_that_drops_nothing_does_not_hold_the_session(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("stubborn.test.example")
        assert await stream.made()
        await scene.gate.hang_up()
        assert (await scene.rows())[-1] == ("> connect stubborn.test.example:443", "unknown")

    on_net(tmp_path, scenario, network_policy(RAW))


def test_a_stream_that_goes_on_has_a_plain_end_and_an_unknown_number_ends_the_worker(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("echo.test.example")
        assert await stream.made()
        assert await scene.ask(connection_end=stream.number) == wire.Answer()
        for number in (0, stream.number + 1):
            with pytest.raises(InternalError, match="end of connection"):
                await scene.ask(connection_end=number)

    on_net(tmp_path, scenario, network_policy(RAW))


@pytest.mark.parametrize("kind", ["", "a\nb", "x" * 49, "UDP"])
def test_a_kind_of_socket_is_a_word(tmp_path, kind):
    async def scenario(scene: NetScene) -> None:
        for word in ("udp", "type 4294967295 protocol 4294967295"):
            answer = await scene.ask(network=wire.NetworkAsk(socket=word))
            assert answer.errno == errno.EACCES
            assert (await scene.rows())[-1] == (f"socket {word}", "deny")
        with pytest.raises(InternalError, match="socket of kind"):
            await scene.ask(network=wire.NetworkAsk(socket=kind))

    on_net(tmp_path, scenario, network_policy(RAW))


# ---- brokers that lie -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("die", "stray", "early", "junk", "long", "again", "many", "strange"),
        *("twice", "elsewhere", "boast"),
    ],
)
def test_a_broker_that_breaks_the_protocol_ends_with_its_connections_and_another_comes(
    tmp_path, host
):
    async def scenario(scene: NetScene) -> None:
        good = await scene.connect("echo.test.example")
        assert await good.made()
        first = scene.way._line.broker
        bad = await scene.connect(f"{host}.test.example")
        for stream in (bad, good):
            answer = await scene.end(stream)
            assert answer.errno == errno.EIO
            assert "the network broker" in answer.reason
        assert first._process is None or first._process._descriptor == -1
        assert (await scene.denied("echo.test.example")).errno == errno.EDQUOT  # nobody knows
        other = await scene.connect("echo.other.example")
        assert await other.made()
        assert scene.way._line.broker is not first

    grants = RAW + RAW.replace("test", "other")
    on_net(tmp_path, scenario, network_policy(grants))


class Unprepared:
    """
    Hears what it has no answer to, which is a fault of ours and none that anybody foresaw.
    """

    def __init__(self) -> None:
        self.why = ""

    def heard(self, frame: broker_pb2.FromBroker) -> bool:
        raise LookupError(frame.WhichOneof("frame"))

    def lost(self, why: str) -> None:
        self.why = why


def test_a_broker_that_is_not_heard_any_more_does_not_hold_its_connections(tmp_path, caplog):
    async def scenario(scene: NetScene) -> None:
        broker, ear = await scene.way.link(), Unprepared()
        ours, theirs = socket.socketpair()
        with theirs:
            opening = broker_pb2.Open(connection=1000, host="echo.test.example", raw=True)
            broker.open(opening, ours, ear)
            async with asyncio.timeout(PATIENCE):
                await broker.ended
        assert ear.why == "the network broker is not heard any more"

    on_net(tmp_path, scenario, network_policy(RAW))
    assert "LookupError: resolved" in caplog.text


def test_a_raw_connection_has_no_requests(tmp_path):
    async def scenario(scene: NetScene) -> None:
        raw = await scene.connect("echo.test.example")
        assert await raw.made()
        connection = scene.gate.net._open[raw.number]
        with pytest.raises(InternalError, match="'requested' while relaying"):
            connection.heard(_requested(connection.number))

    on_net(tmp_path, scenario, network_policy(RAW))


def _requested(number: int) -> broker_pb2.FromBroker:
    return broker_pb2.FromBroker(requested=broker_pb2.Requested(connection=number))


def test_an_exchange_whose_broker_dies_is_an_error_and_spends_the_grant(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("vanish.test.example")
        assert await stream.made()
        assert await stream.request("GET", "/open/a") == b""
        assert (await scene.ask(connection_end=stream.number)).errno == errno.EIO
        assert [answer for _, answer in await scene.rows()] == ["allow", "allow", "EIO", "EIO"]
        assert (await scene.denied("web.test.example")).errno == errno.EDQUOT

    on_net(tmp_path, scenario, network_policy(WEB))


@pytest.mark.parametrize("option", ["--broken", "--unlocked", "--by-another"])
def test_a_broker_that_is_not_locked_or_not_ours_never_gets_a_connection(tmp_path, option):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("echo.test.example")
        answer = await scene.end(stream)
        assert answer.errno == errno.EIO
        assert [outcome for _, outcome in await scene.rows()] == ["allow", "EIO"]
        # Nothing was moved: the grant is not spent.
        again = await scene.connect("echo.test.example")
        assert (await scene.end(again)).errno == errno.EIO

    on_net(tmp_path, scenario, network_policy(RAW), broker=(option,))


def test_a_broker_without_sessions_ends(tmp_path):
    async def scenario(scene: NetScene) -> None:
        stream = await scene.connect("echo.test.example")
        assert await stream.made()
        broker = scene.way._line.broker
        pid = broker._process.pid
        watched = os.pidfd_open(pid)
        try:
            await scene.gate.hang_up()
            await broker.ended
            ended, _, _ = await asyncio.to_thread(select.select, [watched], [], [], 10)
        finally:
            os.close(watched)
        assert ended
        assert scene.way._line.broker is None

    on_net(tmp_path, scenario, network_policy(RAW), idle=0.0)
