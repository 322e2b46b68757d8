"""
Properties of what is answered about the network, over policies and requests that nobody thought
of.
"""

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from policy.decide import decide
from policy.requests import (
    AddressRequest,
    HttpRequest,
    NetworkRequest,
    ResolveRequest,
    SocketRequest,
)
from policy.types import AddressClass, HttpRule, NetworkGrant, Policy, Rule

HOSTS = ["example.com", "a.example.com", "b.a.example.com", "other.org", "10.0.0.5", "::1"]
PATTERNS = [*HOSTS, "*.example.com", "*.a.example.com", "*.b.a.example.com"]
ASKED_HOSTS = [
    *HOSTS,
    "x.example.com",
    "x.a.example.com",
    "A.Example.com.",
    "xexample.com",
    "127.1",
    "a\0b",
    "",
    "com",
]
ADDRESSES = [
    "1.1.1.1",
    "10.0.0.5",
    "::1",
    "127.0.0.1",
    "169.254.169.254",
    "2002::1",
    "fe80::1",
    "x",
    "::ffff:10.0.0.5",
    "",
]
PATHS = ["/", "/v1", "/v1/x", "/v1/%2e", "/v1/x;y", "v1", "", "/v1/\u00fc", "/%zz"]
METHODS = ["GET", "POST", "TRACE", "get", ""]
PORTS = [0, 80, 443, 65536]
CLASSES = [one for one in AddressClass if one not in {AddressClass.PUBLIC, AddressClass.RESERVED}]


@st.composite
def policies(draw) -> Policy:
    places = draw(
        st.lists(
            st.tuples(st.sampled_from(PATTERNS), st.sampled_from([80, 443])),
            unique=True,
            max_size=6,
        )
    )
    grants = []
    for index, (host, port) in enumerate(places):
        rule = Rule(f"network[{index}]", "f", index + 1)
        methods, paths = (
            draw(st.sampled_from([("GET",), ("GET", "POST")])),
            draw(st.sampled_from([("/**",), ("/v1/*",), ("/v1",)])),
        )
        grants.append(
            NetworkGrant(
                host=host,
                ports=(port,),
                tls=draw(st.booleans()),
                raw=draw(st.booleans()),
                http=(HttpRule(methods, paths, rule),) if draw(st.booleans()) else (),
                max_bytes=1,
                credential=None,
                addresses=frozenset(draw(st.lists(st.sampled_from(CLASSES), max_size=2))),
                rule=rule,
            )
        )
    return Policy("p", "", "f", network=tuple(grants), disclose=draw(st.booleans()))


TEXTS = st.text(max_size=5)
REQUESTS = st.one_of(
    st.builds(NetworkRequest, st.sampled_from(ASKED_HOSTS) | TEXTS, st.sampled_from(PORTS)),
    st.builds(ResolveRequest, st.sampled_from(ASKED_HOSTS) | TEXTS),
    st.builds(
        AddressRequest,
        st.sampled_from(ASKED_HOSTS),
        st.sampled_from(PORTS),
        st.sampled_from(ADDRESSES) | TEXTS,
        st.booleans(),
    ),
    st.builds(
        HttpRequest,
        st.sampled_from(ASKED_HOSTS),
        st.sampled_from(PORTS),
        st.booleans(),
        st.sampled_from(METHODS) | TEXTS,
        st.sampled_from(PATHS) | TEXTS,
        st.none() | st.sampled_from(["", "a=b", "a b"]) | TEXTS,
    ),
    st.builds(SocketRequest, st.sampled_from(["tcp", "udp", "listen"]) | TEXTS),
)


def speaker(policy: Policy, host: str) -> str | None:
    """
    The grant's host that speaks for a name, found by trying every one.
    """
    name = host.lower().removesuffix(".")
    if name in {"", "127.1", "a\0b"} or not re.fullmatch(r"[a-z0-9.-]+|::1", name):
        return None
    covering = [
        (one.host == name, len(one.host), one.host)
        for one in policy.network
        if one.host == name or (one.host.startswith("*.") and name.endswith(one.host[1:]))
    ]
    return max(covering)[2] if covering else None


@settings(max_examples=500, deadline=None)
@given(policies(), st.sampled_from(ASKED_HOSTS), st.sampled_from(PORTS))
def test_the_most_specific_host_speaks_for_a_name(policy, host, port):
    said = speaker(policy, host)
    wanted = [one for one in policy.network if one.host == said and port in one.ports]
    decision = decide(policy, NetworkRequest(host, port))
    assert decision.allowed == bool(wanted)
    if wanted:
        assert decision.network == wanted[0]
    assert decide(policy, ResolveRequest(host)).allowed == (said is not None)


@settings(max_examples=800, deadline=None)
@given(policies(), st.lists(REQUESTS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_every_request_has_an_answer_whatever_the_order_of_grants(policy, requests, random):
    shuffled = list(policy.network)
    random.shuffle(shuffled)
    for request in requests:
        decision = decide(policy, request)
        assert decision == decide(replace(policy, network=tuple(shuffled)), request)
        assert decision.reason.isprintable()
        assert bool(decision.remedy) is not decision.allowed
        assert (decision.network in policy.network) or not decision.allowed


@settings(max_examples=500, deadline=None)
@given(policies(), REQUESTS)
def test_what_is_allowed_of_a_connection_needs_the_connection(policy, request):
    if isinstance(request, AddressRequest | HttpRequest) and decide(policy, request).allowed:
        connection = decide(policy, NetworkRequest(request.host, request.port))
        assert connection.allowed
        assert decide(policy, ResolveRequest(request.host)).allowed
        assert decide(policy, request).network == connection.network


@settings(max_examples=500, deadline=None)
@given(policies(), REQUESTS)
def test_a_policy_without_grants_allows_nothing(policy, request):
    assert not decide(replace(policy, network=()), request).allowed
