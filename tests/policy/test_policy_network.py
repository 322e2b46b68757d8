"""
Network grants as a file says them: values, digest, explanations, warnings, documents.
"""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from policy.decide import decide
from policy.doubts import doubts
from policy.errors import RequestTextError
from policy.explain import explain, parse_request, to_json
from policy.requests import (
    AddressRequest,
    HttpRequest,
    NetworkRequest,
    ResolveRequest,
    SocketRequest,
)
from policy.schema_network import CredentialsSection, HttpSection, NetworkSection
from policy.types import AddressClass, Credential, HttpRule, NetworkGrant, Rule

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


# What a file says


def test_every_key_of_a_grant_arrives(policy):
    first, second, third, *_ = policy(PRICES).network
    lines = ("sample.yaml", 4, 5, "  - host: api.example.com")
    assert first == NetworkGrant(
        host="api.example.com",
        ports=(443,),
        tls=True,
        raw=False,
        http=(
            HttpRule(("GET", "HEAD"), ("/v1/prices/**", "/v1/list"), first.http[0].rule),
            HttpRule(("POST",), ("/v1/search",), first.http[1].rule),
        ),
        max_bytes=64 * 2**20,
        credential=Credential("Authorization", "prices-api", "Bearer "),
        addresses=frozenset({AddressClass.PRIVATE}),
        rule=Rule(API, *lines),
    )
    assert (first.http[1].rule.name, first.http[1].rule.line) == (f"{API}.http[1]", 7)
    assert (second.ports, second.tls, second.max_bytes) == ((80, 8080), False, 1024)
    assert (third.raw, third.tls, third.ports) == (True, False, (5432,))


@pytest.mark.parametrize(
    ("text", "ports", "tls", "raw"),
    [
        ("host: a.example", (443,), True, False),
        ("host: a.example, scheme: https", (443,), True, False),
        ("host: a.example, scheme: http", (80,), False, False),
        ("host: a.example, raw: false", (443,), True, False),
        ("host: a.example, raw: true, ports: [443]", (443,), True, True),
        ("host: a.example, raw: true, ports: [443], tls: false", (443,), False, True),
        ("host: a.example, raw: true, ports: [22, 5], tls: true", (5, 22), True, True),
    ],
)
def test_what_is_not_said_follows_from_what_is(policy, text, ports, tls, raw):
    (grant,) = policy(f"network: [{{{text}}}]\n").network
    assert (grant.ports, grant.tls, grant.raw) == (ports, tls, raw)
    assert (grant.http, grant.credential, grant.addresses) == ((), None, frozenset())


def test_the_defaults_of_a_rule_are_looking_at_everything(policy):
    (grant,) = policy("network: [{host: a.example, http: [{}]}]\n").network
    assert (grant.http[0].methods, grant.http[0].paths) == (("GET", "HEAD"), ("/**",))


@pytest.mark.parametrize(
    ("prefix", "loads"),
    [
        ("x" * 64, True),
        ("x" * 65, False),
        ("~ ", True),
        ("\x7f", False),
        ("\x1f", False),
        (" x", False),
    ],
)
def test_a_prefix_is_up_to_64_characters_that_can_be_printed(prefix, loads):
    section = {"header": "X-Key", "secret": "k", "prefix": prefix}
    if loads:
        assert CredentialsSection.model_validate(section).prefix == prefix
    else:
        with pytest.raises(ValidationError):
            CredentialsSection.model_validate(section)


@pytest.mark.parametrize("text", ["", "network: none\n", "network: []\n"])
def test_no_network_is_said_in_three_ways(policy, text):
    assert policy(text).network == ()
    assert policy(text).digest == policy().digest


def test_names_and_paths_are_kept_in_their_one_form(policy):
    text = "network: [{host: '*.API.Example.com.', http: [{paths: ['/%70rices/%c3%a9']}]}]\n"
    (grant,) = policy(text).network
    assert (grant.host, grant.http[0].paths) == ("*.api.example.com", ("/prices/%C3%A9",))


def test_one_host_may_have_two_grants_with_ports_of_their_own(policy):
    text = "network: [{host: a.example}, {host: a.example, raw: true, ports: [22], tls: false}]\n"
    found = policy(text)
    for port, grant in zip((443, 22), found.network, strict=True):
        assert decide(found, NetworkRequest("a.example", port)).network == grant
    assert not decide(found, NetworkRequest("a.example", 80)).allowed


# The digest

ONE = """network:
  - {host: a.example, ports: [1, 2], addresses: [host, private], http: [{methods: [GET, PUT]}, {paths: [/a, /b]}]}
  - {host: b.example, credentials: {header: X-Key, secret: s}}
"""
SAME = """network:
  - {host: B.example., scheme: https, ports: [443], raw: false, max_bytes: 64Mi,
     credentials: {header: x-key, secret: s, prefix: ""}}
  - {host: a.example, ports: [2, 1], addresses: [private, host],
     http: [{paths: [/b, /%61], methods: [HEAD, GET]}, {methods: [PUT, GET], paths: ["/**"]}]}
"""


