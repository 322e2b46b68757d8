"""
The options of a socket that change nothing here, and its timeouts: setsockopt(2), socket(7).

What concerns the wire is the network process's business, which has its own settings; a program
that sets such an option is answered as it expects, and reads back what it has set.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from executor.wasm.abi import Errno, GuestFault
from executor.wasm.socket_abi import (
    AF_UNIX,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    SO_DOMAIN,
    SO_PROTOCOL,
    SO_RCVTIMEO,
    SO_RCVTIMEO_OLD,
    SO_SNDTIMEO,
    SO_SNDTIMEO_OLD,
    SO_TYPE,
    SOCK_STREAM,
    SOL_SOCKET,
    TIMEVAL,
    TIMEVAL_OLD,
)

_INT: Final = 4
_MICROSECONDS: Final = 10**6
# What both layouts can tell: 68 years, which nobody waits for.
_SECONDS_MAX: Final = 2**31 - 1
# (level, name) of the options that are remembered: size in bytes, and the value at first.
_REMEMBERED: Final[Mapping[tuple[int, int], tuple[int, int]]] = MappingProxyType(
    {
        (SOL_SOCKET, 2): (_INT, 0),  # SO_REUSEADDR
        (SOL_SOCKET, 6): (_INT, 0),  # SO_BROADCAST
        (SOL_SOCKET, 7): (_INT, 212_992),  # SO_SNDBUF
        (SOL_SOCKET, 8): (_INT, 212_992),  # SO_RCVBUF
        (SOL_SOCKET, 9): (_INT, 0),  # SO_KEEPALIVE
        (SOL_SOCKET, 10): (_INT, 0),  # SO_OOBINLINE
        (SOL_SOCKET, 12): (_INT, 0),  # SO_PRIORITY
        (SOL_SOCKET, 13): (2 * _INT, 0),  # SO_LINGER
        (SOL_SOCKET, 15): (_INT, 0),  # SO_REUSEPORT
        (IPPROTO_IP, 1): (_INT, 0),  # IP_TOS
        (IPPROTO_IP, 2): (_INT, 64),  # IP_TTL
        (IPPROTO_IPV6, 26): (_INT, 0),  # IPV6_V6ONLY
        (IPPROTO_IPV6, 67): (_INT, 0),  # IPV6_TCLASS
        (IPPROTO_TCP, 1): (_INT, 0),  # TCP_NODELAY
        (IPPROTO_TCP, 3): (_INT, 0),  # TCP_CORK
        (IPPROTO_TCP, 4): (_INT, 7200),  # TCP_KEEPIDLE
        (IPPROTO_TCP, 5): (_INT, 75),  # TCP_KEEPINTVL
        (IPPROTO_TCP, 6): (_INT, 9),  # TCP_KEEPCNT
        (IPPROTO_TCP, 12): (_INT, 1),  # TCP_QUICKACK
        (IPPROTO_TCP, 18): (_INT, 0),  # TCP_USER_TIMEOUT
    }
)
_TIMES: Final = {
    SO_RCVTIMEO: (SO_RCVTIMEO, TIMEVAL),
    SO_RCVTIMEO_OLD: (SO_RCVTIMEO, TIMEVAL_OLD),
    SO_SNDTIMEO: (SO_SNDTIMEO, TIMEVAL),
    SO_SNDTIMEO_OLD: (SO_SNDTIMEO, TIMEVAL_OLD),
}


class Options:
    """
    The options of one socket. `receive_seconds` and `send_seconds` are None for no timeout.
    """

    def __init__(self, family: int) -> None:
        protocol = 0 if family == AF_UNIX else IPPROTO_TCP
        self._constant = {SO_TYPE: SOCK_STREAM, SO_PROTOCOL: protocol, SO_DOMAIN: family}
        self._values: dict[tuple[int, int], bytes] = {}
        self._timeouts: dict[int, tuple[int, int]] = {}

    @property
    def receive_seconds(self) -> float | None:
        """
        What a receive waits at most: SO_RCVTIMEO.
        """
        return self._seconds(SO_RCVTIMEO)

    @property
    def send_seconds(self) -> float | None:
        """
        What connecting and sending wait at most: SO_SNDTIMEO.
        """
        return self._seconds(SO_SNDTIMEO)

    def _seconds(self, which: int) -> float | None:
        seconds, microseconds = self._timeouts.get(which, (0, 0))
        return seconds + microseconds / _MICROSECONDS or None

    def value(self, level: int, name: int) -> bytes:
        """
        What an option is set to. Raises GuestFault(ENOPROTOOPT).
        """
        if level == SOL_SOCKET and name in self._constant:
            return self._constant[name].to_bytes(_INT, "little")
        if level == SOL_SOCKET and name in _TIMES:
            which, layout = _TIMES[name]
            return layout.pack(*self._timeouts.get(which, (0, 0)))
        size, first = _known(level, name)
        return self._values.get((level, name), first.to_bytes(size, "little"))

    def set(self, level: int, name: int, value: bytes) -> None:
        """
        Set an option. Raises GuestFault: ENOPROTOOPT, EINVAL for too short a value, EDOM for a
        timeout that is none.
        """
        if level == SOL_SOCKET and name in _TIMES:
            self._set_timeout(name, value)
            return
        size, _ = _known(level, name)
        if len(value) < size:
            raise GuestFault(Errno.EINVAL)
        self._values[level, name] = value[:size]

    def _set_timeout(self, name: int, value: bytes) -> None:
        which, layout = _TIMES[name]
        if len(value) < layout.size:
            raise GuestFault(Errno.EINVAL)
        seconds, microseconds = layout.unpack_from(value)
        if not 0 <= microseconds < _MICROSECONDS:
            raise GuestFault(Errno.EDOM)
        # A negative time is as none: tcp(7) of Linux says so, too.
        seconds = min(seconds, _SECONDS_MAX)
        self._timeouts[which] = (max(seconds, 0), microseconds if seconds >= 0 else 0)


def _known(level: int, name: int) -> tuple[int, int]:
    try:
        return _REMEMBERED[level, name]
    except KeyError:
        raise GuestFault(Errno.ENOPROTOOPT) from None
