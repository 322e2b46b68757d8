"""
N02, N03, N04, N06: one name is one name, and what is dialled is what was vetted.

What green does not prove: that a name server of the world tells the truth.
"""

import pytest

from tests.servers import names

pytestmark = pytest.mark.image

ALLOWED = "HTTP/1.1 200 OK"
LOOKED = "attempt(lambda: get('/v1/x', {host!r})[:15])"

ODD_NAMES = [
    "plain.test\\0.evil.test",
    "evil.test\\0plain.test",
    "plain.test\\n",
    "plain.test\\r\\nX: y",
    "plain.test\\t",
    " plain.test",
    "plain.test ",
    "plain.test%00",
    "plain.test%0d%0a",
    "plain%2etest",
    "plain.test/",
    "plain.test:80",
    "plain.test#",
    "plain.test?",
    "plain..test",
    ".plain.test",
    "plain.test..",
    "plain.test\\\\",
    "[plain.test]",
    "*.wild.test",
    "*",
    "",
    ".",
    "a" * 64 + ".wild.test",
    "a." * 130 + "wild.test",
    "-a.wild.test",
    "a-.wild.test",
    "_x.wild.test",
    "a_b.wild.test",
]


# What Python and C make a granted name of before anybody is asked: that name is decided on.
CUT = {"plain.test\\0.evil.test"}
REFUSALS = {"PermissionError", "gaierror", "OSError", "ValueError", "UnicodeError"}


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("form", ['"{}"', 'b"{}"'])
def test_n02_what_is_no_name_is_refused_before_anything_is_asked(net, name, form):
    dns = net.dns.packets
    act = f"connect({form.format(name)}, 'plain').close()"
    (kind, text), decisions = net.run(f"attempt(lambda: {act})")
    if name in CUT:
        assert {request for request, *_ in decisions} == {
            f"connect plain.test:{net.ports['plain']}"
        }
        return
    assert kind in REFUSALS or kind == "UnicodeEncodeError", (kind, text)
    assert not [one for one in decisions if one[1] == "allow"], decisions
    assert net.dns.packets == dns


def test_n02_a_nul_or_line_end_never_reaches_a_request(net):
    """
    http.client refuses them itself, so they go as bytes.
    """
    count = len(net.plain.seen)
    for target in ("/v1/a%00b", "/v1/a%0d%0aX:%20y", "/v1/a\tb", "/v1/a\0b", "/v1/a b", "/v1/a\rb"):
        (kind, text), decisions = net.run(f"attempt(lambda: get({target!r}))")
        assert kind in {"PermissionError", "OSError"}, (target, kind, text)
        assert not [one for one in decisions if one[0].startswith("GET") and one[1] == "allow"]
    for field in ("X-A: b\0c", "X-A: b\rX-B: c", "X-A: b\nX-B: c", "X A: b", "X-A : b", ": b"):
        (kind, text), _ = net.run(f"attempt(lambda: get('/v1/x', fields={field!r} + '\\r\\n'))")
        assert kind in {"PermissionError", "OSError"}, (field, kind, text)
    assert len(net.plain.seen) == count
    assert net.run(LOOKED.format(host="plain.test"))[0] == ["done", ALLOWED]


URLS = [
    "http://plain.test.evil.test:{plain}/v1/x",
    "http://evil-plain.test:{plain}/v1/x",
    "http://plain.test@evil.test:{plain}/v1/x",
    "http://plain.test:{plain}@evil.test:{plain}/v1/x",
    "http://plain.test:{plain}#@evil.test:{plain}/v1/x",
    "http://user:pass@evil.test:{plain}/v1/x",
    "http://evil.test:{plain}/v1/x#@plain.test",
    "http://evil.test\\\\@plain.test:{plain}/v1/x",
    "http://xplain.test:{plain}/v1/x",
    "http://test:{plain}/v1/x",
]


@pytest.mark.parametrize("library", ["urllib.request", "requests", "httpx"])
@pytest.mark.parametrize("url", URLS)
def test_n03_the_host_that_is_dialled_is_the_host_that_was_decided(net, library, url):
    net.dns.zone["evil.test"] = names.addresses("127.0.0.1")
    before = net.dns.asked("evil.test"), len(net.plain.seen)
    act = {
        "urllib.request": "urllib.request.urlopen(U, timeout=10).status",
        "requests": "requests.get(U, timeout=10).status_code",
        "httpx": "httpx.get(U, timeout=10).status_code",
    }[library]
    told, decisions = net.run(
        f"attempt(lambda: {act})",
        image="web",
        before=f'import {library}\nU = "{url}"'.format(**net.ports),
    )
    # Where a library takes the part before `#` or `\` for the host, that is the granted one.
    hosts = [seen.all("Host")[0] for seen in net.plain.seen[before[1] :]]
    assert set(hosts) <= {f"plain.test:{net.ports['plain']}"}
    assert net.dns.asked("evil.test") == before[0]
    if told[0] != "done":
        assert not [one for one in decisions if one[1] == "allow" and "evil" in one[0]]


@pytest.mark.parametrize("name", ["PLAIN.TEST", "Plain.Test", "plain.test.", "p\u200dlain.test"])
def test_n04_one_name_has_one_form(net, name):
    port = net.ports["plain"]
    told, decisions = net.run(f"attempt(lambda: connect({name!r}, 'plain').close())")
    assert told[0] == "done", told
    assert (f"connect plain.test:{port}", "allow", "network[1]") in decisions


