"""
Making a connection: to the addresses that were judged and no other, in their order.

TLS is spoken by this process, so that it is this host's authorities that are believed, and the
name that the policy grants that is checked. What fails there is told in plain words; the words
are ours, and nothing that the other side sent is quoted.
"""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from executor.network.errors import Ending
from executor.network.streams import Patience, SocketStream, Stream, TlsStream, failed
from executor.network.trust import Trust

PATIENCE: Final = 10.0
_IDLE: Final = 60.0
_HTTP: Final = "http/1.1"
# X509_V_ERR_* of <openssl/x509_vfy.h>.
_UNTRUSTED: Final = "is not signed by an authority that this server trusts"
_CERTIFICATE: Final = {
    9: "is not valid yet",
    10: "has expired",
    18: f"is self-signed: it {_UNTRUSTED}",
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    23: "has been revoked",
    26: "is not made for a server",
    62: "is for another name",
    64: "is for another address",
}


@dataclass(frozen=True, slots=True)
class Target:
    """
    What is to be connected: `host` as the policy grants it, `tls` whether with TLS, `raw`
    whether without HTTP.
    """

    host: str
    port: int
    tls: bool
    raw: bool


@dataclass(frozen=True, slots=True)
class Dialled:
    """
    A connection that is made, and the address at which.
    """

    stream: Stream
    address: str


async def dial(
    target: Target, addresses: Sequence[str], trust: Trust, idle: float | None
) -> Dialled:
    """
    Connect to the first of `addresses` (at least one) that takes the connection.

    `idle` are the seconds of silence of the other side that end a read, None for no end. Raises
    Ending with the errno of the last address that did not, or EPROTO where TLS fails.
    """
    ending = Ending(errno.EHOSTUNREACH, f"{target.host}: none of its addresses may be dialled")
    for address in addresses:
        try:
            connection = await _connect(address, target)
        except Ending as error:
            ending = error
            continue
        return Dialled(await _stream(connection, target, trust, idle), address)
    raise ending


async def _connect(address: str, target: Target) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    whom = f"{target.host} port {target.port}"
    try:
        connection = socket.socket(
            family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        )
    except OSError as error:
        raise failed(error, whom) from error
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(connection, (address, target.port))
    except TimeoutError as error:
        connection.close()
        raise Ending(
            errno.ETIMEDOUT, f"{whom} does not answer within {PATIENCE:g} seconds"
        ) from error
    except OSError as error:
        connection.close()
        raise failed(error, whom) from error
    except BaseException:
        connection.close()
        raise
    return connection


async def _stream(
    connection: socket.socket, target: Target, trust: Trust, idle: float | None
) -> SocketStream | TlsStream:
    below = SocketStream(connection, Patience(idle, _IDLE, target.host))
    if not target.tls:
        return below
    stream = TlsStream(below, trust.context(raw=target.raw), target.host)
    try:
        async with asyncio.timeout(PATIENCE):
            await stream.handshake()
        _require_protocol(stream, target)
    except TimeoutError as error:
        below.close_now()
        raise Ending(
            errno.ETIMEDOUT, f"{target.host} does not finish TLS within {PATIENCE:g} seconds"
        ) from error
    except ssl.SSLError as error:
        below.close_now()
        raise Ending(errno.EPROTO, _in_words(error, target, trust)) from error
    except BaseException:
        below.close_now()
        raise
    return stream


def _require_protocol(stream: TlsStream, target: Target) -> None:
    if not target.raw and stream.protocol not in {None, _HTTP}:
        raise Ending(errno.EPROTO, f"{target.host} insists on a protocol other than HTTP/1.1")


def _in_words(error: ssl.SSLError, target: Target, trust: Trust) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        said = _CERTIFICATE.get(error.verify_code, f"is refused (reason {error.verify_code})")
        hint = " (it trusts none: see the option --trust)" if trust.empty else ""
        return f"the certificate of {target.host} {said}{hint}"
    if isinstance(error, ssl.SSLEOFError):
        return f"{target.host} port {target.port} closed the connection during the TLS handshake"
    reason = (error.reason or "unknown").replace("_", " ").lower()
    return f"{target.host} port {target.port} does not speak TLS 1.2 or later with us ({reason})"
