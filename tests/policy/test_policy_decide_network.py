"""
What is answered about the network, and how it is said. Every answer that allows has its twin that
does not.
"""

import re
from dataclasses import replace

import pytest

from policy.decide import compile_policy, decide
from policy.explain import parse_request
from policy.requests import (
    AddressRequest,
    HttpRequest,
    NetworkRequest,
    ResolveRequest,
    SocketRequest,
)
from policy.types import AddressClass, NetworkGrant, Policy, Rule

PRICES = """network:
  - host: api.example.com
    http:
      - {methods: [GET, HEAD], paths: ["/v1/prices/**", /v1/list]}
      - {methods: [POST], paths: [/v1/search]}
    credentials: {header: Authorization, secret: prices-api, prefix: "Bearer "}
    addresses: [private]
  - {host: "*.example.com", scheme: http, ports: [80, 8080], max_bytes: 1Ki}
  - {host: "*.a.example.com", raw: true, ports: [5432], tls: false, addresses: [host]}
  - {host: 127.0.0.1, scheme: http, ports: [8000], addresses: [loopback]}
  - {host: "2001:DB7::1"}
"""
API, WILD, DEEP, HERE, SIX = (f"network[{index}]" for index in range(5))


@pytest.fixture
def ask(policy):
    decider = compile_policy(policy(PRICES))

    def answer(text: str):
        return decider.decide(parse_request(text))

    return answer


# What is answered


@pytest.mark.parametrize(
    ("allowed", "rule", "denied"),
    [
        ("connect api.example.com:443", API, "connect api.example.com:80"),
        ("connect API.EXAMPLE.COM.:443", API, "connect api.example.com.evil.example:443"),
        ("connect x.example.com:80", WILD, "connect example.com:80"),
        ("connect x.y.example.com:8080", WILD, "connect x.y.example.com:443"),
        ("connect x.a.example.com:5432", DEEP, "connect a.example.com:5432"),
        ("connect a.example.com:80", WILD, "connect x.a.example.com:80"),
        ("connect x.example.com:80", WILD, "connect evil-example.com:80"),
        ("connect x.example.com:80", WILD, "connect x.example.com.:0"),
        ("connect x.example.com:80", WILD, "connect xexample.com:80"),
        ("connect x.example.com:80", WILD, "connect x.example.com@evil.example:80"),
        ("connect 127.0.0.1:8000", HERE, "connect 127.1:8000"),
        ("connect [::ffff:127.0.0.1]:8000", HERE, "connect [::1]:8000"),
        ("connect 127.0.0.1:8000", HERE, "connect localhost:8000"),
        ("connect [2001:db7::1]:443", SIX, "connect [2001:db7::2]:443"),
        ("resolve api.example.com", API, "resolve api.example.org"),
        ("resolve q.a.example.com", DEEP, "resolve com"),
        ("resolve 127.0.0.1", HERE, "resolve 127.0.0.2"),
        (
            "dial api.example.com:443 at 10.0.0.5",
            f"{API}.addresses",
            "dial api.example.com:443 at 127.0.0.1",
        ),
        (
            "dial api.example.com:443 at 1.1.1.1",
            f"{API}.addresses",
            "dial api.example.com:443 at 1.1.1.1 own",
        ),
        (
            "dial api.example.com:443 at ::ffff:10.0.0.5",
            f"{API}.addresses",
            "dial api.example.com:443 at ::ffff:127.0.0.1",
        ),
        (
            "dial x.a.example.com:5432 at 10.0.0.5 own",
            f"{DEEP}.addresses",
            "dial x.a.example.com:5432 at 10.0.0.5",
        ),
        (
            "dial x.example.com:80 at 1.1.1.1",
            f"{WILD}.addresses",
            "dial x.example.com:80 at 169.254.169.254",
        ),
        (
            "dial 127.0.0.1:8000 at 127.0.0.1",
            f"{HERE}.addresses",
            "dial 127.0.0.1:8000 at 127.0.0.2",
        ),
        (
            "dial x.example.com:80 at 2606::1",
            f"{WILD}.addresses",
            "dial x.example.com:80 at 64:ff9b::1.1.1.1",
        ),
        (
            "dial x.example.com:80 at 1.1.1.1",
            f"{WILD}.addresses",
            "dial x.example.com:80 at one.one.example",
        ),
        (
            "dial x.example.com:80 at 1.1.1.1",
            f"{WILD}.addresses",
            "dial x.example.com:81 at 1.1.1.1",
        ),
        (
            "GET https://api.example.com/v1/prices/x",
            f"{API}.http[0]",
            "POST https://api.example.com/v1/prices/x",
        ),
        (
            "HEAD https://api.example.com/v1/list?a=b",
            f"{API}.http[0]",
            "GET https://api.example.com/v1/list/",
        ),
        (
            "POST https://api.example.com/v1/search",
            f"{API}.http[1]",
            "GET https://api.example.com/v1/search",
        ),
        (
            "GET https://api.example.com/v1/%70rices",
            f"{API}.http[0]",
            "GET https://api.example.com/V1/prices",
        ),
        (
            "GET https://api.example.com/v1/prices/x",
            f"{API}.http[0]",
            "GET https://api.example.com/v1/prices/../x",
        ),
        (
            "GET https://api.example.com/v1/prices/x",
            f"{API}.http[0]",
            "get https://api.example.com/v1/prices/x",
        ),
        (
            "GET https://api.example.com/v1/list",
            f"{API}.http[0]",
            "GET http://api.example.com:443/v1/list",
        ),
        ("DELETE http://x.example.com/y?", WILD, "TRACE http://x.example.com/y?"),
        ("GET http://x.example.com/y", WILD, "GET http://x.example.com:81/y"),
        ("GET http://x.example.com/y", WILD, "GET http://x.example.com/%2e"),
        ("GET http://x.example.com/y?a", WILD, "GET http://x.example.com/y?a b"),
        ("GET http://x.example.com/y", WILD, "GET http://x.a.example.com:5432/y"),
        ("GET http://127.0.0.1:8000/", HERE, "GET http://2130706433:8000/"),
    ],
)
def test_one_request_is_granted_and_its_twin_is_not(ask, allowed, rule, denied):
    yes, no = ask(allowed), ask(denied)
    assert (yes.allowed, yes.rule.name, yes.remedy) == (True, rule, "")
    assert yes.reason.startswith(f"{allowed.partition(' ')[0]} ")
    assert yes.reason.endswith(" is granted")
    assert yes.network is not None
    assert yes.network.rule.name == rule.partition(".")[0]
    assert (no.allowed, no.absent, bool(no.remedy)) == (False, False, True)


