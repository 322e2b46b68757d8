"""
Hosts: every spelling has one form or none. Rows N02 to N05 of the list of attacks.
"""

import re
import socket
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policy.hosts import canonical_host, host_problem, is_address


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("localhost", "localhost"),
        ("r3---sn-4g5e.example", "r3---sn-4g5e.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1.2.3.4.example", "1.2.3.4.example"),
        ("0xcafe.example", "0xcafe.example"),
        ("deadbeef", "deadbeef"),
        ("0xyz", "0xyz"),
        ("0xzf", "0xzf"),
        ("a" * 61 + ("." + "a" * 63) * 3 + ".", "a" * 61 + ("." + "a" * 63) * 3),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (".".join(["a" * 49] * 5) + ".com", ".".join(["a" * 49] * 5) + ".com"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("::192.0.2.1", "::192.0.2.1"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
    ],
)
def test_a_host_has_one_form(text, host):
    assert canonical_host(text) == host
    assert canonical_host(host) == host


NO_HOSTS = [
    *(
        "",
        ".",
        "..",
        ".a",
        "a..b",
        "a..",
        " a",
        "a ",
        "a b",
        "a\tb",
        "a\n",
        "a\r\n",
        "a\0",
        "\0.a.b",
    ),
    *("evil.example\0.allowed.example", "allowed.example%00", "allowed.example@evil.example"),
    *(
        "user:pass@allowed.example",
        "allowed.example#@evil",
        "allowed.example/",
        "https://a.example",
    ),
    *("-a.example", "a-.example", "a_b.example", "*.example.com", "*", "a,b", "a;b", "a\\b", "a?b"),
    *("b\u00fccher.example", "\u0430pple.example", "a\u3002b", "\uff41.example", "a\u200d.example"),
    *("127.1", "127.0.1", "2130706433", "0x7f000001", "0X7F.1", "0177.0.0.1", "127.0.0.0x1", "0x"),
    *(
        "1.2.3.4.",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "01.2.3.4",
        "1.2.3.04",
        "a.1",
        "a.0x1",
        "a.09",
    ),
    *(
        "[::1]",
        "::1.",
        "::1%lo",
        "fe80::1%1",
        "::1/128",
        ":::",
        "1::2::3",
        "::g",
        "12345::",
        "a:443",
    ),
    *("::ffff:127.1", "::ffff:0177.0.0.1", "1:2:3:4:5:6:7:8:9", "::1 ", "\u0661.1.1.1"),
    *(
        "a" * 64 + ".example",
        ".".join(["a" * 50] * 5),
        "a." * 127 + "a",
        "a" * 10_000,
        ":" * 10_000,
    ),
]


@pytest.mark.parametrize("text", NO_HOSTS)
def test_what_is_no_host_has_no_form(text):
    assert canonical_host(text) is None


LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


def reference(text: str) -> str | None:
    """
    The form of a host by the C library's parsers and by expressions over whole names.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            packed = socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        if packed[:12] == bytes(10) + b"\xff\xff" and len(packed) == 16:
            return socket.inet_ntop(socket.AF_INET, packed[12:])
        return socket.inet_ntop(family, packed)
    name = text.lower() if text.isascii() else "?"
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or NUMBER.fullmatch(labels[-1]):
        return None
    return name if all(LABEL.fullmatch(label) for label in labels) else None


PIECES = st.sampled_from(
    [
        *("a", "B", "-", ".", "..", ":", "::", "0", "1", "255", "256", "0x7f", "ffff", "127.0.0.1"),
        *("%", "%lo", "@", "\0", "\r\n", " ", "/", "[", "]", "*", "_", "xn--", "\u00fc", "\u0661"),
        *("example", "com", "localhost", "a" * 63, "a" * 64, "fe80", "64:ff9b::", "::ffff:", "1."),
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join) | st.text(string.printable, max_size=20))
@example("1::2::3")
@example("::ffff:1.2.3.4")
def test_the_form_agrees_with_a_slow_reference(text):
    assert canonical_host(text) == reference(text)


@given(st.ip_addresses())
def test_every_address_is_a_host_and_an_address(address):
    host = canonical_host(str(address))
    assert host is not None
    assert is_address(host)
    assert canonical_host(host) == host


@given(st.from_regex(r"([a-z0-9]{1,5}\.){0,3}[a-z]{1,5}", fullmatch=True))
def test_no_name_is_an_address(name):
    assert canonical_host(name) == name
    assert not is_address(name)
    assert host_problem(name) is None


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("*", "a `*` stands for whole labels, and first", "write *.example.com"),
        ("a.*.com", "a `*` stands for whole labels, and first", "write *.example.com"),
        ("*.*.com", "a `*` stands for whole labels, and first", "write *.example.com"),
        ("*a.com", "a `*` stands for whole labels, and first", "write *.example.com"),
        ("*.com", "this would grant all of .com", "name two labels or more: *.example.com"),
        ("*.com.", "this would grant all of .com", "name two labels or more: *.example.com"),
        ("*.1.2.3.4", "an address has no names below it", "write 1.2.3.4"),
        (
            "*.b\u00fc.example",
            "a name is written in A-labels",
            "if it is this name, write xn--b-eha.example",
        ),
        ("\u2488com", "a name is written in A-labels", "if it is this name, write 1.com"),
        ("\u00fc" * 80, "a name is written in A-labels", "write its xn-- form"),
        (
            "https://a.b/c",
            "a host is neither a URL nor a range",
            "write one name or address alone: api.example.com",
        ),
        (
            "10.0.0.0/8",
            "a host is neither a URL nor a range",
            "write one name or address alone: api.example.com",
        ),
        ("[::1]", "brackets are for URLs", "write '::1'"),
        ("0x7f000001", "programs read this form of an IPv4 address differently", "write 127.0.0.1"),
        ("127.1", "programs read this form of an IPv4 address differently", "write 127.0.0.1"),
        ("a.example:443", "a port stands in `ports`", "write host: a.example, and the port"),
    ],
)
def test_a_host_that_cannot_be_granted_says_what_to_write(text, problem, hint):
    assert host_problem(text) == (problem, hint)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fe80::1%lo", "a zone id or percent-encoding has no meaning here"),
        ("1.2.3.4.5", "a last label that is a number makes an address, and this is none"),
        ("a.99999999999", "a last label that is a number makes an address, and this is none"),
        ("a_b.example", "`_` is in no name of a host"),
        ("a b", "this is no name of a host"),
        ("", "this is no name of a host"),
        ("*.", "this is no name of a host"),
    ],
)
def test_what_cannot_be_guessed_is_told_the_forms(text, problem):
    found = host_problem(text)
    assert found is not None
    assert found[0] == problem
    assert found[1].startswith("a host is a name such as")


@pytest.mark.parametrize(
    "text", ["a.example", "*.a.example", "192.0.2.1", "2001:db8::1", "A.example."]
)
def test_a_host_that_can_be_granted_has_no_problem(text):
    assert host_problem(text) is None


@given(st.text(max_size=30) | st.lists(PIECES, max_size=6).map("".join))
def test_every_text_has_a_form_or_a_problem(text):
    assert (host_problem(text) is None) == (
        canonical_host(text) is not None
        or (
            text.startswith("*.")
            and "." in (canonical_host(text[2:]) or "")
            and not is_address(canonical_host(text[2:]) or "")
        )
    )
