"""
N07, N09, N12, N17: requests are read strictly, judged one by one, and written anew; answers too.

What green does not prove: that a reader behind the granted server reads as it does.
"""

import hashlib
import json
import urllib.parse

import pytest

from tests.servers import hostile
from tests.servers.hostile import SMUGGLED

pytestmark = pytest.mark.image

OK = "HTTP/1.1 200 OK"
LIBRARIES = {
    "urllib.request": "urllib.request.urlopen(U, timeout=20).read().decode()",
    "requests": "requests.get(U, timeout=20).text",
    "httpx": "httpx.get(U, timeout=20, follow_redirects=True).text",
}


def fetch(net, library, url, policy="caller"):
    return net.run(
        f"attempt(lambda: {LIBRARIES[library]})",
        policy,
        image="web",
        before=f"import {library}\nU = {url!r}",
    )


def elsewhere(net, status, url):
    return f"http://plain.test:{net.ports['plain']}/redirect/{status}?to={urllib.parse.quote(url)}"


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_n07_a_redirect_is_a_new_request_to_its_own_host(net, library, status):
    asked = net.dns.asked("evil.test")
    for host in ("evil.test", "127.0.0.1", "169.254.169.254"):
        url = elsewhere(net, status, f"http://{host}:{net.ports['plain']}/v1/x")
        (kind, text), decisions = fetch(net, library, url)
        assert kind != "done", text
        ((request, rule),) = net.denials(decisions)
        assert host in request
        assert rule == "network"
    assert net.dns.asked("evil.test") == asked
    here = elsewhere(net, status, f"http://plain.test:{net.ports['plain']}/arrived")
    (kind, text), decisions = fetch(net, library, here)
    assert (kind, json.loads(text)["target"]) == ("done", "/arrived")
    assert net.denials(decisions) == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_n07_a_redirect_stays_under_the_rules_of_its_host(net, library):
    """
    From the host that grants every path to the one that grants some.
    """
    for path, allowed in (("/v1/prices", True), ("/admin", False)):
        count = len(net.api.seen)
        url = elsewhere(net, 307, f"https://api.test:{net.ports['api']}{path}")
        (kind, _), decisions = fetch(net, library, url)
        assert (kind == "done") == allowed
        assert len(net.api.seen) - count == allowed
        assert [rule for _, rule in net.denials(decisions)] == ["network[0].http"] * (not allowed)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://127.0.0.1:70/_x", "data:text/plain,x", "ftp://evil.test/x"],
)
def test_n07_a_redirect_to_another_scheme_leads_nowhere(net, library, url):
    before = net.touched()[1]
    (kind, text), decisions = fetch(net, library, elsewhere(net, 302, url))
    assert "root:" not in text
    # A library that follows no such scheme gives the answer as it is.
    assert kind != "done" or text == "elsewhere"
    assert not [one for one in decisions if one[1] == "allow" and "plain.test" not in one[0]]
    assert net.dns.asked("127.0.0.1") == 0
    assert net.touched()[1] - before <= 2


@pytest.mark.parametrize("library", LIBRARIES)
def test_n07_five_hops_and_no_more(net, library):
    base = f"http://plain.test:{net.ports['plain']}"
    assert fetch(net, library, f"{base}/hops/5")[0] == ["done", "arrived"]
    for path in ("/hops/6", "/hops/50"):
        (kind, text), decisions = fetch(net, library, base + path)
        assert kind != "done", text
        assert len(net.denials(decisions)) == 1
    (kind, _), _ = fetch(net, library, f"{base}/ring")
    assert kind != "done"


PATHS = [
    "/v1/../admin",
    "/v1/./../admin",
    "/v1/%2e%2e/admin",
    "/v1/%252e%252e/admin",
    "/v1/..%2fadmin",
    "/v1/..%252fadmin",
    "/v1/..%5cadmin",
    "/v1/..\\admin",
    "/v1//admin",
    "//admin/v1/x",
    "/v1/x;/../../admin",
    "/v1/x;a=b",
    "/v1/%00",
    "/v1/\u00e9",
    "/V1/x",
    "/admin",
    "/v1x",
    "",
    "v1/x",
    "*",
    "?/v1/x",
    "#/v1/x",
    "/v1/x#/../..",
]


