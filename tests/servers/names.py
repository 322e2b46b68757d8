"""
A name server on loopback, over UDP and TCP, that answers as its script says and keeps each query.
"""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.servers.listening import Listener, Serve

_KINDS = {4: "A", 6: "AAAA"}
_JOIN_SECONDS = 10.0

# What is sent for a query; None is silence.
Script = Callable[[dns.message.Message], bytes | None]


class NameServer:
    """
    Answers for the names of `zone`, NXDOMAIN for all others.

    `queries` holds (name without the last dot, record type) of every packet that was a query,
    `packets` counts all that came. A zone may be changed while the server runs.
    """

    def __init__(self, zone: dict[str, Script] | None = None) -> None:
        self.zone: dict[str, Script] = zone if zone is not None else {}
        self.queries: list[tuple[str, str]] = []
        self.packets = 0
        self._udp, self._tcp = _pair(self._serve_stream)
        self.port: int = self._udp.getsockname()[1]
        self._thread = threading.Thread(target=self._serve_packets, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def asked(self, name: str) -> int:
        return sum(query == name for query, _ in self.queries)

    def close(self) -> None:
        self._tcp.close()
        # An empty packet from itself ends the thread: shutdown does not wake recvfrom on UDP.
        self._udp.sendto(b"", self._udp.getsockname())
        self._thread.join(_JOIN_SECONDS)
        self._udp.close()

    def _serve_packets(self) -> None:
        while True:
            data, sender = self._udp.recvfrom(65_535)
            if not data and self._tcp.closing.is_set():
                return
            if said := self._answer(data):
                self._udp.sendto(said, sender)

    def _serve_stream(self, connection: socket.socket, _: int) -> None:
        with connection.makefile("rb") as stream:
            while len(size := stream.read(2)) == 2:
                data = stream.read(struct.unpack("!H", size)[0])
                if said := self._answer(data):
                    connection.sendall(struct.pack("!H", len(said)) + said)

    def _answer(self, data: bytes) -> bytes | None:
        self.packets += 1
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.queries.append((name, dns.rdatatype.to_text(question.rdtype)))
        return self.zone.get(name, no_such_name)(query)


def _pair(serve: Serve) -> tuple[socket.socket, Listener]:
    """
    A UDP and a TCP socket on one port number: where the first's is taken, another is tried.
    """
    while True:
        stream = Listener(serve)
        packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            packets.bind(("127.0.0.1", stream.port))
        except OSError:
            packets.close()
            stream.close()
        else:
            return packets, stream


def addresses(*texts: str, ttl: int = 60) -> Script:
    """
    These addresses, each under the type that it has.
    """
    return lambda query: _records(query, str(query.question[0].name), texts, ttl).to_wire()


def alias(target: str, *texts: str, ttl: int = 60) -> Script:
    """
    A CNAME to `target`, which has these addresses.
    """

    def script(query: dns.message.Message) -> bytes:
        said = _records(query, f"{target}.", texts, ttl)
        name = query.question[0].name
        said.answer.insert(0, dns.rrset.from_text(name, ttl, "IN", "CNAME", f"{target}."))
        return said.to_wire()

    return script


def in_turn(*scripts: Script) -> Script:
    """
    Each script once for each type of record, the last for ever.
    """
    asked: Counter[int] = Counter()

    def script(query: dns.message.Message) -> bytes | None:
        kind = query.question[0].rdtype
        asked[kind] += 1
        return scripts[min(asked[kind], len(scripts)) - 1](query)

    return script


def no_such_name(query: dns.message.Message) -> bytes:
    said = dns.message.make_response(query)
    said.set_rcode(dns.rcode.NXDOMAIN)
    return said.to_wire()


def silence(_: dns.message.Message) -> None:
    return None


def garbage(query: dns.message.Message) -> bytes:
    return struct.pack("!H", query.id) + b"\xff" * 40


def empty(query: dns.message.Message) -> bytes:
    return dns.message.make_response(query).to_wire()


def wrong_id(*texts: str) -> Script:
    """
    What somebody who guesses would send: right in all but the number of the query.
    """

    def script(query: dns.message.Message) -> bytes:
        said = bytearray(addresses(*texts)(query) or b"")
        said[0] ^= 0xFF
        return bytes(said)

    return script


def endless_aliases(query: dns.message.Message) -> bytes:
    """
    A ring of two names.
    """
    said = dns.message.make_response(query)
    name = query.question[0].name
    other = f"ring.{name}"
    said.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", other))
    said.answer.append(dns.rrset.from_text(other, 60, "IN", "CNAME", str(name)))
    return said.to_wire()


def _records(
    query: dns.message.Message, owner: str, texts: Sequence[str], ttl: int
) -> dns.message.Message:
    said = dns.message.make_response(query)
    kind = dns.rdatatype.to_text(query.question[0].rdtype)
    wanted = [text for text in texts if _KINDS[6 if ":" in text else 4] == kind]
    if wanted:
        said.answer.append(dns.rrset.from_text(owner, ttl, "IN", kind, *wanted))
    return said
