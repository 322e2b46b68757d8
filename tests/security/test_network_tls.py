"""
N10: TLS is spoken and checked by the server's side, whatever the guest asks for.

What green does not prove: the strength of OpenSSL and of the authorities that the host trusts.
"""

import pytest

from tests.servers.authority import Flaw, host_of

pytestmark = pytest.mark.image

CASES = {
    Flaw.EXPIRED: "expired",
    Flaw.NOT_YET: "not valid yet",
    Flaw.SELF_SIGNED: "self-signed",
    Flaw.OTHER_HOST: "for another name",
    Flaw.OTHER_AUTHORITY: "",
    Flaw.COMMON_NAME_ALONE: "",
    Flaw.OLD_PROTOCOL: "",
}
UNCHECKED = {
    "requests": "requests.get(U, verify=False, timeout=20).status_code",
    "httpx": "httpx.get(U, verify=False, timeout=20).status_code",
    "urllib.request": "urllib.request.urlopen(U, context=ssl._create_unverified_context(), timeout=20).status",
}


@pytest.mark.parametrize("flaw", CASES)
def test_n10_a_server_that_cannot_prove_its_name_gets_no_request(net, flaw):
    (kind, text), decisions = net.run(
        f"attempt(lambda: get('/v1/x', {host_of(flaw)!r}, {flaw.name!r}))", "friend"
    )
    assert kind == "OSError", (kind, text)
    assert CASES[flaw] in text
    assert "TLS" in text or "certificate" in text
    assert net.flawed[flaw].seen == []
    assert net.denials(decisions) == []


@pytest.mark.parametrize("library", UNCHECKED)
def test_n10_a_guest_cannot_switch_the_check_off(net, library):
    url = f"https://{{}}:{net.ports[Flaw.EXPIRED.name]}/v1/x"
    told, _ = net.run(
        f"attempt(lambda: {UNCHECKED[library]})",
        "friend",
        image="web",
        before=f"import ssl, {library}\nU = {url.format(host_of(Flaw.EXPIRED))!r}",
    )
    assert told[0] != "done", told
    assert "expired" in told[1], told
    assert net.flawed[Flaw.EXPIRED].seen == []
    url = f"https://{host_of(Flaw.NONE)}:{net.ports[Flaw.NONE.name]}/v1/x"
    told, _ = net.run(
        f"attempt(lambda: {UNCHECKED[library]})",
        "friend",
        image="web",
        before=f"import ssl, {library}\nU = {url!r}",
    )
    assert told == ["done", 200]


def test_n10_a_server_that_speaks_no_tls_is_refused(net):
    """
    The grant of other.test says https; the name is pointed at nothing else, so a port that speaks
    plain HTTP is what it meets.
    """
    seen = len(net.plain.seen)
    host = host_of(Flaw.NONE)
    (kind, text), _ = net.run(f"attempt(lambda: get('/x', {host!r}, 'trap'))", "friend")
    assert kind == "PermissionError", (kind, text)
    assert len(net.plain.seen) == seen


def test_n10_the_name_of_the_handshake_is_the_name_of_the_connection(net):
    """
    A guest that names another host in its own TLS is stopped in its own ssl module.
    """
    program = """
import ssl
def wrapped(name, host="api.test", port="api"):
    context = ssl.create_default_context()
    with context.wrap_socket(connect(host, port), server_hostname=name) as secure:
        return secure.version()
"""
    told, _ = net.run("attempt(lambda: wrapped('evil.test'))", before=program)
    assert told[0] == "SSLCertVerificationError", told
    told, _ = net.run("attempt(lambda: wrapped('api.test'))", before=program)
    assert told[0] == "done", told
    assert told[1].startswith("TLSv1.")


def test_n10_a_plain_connection_does_not_become_a_secure_one(net):
    """
    STARTTLS, or a library that thinks it speaks TLS where the grant says cleartext.
    """
    program = """
import ssl
def wrapped():
    context = ssl.create_default_context()
    return context.wrap_socket(connect("plain.test", "plain"), server_hostname="plain.test").version()
"""
    (kind, text), _ = net.run("attempt(wrapped)", before=program)
    assert kind in {"SSLError", "OSError", "PermissionError"}, (kind, text)
    url = f"https://plain.test:{net.ports['plain']}/v1/x"
    count = len(net.plain.seen)
    (kind, text), _ = net.run(
        "attempt(lambda: requests.get(U).status_code)",
        image="web",
        before=f"import requests\nU = {url!r}",
    )
    assert kind != "done", text
    assert len(net.plain.seen) == count


def test_n10_bytes_of_a_guests_own_handshake_are_no_request(net):
    hello = bytes.fromhex("160301002f0100002b0303") + bytes(36)
    (kind, text), _ = net.run(f"attempt(lambda: talk({hello!r}, 'api.test', 'api'))")
    assert kind in {"PermissionError", "OSError"}, (kind, text)