NOT = "is not granted:"
BY = "would allow it"


@pytest.mark.parametrize(
    ("text", "rule", "reason", "remedy"),
    [
        (
            "connect evil.example:443",
            "network",
            "this policy grants no such host",
            f"a grant in `network` for evil.example {BY}",
        ),
        (
            "resolve Evil.example.",
            "network",
            "this policy grants no such host",
            f"a grant in `network` for evil.example {BY}",
        ),
        (
            "connect api.example.com:22",
            API,
            "port 22 of this host is not granted",
            f"22 in the `ports` of {API} {BY}",
        ),
        (
            "connect 0x7f.1:443",
            "network",
            "that is no name or address of a host",
            "nothing in a policy allows it",
        ),
        (
            "dial api.example.com:443 at 127.0.0.1",
            f"{API}.addresses",
            "api.example.com has the address 127.0.0.1, which is loopback",
            f"`loopback` in the `addresses` of {API} {BY}",
        ),
        (
            "dial x.example.com:80 at 10.0.0.5",
            f"{WILD}.addresses",
            "x.example.com has the address 10.0.0.5, which is private",
            f"`private` in the `addresses` of {WILD} {BY}",
        ),
        (
            "dial x.example.com:80 at 10.0.0.5 own",
            f"{WILD}.addresses",
            "x.example.com has the address 10.0.0.5, which is one of the server's own",
            f"`host` in the `addresses` of {WILD} {BY}",
        ),
        (
            "dial x.example.com:80 at fe80::1",
            f"{WILD}.addresses",
            "x.example.com has the address fe80::1, which is link-local",
            f"`link-local` in the `addresses` of {WILD} {BY}",
        ),
        (
            "dial x.example.com:80 at 169.254.169.254",
            f"{WILD}.addresses",
            "x.example.com has the address 169.254.169.254, which is a metadata service of a cloud",
            f"`metadata` in the `addresses` of {WILD} {BY}",
        ),
        (
            "dial x.example.com:80 at 2002::1",
            f"{WILD}.addresses",
            "x.example.com has the address 2002::1, which is reserved (multicast, a tunnel, documentation or the like)",
            "nothing in a policy allows a reserved address",
        ),
        (
            "dial x.example.com:80 at 127.1",
            f"{WILD}.addresses",
            "'127.1' is no address",
            "nothing in a policy allows it",
        ),
        (
            "dial 127.0.0.1:8000 at 8.8.8.8",
            f"{HERE}.addresses",
            "127.0.0.1 is an address and leads to no other",
            "nothing in a policy allows it",
        ),
        (
            "PUT https://api.example.com/v1/list",
            f"{API}.http",
            "the method PUT is not granted for this path",
            f"a rule in {API}.http with the method and the path {BY}",
        ),
        (
            "GET https://api.example.com/v2",
            f"{API}.http",
            "the path is not granted for GET",
            f"a rule in {API}.http with the method and the path {BY}",
        ),
        (
            "DELETE https://api.example.com/v2",
            f"{API}.http",
            "the method DELETE is granted for no path of this host",
            f"a rule in {API}.http with the method and the path {BY}",
        ),
        (
            "CONNECT https://api.example.com/v2",
            f"{API}.http",
            "'CONNECT' is no method that can be granted",
            "nothing in a policy allows it",
        ),
        (
            "GET https://api.example.com/%2e%2e/a",
            f"{API}.http",
            "the path holds a dot segment, `.` or `..`, once decoded",
            "nothing in a policy allows it",
        ),
        (
            "GET http://x.example.com/a?b c",
            f"{WILD}.http",
            "the query holds the character U+0020",
            "nothing in a policy allows it",
        ),
        (
            "GET http://api.example.com:443/v1/list",
            f"{API}.http",
            "the grant is of https",
            "ask for it with https: what a guest sends here leaves over TLS in any case",
        ),
        (
            "GET https://x.example.com:80/",
            f"{WILD}.http",
            "the grant is of http",
            f"`scheme: https` in {WILD} would grant it over TLS",
        ),
        (
            "GET http://x.a.example.com:5432/",
            f"{DEEP}.http",
            "the grant is of a raw stream, whose requests nobody reads",
            "nothing in a policy allows it",
        ),
        (
            "socket udp",
            "network",
            "there are no datagrams: names are resolved without them, for the rest use TCP",
            "nothing in a policy allows it",
        ),
        (
            "socket unix",
            "network",
            "there are no sockets of the machine: socket.socketpair() connects within the guest",
            "nothing in a policy allows it",
        ),
        (
            "socket raw",
            "network",
            "there are no raw sockets: only TCP connections to granted hosts can be opened",
            "nothing in a policy allows it",
        ),
        (
            "socket listen",
            "network",
            "nothing may listen or accept: connect to a granted host instead",
            "nothing in a policy allows it",
        ),
        (
            "socket netlink",
            "network",
            "only TCP connections to granted hosts can be opened",
            "nothing in a policy allows it",
        ),
    ],
)
def test_a_denial_says_what_was_asked_what_is_wrong_and_what_would_help(
    ask, text, rule, reason, remedy
):
    decision = ask(text)
    asked = str(parse_request(text)).partition("?")[0]
    assert (decision.rule.name, decision.reason) == (rule, f"{asked} {NOT} {reason}")
    assert decision.remedy == remedy


