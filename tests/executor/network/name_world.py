"""
A name server on loopback, on UDP and TCP, that answers as a test says.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Reply = Callable[[dns.message.Message], bytes | None]


@dataclass
class Named:
    """
    The server: where it is, and which questions came (`a.test. A udp`).
    """

    port: int
    asked: list[str] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"


def records(*lines: str, code: int = dns.rcode.NOERROR, flags: int = 0) -> Reply:
    """
    Answers with those of `lines` (`a.test. 60 IN A 192.0.2.1`) that are of the kind asked for,
    or of an alias.
    """

    def reply(query: dns.message.Message) -> bytes:
        answer = dns.message.make_response(query)
        answer.set_rcode(code)
        answer.flags |= flags
        kind = query.question[0].rdtype.name
        for line in lines:
            name, ttl, _, own, value = line.split(None, 4)
            if own in {kind, "CNAME", "TYPE65280"}:
                answer.answer.append(dns.rrset.from_text(name, int(ttl), "IN", own, value))
        return answer.to_wire()

    return reply


def silent(_: dns.message.Message) -> None:
    return None


def _pair() -> tuple[socket.socket, socket.socket]:
    """
    A stream and a datagram socket on one free port.
    """
    while True:
        streams = socket.create_server(("127.0.0.1", 0))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagrams.bind(streams.getsockname())
        except OSError:  # the port is taken by another's datagrams
            streams.close()
            datagrams.close()
        else:
            return streams, datagrams


@contextlib.contextmanager
def naming(udp: Reply, tcp: Reply | None = None) -> Iterator[Named]:
    streams, datagrams = _pair()
    named = Named(datagrams.getsockname()[1])
    closing = threading.Event()

    def note(query: dns.message.Message, way: str) -> None:
        question = query.question[0]
        named.asked.append(f"{question.name} {question.rdtype.name} {way}")

    def by_udp() -> None:
        while not closing.is_set():
            data, whom = datagrams.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            note(query, "udp")
            answer = udp(query)
            if answer is not None:
                datagrams.sendto(answer, whom)

    def by_tcp() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = streams.accept()
                with connection:
                    (length,) = struct.unpack("!H", connection.recv(2))
                    query = dns.message.from_wire(connection.recv(length))
                    note(query, "tcp")
                    answer = (tcp or udp)(query)
                    if answer is not None:
                        connection.sendall(struct.pack("!H", len(answer)) + answer)

    threads = [threading.Thread(target=by_udp), threading.Thread(target=by_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield named
    finally:
        closing.set()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", named.port))
        with contextlib.suppress(OSError):
            streams.shutdown(socket.SHUT_RDWR)
        streams.close()
        for thread in threads:
            thread.join()
        datagrams.close()
