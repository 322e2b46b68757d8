"""
A network broker's process and the world around it, both real: its server here, servers beyond.

`Running` plays the server of `codecage.network.v1`: it opens connections, answers what is asked,
and hands out the guest's end of each stream. `listening` runs a TCP server of a few lines in
threads, which end with it.
"""

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from codecage.network.v1 import network_pb2 as wire
from executor.children.launcher import program
from executor.kernel.frames import FrameBuffer, encode
from executor.linux.descriptors import send_stream

PATIENCE = 20.0
ROOT = os.geteuid() == 0
NOBODY = 65534
BUDGET = 2**40


@dataclass
class Guest:
    """
    The guest's end of one connection.
    """

    number: int
    stream: socket.socket

    def made(self) -> bool:
        """
        Whether the connection is made: False when the stream ended before the zero byte.
        """
        first = self.stream.recv(1)
        assert first in {b"", b"\0"}
        return first == b"\0"

    def rest(self) -> bytes:
        return b"".join(iter(lambda: self.stream.recv(2**16), b""))


@dataclass
class Running:
    """
    The server's side of one broker process.
    """

    process: subprocess.Popen[bytes]
    channel: socket.socket
    buffer: FrameBuffer = field(default_factory=lambda: FrameBuffer(2**20))
    waiting: deque[wire.FromBroker] = field(default_factory=deque)
    guests: list[Guest] = field(default_factory=list)
    numbers: int = 0

    def send(self, **frame: object) -> None:
        self.channel.sendall(encode(wire.ToBroker(**frame).SerializeToString()))

    def frame(self) -> wire.FromBroker | None:
        """
        The next frame that was not looked for before; None at the end.
        """
        if self.waiting:
            return self.waiting.popleft()
        while (data := self.buffer.take()) is None:
            more = self.channel.recv(2**16)
            if not more:
                return None
            self.buffer.feed(more)
        return wire.FromBroker.FromString(data)

    def next(self, kind: str, number: int | None = None) -> object:
        """
        The next frame of one kind, about one connection; others stay for later.
        """
        passed = deque[wire.FromBroker]()
        while (frame := self.frame()) is not None:
            inner = getattr(frame, frame.WhichOneof("frame"))
            if frame.WhichOneof("frame") == kind and (number is None or inner.connection == number):
                self.waiting = passed + self.waiting
                return inner
            passed.append(frame)
        raise AssertionError(f"the broker ended and sent no {kind}, but {passed}")

    def open(self, host: str, port: int, **more: object) -> Guest:
        self.numbers += 1
        given = {"account": 1, "budget": BUDGET, "raw": True, **more}
        opened = wire.Open(connection=self.numbers, host=host, port=port, **given)
        data = encode(wire.ToBroker(open=opened).SerializeToString())
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE)
        with theirs:
            assert send_stream(self.channel, data, theirs.fileno()) == len(data)
        guest = Guest(self.numbers, ours)
        self.guests.append(guest)
        return guest

    def resolved(self, guest: Guest) -> list[tuple[str, bool]]:
        frame = self.next("resolved", guest.number)
        return [(address.text, address.own) for address in frame.addresses]

    def allow(self, guest: Guest) -> list[str]:
        """
        Judge: every address that was found may be dialled.
        """
        found = [text for text, _ in self.resolved(guest)]
        self.send(dial=wire.Dial(connection=guest.number, addresses=found))
        return found

    def connect(self, host: str, port: int, **more: object) -> Guest:
        guest = self.open(host, port, **more)
        self.allow(guest)
        return guest

    def ended(self, guest: Guest) -> wire.Ended:
        return self.next("ended", guest.number)

    def close(self) -> None:
        for guest in self.guests:
            guest.stream.close()
        self.channel.close()
        self.process.wait(PATIENCE)

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextlib.contextmanager
def running(
    *arguments: str,
    setup: wire.Setup | None = None,
    ready: bool = True,
    environment: dict[str, str] | None = None,
    stderr: int | None = None,
    command: tuple[str, ...] | None = None,
) -> Iterator[Running]:
    ours, theirs = socket.socketpair()
    user = ("--uid", str(NOBODY), "--gid", str(NOBODY)) if ROOT else ()
    start = command or program("executor.network.broker", *user, *arguments)
    with theirs:
        process = subprocess.Popen(
            [*start, "--socket", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stderr=stderr,
        )
    ours.settimeout(PATIENCE)
    server = Running(process, ours)
    try:
        server.send(setup=setup or wire.Setup())
        if ready:
            assert "Landlock ABI" in server.next("ready").isolation
        yield server
    finally:
        server.close()
        if process.stderr is not None:
            process.stderr.close()


Handler = Callable[[socket.socket], None]


@dataclass
class Listening:
    """
    A server on a port of its own: how many connections came.
    """

    port: int
    came: int = 0


@contextlib.contextmanager
def listening(
    handle: Handler, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Listening]:
    """
    Every connection is handled in a thread, and all that is open is closed at the end.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, 0), family=family, backlog=256)
    listens, held, threads = Listening(server.getsockname()[1]), [], []

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(PATIENCE)
            served = tls.wrap_socket(connection, server_side=True) if tls else connection
            held.append(served)
            with served:
                handle(served)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                listens.came += 1
                held.append(connection)
                threads.append(threading.Thread(target=one, args=(connection,)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listens
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        accepting.join()
        for connection in held:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def echo(connection: socket.socket) -> None:
    while data := connection.recv(2**16):
        connection.sendall(data)


def collect(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(2**16), b""))


def until(holds: Callable[[], bool]) -> None:
    """
    Wait for something that another process does and nobody tells.
    """
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        os.sched_yield()


@contextlib.contextmanager
def secret_directory(**secrets: bytes) -> Iterator[Path]:
    """
    A directory of secrets as it must be; pytest's own lie below one that others may not enter.
    """
    directory = Path(tempfile.mkdtemp())
    try:
        for name, content in secrets.items():
            (directory / name).write_bytes(content)
            (directory / name).chmod(0o600)
        yield directory
    finally:
        shutil.rmtree(directory)


PYTHON = sys.executable
