"""
An HTTP/1.1 server that keeps what it is sent and answers with what its site says, true or false.

It is written by hand, since no server library would send the answers that are wanted here.
"""

import json
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Self
from urllib.parse import parse_qsl

from tests.servers.listening import Listener


@dataclass(frozen=True, slots=True)
class Seen:
    """
    One request as it came: `raw` is its head to the byte, `fields` its lines in their order.
    """

    connection: int
    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def data(self) -> dict[str, object]:
        """
        For an echo: what the server saw, as JSON says it.
        """
        return {
            "connection": self.connection,
            "method": self.method,
            "target": self.target,
            "fields": [list(pair) for pair in self.fields],
            "body": self.body.decode("latin-1"),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """
    Bytes to send, in the pieces in which to send them, and whether the connection goes on.
    """

    pieces: Iterable[bytes]
    goes_on: bool = True


Site = Callable[[Seen], Answer]
Page = Callable[[Seen, "HttpServer"], Answer]


def answer(
    body: bytes = b"",
    *,
    status: str = "200 OK",
    fields: Mapping[str, str] | None = None,
    goes_on: bool = True,
) -> Answer:
    """
    A well-formed answer with a length.
    """
    lines = {"Content-Length": str(len(body)), **(fields or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return Answer([f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body], goes_on)


def echo(seen: Seen, _: "HttpServer") -> Answer:
    data = json.dumps(seen.data()).encode()
    # The answer to HEAD has the length of what is not sent.
    if seen.method == "HEAD":
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(data)}\r\n\r\n"
        return Answer([head.encode()])
    return answer(data, fields={"Content-Type": "application/json"})


@dataclass(slots=True)
class HttpServer:
    """
    A site on loopback: `pages` by the first part of the path, `echo` for every other.
    """

    pages: Mapping[str, Page] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    family: int = socket.AF_INET
    seen: list[Seen] = field(default_factory=list)
    listener: Listener = field(init=False)

    def __post_init__(self) -> None:
        self.listener = Listener(self._serve, tls=self.tls, family=self.family)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def accepted(self) -> int:
        return self.listener.accepted

    def wait(self, seconds: float) -> bool:
        """
        Wait before the next byte; whether the server is to go on.
        """
        return not self.listener.closing.wait(seconds)

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection.makefile("rb") as stream:
            while seen := read_request(stream, number):
                self.seen.append(seen)
                page = self.pages.get(seen.path.split("/")[1], echo)
                said = page(seen, self)
                for piece in said.pieces:
                    connection.sendall(piece)
                if not said.goes_on:
                    return


def read_request(stream: BinaryIO, connection: int) -> Seen | None:
    """
    The next request, read with all the trust that a careless server has; None at the end.
    """
    raw = b""
    while not raw.endswith(b"\r\n\r\n"):
        line = stream.readline(65_536)
        if not line:
            return None
        raw += line
    first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, _, rest = first.partition(" ")
    fields = tuple(_field(line) for line in lines)
    return Seen(connection, method, rest.rpartition(" ")[0], fields, _body(stream, fields), raw)


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip()


def _body(stream: BinaryIO, fields: tuple[tuple[str, str], ...]) -> bytes:
    known = {name.lower(): value for name, value in fields}
    if known.get("transfer-encoding") == "chunked":
        return b"".join(_chunks(stream))
    return stream.read(int(known.get("content-length", "0")))


def _chunks(stream: BinaryIO) -> Iterable[bytes]:
    while size := int(stream.readline().split(b";")[0] or b"0", 16):
        yield stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
