"""
A network namespace whose only interface is the loopback, with every address there is on it.

A connection to any address then arrives at a listener of the same namespace, which learns from
getsockname(2) what was dialled. That is a route of type "local" (called AnyIP): no address is
configured, and nothing is forwarded, for there is nowhere to forward to.

The messages are rtnetlink's, and each is acknowledged. Sources: rtnetlink(7), netlink(7), Linux
`include/uapi/linux/rtnetlink.h`.
"""

import os
import socket
import struct

from executor.linux.errors import MechanismFailed, asking

MECHANISM = "loopback"

_LOOPBACK = 1  # its index in every namespace
_NEWLINK, _NEWROUTE, _ERROR = 16, 24, 2
_REQUEST_ACKNOWLEDGED = 0x1 | 0x4
_CREATE_EXCLUSIVE = 0x400 | 0x200
_UP = 1
_TABLE_LOCAL, _PROTOCOL_STATIC, _SCOPE_HOST, _TYPE_LOCAL = 255, 4, 254, 2
# struct nlmsghdr: length, type, flags, sequence, port. struct ifinfomsg: family, type, index,
# flags, change. struct rtmsg: family, destination and source bits, tos, table, protocol, scope,
# type, flags. struct rtattr: length, type. struct nlmsgerr begins with the negated errno.
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ROUTE = struct.Struct("=8BI")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=i")
_OUTPUT = _ATTRIBUTE.pack(_ATTRIBUTE.size + _NUMBER.size, 4) + _NUMBER.pack(_LOOPBACK)  # RTA_OIF
_LONGEST = 4096
_MEND = "make it in a network namespace of its own, with rights over it"


def take() -> None:
    """
    Bring the loopback interface up, and have all IPv4 and IPv6 addresses be this namespace's own.

    Raises MechanismFailed when the kernel refuses: without rights over the namespace, or when the
    routes are there already; MechanismMissing without IPv6.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as made:
        _ask(made, _NEWLINK, _LINK.pack(socket.AF_UNSPEC, 0, _LOOPBACK, _UP, _UP), 0)
        for family in (socket.AF_INET, socket.AF_INET6):
            # No destination is the default route, and its type says that every address is local.
            route = _ROUTE.pack(
                family, 0, 0, 0, _TABLE_LOCAL, _PROTOCOL_STATIC, _SCOPE_HOST, _TYPE_LOCAL, 0
            )
            _ask(made, _NEWROUTE, route + _OUTPUT, _CREATE_EXCLUSIVE)


def _ask(made: socket.socket, kind: int, body: bytes, flags: int) -> None:
    length = _HEADER.size + len(body)
    header = _HEADER.pack(length, kind, _REQUEST_ACKNOWLEDGED | flags, 1, 0)
    with asking(MECHANISM, f"sending message {kind}", _MEND):
        made.sendto(header + body, (0, 0))
        answer = made.recv(_LONGEST)
        _, said, _, _, _ = _HEADER.unpack_from(answer)
        if said != _ERROR:
            raise MechanismFailed(MECHANISM, f"message {kind} got {said} for an answer; {_MEND}")
        (number,) = _NUMBER.unpack_from(answer, _HEADER.size)
        if number:
            raise OSError(-number, os.strerror(-number))
