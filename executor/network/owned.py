"""
Whether an address is one of this host's own, asked of the kernel's routing without a packet.

A name that a stranger's server answers for may be given any address, also one that leads back to
this machine by an interface that is not loopback; the server's policy has a class for those. The
route that the kernel would take says it exactly: one of type `local` ends here. That holds for
every interface, for an interface's second addresses and for whole networks that are routed to
the host, also when they were added a moment ago.

Rejected: connecting a UDP socket and comparing its own address with the peer's. A second address
of an interface is reached from the first, so the two differ. Rejected: binding to the address.
It needs a right that the lock takes, and with ip_nonlocal_bind every address could be bound.
The socket here is made before the lock and connected to the kernel; without privileges it reads
what every process may read. Source: rtnetlink(7), netlink(7).
"""

import errno
import ipaddress
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

from executor.linux.errors import MechanismFailed, asking

MECHANISM: Final = "rtnetlink"

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ROUTE: Final = struct.Struct("=8BI")  # struct rtmsg
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr
_ERROR: Final = struct.Struct("=i")  # struct nlmsgerr, its first field
_REQUEST: Final = 0x1
_GET_ROUTE: Final = 26
_NEW_ROUTE: Final = 24
_NLMSG_ERROR: Final = 2
_DESTINATION: Final = 1
_TYPE: Final = 7  # rtm_type among the eight bytes of struct rtmsg
_LOCAL: Final = 2
_ANSWER_MAX: Final = 8192
_UNREACHABLE: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.EACCES, errno.EAFNOSUPPORT}
)
_MEND: Final = "allow netlink sockets of family 0 (route) where the server runs"


@dataclass(frozen=True, slots=True)
class Way:
    """
    How the kernel would reach an address: not at all, or by ending on this very host.
    """

    reachable: bool
    own: bool


class Routes:
    """
    Asks the kernel; to be made before the process locks itself.
    """

    def __init__(self) -> None:
        with asking(MECHANISM, "opening a socket to the kernel", _MEND):
            self._socket = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
                socket.NETLINK_ROUTE,
            )
            self._socket.connect((0, 0))
        self._asked = 0

    def way(self, address: str) -> Way:
        """
        How `address`, as inet_ntop(3) writes it, would be reached.

        Raises MechanismFailed when the kernel does not answer as it should: what is not known to
        be foreign must not be dialled. ValueError for a text that is no address.
        """
        parsed = ipaddress.ip_address(address)
        if "%" in address:
            raise ValueError(f"{address} is no address alone: it names an interface")
        mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
        return self._ask(mapped or parsed)

    def close(self) -> None:
        """
        Give the socket back.
        """
        self._socket.close()

    def _ask(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Way:
        self._asked += 1
        # The kernel works on a request while it is sent, so the answer is there at once.
        with asking(MECHANISM, f"asking for the route to {address}", _MEND):
            self._socket.send(_request(address, self._asked))
            answer = self._socket.recv(_ANSWER_MAX)
        return _read(answer, self._asked)


def _request(address: ipaddress.IPv4Address | ipaddress.IPv6Address, number: int) -> bytes:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    route = _ROUTE.pack(family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address.packed), _DESTINATION)
    body = route + attribute + address.packed
    return _HEADER.pack(_HEADER.size + len(body), _GET_ROUTE, _REQUEST, number, 0) + body


def _read(answer: bytes, number: int) -> Way:
    if len(answer) < _HEADER.size + _ERROR.size:
        raise MechanismFailed(MECHANISM, f"{len(answer)} bytes came; {_MEND}")
    _, kind, _, echoed, _ = _HEADER.unpack_from(answer)
    if echoed != number:
        raise MechanismFailed(MECHANISM, f"answer {echoed} came to question {number}; {_MEND}")
    if kind == _NLMSG_ERROR:
        (negative,) = _ERROR.unpack_from(answer, _HEADER.size)
        return _without_route(-negative)
    if kind != _NEW_ROUTE:
        raise MechanismFailed(MECHANISM, f"a message of type {kind} came; {_MEND}")
    return Way(reachable=True, own=answer[_HEADER.size + _TYPE] == _LOCAL)


def _without_route(number: int) -> Way:
    # Routes of the types unreachable, blackhole (EINVAL) and prohibit (EACCES), or none at all.
    if number in _UNREACHABLE:
        return Way(reachable=False, own=False)
    raise MechanismFailed(MECHANISM, f"the kernel answers {os.strerror(number)}; {_MEND}")