def test_the_same_grants_have_the_same_digest(policy):
    assert policy(ONE).digest == policy(SAME).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *(("a.example", "c.example"), ("a.example", "'*.a.example'"), ("[1, 2]", "[1]")),
        *(
            ("[host, private]", "[host]"),
            ("[GET, PUT]", "[GET]"),
            ("/a,", "/c,"),
            ("X-Key", "Y-Key"),
        ),
        *(("secret: s", "secret: t"), ("secret: s", "secret: s, prefix: x")),
        *(("b.example,", "b.example, max_bytes: 1,"), ("{host: b", "{http: [{}], host: b")),
        ("  - {host: b.example, credentials: {header: X-Key, secret: s}}\n", ""),
        ("network:", "limits: {connections: 1}\nnetwork:"),
    ],
)
def test_other_grants_have_another_digest(policy, old, new):
    assert old in ONE
    assert policy(ONE.replace(old, new)).digest != policy(ONE).digest


def test_a_policy_without_network_has_the_digest_it_had_before_there_was_one(policy):
    # Of this text, by the release before: records of older servers name it.
    before = "602ee3c498e35a5c3232b7337d63ba05b3368246777efd59ad06eefc8d19f7d5"
    assert policy("disclose: true\n").digest == before
    assert policy("disclose: true\nnetwork: none\nlimits: {connections: 7}\n").digest == before


# Explanations

ASKED = {
    "connect": "connect api.example.com:443",
    "connect-denied": "connect evil.example:443",
    "resolve": "resolve x.example.com",
    "resolve-denied": "resolve evil.example",
    "dial": "dial api.example.com:443 at 10.0.0.5",
    "dial-denied": "dial api.example.com:443 at 10.0.0.5 own",
    "http": "GET https://api.example.com/v1/prices/x?day=1",
    "http-denied": "PUT https://api.example.com/v1/prices/x?day=1",
    "socket-denied": "socket udp",
}


@pytest.mark.parametrize("case", ASKED)
def test_an_explanation_of_the_network_reads_like_this(policy, expected, case):
    found, request = policy(PRICES), parse_request(ASKED[case])
    expected(f"explain-network-{case}", explain(found, request))
    expected(f"explain-network-{case}.json", to_json(found, request))


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("resolve example.org", ResolveRequest("example.org")),
        ("dial a.example:1 at ::1", AddressRequest("a.example", 1, "::1")),
        ("dial a.example:1 at ::1 own", AddressRequest("a.example", 1, "::1", own=True)),
        ("GET https://a.example", HttpRequest("a.example", 443, True, "GET", "/")),
        ("GET http://a.example?", HttpRequest("a.example", 80, False, "GET", "/", "")),
        (
            "PUT https://a.example:8443/x/y?b=/?c",
            HttpRequest("a.example", 8443, True, "PUT", "/x/y", "b=/?c"),
        ),
        ("GET http://[::1]/x", HttpRequest("::1", 80, False, "GET", "/x")),
        ("GET http://[::1]:81/x", HttpRequest("::1", 81, False, "GET", "/x")),
        ("socket udp", SocketRequest("udp")),
    ],
)
def test_everything_about_the_network_can_be_asked(text, request_):
    assert parse_request(text) == request_


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resolve", "'resolve' is no request; write "),
        (
            "dial a.example:1",
            "'a.example:1' names no address; write `dial example.org:443 at 192.0.2.1`",
        ),
        ("dial a.example:1 at ::1 ours", "names no address"),
        ("dial a.example at ::1", "'a.example' is no HOST:PORT"),
        ("GET ftp://a.example/", "there is no scheme 'ftp'; write https:// or http://"),
        ("GET https://user@a.example/", "has a user or a fragment, which no request carries"),
        ("GET https://a.example/#x", "has a user or a fragment, which no request carries"),
        ("GET https://:443/", "':443' is no HOST:PORT"),
        ("GET https:///", "':443' is no HOST:PORT"),
        ("GET https://[x]/", "'x' is no IPv6 address"),
    ],
)
def test_what_is_no_request_of_the_network_is_refused_with_the_forms(text, message):
    with pytest.raises(RequestTextError) as caught:
        parse_request(text)
    assert message in str(caught.value)


# What may be a mistake


@pytest.mark.parametrize("base", ["github.io", "s3.amazonaws.com"])
def test_a_wildcard_over_names_that_anybody_can_have_is_warned_of(policy, base):
    (doubt,) = doubts(policy(f"network:\n  - {{host: '*.{base}'}}\n"))
    assert doubt.message == f"network: anybody can have a name below {base}"
    assert (doubt.line, doubt.column) == (4, 5)


@pytest.mark.parametrize(
    "host", ["*.example.com", "*.example.co.uk", "github.io", "co.uk", "*.me.github.io"]
)
def test_another_host_is_not(policy, host):
    assert doubts(policy(f"network: [{{host: '{host}'}}]\n")) == ()


# The documents


def test_every_key_of_a_grant_has_its_line_in_the_documents():
    text = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    section = text.split("\n## Network\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `([\w.-]+)`", section, re.MULTILINE)
    keys = set(NetworkSection.model_fields)
    keys |= {f"http.{key}" for key in HttpSection.model_fields}
    keys |= {f"credentials.{key}" for key in CredentialsSection.model_fields}
    assert keys | {one.value for one in AddressClass} == set(rows)


def test_the_example_in_the_documents_loads(policy):
    text = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    section = text.split("\n## Network\n", 1)[1].split("\n## ", 1)[0]
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(policy(example).network) == 3
