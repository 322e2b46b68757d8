"""
A network for workers without a server or a broker: what a test says is reachable, on loopback.

`Internet` answers the asks of a worker and relays each connection it grants between the stream
that it passes and a real server's socket, in a thread of its own.
"""

import errno
import http.server
import selectors
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

from codecage.worker.v1 import worker_pb2 as wire

REASON = "[policy test, rule network] example.org:80 is not granted"
_CHUNK = 2**18


@dataclass(slots=True)
class Host:
    """
    What a granted name stands for: where it is dialled, and how its connections turn out.

    `hold` keeps the zero byte back until it is set; `fails` ends a connection before it is made.
    """

    dial: tuple[str, int] | None = None
    tls: bool = False
    hold: threading.Event | None = None
    fails: tuple[int, str] | None = None
    handler: Callable[[socket.socket], tuple[int, str] | None] | None = None


@dataclass(slots=True)
class Internet:
    """
    The gate's and the broker's part.
    """

    hosts: dict[str, Host] = field(default_factory=dict)
    asked: list[wire.Ask] = field(default_factory=list)
    ends: dict[int, tuple[int, str]] = field(default_factory=dict)
    _over: dict[int, threading.Event] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __call__(self, request: wire.Ask) -> wire.Answer | tuple[wire.Answer, socket.socket]:
        self.asked.append(request)
        kind = request.WhichOneof("ask")
        if kind == "resolve":
            return wire.Answer() if request.resolve in self.hosts else _denied()
        if kind == "connect":
            return self._connect(request.connect)
        if kind == "connection_end":
            return self._end(request.connection_end)
        return _denied()

    def _connect(self, wanted: wire.ConnectAsk) -> wire.Answer | tuple[wire.Answer, socket.socket]:
        host = self.hosts.get(wanted.host)
        if host is None:
            return _denied()
        number = len(self._over) + 1
        ours, theirs = socket.socketpair()
        over = self._over[number] = threading.Event()
        thread = threading.Thread(target=self._serve, args=(number, host, ours, over))
        self._threads.append(thread)
        thread.start()
        return wire.Answer(connected=wire.Connected(connection=number, tls=host.tls)), theirs

    def _serve(self, number: int, host: Host, stream: socket.socket, over: threading.Event) -> None:
        # As the broker does: why it ended is known before the stream is closed.
        with stream:
            self.ends[number] = _lived(host, stream) or (0, "")
            over.set()

    def _end(self, number: int) -> wire.Answer:
        assert self._over[number].wait(60), "a connection was asked for that goes on"
        code, reason = self.ends[number]
        return wire.Answer(errno=code, reason=reason)

    def close(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a connection outlived its worker"


def _denied() -> wire.Answer:
    return wire.Answer(errno=errno.EACCES, reason=REASON)


def _lived(host: Host, stream: socket.socket) -> tuple[int, str] | None:
    if host.hold is not None:
        host.hold.wait(60)
    if host.fails is not None:
        return host.fails
    with suppress(ConnectionError):
        if host.handler is not None:
            stream.sendall(b"\0")
            return host.handler(stream)
        assert host.dial is not None
        try:
            upstream = socket.create_connection(host.dial)
        except OSError as error:
            return error.errno or errno.EIO, str(error)
        with upstream:
            stream.sendall(b"\0")
            _relay(stream, upstream)
    return None


def _relay(one: socket.socket, other: socket.socket) -> None:
    """
    Both ways until both have ended, or either breaks.
    """
    ways = {one: other, other: one}
    with selectors.DefaultSelector() as waiting:
        for end in ways:
            waiting.register(end, selectors.EVENT_READ, end)
        while waiting.get_map():
            for key, _ in waiting.select():
                end = key.data
                data = end.recv(_CHUNK)
                if data:
                    ways[end].sendall(data)
                    continue
                waiting.unregister(end)
                with suppress(OSError):
                    ways[end].shutdown(socket.SHUT_WR)


# ---- servers ------------------------------------------------------------------------------------


class _Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(f"you asked for {self.path}".encode())

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionError):
            while data := self.request.recv(_CHUNK):
                self.request.sendall(data)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = True
    block_on_close = True

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


@contextmanager
def serving(**more: Host) -> Iterator[Internet]:
    """
    The internet with `pages.example` (HTTP) and `echo.example`, and what else is named: a name's
    underscores stand for dots.
    """
    with ExitStack() as stack:
        pages = stack.enter_context(_Server(("127.0.0.1", 0), _Pages))
        echo = stack.enter_context(_Server(("127.0.0.1", 0), _Echo))
        internet = Internet({name.replace("_", "."): host for name, host in more.items()})
        internet.hosts["pages.example"] = Host(pages.server_address[:2])  # type: ignore[arg-type]
        internet.hosts["echo.example"] = Host(echo.server_address[:2])  # type: ignore[arg-type]
        internet.hosts["2001:db8::7"] = internet.hosts["echo.example"]
        stack.callback(internet.close)
        yield internet
