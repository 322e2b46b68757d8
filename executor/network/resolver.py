"""
Addresses of a name: the host's own list, then A and AAAA of a name server, kept for their TTL.

A question goes to one server at a time, from a fresh socket that is connected to it: the kernel
drops what others send, and each question has a port and a number of its own. An answer counts
when number, question and form are those of the question; anything else is as if it had not come.
The name is asked for as it is, with nothing appended. Aliases are followed within the answer,
as the name server gives it; where they lead does not matter, because every address is judged.

Rejected: dnspython's own resolver. It reads the system's settings, has search lists and caches
of its own, and its answers come after policies that we would have to switch off one by one.
Its messages are used: they have been fuzzed for twenty years. Source: RFC 1035, RFC 5452.
"""

import asyncio
import errno
import ipaddress
import socket
import struct
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype

from executor.network.errors import Ending
from executor.network.nameservers import Names, NameServer

ADDRESSES_MAX: Final = 16
CACHED_MAX: Final = 256
_PATIENCE: Final = 5.0
# A question is lost more easily than a connection: it is asked again after this long.
_ONE_QUESTION: Final = 1.5
_TTL: Final = (1, 300)
_UDP_MAX: Final = 4096
_PAYLOAD: Final = 1232  # of EDNS: what passes everywhere without fragments
_LENGTH: Final = struct.Struct("!H")
_KINDS: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What one question brought: addresses, and for how many seconds they hold.

    `exists` is false where the name server says that there is no such name.
    """

    addresses: tuple[str, ...]
    seconds: int
    exists: bool = True


class NoAnswer(Exception):
    """
    A server did not answer one question in a way that counts.
    """


class Resolver:
    """
    Looks names up, and remembers at most 256 of them.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._cache: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()

    async def addresses(self, host: str) -> tuple[str, ...]:
        """
        1 to 16 addresses of `host`, an A-label name or an address, IPv4 before IPv6.

        Raises Ending EHOSTUNREACH when there is no such name, it has no address, or no server
        answers within five seconds.
        """
        literal = _literal(host)
        if literal is not None:
            return (literal,)
        known = self._names.hosts.get(host) or self._cached(host)
        return known or await self._ask(host)

    def _cached(self, host: str) -> tuple[str, ...] | None:
        until, addresses = self._cache.get(host, (0.0, ()))
        return addresses if asyncio.get_running_loop().time() < until else None

    async def _ask(self, host: str) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(_PATIENCE):
                answers = await self._both(_name(host))
        except (TimeoutError, NoAnswer) as error:
            raise Ending(errno.EHOSTUNREACH, f"{host}: no name server answers for it") from error
        addresses = tuple(dict.fromkeys(a for answer in answers for a in answer.addresses))
        if not addresses:
            exists = any(answer.exists for answer in answers)
            said = "it has no address" if exists else "there is no such name"
            raise Ending(errno.EHOSTUNREACH, f"{host} does not resolve: {said}")
        self._remember(host, addresses[:ADDRESSES_MAX], min(a.seconds for a in answers))
        return addresses[:ADDRESSES_MAX]

    def _remember(self, host: str, addresses: tuple[str, ...], seconds: int) -> None:
        shortest, longest = _TTL
        until = asyncio.get_running_loop().time() + max(shortest, min(seconds, longest))
        self._cache[host] = (until, addresses)
        self._cache.move_to_end(host)
        while len(self._cache) > CACHED_MAX:
            self._cache.popitem(last=False)

    async def _both(self, name: dns.name.Name) -> list[Answer]:
        """
        The answers of both kinds; one that fails is passed over where the other has addresses.
        """
        asked = (self._one(name, kind) for kind in _KINDS)
        done = await asyncio.gather(*asked, return_exceptions=True)
        failed = [answer for answer in done if isinstance(answer, BaseException)]
        answers = [answer for answer in done if isinstance(answer, Answer)]
        lost = [error for error in failed if not isinstance(error, NoAnswer)]
        if lost:
            raise lost[0]
        if failed and not any(answer.addresses for answer in answers):
            raise failed[0]
        return answers

    async def _one(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Answer:
        said = NoAnswer()
        for _ in range(2):
            for server in self._names.servers:
                try:
                    return await _question(server, name, kind)
                except NoAnswer as error:
                    said = error
        raise said


def _literal(host: str) -> str | None:
    if "%" in host:
        # With a zone (`fe80::1%eth0`) it is the address of an interface, which no policy grants.
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address.packed)


