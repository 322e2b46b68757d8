"""
What a box connects to with its own TCP: accepted outside, decided by the name, and carried by a
network broker to real servers on loopback, or reset.
"""

import asyncio
import errno
import os
import socket
import time

import pytest
from box_net import PATIENCE, Scene, network_policy
from box_servers import servers

from executor.audit.record import Event
from executor.process.network import ports_of

RULES = """\
  - host: plain.test
    ports: [{plain}]
    scheme: http
    http: [{{methods: [GET], paths: [/v1/**]}}]
    addresses: [loopback]
"""


@pytest.fixture(scope="module")
def world():
    with servers() as made:
        yield made


# ---- what is granted ------------------------------------------------------------------------


def test_a_raw_stream_carries_bytes_and_has_its_decision_and_outcome(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port = world.stream.port
        assert await scene.run(f"talk('stream.test', {port}, b'ehello')") == "hello"
        await scene.over()
        assert await scene.rows() == [
            (f"connect stream.test:{port}", "allow"),
            (f"> connect stream.test:{port}", "ok"),
        ]
        decision, outcome = await scene.written()
        assert decision.rule == "network[3]"
        assert outcome.detail == (("address", "127.0.0.1"), ("received", 5), ("sent", 6))
        counts = scene.docket.counts
        assert (counts.connections, counts.sent, counts.received) == (1, 6, 5)
        # One for the name, and one for the connection.
        assert counts.requests == 2

    world.on(tmp_path, scenario)


def test_every_spelling_of_a_name_is_one_name(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port = world.stream.port
        for name in ("STREAM.Test", "stream.test."):
            assert await scene.run(f"talk({name!r}, {port}, b'ex')") == "x"
        assert await scene.run("socket.gethostbyaddr('198.18.0.1')[0]") == "stream.test"
        assert {what for what, _ in await scene.rows() if what[0] != ">"} == {
            f"connect stream.test:{port}"
        }

    world.on(tmp_path, scenario)


def test_an_address_that_is_granted_needs_no_name(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port = world.stream.port
        assert await scene.run(f"talk('127.0.0.1', {port}, b'ex')") == "x"

    grant = (
        "  - {{host: 127.0.0.1, ports: [{stream}], raw: true, tls: false, addresses: [loopback]}}\n"
    )
    world.on(tmp_path, scenario, grants=grant)


# ---- what is not ----------------------------------------------------------------------------

NAMES = ["evil.test", "test", "stream.test.evil.test", "wild.test", "-a.wild.test", "a_b.wild.test"]
NAMES += ["a" * 63 + "." + "stolen-bytes." * 12 + "evil.test", "localhost"]
PLACES = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "8.8.8.8", "198.18.7.7", "2130706433"]
PLACES += ["0x7f.1", "127.1", "0.0.0.0"]


def test_what_is_not_granted_is_refused_once_recorded_once_and_nothing_leaves(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        touched, port = world.touched, world.stream.port
        for name in NAMES:
            before = len(await scene.rows())
            said = await scene.run(f"attempt(lambda: talk({name!r}, {port}, b'e'))")
            assert said[0] == "gaierror", (name, said)
            told = await scene.why(name)
            assert told.reason.startswith(f"[policy test, rule network] resolve {name[:60]}")
            # Also where libc knows itself that this is no name, and has asked nobody.
            assert len(await scene.rows()) == before + 1
        for place in PLACES:
            said = await scene.run(f"attempt(lambda: talk({place!r}, {port}, b'e'))")
            assert said[1] in {"ECONNRESET", "EPIPE"}, (place, said)
            peer = socket.inet_ntoa(socket.inet_aton(place))
            peer = "127.0.0.1" if peer == "0.0.0.0" else peer
            assert f"connect {peer}:{port} is not granted" in (await scene.why(peer, port)).reason
        for host in ("plain.test", "api.test"):
            said = await scene.run(f"attempt(lambda: talk({host!r}, {port}, b'e'))")
            assert said[1] in {"ECONNRESET", "EPIPE"}, said
            assert f"port {port} of this host" in (await scene.why(host, port)).reason
        rows = await scene.rows()
        assert len(rows) == len(NAMES) + len(PLACES) + 2
        assert {told for _, told in rows} == {"deny"}
        assert world.touched == touched

    world.on(tmp_path, scenario)


def test_a_port_that_nobody_grants_has_its_denial_when_the_guest_asks_why(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        said = await scene.run("attempt(lambda: talk('stream.test', 22, b'e'))")
        assert said == ["ConnectionRefusedError", "ECONNREFUSED"]
        assert await scene.rows() == []
        for host in (await scene.run("socket.gethostbyname('stream.test')"), "stream.test"):
            assert "port 22 of this host is not granted" in (await scene.why(host, 22)).reason
        assert await scene.rows() == [("connect stream.test:22", "deny")] * 2
        assert (await scene.why("stream.test", world.stream.port)).errno == 0
        assert len(await scene.rows()) == 2

    world.on(tmp_path, scenario)


def test_the_guest_is_told_of_a_connection_when_it_is_decided_and_once(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        made = "[ends.append(end := socket.create_connection(({host!r}, {port}))), end.getsockname()[1]][1]"
        await scene.run("0", "ends = []")
        for host, allowed in (("stream.test", True), ("10.0.0.1", False)):
            own = await scene.run(made.format(host=host, port=world.stream.port))
            told = await scene.why(host, world.stream.port, own)
            assert bool(told.errno) is not allowed
            assert (await scene.why(host, world.stream.port, own)).errno == 0
        assert [told for _, told in await scene.rows()] == ["allow", "deny"]

    world.on(tmp_path, scenario)


def test_an_address_of_a_class_that_is_not_granted_is_not_dialled(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port, came = world.stream.port, world.stream.accepted
        said = await scene.run(f"attempt(lambda: talk('stream.test', {port}, b'e'))")
        assert said == ["ConnectionResetError", "ECONNRESET"]
        await scene.over()
        assert [told for _, told in await scene.rows()] == ["allow", "deny", "EACCES"]
        assert "has the address 127.0.0.1" in (await scene.why("stream.test", port)).reason
        assert world.stream.accepted == came

    grant = "  - {{host: stream.test, ports: [{stream}], raw: true, tls: false}}\n"
    world.on(tmp_path, scenario, grants=grant)


def test_each_request_on_a_connection_in_the_clear_is_decided(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port, before = world.plain.port, len(world.plain.seen)
        ask = (
            "[connection.request(METHOD, PATH, headers=FIELDS), "
            "connection.getresponse().read().decode()[:1]]"
        )
        start = f"connection = http.client.HTTPConnection('plain.test', {port}, timeout=20)\n"
        said = []
        for method, path, fields in (
            ("GET", "/v1/a", {}),
            ("GET", "/v1/b", {"Host": "evil.test"}),
            ("DELETE", "/v1/a", {}),
            ("GET", "/admin", {}),
            ("GET", "/v1/a", {"Content-Length": "3", "Transfer-Encoding": "chunked"}),
        ):
            values = f"METHOD, PATH, FIELDS = {method!r}, {path!r}, {fields!r}"
            said.append((await scene.run(f"attempt(lambda: {ask})", f"{start}{values}"))[0])
        assert said == ["done", "ConnectionResetError", *["ConnectionResetError"] * 3]
        assert [seen.target for seen in world.plain.seen[before:]] == ["/v1/a"]
        assert len([1 for _, told in await scene.rows() if told == "deny"]) == 2

    world.on(tmp_path, scenario, grants=RULES)


# ---- TLS that the guest speaks itself ---------------------------------------------------------

SHAKE = """
def shake(host, named, port, **more):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(dial(host, port), server_hostname=named) as end:
        return end.version()
"""


def test_tls_has_to_name_the_host_that_is_granted(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port, touched = world.api.port, world.touched
        for named in ("evil.test", "other.api.test", None, "127.0.0.1"):
            said = await scene.run(f"attempt(lambda: shake('api.test', {named!r}, {port}))", SHAKE)
            assert said[1] in {"ECONNRESET", "EPIPE", "8"}, said
            told = await scene.why("api.test", port)
            assert "the ClientHello of the TLS on it names" in told.reason
            assert told.reason.endswith("it has to name api.test")
        assert world.touched == touched
        assert [told for _, told in await scene.rows()] == ["allow", "deny", "EACCES"] * 4
        for named in ("api.test", "API.test"):
            assert (await scene.run(f"shake('api.test', {named!r}, {port})", SHAKE))[:3] == "TLS"

    world.on(tmp_path, scenario)


def test_an_address_is_named_by_nobody(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port = world.api.port
        assert (await scene.run(f"shake('127.0.0.1', '127.0.0.1', {port})", SHAKE))[:3] == "TLS"
        said = await scene.run(f"attempt(lambda: shake('127.0.0.1', 'api.test', {port}))", SHAKE)
        assert said[0] != "done"
        told = await scene.why("127.0.0.1", port)
        assert told.reason.endswith("names api.test; for an address it may not")

    grant = "  - {{host: 127.0.0.1, ports: [{api}], addresses: [loopback]}}\n"
    world.on(tmp_path, scenario, grants=grant)


def test_what_begins_otherwise_than_tls_is_reset_before_a_name_is_looked_up(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port, touched = world.api.port, world.touched
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\0", b"\x16\x03\x01\x00\x30\x01"):
            said = await scene.run(f"attempt(lambda: talk('api.test', {port}, {data!r}))")
            assert said == ["ConnectionResetError", "ECONNRESET"]
            assert "api" not in (told := await scene.why("api.test", port)).reason or told.errno
        assert await scene.run(f"talk('api.test', {port}, b'')") == ""
        await scene.over()
        assert world.touched == touched
        told = [told for _, told in await scene.rows()]
        assert told == ["allow", "EPROTO"] * 3 + ["allow", "ok"]

    world.on(tmp_path, scenario)


@pytest.mark.parametrize("key", ["http: [{{methods: [GET]}}]", "max_bytes: 64Mi"])
def test_a_grant_whose_requests_have_to_be_read_is_none_where_the_guest_speaks_tls(
    tmp_path, world, key
):
    async def scenario(scene: Scene) -> None:
        port = world.api.port
        said = await scene.run(f"attempt(lambda: shake('api.test', 'api.test', {port}))", SHAKE)
        if key.startswith("max"):
            assert said[0] == "done"
            return
        assert said[0] != "done"
        ((decision),) = await scene.written()
        assert (decision.event, decision.rule) == (Event.DECISION, "network[0].http")
        assert "use an image of the wasm cage" in (await scene.why("api.test", port)).reason

    grant = "  - host: api.test\n    ports: [{api}]\n    addresses: [loopback]\n    " + key + "\n"
    world.on(tmp_path, scenario, grants=grant)


# ---- limits and ends ------------------------------------------------------------------------


def test_bytes_are_counted_and_the_budgets_end_resets_the_connection(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port = world.stream.port
        said = await scene.run(f"attempt(lambda: talk('stream.test', {port}, b'b'))")
        assert said == ["ConnectionResetError", "ECONNRESET"]
        await scene.over()
        assert "max_bytes" in (await scene.why("stream.test", port)).reason
        said = await scene.run(f"attempt(lambda: talk('stream.test', {port}, b'ex'))")
        assert said[1] in {"ECONNRESET", "EPIPE"}
        await scene.over()
        assert [told for _, told in await scene.rows()] == ["allow", "EDQUOT"] * 2

    grant = (
        "  - {{host: stream.test, ports: [{stream}], raw: true, tls: false, max_bytes: 64Ki,"
        " addresses: [loopback]}}\n"
    )
    world.on(tmp_path, scenario, grants=grant)


FLOOD = """
def flood(count):
    ends = [socket.socket() for _ in range(count)]
    for end in ends:
        end.settimeout(20)
        try:
            end.connect(("stream.test", PORT))
        except OSError:
            pass
    for end in ends:
        try:
            end.sendall(b"s")
        except OSError:
            pass
    return ends
def alive(ends):
    found = 0
    for end in ends:
        end.settimeout(0.0)
        try:
            end.recv(1)
        except BlockingIOError:
            found += 1
        except OSError:
            pass
    return found
"""


def test_a_flood_of_connections_is_held_to_the_limit_and_costs_the_server_nothing(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        before, came = len(os.listdir("/proc/self/fd")), world.stream.accepted
        await scene.run("[ENDS := flood(60), 0][1]", f"PORT = {world.stream.port}\n{FLOOD}")
        async with asyncio.timeout(PATIENCE):
            while len(os.listdir("/proc/self/fd")) - before >= 12:
                await scene.run("0")  # those beyond the limit are being refused
            while world.stream.accepted - came < 3:
                await scene.run("0")  # the others are being dialled
        ports = await scene.run("[one.getsockname()[1] for one in ENDS[:4]]")
        told = [await scene.why("stream.test", world.stream.port, one) for one in ports]
        assert [one.errno for one in told] == [0, 0, 0, errno.EMFILE]
        assert "3 connections are open, as many as the policy allows" in told[3].reason
        assert await scene.run("alive(ENDS[:4])") == 3
        assert len(scene.net._open) == 3
        assert world.stream.accepted - came == 3
        await scene.run("0", "for one in ENDS: one.close()")

    world.on(tmp_path, scenario, limits="limits: {connections: 3}\n")


def test_a_guest_that_goes_makes_room_however_it_goes(tmp_path, world):
    """
    Three connections at a time: closed, reset, finished, and closed while nothing was sent.
    """

    async def scenario(scene: Scene) -> None:
        port = world.stream.port
        leave = f"""
def closed():
    dial("stream.test", {port}).close()
def was_reset():
    with dial("stream.test", {port}) as end:
        end.sendall(b"e")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
def finished():
    assert talk("stream.test", {port}, b"ex") == "x"
def unread():
    with dial("stream.test", {port}) as end:
        end.sendall(b"b")
        end.recv(1)
"""
        for act in ("closed", "was_reset", "finished", "unread") * 3:
            assert await scene.run(f"attempt({act})", leave) == ["done", None]
        await scene.over()
        assert {told for _, told in await scene.rows()} == {"allow", "ok"}

    world.on(tmp_path, scenario, limits="limits: {connections: 3}\n")


def test_a_reset_of_the_other_side_is_the_guests_as_well(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port = world.stream.port
        said = await scene.run(f"attempt(lambda: talk('stream.test', {port}, b'rxx'))")
        assert said == ["ConnectionResetError", "ECONNRESET"]
        assert (await scene.why("stream.test", port)).reason.endswith("connection reset by peer")

    world.on(tmp_path, scenario)


def test_nobody_listening_there_is_told_with_the_reset(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        said = await scene.run("attempt(lambda: talk('stream.test', 9, b'e'))")
        assert said[1] in {"ECONNRESET", "EPIPE"}
        await scene.over()
        told = await scene.why("stream.test", 9)
        assert told.reason == "stream.test port 9: connection refused"

    grant = "  - {{host: stream.test, ports: [9], raw: true, tls: false, addresses: [loopback]}}\n"
    world.on(tmp_path, scenario, grants=grant)


def test_a_broker_that_dies_takes_its_connections_and_opens_nothing(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port = world.stream.port
        await scene.run(
            "end.recv(1).decode()", f"end = dial('stream.test', {port}); end.sendall(b'ex')"
        )
        (line,) = scene.brokers._lines.values()
        line.broker._process.send(9)
        assert await scene.run("attempt(lambda: end.recv(1).decode())") != ["done", "x"]
        await scene.over()
        said = await scene.run("attempt(lambda: talk('evil.test', 1, b''))")
        assert said[0] == "gaierror"
        # What it moved cannot be known, so that grant is spent; another is carried by another one.
        assert await scene.run(f"talk('a.wild.test', {port}, b'ex')") == "x"

    world.on(tmp_path, scenario)


def test_a_network_that_is_closed_accepts_and_answers_nothing(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        port = world.stream.port
        await scene.run("0", "held = socket.gethostbyname('stream.test')")
        await scene.network.close()
        await scene.network.close()
        said = await scene.run(f"attempt(lambda: talk(held, {port}, b'e'))")
        assert said == ["ConnectionRefusedError", "ECONNREFUSED"]
        assert (await scene.run("attempt(lambda: socket.gethostbyname('stream.test'))"))[
            0
        ] != "done"

    world.on(tmp_path, scenario)


# ---- datagrams --------------------------------------------------------------------------------

DATAGRAMS = """
def asked(place, data, seconds=20):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.settimeout(seconds)
        end.connect(place)
        end.send(data)
        return len(end.recv(1000))
def query(name, kind):
    labels = b"".join(bytes((len(one),)) + one.encode() for one in name.split("."))
    return struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack("!2H", kind, 1)
"""


def test_queries_end_at_the_box_and_other_datagrams_end_nowhere(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        trap = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with trap:
            trap.bind(("127.0.0.1", 0))
            trap.setblocking(False)
            touched = world.touched
            long = ".".join(["stolen-bytes-" * 4] * 4) + ".evil.test"
            for kind in (1, 16, 28, 255):
                sent = f"asked(('127.0.0.1', 53), query({long!r}, {kind}))"
                assert await scene.run(sent, DATAGRAMS) > 12
            for place in (("127.0.0.1", trap.getsockname()[1]), ("8.8.8.8", 53), ("10.0.0.1", 9)):
                said = await scene.run(f"attempt(lambda: asked({place!r}, query('a.b', 1), 0.5))")
                assert said[1] in {"ECONNREFUSED", "None"}
            assert world.touched == touched
            with pytest.raises(BlockingIOError):
                trap.recv(1)
        assert {told for _, told in await scene.rows()} == {"deny"}

    world.on(tmp_path, scenario)


def test_a_flood_of_queries_is_counted_and_has_one_record_beyond_the_limit(tmp_path, world):
    async def scenario(scene: Scene) -> None:
        flood = """
def flood():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.connect(("127.0.0.1", 53))
        for _ in range(2000):
            with contextlib.suppress(OSError):
                end.send(query("evil.test", 1))
        end.settimeout(20)
        return len(end.recv(100))
"""
        assert await scene.run("flood()", DATAGRAMS + flood) > 12
        async with asyncio.timeout(PATIENCE):
            while scene.docket.counts.requests <= 51:
                await scene.run("0")
        rows = await scene.rows()
        assert rows == [("resolve evil.test", "deny")] * len(rows)
        assert len(rows) in {50, 51}

    world.on(tmp_path, scenario, limits="limits: {requests: 50}\n")


def test_queries_beyond_some_hundreds_have_to_wait(tmp_path, world):
    """
    Two hundred are answered as they come, and five hundred a second after those.
    """

    async def scenario(scene: Scene) -> None:
        often = "def often(act):\n    for _ in range(800): act()\n    return 800\n"
        query = "often(lambda: asked(('127.0.0.1', 53), query('stream.test', 1)))"
        began = time.monotonic()
        assert await scene.run(query, DATAGRAMS + often) == 800
        assert time.monotonic() - began >= 1.15

    world.on(tmp_path, scenario)


def test_a_policy_without_network_has_no_ports():
    assert ports_of(network_policy("  []\n")) == ()
    grants = "  - {host: a.test, ports: [443, 80]}\n  - {host: b.test, ports: [80]}\n"
    assert ports_of(network_policy(grants)) == (80, 443)
