"""
Sockets in Emscripten's binary interface, as data: families, flags, options, struct layouts.

From musl's <sys/socket.h>, <netinet/in.h>, <netinet/tcp.h> and <netdb.h> for wasm32, whose
numbers are Linux's; error numbers are in `abi`.
"""

import struct
from enum import IntEnum, IntFlag
from typing import Final

AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_PACKET = 0, 1, 2, 10, 17
IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IPV6 = 0, 6, 17, 41
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW = 1, 2, 3
SOCK_CLOEXEC, SOCK_NONBLOCK = 0o2000000, 0o4000
SHUT_RD, SHUT_WR, SHUT_RDWR = range(3)

FIONREAD, FIONBIO = 0x541B, 0x5421
# The first of the requests that <linux/sockios.h> leaves to a protocol. The guest's libc answers
# setsockopt(2), and in one ABI shutdown(2), by itself; this way they come here.
SIOCPROTOPRIVATE: Final = 0x89E0
IOCTL_SET_OPTION: Final = SIOCPROTOPRIVATE
IOCTL_SHUTDOWN: Final = SIOCPROTOPRIVATE + 1
# The argument of IOCTL_SET_OPTION: level, name, length of the value; the value follows.
SET_OPTION: Final = struct.Struct("<iiI")

SOL_SOCKET: Final = 1
SOL_TLS: Final = 282
TLS_NAME: Final = 1
TCP_ULP: Final = 31
SO_TYPE, SO_ERROR, SO_PROTOCOL, SO_DOMAIN = 3, 4, 38, 39
# With times of 64 bits, and of 32.
SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD = 66, 67, 20, 21
# struct timeval: seconds and microseconds (what follows is padding), and with times of 32 bits.
TIMEVAL: Final = struct.Struct("<qi")
TIMEVAL_OLD: Final = struct.Struct("<ii")


class Message(IntFlag):
    """
    Flags of recv(2) and send(2).
    """

    PEEK = 0x2
    DONTWAIT = 0x40
    WAITALL = 0x100
    NOSIGNAL = 0x4000
    CMSG_CLOEXEC = 0x4000_0000


# struct sockaddr_in: family, port (big-endian), address, eight zeros.
SOCKADDR_IN: Final = struct.Struct("<H2s4s8x")
# struct sockaddr_in6: family, port, flow label, address, scope.
SOCKADDR_IN6: Final = struct.Struct("<H2sI16sI")
# struct msghdr: name and its length, vectors and their number, control data and its length, flags.
MSGHDR: Final = struct.Struct("<IIIIIIi")
# struct addrinfo: flags, family, type, protocol, length of the address, the address, the
# canonical name, the next.
ADDRINFO: Final = struct.Struct("<iiiiIIII")


class Resolve(IntFlag):
    """
    Flags of getaddrinfo(3).
    """

    PASSIVE = 0x01
    CANONNAME = 0x02
    NUMERICHOST = 0x04
    V4MAPPED = 0x08
    ALL = 0x10
    ADDRCONFIG = 0x20
    NUMERICSERV = 0x400


class NameFlags(IntFlag):
    """
    Flags of getnameinfo(3).
    """

    NUMERICHOST = 0x01
    NUMERICSERV = 0x02
    NOFQDN = 0x04
    NAMEREQD = 0x08
    DGRAM = 0x10
    NUMERICSCOPE = 0x100


class Eai(IntEnum):
    """
    What getaddrinfo(3) and getnameinfo(3) return.
    """

    BADFLAGS = -1
    NONAME = -2
    FAIL = -4
    FAMILY = -6
    SOCKTYPE = -7
    SERVICE = -8
    MEMORY = -10
    SYSTEM = -11
    OVERFLOW = -12