@pytest.mark.parametrize("path", PATHS)
def test_n09_a_path_is_judged_as_the_server_will_read_it(net, path):
    count = len(net.api.seen)
    (kind, text), decisions = net.run(f"attempt(lambda: get({path!r}, 'api.test', 'api'))")
    assert kind in {"PermissionError", "OSError"}, (kind, text)
    assert len(net.api.seen) == count
    assert not [one for one in decisions if one[0].startswith("GET") and one[1] == "allow"]


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/x", "/v1/a/b.c", "/v1/x?a=b&c=/../d", "/v1/%41"]
)
def test_n09_a_path_that_is_granted_arrives(net, path):
    (kind, text), decisions = net.run(f"attempt(lambda: get({path!r}, 'api.test', 'api'))")
    assert (kind, text[:15]) == ("done", OK)
    assert net.denials(decisions) == []
    assert net.api.seen[-1].target.replace("%41", "A") == path.replace("%41", "A")


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"]
)
def test_n09_a_method_without_a_rule_is_refused(net, method):
    count = len(net.api.seen)
    act = f"attempt(lambda: get('/v1/x', 'api.test', 'api', method={method!r}))"
    (kind, text), _ = net.run(act)
    assert kind in {"PermissionError", "OSError"}, (kind, text)
    assert len(net.api.seen) == count
    orders = "get('/v1/orders', 'api.test', 'api', 'Content-Length: 0\\r\\n', 'POST')[:15]"
    assert net.run(f"attempt(lambda: {orders})")[0] == ["done", OK]


ATTACKS = {
    "absolute form, other host": "GET http://evil.test/v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "absolute form, other scheme": "GET https://{host}/v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "absolute form, user": "GET http://a@{host}/v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "other host": "GET /v1/x HTTP/1.1\r\nHost: evil.test\r\n\r\n",
    "other port": "GET /v1/x HTTP/1.1\r\nHost: plain.test:1\r\n\r\n",
    "two hosts": "GET /v1/x HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n",
    "no host": "GET /v1/x HTTP/1.1\r\n\r\n",
    "empty host": "GET /v1/x HTTP/1.1\r\nHost:\r\n\r\n",
    "connect": "CONNECT evil.test:443 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "trace": "TRACE /v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "lower-case method": "get /v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": "GET /v1/x\r\n\r\n",
    "HTTP/1.2": "GET /v1/x HTTP/1.2\r\nHost: {host}\r\n\r\n",
    "h2c": "GET /v1/x HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    "websocket": "GET /v1/x HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "CL and TE": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n"
    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}",
    "TE and CL": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n"
    "Content-Length: 4\r\n\r\n0\r\n\r\n{second}",
    "two CLs": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n"
    "Content-Length: 44\r\n\r\n{second}",
    "same CLs": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\n"
    "Content-Length: 1\r\n\r\nx",
    "CL with a plus": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: +1\r\n\r\nx",
    "CL in hex": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0x1\r\n\r\nx",
    "CL below zero": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\nx",
    "TE odd": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE list": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\n"
    "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE twice": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n"
    "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "TE with a space": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding : chunked\r\n\r\n"
    "0\r\n\r\n",
    "TE with a tab": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding:\x0bchunked\r\n\r\n"
    "0\r\n\r\n",
    "folded": "GET /v1/x HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\n c\r\n\r\n",
    "bare line feeds": "GET /v1/x HTTP/1.1\nHost: {host}\n\n",
    "one bare line feed": "GET /v1/x HTTP/1.1\r\nHost: {host}\nX-A: b\r\n\r\n",
    "bare carriage return": "GET /v1/x HTTP/1.1\r\nHost: {host}\r\nX-A: b\rX-B: c\r\n\r\n",
    "leading space": " GET /v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "two spaces": "GET  /v1/x HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "long line": "GET /v1/" + "x" * 70_000 + " HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "many fields": "GET /v1/x HTTP/1.1\r\nHost: {host}\r\n" + "X-A: b\r\n" * 5000 + "\r\n",
    "chunk of a negative size": "POST /v1/x HTTP/1.1\r\nHost: {host}\r\n"
    "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
    "not HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
SECOND = "GET /v1/smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"


@pytest.mark.parametrize("attack", ATTACKS)
def test_n09_a_request_that_could_be_read_in_two_ways_is_refused(net, attack):
    host = f"plain.test:{net.ports['plain']}"
    count = len(net.plain.seen)
    data = ATTACKS[attack].format(host=host, second=SECOND.format(host=host))
    (kind, text), _ = net.run(f"attempt(lambda: talk({data!r}))")
    assert kind in {"PermissionError", "OSError"}, (kind, text)
    paths = [seen.path for seen in net.plain.seen[count:]]
    assert "/v1/smuggled" not in paths
    # What is refused in a body may be seen only after its head went out; a head never is.
    assert paths == [] or "chunk of" in attack
    right = f"GET /v1/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert net.run(f"attempt(lambda: talk({right!r})[:15])")[0] == ["done", OK]


