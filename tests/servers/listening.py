"""
A server of a test: it listens on loopback, at a port that the kernel picks, in threads of its own.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_JOIN_SECONDS = 10.0

# What is done with a connection, and its number, from 1.
Serve = Callable[[socket.socket, int], None]


class Listener:
    """
    Hands each connection to `serve` in a thread of its own; `close` ends and joins them all.

    With `tls` it speaks TLS. What goes wrong on a connection is that
    connection's end, as it is for a server in the world; `failures` keeps it for the test.
    """

    def __init__(
        self,
        serve: Serve,
        *,
        tls: ssl.SSLContext | None = None,
        family: int = socket.AF_INET,
    ) -> None:
        address = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        self._listening = socket.create_server((address, 0), family=family, backlog=512)
        self.port: int = self._listening.getsockname()[1]
        self.accepted = 0
        self.failures: list[OSError] = []
        self.closing = threading.Event()
        self._serve = serve
        self._tls = tls
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

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
    def open(self) -> int:
        """
        Connections that are open now.
        """
        with self._lock:
            return len(self._open)

    def close(self) -> None:
        self.closing.set()
        _end(self._listening)
        with self._lock:
            for connection in self._open:
                _end(connection)
        # The accepting thread is the first, and starts no other once its socket is shut.
        for thread in list(self._threads):
            thread.join(_JOIN_SECONDS)
        for thread in list(self._threads):
            thread.join(_JOIN_SECONDS)
            assert not thread.is_alive(), "a connection of a test's server does not end"
        self._listening.close()

    def _begin(self, act: Callable[..., None], *values: object) -> None:
        thread = threading.Thread(target=act, args=values, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            self._threads = [one for one in self._threads if one.is_alive()]
            self._begin(self._answer, connection, self.accepted)

    def _answer(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls:
                # The handshake only after `_hold`: wrap_socket takes the descriptor over.
                connection = self._tls.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            self._hold(connection)
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            self._serve(connection, number)
        except OSError as error:
            self.failures.append(error)
        finally:
            with self._lock:
                self._open.discard(connection)
            _end(connection)
            connection.close()

    def _hold(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        if self.closing.is_set():
            _end(connection)


def _end(connection: socket.socket) -> None:
    # Not `unwrap`: a thread may be reading from it.
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
