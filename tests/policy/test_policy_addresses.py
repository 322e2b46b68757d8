"""
Classes of addresses: the table's rows at both ends and one beyond, and Python's own opinion.
"""

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.addresses import _ROWS, KINDS, address_class
from policy.types import AddressClass

RANGES = [
    ("0.0.0.0/8", "reserved"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "private"),
    ("127.0.0.0/8", "loopback"),
    ("168.63.129.16/32", "metadata"),
    ("169.254.0.0/16", "link-local"),
    ("169.254.169.254/32", "metadata"),
    ("169.254.170.2/32", "metadata"),
    ("100.100.100.200/32", "metadata"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "reserved"),
    ("192.88.99.0/24", "reserved"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "reserved"),
    ("198.51.100.0/24", "reserved"),
    ("203.0.113.0/24", "reserved"),
    ("224.0.0.0/4", "reserved"),
    ("240.0.0.0/4", "reserved"),
    ("255.255.255.255/32", "reserved"),
    ("::/128", "reserved"),
    ("::1/128", "loopback"),
    ("::7f00:1/128", "reserved"),
    ("::ffff:0:127.0.0.1/128", "reserved"),
    ("64:ff9b::/96", "reserved"),
    ("64:ff9b:1::/48", "reserved"),
    ("100::/64", "reserved"),
    ("2001::/32", "reserved"),
    ("2001:2::/48", "reserved"),
    ("2001:10::/28", "reserved"),
    ("2001:20::/28", "reserved"),
    ("2001:db8::/32", "reserved"),
    ("2002::/16", "reserved"),
    ("3fff::/20", "reserved"),
    ("4000::/3", "reserved"),
    ("5f00::/16", "reserved"),
    ("fc00::/8", "private"),
    ("fd12::/16", "private"),
    ("fd00:ec2::254/128", "metadata"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "reserved"),
    ("ff00::/8", "reserved"),
]


@pytest.mark.parametrize(("text", "word"), RANGES)
def test_both_ends_of_a_range_have_its_class(text, word):
    network = ip_network(text)
    ends = {str(network[0]), str(network[-1])}
    assert {address_class(end) for end in ends} == {AddressClass(word)}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
        ),
        *("128.0.0.0", "168.63.129.15", "169.253.255.255", "169.255.0.0", "172.15.255.255"),
        *(
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
        ),
        *("198.20.0.0", "223.255.255.255", "192.31.196.1", "8.8.8.8"),
        *(
            "2000::",
            "2001:200::",
            "2001:4860:4860::8888",
            "2001:db7:ffff::",
            "2001:db9::",
            "2003::",
        ),
        *("2606:4700::1111", "3fff:1000::", "3ffe:ffff::"),
        *("::ffff:8.8.8.8", "::ffff:101:101"),
    ],
)
def test_what_lies_beside_the_ranges_is_public(text):
    assert address_class(text) is AddressClass.PUBLIC


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "example.com", "1.2.3", "127.1", "0x7f000001", "2130706433", "0177.0.0.1"),
        *("8.8.8.8 ", " 8.8.8.8", "8.8.8.8\0", "8.8.8.8/32", "[2606:4700::1111]", "2606::%eth0"),
        *("fe80::1%lo", "2606::%", "\u0668.8.8.8", "::ffff:8.8.8", "8.8.8.8.8"),
    ],
)
def test_what_is_no_address_is_of_the_class_that_nothing_grants(text):
    assert address_class(text) is AddressClass.RESERVED


@pytest.mark.parametrize(
    ("inner", "word"),
    [
        ("127.0.0.1", "loopback"),
        ("10.0.0.1", "private"),
        ("169.254.169.254", "metadata"),
        ("0.0.0.0", "reserved"),
    ],
)
def test_a_mapped_address_is_the_one_within(inner, word):
    assert address_class(inner) is address_class(f"::ffff:{inner}") is AddressClass(word)


@pytest.mark.parametrize(
    "outer", ["64:ff9b::{}", "::{}", "2002:{6to4}::1", "64:ff9b:1::{}", "::ffff:0:{}"]
)
@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.1", "8.8.8.8", "169.254.169.254"])
def test_an_address_in_a_tunnel_is_reserved_whatever_it_carries(outer, inner):
    number = int(IPv4Address(inner))
    text = outer.replace("{6to4}", f"{number >> 16:x}:{number & 0xFFFF:x}").format(inner)
    assert address_class(text) is AddressClass.RESERVED


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("93.184.216.34", "host"),
        ("10.0.0.5", "host"),
        ("::ffff:10.0.0.5", "host"),
        ("100.64.0.1", "host"),
        ("fe80::1", "host"),
        ("2606:4700::1111", "host"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("169.254.169.254", "metadata"),
        ("198.18.0.1", "reserved"),
        ("0.0.0.0", "reserved"),
        ("nonsense", "reserved"),
    ],
)
def test_an_address_of_the_server_itself_is_never_merely_public_or_private(text, word):
    assert address_class(text, own=True) is AddressClass(word)


def slow(address: IPv4Address | IPv6Address) -> AddressClass:
    """
    The longest row that holds the address; among the metadata addresses, each is longest.
    """
    inner = getattr(address, "ipv4_mapped", None) or address
    rows = [(ip_network(text), found) for text, found in _ROWS]
    holding = [(row.prefixlen, found.value) for row, found in rows if inner in row]
    return AddressClass(max(holding)[1])


ADDRESSES = st.ip_addresses() | st.sampled_from([text for text, _ in RANGES]).flatmap(
    lambda text: st.ip_addresses(network=text)
)


@settings(max_examples=600, deadline=None)
@given(ADDRESSES)
def test_the_class_is_that_of_the_longest_row(address):
    assert address_class(str(address)) is slow(address)


# What Python calls global by number, and this table knows better. Its releases differ.
DISPUTED = [
    ip_network(text)
    for text in (
        *("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "64:ff9b::/96"),
        *("2001::/23", "2002::/16", "3fff::/20", "::/8", "100::/8", "fec0::/10", "ff00::/8"),
    )
]


@settings(max_examples=1500, deadline=None)
@given(ADDRESSES)
def test_public_is_what_python_calls_global_but_for_the_ranges_that_carry_or_multiply(address):
    inner = getattr(address, "ipv4_mapped", None) or address
    public = address_class(str(address)) is AddressClass.PUBLIC
    if public:
        assert inner.is_global
    elif inner.version == 4 or int(inner) >> 125 == 1:
        disputed = any(inner.version == row.version and inner in row for row in DISPUTED)
        assert disputed or not inner.is_global


def test_every_class_has_words_and_every_row_stands_once():
    assert set(KINDS) == set(AddressClass)
    texts = [text for text, _ in _ROWS]
    assert len(set(texts)) == len(texts)
    assert all(str(ip_network(text)) == text for text in texts)
    assert {found for _, found in _ROWS} == set(AddressClass) - {AddressClass.HOST}


@pytest.mark.parametrize(("text", "found"), _ROWS[:-1], ids=str)
def test_no_row_is_hidden_by_those_before_it(text, found):
    last = ip_network(text)[-1]
    assert address_class("1.0.0.0" if text == "0.0.0.0/0" else str(last)) is found
