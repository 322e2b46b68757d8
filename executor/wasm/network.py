"""
A session's network as its worker has it: names, the connections that are open, and what TLS is.

Whether anything may be reached is the gate's to say, name by name and connection by connection;
here is only what no answer of the gate is needed for.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from executor.kernel.names import NAMES_MAX, Names
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.connection import Connection, Stream
from executor.wasm.line import HostLine, Line
from executor.wasm.names import NAME_BYTES, canonical, literal
from executor.wasm.socket_abi import (
    AF_INET,
    AF_INET6,
    AF_PACKET,
    AF_UNIX,
    IPPROTO_IP,
    IPPROTO_TCP,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_STREAM,
    SOL_TLS,
    TCP_ULP,
    TLS_NAME,
)
from executor.wasm.sockets import Socket
from executor.wasm.waiting import Sleeper

if TYPE_CHECKING:
    from socket import socket as HostStream  # noqa: N812 - `Socket` is the guest's

    from executor.wasm.broker import Broker

_TLS: Final = b"tls"
_FAMILIES: Final = {AF_UNIX: "unix", AF_PACKET: "packet"}
_TYPES: Final = {SOCK_DGRAM: "udp", SOCK_RAW: "raw"}
_CLEAR: Final = (
    "TLS was asked for on the connection to {host}, and the policy grants it in the clear"
    " (`scheme: http`, or `tls: false`); a connection cannot change to TLS once it is made"
)
_NO_TLS: Final = (
    "TLS was asked for with {host}, and no connection to that name that is open speaks it; connect"
    " to the name that the certificate is to be checked for, where the policy grants https"
)


MakesLine = Callable[[int, Callable[[], "HostStream"]], Line]


def _host_line(_number: int, stream: Callable[[], "HostStream"]) -> Line:
    return HostLine(stream())


class Network:
    """
    The network of one session.

    `broker` and `sleeper` are asked for each time: a session begins after the guest is booted.
    """

    def __init__(self, broker: "Callable[[], Broker]", sleeper: Callable[[], Sleeper]) -> None:
        self._broker = broker
        self.sleeper: Final = sleeper
        self.names: Final = Names()
        # Connections that may be open at a time; 0 where the policy grants no network.
        self.limit = 0
        # How a connection's end here is made from its number and its stream.
        self.line: MakesLine = _host_line
        self._open: dict[Stream, str] = {}

    # ---- names ----------------------------------------------------------------------------------

    def resolve(self, text: str) -> str:
        """
        The address of a host: its own where it is an address, else one that is made up for it.

        Raises GuestFault: what the gate says of a name, EINVAL for one that is too long.
        """
        host = canonical(text)
        return host if literal(host) is not None else self.resolve_as_name(host)

    def resolve_as_name(self, text: str) -> str:
        """
        An address of IPv4 that is made up for a host, also for an address of IPv6: the guests'
        Python is built without that family.

        Raises GuestFault as `resolve`.
        """
        host = canonical(text)
        known = self.names.address_of(host)
        if known is not None:
            return known
        if not host or len(host) > NAME_BYTES:
            raise GuestFault(
                Errno.EINVAL, f"a name of {len(host)} characters; it has 1 to {NAME_BYTES}"
            )
        self._broker().resolve(host)
        made = self.names.add(host)
        if made is None:
            raise GuestFault(
                Errno.ENOMEM, f"a session may have addresses of {NAMES_MAX} names; reuse those"
            )
        return made

    def host_of(self, address: str) -> str:
        """
        What an address stands for: the name that it was made up for, or itself.
        """
        return self.names.name_of(address) or address

    # ---- sockets --------------------------------------------------------------------------------

    def new_socket(
        self, family: int = AF_INET, kind: int = SOCK_STREAM, protocol: int = 0
    ) -> Socket:
        """
        A socket that is not connected: socket(2).

        Raises GuestFault with the gate's reason, after it has been asked, for every kind but TCP,
        and for TCP where the policy grants no network.
        """
        word = _kind_of(family, kind, protocol)
        if word != "tcp" or not self.limit:
            self.refuse(word)
        return Socket(self, family)

    def refuse(self, kind: str) -> None:
        """
        Have the wish for a kind of socket judged and recorded. Always raises GuestFault.
        """
        self._broker().network(kind)
        raise GuestFault(Errno.EACCES, f"no policy grants a socket of this kind: {kind}")

    def connect(self, host: str, port: int) -> Connection:
        """
        Ask for a connection to a name or an address; it is not made yet.

        Raises GuestFault: what the gate says, EMFILE beyond the limit of open connections.
        """
        if len(self._open) >= self.limit:
            raise GuestFault(
                Errno.EMFILE,
                f"the session may have {self.limit} connections open at once"
                " (`limits.connections`); close one first",
            )
        broker = self._broker()
        answer = broker.connect(host, port)
        line = self.line(answer.connection, broker.passed_stream)
        made = Connection(broker, answer.connection, line, tls=answer.tls)
        self._open[made] = host
        return made

    def release(self, connection: Stream) -> None:
        """
        Close a connection, or one end of a pair, which is no connection to count.
        """
        self._open.pop(connection, None)
        connection.close()

    # ---- TLS ------------------------------------------------------------------------------------

    def require_tls(self, host: str) -> None:
        """
        Raise GuestFault(EPROTO) unless every open connection to `host` is TLS, and there is one.
        """
        found = [one.tls for one, name in self._open.items() if name == canonical(host)]
        if not found or not all(found):
            raise GuestFault(Errno.EPROTO, _NO_TLS.format(host=host))

    def tls_option(self, socket: Socket, level: int, name: int) -> bytes | None:
        """
        The options that concern TLS: whether the connection is (TCP_ULP), and to which name.

        None where the option is another one. Raises GuestFault: ENOTCONN, EPROTO.
        """
        if (level, name) not in {(IPPROTO_TCP, TCP_ULP), (SOL_TLS, TLS_NAME)}:
            return None
        if not socket.host:
            raise GuestFault(Errno.ENOTCONN)
        if level == SOL_TLS:
            return socket.host.encode()
        self._require_tls_on(socket)
        return _TLS + b"\0"

    def set_tls_option(self, socket: Socket, level: int, name: int, value: bytes) -> bool:
        """
        Ask for TLS on a connected socket (TCP_ULP `tls`), or with a name (SOL_TLS).

        False where the option is another one. Raises GuestFault: ENOTCONN, EPROTO with a reason,
        ENOENT for another protocol.
        """
        if (level, name) == (IPPROTO_TCP, TCP_ULP):
            if value.rstrip(b"\0") != _TLS:
                raise GuestFault(Errno.ENOENT)
            if not socket.is_connected:
                raise GuestFault(Errno.ENOTCONN)
            self._require_tls_on(socket)
            return True
        if (level, name) == (SOL_TLS, TLS_NAME):
            self.require_tls(value.rstrip(b"\0").decode("ascii", "replace"))
            return True
        return False

    @staticmethod
    def _require_tls_on(socket: Socket) -> None:
        if not socket.tls:
            raise GuestFault(Errno.EPROTO, _CLEAR.format(host=socket.host))


def _kind_of(family: int, kind: int, protocol: int) -> str:
    """
    What is asked for, in the word that policies and records have for it.
    """
    if family in _FAMILIES:
        return _FAMILIES[family]
    if family not in {AF_INET, AF_INET6}:
        return f"family {family}"
    if kind == SOCK_STREAM and protocol in {IPPROTO_IP, IPPROTO_TCP}:
        return "tcp"
    return _TYPES.get(kind, f"type {kind} protocol {protocol}")