@pytest.mark.parametrize(
    "text",
    [
        "connect a.example:443",
        "resolve a.example",
        "dial a.example:443 at 1.1.1.1",
        "GET https://a.example/",
        "socket udp",
        "socket tcp",
    ],
)
def test_a_policy_without_network_says_so(policy, text):
    decision = decide(policy("disclose: true\n"), parse_request(text))
    assert decision.reason.endswith(f"{NOT} this policy grants no network")
    assert (decision.rule.name, decision.network) == ("network", None)


def test_what_is_granted_is_told_only_where_the_policy_discloses_it(policy):
    reason = f"connect evil.example:443 {NOT} this policy grants no such host"
    offer = (
        "; you may connect to *.a.example.com:5432 (TCP), *.example.com:80,8080 (http), "
        "127.0.0.1:8000 (http), [2001:db7::1]:443, "
        "api.example.com:443 (GET, HEAD at /v1/prices/**, /v1/list; POST at /v1/search)"
    )
    request = NetworkRequest("evil.example", 443)
    assert decide(policy(PRICES), request).reason == reason
    assert decide(policy(PRICES + "disclose: true\n"), request).reason == reason + offer


def test_an_offer_is_as_the_rules_are(policy):
    text = """disclose: true
network:
  - {host: a.example, http: [{paths: [/v1/prices/**]}]}
  - {host: b.example, scheme: http, http: [{methods: [PUT]}]}
  - {host: c.example, raw: true, ports: [443]}
"""
    assert decide(policy(text), ResolveRequest("x")).reason.partition("; ")[2] == (
        "you may connect to a.example:443 (GET, HEAD below /v1/prices/**), "
        "b.example:80 (http; PUT), c.example:443 (TLS)"
    )