def test_n09_what_arrives_was_written_by_the_server_side(net):
    """
    Fields that steer connections, and those that another hop would obey, do not come through.
    """
    fields = (
        "Connection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n"
        "Proxy-Authorization: x\r\nTE: trailers\r\nTrailer: X\r\nX-HTTP-Method-Override: DELETE\r\n"
        "X-HTTP-Method: DELETE\r\nX-Method-Override: DELETE\r\nX-Kept: yes\r\n"
    )
    host = f"plain.test:{net.ports['plain']}"
    data = f"GET http://{host}/v1/x HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
    assert net.run(f"attempt(lambda: talk({data!r})[:15])")[0] == ["done", OK]
    seen = net.plain.seen[-1]
    assert seen.raw.startswith(b"GET /v1/x HTTP/1.1\r\n")
    assert {name.lower() for name, _ in seen.fields} <= {"host", "connection", "x-kept"}
    assert seen.all("Host") == [host]
    assert seen.all("X-Kept") == ["yes"]


def test_n09_pipelined_requests_are_judged_one_by_one(net):
    host = f"api.test:{net.ports['api']}"
    count = len(net.api.seen)
    one = "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    data = "".join(one.format(path=path, host=host) for path in ("/v1/a", "/admin", "/v1/b"))
    _, decisions = net.run(f"attempt(lambda: talk({data!r}, 'api.test', 'api'))")
    assert [seen.path for seen in net.api.seen[count:]] in (["/v1/a"], [])
    assert (f"GET https://{host}/admin", "network[0].http") in net.denials(decisions)
    assert not [one for one in decisions if "/v1/b" in one[0]]


@pytest.mark.parametrize("name", hostile.SMUGGLING)
def test_n09_an_answer_that_could_be_read_in_two_ways_is_not_passed_on(net, name):
    told, _ = net.run(f"attempt(lambda: get('/smuggle/{name}'))")
    assert SMUGGLED.decode() not in str(told)
    assert told[0] in {"PermissionError", "OSError"}, told


@pytest.mark.parametrize("page", ["surplus", "switch"])
def test_n09_bytes_that_nobody_asked_for_end_the_connection(net, page):
    host = f"plain.test:{net.ports['plain']}"
    one = "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    data = "".join(one.format(path=path, host=host) for path in (f"/{page}", "/echo"))
    told, _ = net.run(f"attempt(lambda: talk({data!r}))")
    assert SMUGGLED.decode() not in str(told)


BOMBS = ["endless", "endless-plain", "many-fields", "long-field", "no-line-end", "informed"]


@pytest.mark.parametrize("page", BOMBS)
def test_n12_an_answer_without_an_end_has_one(net, page):
    """
    Under a budget of 64 KiB for both ways; a head is bounded whatever the budget.
    """
    (kind, text), _ = net.run(f"attempt(lambda: len(get('/{page}')))", "frugal")
    assert kind in {"OSError", "PermissionError"}, (kind, text)
    told, _ = net.run("attempt(lambda: len(get('/bytes/1000')) > 1000)", "frugal")
    assert told == ["done", True]


@pytest.mark.parametrize("page", ["many-fields", "long-field", "no-line-end"])
def test_n12_a_head_is_bounded_under_a_large_budget_as_well(net, page):
    (kind, text), _ = net.run(f"attempt(lambda: len(get('/{page}')))")
    assert kind in {"OSError", "PermissionError"}, (kind, text)


def test_n12_a_gzip_bomb_bursts_in_the_guest(net):
    """
    The broker unpacks nothing; the session's memory is what it fills.
    """
    url = f"http://plain.test:{net.ports['plain']}/gzip-bomb?mib="
    act = "attempt(lambda: len(requests.get(U).content))"
    told, _ = net.run(act, "small", image="web", before=f"import requests\nU = {url + '4'!r}")
    assert told == ["done", 4 * 2**20]
    with net.session("small", "web") as session:
        observation = session.run(f"import requests\nlen(requests.get({url + '250'!r}).content)")
        assert not observation.ok
    assert net.run("attempt(lambda: get('/v1/after')[:15])")[0] == ["done", OK]


