"""
What the network broker may still do when a stranger's bytes have taken it over.

It resolves, connects outward, moves bytes and answers one socket. It opens no file, starts no
process and no thread, takes no connection, and makes no socket but of the internet's families.
The rows below and those of every service (`executor.linux.service_lock`) are that sentence, call
by call; a row that no test needs fails the build.

What the lock does not hold: it may connect anywhere that this host may, since no filter sees the
address behind a pointer. That is why the server judges every address, why one broker holds one
policy's secrets and no other's, and why a firewall of the host is a good second line.

Rejected: Landlock's rules for ports. The ports of a policy are checked before a connection is
opened, and name servers are chosen by the host.
"""

import socket
from typing import Final

from executor.linux.filters import Allow, OneOf, equals
from executor.linux.landlock import NetworkAccess
from executor.linux.service_lock import Service, service_filter

CONNECTIONS_MAX: Final = 256
# Each has its guest's stream and one socket to the world, or two while a name is looked up.
_DESCRIPTORS: Final = 3 * CONNECTIONS_MAX + 64
# A connection holds at most a few pieces of 128 KiB each way, and its TLS.
_DATA_GROWTH: Final = CONNECTIONS_MAX * 2**21 + 2**27

_FIONBIO: Final = 0x5421
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_KINDS: Final = tuple(
    kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
)
_STANDARD_ERROR: Final = 2

BROKER_FILTER: Final = service_filter(
    "network broker",
    (
        # Sockets to the world, none that takes connections.
        Allow(
            "socket",
            "connections and questions to name servers",
            (OneOf(0, _FAMILIES), OneOf(1, _KINDS), OneOf(2, (0,))),
        ),
        Allow("connect", "the addresses that the server has judged, and name servers"),
        Allow(
            "setsockopt",
            "small pieces leave at once",
            (equals(1, socket.IPPROTO_TCP), equals(2, socket.TCP_NODELAY)),
        ),
        Allow(
            "setsockopt",
            "a guest's own connection that ends badly is reset",
            (equals(1, socket.SOL_SOCKET), equals(2, socket.SO_LINGER)),
        ),
        Allow(
            "getsockopt",
            "what became of a connect, and what a descriptor for a stream is",
            (
                equals(1, socket.SOL_SOCKET),
                OneOf(2, (socket.SO_ERROR, socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL)),
            ),
        ),
        Allow("shutdown", "a side that has finished sending"),
        Allow("recvfrom", "bytes of either side, without a sender's address", (equals(4, 0),)),
        Allow("ioctl", "making a stream non-blocking", (equals(1, _FIONBIO),)),
        Allow(
            "write",
            "fatal errors to standard error, which is /dev/null",
            (equals(0, _STANDARD_ERROR),),
        ),
    ),
)

BROKER: Final = Service(BROKER_FILTER, _DESCRIPTORS, _DATA_GROWTH, NetworkAccess.CONNECT_TCP)