@pytest.mark.parametrize(
    "name",
    [
        "pl\u0430in.test",  # a Cyrillic letter
        "xn--plin-4ve.test",
        "plain\u3002test.evil",  # an ideographic full stop
        "xn--a.test",
        "wild.test",
        "awild.test",
        "wild.test.evil.test",
    ],
)
def test_n04_what_only_looks_like_it_is_another_name(net, name):
    before = net.touched()
    (kind, _), decisions = net.run(f"attempt(lambda: connect({name!r}, 'plain').close())")
    assert kind in {"PermissionError", "gaierror", "UnicodeError", "OSError"}
    assert net.touched() == before
    assert not [one for one in decisions if one[1] == "allow"]


def test_n04_a_wildcard_covers_what_is_below_it(net):
    for name in ("a.wild.test", "B.WILD.test"):
        assert net.run(LOOKED.format(host=name))[0] == ["done", ALLOWED]


def test_n04_names_below_a_wildcard_are_counted(net):
    """
    A hundred names, so that names cannot carry away what requests may not: the next is refused.
    """
    for number in range(110):
        net.dns.zone[f"n{number}.wild.test"] = names.addresses("127.0.0.1")
    told, _ = net.run(
        "[attempt(lambda: connect(f'n{number}.wild.test', 'plain').close())[0] for number in range(110)]"
    )
    assert told.count("done") == 100, told
    assert set(told[100:]) == {"PermissionError"}


@pytest.mark.parametrize(
    ("name", "script", "dialled"),
    [
        ("mixed", names.addresses("127.0.0.1", "10.0.0.5"), None),
        ("metadata", names.addresses("169.254.169.254"), None),
        ("alias", names.alias("db.internal", "10.0.0.5"), None),
        ("mapped", names.addresses("::ffff:10.0.0.5"), None),
        ("six", names.addresses("fd00::5"), None),
        ("nat64", names.addresses("64:ff9b::a00:5"), None),
        ("good-alias", names.alias("other.internal", "127.0.0.1"), "127.0.0.1"),
    ],
)
def test_n06_every_address_of_a_name_is_vetted(net, name, script, dialled):
    """
    The policy grants loopback for it: what lies elsewhere is refused, whatever the name says.
    """
    host = f"{name}.wild.test"
    net.dns.zone[host] = script
    before = net.plain.accepted
    (kind, text), decisions = net.run(f"attempt(lambda: get('/v1/x', {host!r})[:15])")
    denied = net.denials(decisions)
    if dialled:
        assert (kind, text) == ("done", ALLOWED)
        assert denied == []
        return
    assert kind == "PermissionError", (kind, text)
    assert net.plain.accepted == before
    assert [rule for _, rule in denied] == ["network[2].addresses"] * len(denied)
    assert all(request.startswith(f"dial {host}:{net.ports['plain']} at ") for request, _ in denied)


def test_n06_a_name_with_none_but_an_address_of_the_newer_kind_is_dialled(net):
    told, decisions = net.run("attempt(lambda: get('/v1/x', 'six.test', 'six')[:15])", "friend")
    assert told == ["done", ALLOWED]
    assert net.denials(decisions) == []


def test_n06_a_name_that_moves_is_vetted_each_time_it_is_asked(net):
    """
    First here, then inside, with a lifetime of nothing.
    """
    here, inside = names.addresses("127.0.0.1", ttl=0), names.addresses("10.0.0.5", ttl=0)
    net.dns.zone["moving.wild.test"] = names.in_turn(here, inside)
    program = """
import time
def until_it_moves():
    told = []
    while not told or (told[-1] == "done" and len(told) < 400):
        told.append(attempt(lambda: connect("moving.wild.test", "plain").recv(0))[0])
        time.sleep(0.02)
    return told
"""
    told, decisions = net.run("until_it_moves()", before=program)
    assert (told[0], told[-1]) == ("done", "PermissionError")
    assert net.denials(decisions) == [
        (f"dial moving.wild.test:{net.ports['plain']} at 10.0.0.5", "network[2].addresses")
    ]


@pytest.mark.parametrize(
    ("name", "script", "kind"),
    [
        ("gone", names.no_such_name, "OSError"),
        ("none", names.empty, "OSError"),
        ("mute", names.silence, "OSError"),
        ("broken", names.garbage, "OSError"),
        ("guessed", names.wrong_id("127.0.0.1"), "OSError"),
        ("ring", names.endless_aliases, "OSError"),
    ],
)
def test_n06_a_name_without_an_answer_is_a_host_that_cannot_be_reached(net, name, script, kind):
    host = f"{name}.wild.test"
    net.dns.zone[host] = script
    accepted = net.plain.accepted
    (said, text), decisions = net.run(f"attempt(lambda: get('/v1/x', {host!r}))")
    assert said in {kind, "TimeoutError"}, (said, text)
    assert net.plain.accepted == accepted
    assert net.denials(decisions) == []


def test_n06_nothing_is_asked_of_a_name_server_that_is_not_granted(net):
    before = net.dns.packets
    for name in ("secret-data.evil.test", "evil.test", "api.test.evil.test"):
        net.run(f"attempt(lambda: socket.getaddrinfo({name!r}, 80) and None)")
    assert net.dns.packets == before
    assert net.run("attempt(lambda: socket.getaddrinfo('plain.test', 80) and None)")[0] == [
        "done",
        None,
    ]
    assert net.dns.packets == before, "not even for a granted name before it is connected to"
