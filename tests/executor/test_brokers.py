"""
Network brokers in a whole server: sessions share their policy's, and nobody else's.
"""

import asyncio
import os
import select

from codecage.v1 import codecage_pb2 as pb
from executor.audit.record import Event
from tests.executor.fakes.harness import ended, output, policy, running

GRANT = "network:\n  - {host: '*.test.example', ports: [443], raw: true}\n"
WEB = "network:\n  - {host: '*.test.example'}\n"
CONNECT = """\
import os, socket as _socket
answer = ask(connect=wire.ConnectAsk(host={host!r}, port=443))
number = answer.connected.connection
stream = _socket.socket(fileno=passed.pop()) if number else None
first = stream.recv(1) if stream else None
"""
ECHO = "stream.sendall(b'hello')\nback = stream.recv(100)\nstream.close()\n"


def connect(host: str) -> str:
    return CONNECT.format(host=host)


def on_server(place, scenario, *policies, **options):
    async def main():
        async with running(place, policies, **options) as server:
            await scenario(server)

    asyncio.run(main())


def brokers(server):
    lines = server.sessions._served.brokers._lines.items()
    return {name: line.broker for (name, *_), line in lines}


def gone(pid):
    """
    Waits for the process's end, if it is still there; the launcher has reaped it or is gone.
    """
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], 20)[0])
    finally:
        os.close(watched)


def test_a_cell_speaks_over_its_connection_and_its_usage_says_how_much(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        events = await server.run(session, connect("echo.test.example") + ECHO + "print(back)")
        assert output(events) == "b'hello'\n"
        first = ended(events).usage
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))
        assert (first.connections, first.requests, first.http_requests) == (1, 1, 0)
        outcome = next(r for r in server.records(session) if r.event is Event.OUTCOME)
        assert (outcome.outcome, outcome.size) == ("ok", 10)

    on_server(tmp_path / "s", scenario, policy(GRANT))


def test_what_an_answered_request_moved_is_in_the_usage_of_its_cell(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        code = connect("web.test.example") + "stream.sendall(b'GET / - 0\\n')\nstream.recv(100)"
        usage = ended(await server.run(session, code)).usage
        assert (usage.http_requests, usage.connections) == (1, 1)
        assert (usage.network_sent_bytes, usage.network_received_bytes) == (100, 1000)
        later = ended(await server.run(session, "1")).usage
        assert (later.http_requests, later.network_sent_bytes) == (0, 0)
        cells = [r for r in server.records(session) if r.event is Event.CELL_END]
        assert dict(cells[0].detail)["sent"] == 100

    on_server(tmp_path / "s", scenario, policy(WEB))


def test_the_worker_is_told_how_many_connections_only_where_the_policy_grants_any(tmp_path):
    async def scenario(server):
        for name, most in (("test", 7), ("calculator", 0)):
            session = await server.create(name)
            assert output(await server.run(session, "print(begin.max_connections)")) == f"{most}\n"

    on_server(tmp_path / "s", scenario, policy(GRANT + "limits: {connections: 7}\n"))


def test_without_network_in_the_policy_no_broker_starts_and_all_is_denied(tmp_path):
    async def scenario(server):
        session = await server.create("calculator")
        code = "a = ask(connect=wire.ConnectAsk(host='echo.test.example', port=443))\na.errno"
        events = await server.run(session, code)
        assert ended(events).usage.denied == 1
        assert brokers(server) == {}

    on_server(tmp_path / "s", scenario)


def test_sessions_of_one_policy_share_a_broker_and_of_two_do_not(tmp_path):
    async def scenario(server):
        for name in ("one", "one", "two"):
            session = await server.create(name)
            assert ended(await server.run(session, connect("echo.test.example"))).status == 1
        found = brokers(server)
        assert {*found} == {"one", "two"}
        assert found["one"]._process.pid != found["two"]._process.pid

    on_server(tmp_path / "s", scenario, policy(GRANT, "one"), policy(GRANT, "two"))


def test_a_policy_that_names_another_secret_since_has_another_broker_and_else_the_same(tmp_path):
    keyed = "network:\n  - host: a.example\n    credentials: {{header: X, secret: {}}}\n"

    async def scenario(server):
        found = server.sessions._served.brokers
        states = [policy(keyed.format(secret)) for secret in ("old", "old", "new")]
        ways = [found.join(one) for one in states]
        first, same, other = [(await way.link())._process.pid for way in ways]
        assert first == same != other
        for way in ways:
            way.leave(())

    on_server(tmp_path / "s", scenario)


def test_a_closed_or_lost_session_drops_its_connections_and_leaves_the_others(tmp_path):
    async def scenario(server):
        closed, lost, stays = [await server.create("test") for _ in range(3)]
        for session in (closed, lost, stays):
            await server.run(session, connect("echo.test.example"))
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=closed))
        await server.run(lost, "import os; os._exit(1)")
        for session in (closed, lost):
            outcomes = [r.outcome for r in server.records(session) if r.event is Event.OUTCOME]
            assert outcomes in (["ok"], ["ECONNABORTED"])
        events = await server.run(stays, ECHO + "print(back)")
        assert output(events) == "b'hello'\n"

    on_server(tmp_path / "s", scenario, policy(GRANT))


def test_a_worker_that_asks_for_what_it_was_never_given_is_killed(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        events = await server.run(session, "ask(connection_end=1)")
        assert ended(events).session_lost

    on_server(tmp_path / "s", scenario, policy(GRANT))


def test_the_end_of_the_server_leaves_no_broker(tmp_path):
    pids = []

    async def scenario(server):
        session = await server.create("test")
        await server.run(session, connect("echo.test.example"))
        pids.append(brokers(server)["test"]._process.pid)

    on_server(tmp_path / "s", scenario, policy(GRANT))
    assert len(pids) == 1
    assert gone(pids[0])
