"""
The servers of the tests do what they say, to a client that no cage protects.
"""

import http.client
import json
import socket
import ssl
import threading
import urllib.parse

import dns.exception
import dns.query
import dns.rcode
import dns.resolver
import pytest

from tests.executor.waiting import until
from tests.servers import hostile, names, redirects, reflecting
from tests.servers.authority import Authority, Flaw, host_of
from tests.servers.names import NameServer
from tests.servers.sites import HttpServer

SECRET = "Bearer canary/7f3a+Q=="
PAGES = {**hostile.PAGES, **redirects.PAGES, **reflecting.PAGES}


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def site():
    with HttpServer(PAGES) as server:
        yield server


def ask(site, target, **fields):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    try:
        connection.request("GET", target, headers=fields)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_what_comes_is_kept_to_the_byte(site):
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    connection.request("POST", "/echo?a=1", body=iter([b"one", b"two"]), headers={"X-A": "b"})
    told = json.loads(connection.getresponse().read())
    connection.close()
    assert (told["method"], told["target"], told["body"]) == ("POST", "/echo?a=1", "onetwo")
    assert ["X-A", "b"] in told["fields"]
    assert site.seen[-1].raw.startswith(b"POST /echo?a=1 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize("dress", reflecting.DRESSES)
def test_a_reflected_credential_is_there_to_be_read(site, dress):
    worn = reflecting.DRESSES[dress](SECRET.encode())
    assert ask(site, f"/reflect/{dress}", Authorization=SECRET)[1] == worn
    response, _ = ask(site, f"/reflect-field/{dress}", Authorization=SECRET)
    assert response.headers["X-You-Sent"] == worn.decode()


def test_a_credential_leaves_by_a_redirect(site):
    response, _ = ask(site, "/reflect-location?to=http://evil.test/", Authorization=SECRET)
    assert response.headers["Location"].endswith(urllib.parse.quote(SECRET))


def test_a_credential_comes_in_ranges(site):
    _, whole = ask(site, "/reflect-range", Authorization=SECRET)
    parts = [
        ask(site, "/reflect-range", Authorization=SECRET, Range=f"bytes={n}-{n}")[1]
        for n in range(len(SECRET))
    ]
    assert b"".join(parts) == whole == SECRET.encode()


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        (Flaw.NONE, None),
        (Flaw.EXPIRED, "has expired"),
        (Flaw.NOT_YET, "not yet valid"),
        (Flaw.SELF_SIGNED, "self-signed"),
        (Flaw.OTHER_HOST, "Hostname mismatch"),
        (Flaw.OTHER_AUTHORITY, "unable to get local issuer"),
        (Flaw.COMMON_NAME_ALONE, "Hostname mismatch"),
        (Flaw.OLD_PROTOCOL, "protocol version"),
    ],
)
def test_each_flaw_of_a_certificate_is_the_one_that_it_is_named_for(authority, flaw, reason):
    context = ssl.create_default_context(cadata=authority.pem.decode())
    # A distribution's own settings may let in what is older.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Else OpenSSL takes the common name where a certificate names no host.
    context.hostname_checks_common_name = False
    with HttpServer(tls=authority.context(flaw)) as server:
        connection = http.client.HTTPSConnection(host_of(flaw), server.port, context=context)
        plain = socket.create_connection(("127.0.0.1", server.port))
        try:
            connection.sock = context.wrap_socket(plain, server_hostname=host_of(flaw))
            connection.request("GET", "/")
            assert connection.getresponse().status == 200
            said = None
        except ssl.SSLError as error:
            said = str(error)
        finally:
            connection.close()
            plain.close()
    assert (said is None) == (reason is None)
    assert reason is None or reason in said


def lookup(server, name, kind="A", *, over=dns.query.udp):
    query = dns.message.make_query(name, kind)
    return over(query, "127.0.0.1", port=server.port, timeout=20)


@pytest.fixture
def name_server():
    with NameServer() as server:
        yield server


@pytest.mark.parametrize("over", [dns.query.udp, dns.query.tcp])
def test_a_name_has_the_addresses_of_its_type(name_server, over):
    name_server.zone["a.test"] = names.addresses("192.0.2.1", "2001:db8::1", ttl=7)
    four = lookup(name_server, "a.test", over=over)
    assert [str(one) for one in four.answer[0]] == ["192.0.2.1"]
    assert four.answer[0].ttl == 7
    six = lookup(name_server, "a.test", "AAAA", over=over)
    assert [str(one) for one in six.answer[0]] == ["2001:db8::1"]
    assert lookup(name_server, "b.test", over=over).rcode() == dns.rcode.NXDOMAIN
    assert name_server.queries == [("a.test", "A"), ("a.test", "AAAA"), ("b.test", "A")]


def test_answers_change_in_turn_for_each_type(name_server):
    first, then = (
        names.addresses("192.0.2.1", "2001:db8::1"),
        names.addresses("10.0.0.1", "fd00::1"),
    )
    name_server.zone["a.test"] = names.in_turn(first, then)
    for kind, expected in (("A", "192.0.2.1"), ("AAAA", "2001:db8::1"), ("A", "10.0.0.1")):
        assert str(lookup(name_server, "a.test", kind).answer[0][0]) == expected


def test_an_alias_brings_the_address_of_another_name(name_server):
    name_server.zone["a.test"] = names.alias("inner.test", "10.0.0.1")
    answer = lookup(name_server, "a.test").answer
    assert [record.to_text() for record in answer] == [
        "a.test. 60 IN CNAME inner.test.",
        "inner.test. 60 IN A 10.0.0.1",
    ]


@pytest.mark.parametrize("script", [names.silence, names.garbage, names.wrong_id("192.0.2.1")])
def test_a_bad_name_server_gives_no_answer_to_believe(name_server, script):
    name_server.zone["a.test"] = script
    query = dns.message.make_query("a.test", "A")
    with pytest.raises((dns.exception.DNSException, dns.query.BadResponse)):
        dns.query.udp(
            query, "127.0.0.1", port=name_server.port, timeout=0.2, ignore_unexpected=False
        )
    # It may have come to the query later than the asker's patience was over.
    until(lambda: name_server.packets)
    assert name_server.packets == 1


def test_nothing_is_left_when_servers_close(authority):
    before = {*threading.enumerate()}
    with HttpServer(PAGES) as site, HttpServer(tls=authority.context()) as secure:
        waiting = socket.create_connection(("127.0.0.1", site.port))
        waiting.sendall(b"GET /endless HTTP/1.1\r\n\r\n")
        waiting.recv(1)
        stalled = socket.create_connection(("127.0.0.1", secure.port))
    waiting.close()
    stalled.close()
    assert {*threading.enumerate()} <= before


def test_a_common_name_is_believed_by_those_who_look_at_it(authority):
    """
    The twin of that flaw: nothing else is wrong with the certificate.
    """
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.hostname_checks_common_name = True
    host = host_of(Flaw.COMMON_NAME_ALONE)
    with (
        HttpServer(tls=authority.context(Flaw.COMMON_NAME_ALONE)) as server,
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        assert secure.version().startswith("TLSv1.")
