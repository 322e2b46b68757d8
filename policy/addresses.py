"""
What kind of address an address is: the reason why a granted name may not lead just anywhere.

The table is the document. IPv4 is public but for what it lists; IPv6 is reserved but for what it
lists, as only 2000::/3 has been given out. Python's `ipaddress` is asked for numbers alone: which
addresses it calls global changes with its version.

Addresses that carry another one: IPv4-mapped ones (::ffff:0:0/96) are the address within, because
a socket sends to that. Tunnels and translators (6to4, Teredo, NAT64, IPv4-compatible) are
reserved whatever they carry: where their packets come out is for others to say.

Sources: the IANA special-purpose address registries (RFC 6890 and its successors), RFC 4291,
RFC 1918, RFC 4193, RFC 6598, RFC 3927, RFC 3056, RFC 4380, RFC 6052, RFC 8215, and the clouds' own
pages about their metadata services.
"""

from functools import cache
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv6Address,
    ip_network,
)

from policy.types import AddressClass

_ROWS = (
    # Before the ranges that hold them. Some hand out credentials to whoever asks.
    ("169.254.169.254/32", AddressClass.METADATA),  # most clouds
    ("169.254.170.2/32", AddressClass.METADATA),  # credentials of an ECS task
    ("169.254.170.23/32", AddressClass.METADATA),  # credentials of an EKS pod
    ("169.254.0.23/32", AddressClass.METADATA),  # Tencent
    ("168.63.129.16/32", AddressClass.METADATA),  # Azure's WireServer, a public address by number
    ("100.100.100.200/32", AddressClass.METADATA),  # Alibaba, in the shared address space
    ("fd00:ec2::254/128", AddressClass.METADATA),  # EC2
    ("fd00:ec2::23/128", AddressClass.METADATA),  # credentials of an EKS pod
    ("fd20:ce::254/128", AddressClass.METADATA),  # Google
    ("fd00:c1::a9fe:a9fe/128", AddressClass.METADATA),  # Oracle
    ("fe80::a9fe:a9fe/128", AddressClass.METADATA),  # OpenStack
    # IPv4
    ("0.0.0.0/8", AddressClass.RESERVED),  # this network; Linux takes 0.0.0.0 for itself
    ("10.0.0.0/8", AddressClass.PRIVATE),
    ("100.64.0.0/10", AddressClass.PRIVATE),  # shared: carriers, and overlay networks
    ("127.0.0.0/8", AddressClass.LOOPBACK),
    ("169.254.0.0/16", AddressClass.LINK_LOCAL),
    ("172.16.0.0/12", AddressClass.PRIVATE),
    ("192.0.0.0/24", AddressClass.RESERVED),  # protocol assignments
    ("192.0.2.0/24", AddressClass.RESERVED),  # documentation
    ("192.88.99.0/24", AddressClass.RESERVED),  # relays of 6to4
    ("192.168.0.0/16", AddressClass.PRIVATE),
    ("198.18.0.0/15", AddressClass.RESERVED),  # benchmarks; the guest's own table uses them
    ("198.51.100.0/24", AddressClass.RESERVED),  # documentation
    ("203.0.113.0/24", AddressClass.RESERVED),  # documentation
    ("224.0.0.0/4", AddressClass.RESERVED),  # multicast
    ("240.0.0.0/4", AddressClass.RESERVED),  # future use, and broadcast
    ("0.0.0.0/0", AddressClass.PUBLIC),
    # IPv6
    ("::1/128", AddressClass.LOOPBACK),
    ("fc00::/7", AddressClass.PRIVATE),  # unique local
    ("fe80::/10", AddressClass.LINK_LOCAL),
    ("2001::/23", AddressClass.RESERVED),  # protocol assignments: Teredo, benchmarks, ORCHID
    ("2001:db8::/32", AddressClass.RESERVED),  # documentation
    ("2002::/16", AddressClass.RESERVED),  # 6to4
    ("3fff::/20", AddressClass.RESERVED),  # documentation
    ("2000::/3", AddressClass.PUBLIC),
    # What is left: unspecified, IPv4-compatible (::/96), translated (::ffff:0:0:0/96), NAT64
    # (64:ff9b::/96, 64:ff9b:1::/48), discard (100::/64), site-local (fec0::/10), segment routing
    # (5f00::/16), multicast (ff00::/8), and all that has not been given out.
    ("::/0", AddressClass.RESERVED),
)


def address_class(text: str, *, own: bool = False) -> AddressClass:
    """
    The class of the address `text`; `RESERVED`, which nothing grants, for what is no address.

    `own` says that the address is one of the server's machine: it is then `HOST`, unless a
    stricter word says it already (loopback, metadata, reserved).
    """
    address = _address(text)
    if address is None:
        return AddressClass.RESERVED
    found = _found(address)
    return AddressClass.HOST if own and found in _CAN_BE_OWN else found


_CAN_BE_OWN = frozenset({AddressClass.PUBLIC, AddressClass.PRIVATE, AddressClass.LINK_LOCAL})


def _address(text: str) -> IPv4Address | IPv6Address | None:
    if "%" in text or not text.isascii():
        return None
    try:
        if ":" not in text:
            return IPv4Address(text)
        address = IPv6Address(text)
    except AddressValueError:
        return None
    return address.ipv4_mapped or address


def _found(address: IPv4Address | IPv6Address) -> AddressClass:
    number = int(address)
    rows = _compiled(address.version)
    return next(found for first, shift, found in rows if number >> shift == first)


@cache
def _compiled(version: int) -> list[tuple[int, int, AddressClass]]:
    """
    The rows of one version of IP: the number that an address has once its host bits are gone.
    """
    rows: list[tuple[int, int, AddressClass]] = []
    for text, found in _ROWS:
        network = ip_network(text)
        if network.version == version:
            shift = network.max_prefixlen - network.prefixlen
            rows.append((int(network.network_address) >> shift, shift, found))
    return rows


KINDS = {
    AddressClass.PUBLIC: "public",
    AddressClass.LOOPBACK: "loopback",
    AddressClass.LINK_LOCAL: "link-local",
    AddressClass.PRIVATE: "private",
    AddressClass.METADATA: "a metadata service of a cloud",
    AddressClass.HOST: "one of the server's own",
    AddressClass.RESERVED: "reserved (multicast, a tunnel, documentation or the like)",
}
"""What an address of a class is, in the words of a message."""
