"""
Whom names are asked of, and the host's own list of names: read once, before the lock.

The system's search domains, options and other sources of names (mDNS, directories) are left
out on purpose: a name is what the policy says, with a dot behind it, and nothing else.
Source: resolv.conf(5), hosts(5), RFC 6761 section 6.3.
"""

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

# What getaddrinfo(3) with AI_NUMERICHOST makes of an address and a port.
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_SERVERS_MAX: Final = 3  # MAXNS
_HOSTS_MAX: Final = 10_000
_FILE_MAX: Final = 2**20
_PLACE: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})"
)


class NameServerUnusable(Exception):
    """
    The text that names a name server is not an address and a port.
    """


@dataclass(frozen=True, slots=True)
class NameServer:
    """
    One server to ask, by UDP and, for long answers, by TCP.
    """

    family: socket.AddressFamily
    address: SocketAddress


@dataclass(frozen=True, slots=True)
class Names:
    """
    Where names come from: `hosts` first, then `servers`, each in turn.
    """

    servers: tuple[NameServer, ...]
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))


def chosen(places: Sequence[str]) -> Names:
    """
    The servers at `places`, each `ADDRESS:PORT` or `[ADDRESS]:PORT`, and no list of the host's.

    Raises NameServerUnusable.
    """
    return Names(tuple(_at(place) for place in places))


def of_the_system(
    settings: Path = Path("/etc/resolv.conf"), hosts: Path = Path("/etc/hosts")
) -> Names:
    """
    The servers of `settings` and the names of `hosts`; files that are missing are empty.

    Without any server it is the one of this host, as resolv.conf(5) says.
    """
    servers = tuple(_servers(_lines(settings)))[:_SERVERS_MAX]
    own = NameServer(socket.AF_INET, ("127.0.0.1", 53))
    return Names(servers or (own,), MappingProxyType(_hosts(_lines(hosts))))


def _at(place: str) -> NameServer:
    found = _PLACE.fullmatch(place)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise NameServerUnusable(f"{place!r} is no ADDRESS:PORT of a name server")
    server = _server(found["six"] or found["four"], int(found["port"]))
    if server is None:
        raise NameServerUnusable(f"{place!r} holds no address; use one such as 192.0.2.1:53")
    return server


def _server(text: str, port: int) -> NameServer | None:
    if _literal(text.partition("%")[0]) is None:
        return None
    try:
        # Knows zones of link-local addresses (`fe80::1%eth0`), and asks nobody for a name.
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        rows = socket.getaddrinfo(text, port, type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, UnicodeError):
        return None
    family, _, _, _, address = rows[0]
    return NameServer(family, address)  # type: ignore[arg-type]  # of IP families alone


def _lines(path: Path) -> list[list[str]]:
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_MAX).decode("utf-8", "replace")
    except OSError:
        return []
    return [re.split(r"[#;]", line, maxsplit=1)[0].split() for line in text.splitlines()]


def _servers(lines: Sequence[Sequence[str]]) -> list[NameServer]:
    named = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver"]
    return [server for text in named if (server := _server(text, 53)) is not None]


def _hosts(lines: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    # Names of this machine are its own, whatever a server says of them.
    found: dict[str, list[str]] = {}
    for line in lines:
        address = _literal(line[0]) if line else None
        if address is None or len(found) >= _HOSTS_MAX:
            continue
        for name in line[1:]:
            addresses = found.setdefault(name.lower().rstrip("."), [])
            if address not in addresses:
                addresses.append(address)
    found.setdefault("localhost", ["127.0.0.1", "::1"])
    return {name: tuple(addresses) for name, addresses in found.items()}


def _literal(text: str) -> str | None:
    try:
        # With a zone (`fe80::1%eth0`) it is the address of an interface, which no policy grants.
        return str(ipaddress.ip_address(text)) if "%" not in text else None
    except ValueError:
        return None