def _name(host: str) -> dns.name.Name:
    try:
        return dns.name.from_text(f"{host}.", origin=None)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise Ending(errno.EHOSTUNREACH, f"{host} is no name that can be looked up") from error


async def _question(
    server: NameServer, name: dns.name.Name, kind: dns.rdatatype.RdataType
) -> Answer:
    query = dns.message.make_query(name, kind, use_edns=0, payload=_PAYLOAD)
    try:
        async with asyncio.timeout(_ONE_QUESTION):
            reply = await _by_udp(server, query)
            if reply.flags & dns.flags.TC:
                reply = await _by_tcp(server, query)
    except (OSError, dns.exception.DNSException) as error:
        raise NoAnswer(str(error)) from error
    return _read(reply, kind)


async def _by_udp(server: NameServer, query: dns.message.Message) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    with _socket(server, socket.SOCK_DGRAM) as connection:
        connection.connect(server.address)
        await loop.sock_sendall(connection, query.to_wire())
        while True:
            reply = _reply(await loop.sock_recv(connection, _UDP_MAX), query)
            if reply is not None:
                return reply


async def _by_tcp(server: NameServer, query: dns.message.Message) -> dns.message.Message:
    loop = asyncio.get_running_loop()
    with _socket(server, socket.SOCK_STREAM) as connection:
        await loop.sock_connect(connection, server.address)
        wire = query.to_wire()
        await loop.sock_sendall(connection, _LENGTH.pack(len(wire)) + wire)
        (length,) = _LENGTH.unpack(await _exactly(connection, _LENGTH.size))
        reply = _reply(await _exactly(connection, length), query)
    if reply is None:
        raise NoAnswer("the answer is to another question")
    return reply


def _socket(server: NameServer, kind: socket.SocketKind) -> socket.socket:
    return socket.socket(server.family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


async def _exactly(connection: socket.socket, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        more = await loop.sock_recv(connection, size - len(data))
        if not more:
            raise NoAnswer("the name server closed the connection")
        data += more
    return data


def _reply(data: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """
    The message in `data` if it answers `query`; None for what somebody else may have sent.
    """
    try:
        reply = dns.message.from_wire(data, raise_on_truncation=False, ignore_trailing=False)
    except (dns.exception.DNSException, ValueError):
        return None
    return reply if query.is_response(reply) else None


def _read(reply: dns.message.Message, kind: dns.rdatatype.RdataType) -> Answer:
    code = reply.rcode()
    if code == dns.rcode.NXDOMAIN:
        return Answer((), _TTL[0], exists=False)
    if code != dns.rcode.NOERROR or not isinstance(reply, dns.message.QueryMessage):
        raise NoAnswer(f"the name server answers {dns.rcode.to_text(code)}")
    try:
        chain = reply.resolve_chaining()
    except (dns.exception.DNSException, ValueError) as error:
        raise NoAnswer(str(error)) from error
    if chain.answer is None:
        return Answer((), _TTL[1])
    return Answer(_texts(chain.answer, kind), chain.minimum_ttl)


def _texts(records: Iterable[dns.rdata.Rdata], kind: dns.rdatatype.RdataType) -> tuple[str, ...]:
    texts = (record.to_text() for record in records if record.rdtype == kind)
    # In the one form that inet_ntop(3) has, whatever the record's own text is.
    return tuple(literal for text in texts if (literal := _literal(text)) is not None)