def test_a_long_offer_is_cut_short(policy):
    hosts = "".join(f"  - {{host: h{number:02}.example}}\n" for number in range(20))
    reason = decide(policy(f"disclose: true\nnetwork:\n{hosts}"), ResolveRequest("x")).reason
    assert reason.endswith("h06.example:443, h07.example:443 and 12 more")


def test_the_rules_of_keys_point_at_the_keys_or_else_at_the_grant(ask):
    http, addresses = (
        ask("GET https://api.example.com/x").rule,
        ask("dial x.example.com:80 at ::1").rule,
    )
    assert (http.name, http.line, http.column) == (f"{API}.http", 5, 5)
    assert (addresses.name, addresses.line, addresses.column) == (f"{WILD}.addresses", 10, 5)


@pytest.mark.parametrize(
    "request_",
    [
        NetworkRequest("a\nGRANTED", 443),
        NetworkRequest("x" * 100_000, 443),
        ResolveRequest("\u202e\ud800" * 10_000),
        AddressRequest("x.example.com", 80, "1\n2" * 10_000),
        HttpRequest("x.example.com", 80, False, "G\nT" * 10_000, "/"),
        HttpRequest("x.example.com", 80, False, "GET", "/\n" * 10_000),
        HttpRequest("x.example.com", 80, False, "GET", "/", "\n\ud800" * 10_000),
        SocketRequest("\n" * 10_000),
    ],
)
def test_what_a_guest_names_cannot_forge_a_line_or_flood(policy, request_):
    decision = decide(policy(PRICES), request_)
    assert not decision.allowed
    assert decision.reason.isprintable()
    assert len(decision.reason) < 2600


def test_a_query_is_in_no_reason_and_in_the_request_by_its_digest(policy):
    request = HttpRequest("x.example.com", 80, False, "GET", "/y", "token=secret")
    decision = decide(policy(PRICES), request)
    assert decision.allowed
    for text in (decision.reason, str(request)):
        assert "secret" not in text
    assert re.search(r"\?\(12 bytes, sha256 [0-9a-f]{16}\)$", str(request))


def test_a_grant_made_without_a_file_has_rules_all_the_same():
    rule = Rule("network[0]", "f", 3)
    grant = NetworkGrant(
        "a.example", (443,), True, False, (), 1, None, frozenset(AddressClass), rule
    )
    policy = Policy("p", "", "f", network=(grant,))
    request = AddressRequest("a.example", 443, "224.0.0.1")
    decision = decide(policy, request)
    # Nothing grants a reserved address, not even a grant that names the class.
    assert (decision.allowed, decision.rule) == (False, Rule("network[0].addresses", "f", 3))
    assert decide(policy, replace(request, address="127.0.0.1")).allowed
