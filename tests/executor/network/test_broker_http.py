"""
HTTP through a real broker process: requests are asked about one by one, and secrets stay there.
"""

import errno
import http.client
import ssl
import tempfile

import pytest
import trustme
from network_world import echo, listening, running, secret_directory

from codecage.network.v1 import network_pb2 as wire

SECRET = b"s3cret-of-the-api"


def site(answer):
    """
    A server of one answer to every request, on one connection after another; it notes the heads.
    """
    heads = []

    def serve(connection):
        with connection.makefile("rb") as file:
            while head := b"".join(iter(file.readline, b"\r\n") if file.peek(1) else []):
                heads.append(head.decode())
                connection.sendall(answer(head))

    return serve, heads


def ok(body, *fields):
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Client(http.client.HTTPConnection):
    """
    A client on the guest's end of a stream, which is connected already.
    """

    def __init__(self, guest, host="127.0.0.1"):
        super().__init__(host)
        self.sock = guest.stream


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def broker(authority):
    with tempfile.NamedTemporaryFile() as file, secret_directory(token=SECRET) as directory:
        file.write(authority.cert_pem.bytes())
        file.flush()
        arguments = ("--trust", file.name, "--secrets", str(directory))
        with running(*arguments, setup=wire.Setup(secrets=["token"])) as started:
            yield started


def asked(broker, guest, *, allowed=True, reason=""):
    request = broker.next("requested", guest.number)
    judgement = {"connection": guest.number, "allowed": allowed, "reason": reason}
    broker.send(judgement=judgement)
    query = request.query if request.has_query else None
    return request.method, request.path, query, request.hops


def test_a_request_is_asked_about_and_what_came_of_it_is_told(broker):
    serve, heads = site(lambda _: ok(b"hello"))
    with listening(serve) as server:
        guest = broker.connect("127.0.0.1", server.port, raw=False)
        assert guest.made()
        client = Client(guest, f"127.0.0.1:{server.port}")
        for path, query in (("/a", None), ("/b?", ""), ("/c?x=1", "x=1")):
            client.request("GET", path)
            assert asked(broker, guest) == ("GET", path.partition("?")[0], query, 0)
            assert client.getresponse().read() == b"hello"
            answered = broker.next("answered", guest.number)
            assert answered.status == 200
            assert answered.sent > 20
            assert answered.received > 40
        client.close()
        ended = broker.ended(guest)
    assert [head.split("\r")[0] for head in heads] == [
        "GET /a HTTP/1.1",
        "GET /b? HTTP/1.1",
        "GET /c?x=1 HTTP/1.1",
    ]
    assert (ended.errno, ended.address) == (0, "127.0.0.1")
    assert ended.sent > 60


def test_a_request_that_is_refused_is_not_sent_and_ends_the_connection(broker):
    serve, heads = site(lambda _: ok(b"hello"))
    with listening(serve) as server:
        guest = broker.connect("127.0.0.1", server.port, raw=False)
        assert guest.made()
        Client(guest, f"127.0.0.1:{server.port}").request("DELETE", "/a")
        said = asked(broker, guest, allowed=False, reason="DELETE is not granted")
        assert said == ("DELETE", "/a", None, 0)
        assert guest.rest() == b""
        ended = broker.ended(guest)
    assert (ended.errno, ended.reason) == (errno.EACCES, "DELETE is not granted")
    assert (ended.sent, heads) == (0, [])


def test_what_is_no_http_is_not_sent(broker):
    with listening(echo) as server:
        guest = broker.connect("127.0.0.1", server.port, raw=False)
        assert guest.made()
        guest.stream.sendall(b"EHLO example.test\r\n\r\n")
        assert guest.rest() == b""
        ended = broker.ended(guest)
    assert (ended.errno, ended.sent) == (errno.EPROTO, 0)


def test_a_secret_is_sent_to_the_server_and_hidden_from_the_guest(broker, authority):
    def reflect(head):
        return ok(b"you sent " + head, b"X-Seen: " + SECRET)

    serve, heads = site(reflect)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    credential = {"header": "Authorization", "secret": "token", "prefix": "Bearer "}
    with listening(serve, tls=tls) as server:
        guest = broker.connect("127.0.0.1", server.port, tls=True, raw=False, credential=credential)
        assert guest.made()
        client = Client(guest, f"127.0.0.1:{server.port}")
        client.request("GET", "/", headers={"Authorization": "mine"})
        asked(broker, guest)
        answer = client.getresponse()
        said = answer.read() + str(answer.getheaders()).encode()
        client.close()
        broker.ended(guest)
    assert f"Bearer {SECRET.decode()}" in heads[0]
    assert "mine" not in heads[0]
    assert SECRET not in said
    assert b"*" * len(SECRET) in said


def test_a_secret_that_was_not_named_at_the_start_ends_the_broker():
    credential = {"header": "Authorization", "secret": "other", "prefix": ""}
    serve, _ = site(lambda _: ok(b"hello"))
    with running() as broker, listening(serve) as server:
        broker.connect("127.0.0.1", server.port, raw=False, credential=credential)
        assert broker.process.wait(20) == 1


def test_redirects_are_counted_over_the_connections_of_an_account(broker):
    def again(head):
        return b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n"

    serve, _ = site(again)
    with listening(serve) as server:
        for account, path, hops in ((70, "/first", 0), (70, "/next", 1), (71, "/next", 0)):
            guest = broker.connect("127.0.0.1", server.port, raw=False, account=account)
            assert guest.made()
            client = Client(guest, f"127.0.0.1:{server.port}")
            client.request("GET", path)
            assert asked(broker, guest)[3] == hops
            assert client.getresponse().status == 302
            client.close()
            assert broker.ended(guest).errno == 0


def test_the_budget_counts_requests_and_answers(broker):
    serve, _ = site(lambda _: ok(bytes(100_000)))
    with listening(serve) as server:
        guest = broker.connect("127.0.0.1", server.port, raw=False, account=72, budget=50_000)
        assert guest.made()
        Client(guest, f"127.0.0.1:{server.port}").request("GET", "/")
        asked(broker, guest)
        assert len(guest.rest()) <= 50_000
        ended = broker.ended(guest)
    assert ended.errno == errno.EDQUOT
    assert 0 < ended.sent + ended.received <= 50_000 + 2**16


def test_a_guest_that_leaves_while_it_is_judged_has_nothing_sent(broker):
    serve, heads = site(lambda _: ok(b"hello"))
    with listening(serve) as server:
        guest = broker.connect("127.0.0.1", server.port, raw=False)
        assert guest.made()
        Client(guest, f"127.0.0.1:{server.port}").request("GET", "/")
        broker.next("requested", guest.number)
        broker.send(drop=guest.number)
        assert broker.ended(guest).errno == errno.ECONNABORTED
        broker.send(judgement={"connection": guest.number, "allowed": True})
        assert broker.connect("127.0.0.1", server.port, raw=False).made()
    assert heads == []