@pytest.mark.parametrize("page", ["slow?every=0.5&bytes=1000", "slow-head?every=0.5", "silent"])
def test_n12_a_slow_server_is_interrupted_with_the_cell(net, page):
    """
    The cell's time ends it; the session goes on.
    """
    with net.session() as session:
        observation = session.run(f"connect_ = get('/{page}')", timeout=2)
        assert observation.error.name == "KeyboardInterrupt", observation.text
        assert session.run("get('/v1/after')[:15]").value == repr(OK)


def test_n12_the_guests_own_timeout_is_kept(net):
    told, _ = net.run("attempt(lambda: get('/silent'))", before="FIRST = 1")
    assert told == ["done", "(waits)"]


def test_n12_an_answer_that_is_cut_is_an_error_and_not_an_end(net):
    program = """
import http.client
def ask():
    connection = http.client.HTTPConnection("plain.test", PORTS["plain"])
    connection.request("GET", "/cut")
    return connection.getresponse().read()
"""
    (kind, _), _ = net.run("attempt(lambda: len(ask()))", before=program)
    assert kind in {"IncompleteRead", "OSError", "ConnectionResetError"}


def test_n17_a_query_is_in_the_record_by_length_and_digest(net):
    """
    What leaves in an allowed request is not stopped, and can be proved afterwards.
    """
    query = "q=" + "stolen-" * 40
    digest = hashlib.sha256(query.encode()).hexdigest()[:16]
    with net.session() as session:
        assert session.run(f"get('/v1/search?{query}')[:15]").value == repr(OK)
        identity = session.id
    host = f"plain.test:{net.ports['plain']}"
    request = f"GET http://{host}/v1/search?({len(query)} bytes, sha256 {digest})"
    found = net.records(identity)
    assert (request, "allow", "network[1]") in net.decisions(identity)
    assert not [one for one in found if "stolen-" in str(one.request) + str(one.detail)]
    # Each decision about a request or a connection has its outcome, with the bytes.
    decision = next(one for one in found if str(one.request) == request)
    outcome = next(one for one in found if one.refers == decision.sequence)
    assert outcome.outcome == "ok"
    detail = dict(outcome.detail)
    assert int(detail["sent"]) > len(query)
    assert int(detail["received"]) > 0
    assert int(detail["status"]) == 200


def test_n17_what_moves_is_counted_over_all_connections_of_a_session(net):
    """
    64 KiB in this policy, both ways together.
    """
    program = "told = [attempt(lambda: len(get('/bytes/20000')))[0] for _ in range(6)]"
    told, _ = net.run("told", "frugal", before=program)
    assert told[:3] == ["done"] * 3
    assert told[3:] == ["OSError"] * 3
    # Also on the way out.
    out = "talk(('POST /v1/x HTTP/1.1\\r\\nHost: plain.test:%d\\r\\nContent-Length: 100000\\r\\n\\r\\n' % PORTS['plain']) + 'x' * 100000)"
    (kind, text), _ = net.run(f"attempt(lambda: {out})", "frugal")
    assert kind == "OSError", (kind, text)
    assert "max_bytes" in text


def test_n17_connections_at_once_draw_on_one_budget(net):
    """
    Eight answers of 20,000 bytes begin together; no more than the 64 KiB of the policy arrive.
    """
    program = """
host = f"plain.test:{PORTS['plain']}"
ends = [connect("plain.test", "plain") for _ in range(8)]
for end in ends:
    end.sendall(f"GET /bytes/20000 HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
total = 0
for end in ends:
    end.settimeout(10)
    try:
        while part := end.recv(65536):
            total += len(part)
    except OSError:
        pass
"""
    total, _ = net.run("total", "frugal", before=program)
    assert 40_000 < total <= 65_536


def test_n09_a_raw_grant_is_a_pipe_and_another_host(net):
    """
    Where nobody reads, nothing is judged or added, and the record has the place and the bytes.
    """
    data = "GET /v1/../x HTTP/1.1\r\nHost: whoever\r\nX-HTTP-Method-Override: PUT\r\n\r\n"
    told, decisions = net.run(f"attempt(lambda: talk({data!r}, 'stream.test')[:15])", "friend")
    assert told == ["done", OK]
    assert net.plain.seen[-1].raw == data.encode()
    assert decisions == [(f"connect stream.test:{net.ports['plain']}", "allow", "network[4]")]
    assert net.run(f"attempt(lambda: talk({data!r}))", "friend")[0][0] in {
        "PermissionError",
        "OSError",
    }
