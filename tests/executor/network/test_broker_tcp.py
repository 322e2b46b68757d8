"""
A guest with TCP of its own at a real broker process: told nothing before the other side speaks, and
reset where its connection ends badly.
"""

import contextlib
import errno
import socket
import ssl

import pytest
from name_world import naming, records
from network_world import BUDGET, PATIENCE, Guest, collect, echo, listening, running

from codecage.network.v1 import network_pb2 as wire
from executor.children import passing
from executor.kernel.frames import encode
from executor.linux.descriptors import send_stream
from executor.linux.errors import DescriptorRefused
from tests.servers.authority import Authority


@pytest.fixture(scope="module")
def named():
    lines = ("a.test. 60 IN A 127.0.0.1", "api.test. 60 IN A 127.0.0.1")
    with (
        naming(records(*lines)) as server,
        running(setup=wire.Setup(resolvers=[server.place])) as started,
    ):
        yield started, server


@pytest.fixture(scope="module")
def broker(named):
    return named[0]


def connection() -> tuple[socket.socket, socket.socket]:
    """
    Two ends of a TCP connection.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname(), timeout=PATIENCE)
        ours, _ = server.accept()
    return theirs, ours


def open_tcp(broker, host: str, port: int, **more: object) -> Guest:
    broker.numbers += 1
    given = {"account": 1, "budget": BUDGET, "raw": True, "tcp": True, **more}
    opened = wire.Open(connection=broker.numbers, host=host, port=port, **given)
    data = encode(wire.ToBroker(open=opened).SerializeToString())
    theirs, ours = connection()
    with ours:
        assert passing.send_guest_stream(broker.channel, data, ours.fileno()) == len(data)
    guest = Guest(broker.numbers, theirs)
    broker.guests.append(guest)
    return guest


def connected(broker, port: int, **more: object) -> Guest:
    guest = open_tcp(broker, "127.0.0.1", port, **more)
    broker.allow(guest)
    return guest


def test_bytes_pass_without_a_first_one_of_ours(broker):
    with listening(echo) as server:
        guest = connected(broker, server.port)
        guest.stream.sendall(b"hello")
        assert guest.stream.recv(100) == b"hello"
        guest.stream.shutdown(socket.SHUT_WR)
        assert guest.rest() == b""
    ended = broker.ended(guest)
    assert (ended.errno, ended.sent, ended.received) == (0, 5, 5)


def test_a_server_that_speaks_first_is_heard(broker):
    with listening(lambda connection: connection.sendall(b"220 ready")) as server:
        guest = connected(broker, server.port)
        assert guest.rest() == b"220 ready"
        assert broker.ended(guest).errno == 0


def test_a_guest_that_has_finished_sending_still_receives(broker):
    def answer_at_the_end(connection):
        connection.sendall(b"got " + collect(connection))

    with listening(answer_at_the_end) as server:
        guest = connected(broker, server.port)
        guest.stream.sendall(b"all")
        guest.stream.shutdown(socket.SHUT_WR)
        assert guest.rest() == b"got all"
        assert broker.ended(guest).errno == 0


def test_an_address_that_is_refused_resets_the_connection(broker):
    with listening(echo) as server:
        guest = open_tcp(broker, "127.0.0.1", server.port)
        broker.resolved(guest)
        broker.send(dial={"connection": guest.number, "reason": "loopback is not granted"})
        with pytest.raises(ConnectionResetError):
            guest.stream.recv(1)
        assert server.came == 0
    assert broker.ended(guest).errno == errno.EACCES


def test_a_guest_that_resets_ends_its_connection_without_an_error(broker):
    with listening(collect) as server:
        guest = connected(broker, server.port)
        guest.stream.sendall(b"x")
        guest.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        guest.stream.close()
        assert broker.ended(guest).errno == 0


REQUEST = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_requests_in_the_clear_are_asked_about_and_a_refused_one_resets(broker):
    def answer(connection):
        connection.recv(1000)
        connection.sendall(ANSWER)
        connection.recv(1)

    with listening(answer) as server:
        guest = open_tcp(broker, "a.test", server.port, raw=False)
        broker.allow(guest)
        request = REQUEST.replace(b"a.test", f"a.test:{server.port}".encode())
        guest.stream.sendall(request)
        assert broker.next("requested", guest.number).path == "/x"
        broker.send(judgement={"connection": guest.number, "allowed": True})
        assert guest.stream.recv(1000).endswith(b"ok")
        guest.stream.sendall(request)
        broker.next("requested", guest.number)
        broker.send(judgement={"connection": guest.number, "reason": "no"})
        with pytest.raises(ConnectionResetError):
            guest.stream.recv(1)
    assert broker.ended(guest).errno == errno.EACCES


def test_a_guest_that_finishes_in_the_middle_of_a_request_still_has_its_answer(broker):
    def answer(connection):
        connection.recv(1000)
        connection.sendall(ANSWER)

    with listening(answer) as server:
        guest = open_tcp(broker, "a.test", server.port, raw=False)
        broker.allow(guest)
        guest.stream.sendall(REQUEST.replace(b"a.test", f"a.test:{server.port}".encode()))
        guest.stream.shutdown(socket.SHUT_WR)
        broker.next("requested", guest.number)
        broker.send(judgement={"connection": guest.number, "allowed": True})
        assert guest.rest().endswith(b"ok")
        assert broker.ended(guest).errno == 0


# ---- TLS of the guest's own -----------------------------------------------------------------


def hello(name: str | None) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return client, incoming, outgoing


def tunnel(broker, port: int) -> Guest:
    return open_tcp(broker, "api.test", port, raw=False, tls=True)


def test_the_name_in_a_client_hello_is_asked_about_before_a_name_is_looked_up(named):
    broker, names = named
    with listening(echo) as server:
        guest, before = tunnel(broker, server.port), len(names.asked)
        guest.stream.sendall(hello("evil.test")[2].read())
        assert broker.next("greeted", guest.number).server_name == "evil.test"
        broker.send(judgement={"connection": guest.number, "reason": "another name"})
        with pytest.raises(ConnectionResetError):
            guest.stream.recv(1)
        ended = broker.ended(guest)
        assert (ended.errno, ended.reason) == (errno.EACCES, "another name")
        assert (server.came, len(names.asked)) == (0, before)


def test_what_was_read_of_a_client_hello_is_passed_on_and_the_handshake_is_the_guests(broker):
    authority = Authority()

    def secret(connection):
        connection.sendall(b"secret " + connection.recv(100))

    with listening(secret, tls=authority.context()) as server:
        guest = tunnel(broker, server.port)
        context = ssl.create_default_context(cadata=authority.pem.decode())
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="api.test")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        first = outgoing.read()
        for at in range(0, len(first), 100):
            guest.stream.sendall(first[at : at + 100])
        assert broker.next("greeted", guest.number).server_name == "api.test"
        broker.send(judgement={"connection": guest.number, "allowed": True})
        broker.allow(guest)
        step(guest, client.do_handshake, incoming, outgoing)
        client.write(b"hello")
        assert step(guest, lambda: client.read(100), incoming, outgoing) == b"secret hello"
    assert broker.ended(guest).sent > len(first)


def step(guest, act, incoming, outgoing):
    while True:
        try:
            done = act()
        except ssl.SSLWantReadError:
            guest.stream.sendall(outgoing.read())
            incoming.write(guest.stream.recv(2**16))
        else:
            guest.stream.sendall(outgoing.read())
            return done


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\x20\1"])
def test_what_is_no_client_hello_resets_before_anything_is_asked(broker, data):
    guest = tunnel(broker, 9)
    guest.stream.sendall(data)
    with contextlib.suppress(OSError):  # the reset may have come already
        guest.stream.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        guest.stream.recv(1)
    assert broker.ended(guest).errno == errno.EPROTO


def test_a_guest_that_says_nothing_has_a_plain_end(broker):
    guest = tunnel(broker, 9)
    guest.stream.shutdown(socket.SHUT_WR)
    assert guest.rest() == b""
    assert broker.ended(guest).errno == 0


# ---- what the server may pass ------------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True])
def test_a_stream_of_the_other_kind_ends_the_broker(tcp):
    with running() as broker:
        opened = wire.Open(connection=1, account=1, budget=1, host="a.test", port=1, tcp=tcp)
        data = encode(wire.ToBroker(open=opened).SerializeToString())
        one, other = socket.socketpair() if tcp else connection()
        with one, other:
            passing.send_guest_stream(broker.channel, data, one.fileno())
            assert broker.process.wait(PATIENCE) == 1


def test_only_streams_are_passed_to_a_broker_and_to_a_worker_only_pairs():
    ours, theirs = socket.socketpair()
    tcp, peer = connection()
    with ours, theirs, tcp, peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        with pytest.raises(DescriptorRefused, match="only a unix stream"):
            passing.send_guest_stream(ours, b"x", datagrams.fileno())
        with pytest.raises(DescriptorRefused, match="only a unix stream"):
            send_stream(ours, b"x", tcp.fileno())
        assert passing.send_guest_stream(ours, b"x", tcp.fileno()) == 1
