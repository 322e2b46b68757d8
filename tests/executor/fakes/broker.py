"""
A network broker without a network: it speaks the real frames and behaves as the host's name says.

Run as `python broker.py PATHS --socket FD`. The first label of an `Open`'s host is what is done
with the connection (`echo.example.com`, `die.example.com`), so that a test can have a broker
that is correct, lies, floods or dies. It is locked by a filter that allows everything, because
the server looks.
"""

import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

sys.path[:0] = json.loads(sys.argv[1])

from codecage.network.v1 import network_pb2 as wire  # noqa: E402
from executor.kernel.frames import FrameBuffer, encode  # noqa: E402
from executor.linux import prctl, seccomp  # noqa: E402
from executor.linux.bpf import Instruction, Opcode  # noqa: E402
from executor.linux.descriptors import PassedStream, receive_passed  # noqa: E402

PUBLIC, PUBLIC_TOO, PRIVATE = "1.1.1.1", "2606:4700::1111", "10.0.0.1"
# What a broker answers to an Open that is no frame at all.
BYTES = {"junk": encode(b"\xff" * 20), "long": b"\xff\xff\xff\x7f"}


@dataclass(slots=True)
class Connection:
    opened: wire.Open
    stream: socket.socket
    addresses: tuple[str, ...] = ()
    sent: int = 0
    received: int = 0
    line: bytes = b""

    @property
    def does(self) -> str:
        return self.opened.host.partition(".")[0]


class Broker:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.buffer = FrameBuffer(2**17)
        self.streams: list[int] = []
        self.open: dict[int, Connection] = {}
        self.waiting = selectors.DefaultSelector()
        self.waiting.register(control, selectors.EVENT_READ, self.on_control)

    def frame(self, **fields: Any) -> None:
        self.control.sendall(encode(wire.FromBroker(**fields).SerializeToString()))

    def serve(self) -> None:
        while True:
            for key, _ in self.waiting.select():
                act: Callable[[], None] = key.data
                act()

    def on_control(self) -> None:
        data, passed = receive_passed(self.control, 2**16)
        if not data:
            os._exit(0)
        if isinstance(passed, PassedStream):
            self.streams.append(passed.descriptor)
        self.buffer.feed(data)
        while (message := self.buffer.take()) is not None:
            self.take(wire.ToBroker.FromString(message))

    def take(self, frame: wire.ToBroker) -> None:
        match frame.WhichOneof("frame"):
            case "open":
                stream = socket.socket(fileno=self.streams.pop(0))
                self.opened(Connection(frame.open, stream))
            case "dial" if frame.dial.connection in self.open:
                self.dialled(self.open[frame.dial.connection], frame.dial)
            case "judgement" if frame.judgement.connection in self.open:
                self.judged(self.open[frame.judgement.connection], frame.judgement)
            case "drop" if frame.drop in self.open:
                if self.open[frame.drop].does != "stubborn":
                    self.end(self.open[frame.drop], errno=103, reason="dropped")

    def opened(self, one: Connection) -> None:
        number = one.opened.connection
        self.open[number] = one
        match one.does:
            case "die":
                os._exit(1)
            case "junk" | "long":
                self.control.sendall(BYTES[one.does])
            case "stray" | "early" | "again" | "strange":
                self.lie(one)
            case "nowhere":
                self.end(one, errno=113, reason="there is no such name")
            case "many":
                self.resolved(one, *[f"1.1.1.{last}" for last in range(1, 18)])
            case "private":
                self.resolved(one, PRIVATE)
            case "mixed":
                self.resolved(one, PUBLIC, PRIVATE)
            case "own":
                self.frame(
                    resolved=wire.Resolved(
                        connection=number, addresses=[wire.Address(text=PUBLIC, own=True)]
                    )
                )
            case _:
                self.resolved(one, PUBLIC, PUBLIC_TOO)

    def lie(self, one: Connection) -> None:
        number = one.opened.connection
        match one.does:
            case "stray":
                self.frame(ended=wire.Ended(connection=number + 1000))
            case "early":
                self.frame(answered=wire.Answered(connection=number, status=200))
            case "again":
                self.frame(ready=wire.Ready(isolation="twice"))
            case "strange":
                self.end(one, errno=4000, reason="")

    def resolved(self, one: Connection, *addresses: str) -> None:
        found = [wire.Address(text=address) for address in addresses]
        self.frame(resolved=wire.Resolved(connection=one.opened.connection, addresses=found))

    def dialled(self, one: Connection, dial: wire.Dial) -> None:
        if not dial.addresses:
            self.end(one, errno=13, reason=f"as the server said: {dial.reason}")
            return
        one.addresses = tuple(dial.addresses)
        match one.does:
            case "refused":
                self.end(one, errno=111, reason="nobody listens there")
                return
            case "twice":
                self.resolved(one, PUBLIC)
                return
            case "elsewhere":
                self.end(one, address="3.3.3.3")
                return
            case "boast":
                one.sent = 2**59
                self.end(one)
                return
        one.stream.sendall(b"\0")
        self.waiting.register(one.stream, selectors.EVENT_READ, lambda: self.on_stream(one))

    def on_stream(self, one: Connection) -> None:
        try:
            data = one.stream.recv(2**16)
        except ConnectionError:
            data = b""
        if not data:
            self.end(one)
        elif one.opened.raw:
            one.sent += len(data)
            one.received += len(data)
            one.stream.sendall(data)
        else:
            one.line += data
            self.requests(one)

    def requests(self, one: Connection) -> None:
        """
        A request is a line `METHOD PATH QUERY HOPS`, `-` for no query.
        """
        while b"\n" in one.line:
            line, _, one.line = one.line.partition(b"\n")
            method, path, query, hops = line.decode().split(" ")
            self.frame(
                requested=wire.Requested(
                    connection=one.opened.connection,
                    method=method,
                    path=path,
                    query="" if query == "-" else query,
                    has_query=query != "-",
                    hops=int(hops),
                )
            )

    def judged(self, one: Connection, judgement: wire.Judgement) -> None:
        if not judgement.allowed:
            self.end(one, errno=13, reason="refused")
            return
        if one.does == "vanish":
            os._exit(1)
        one.sent += 100
        one.received += 1000
        if one.does == "truncated":
            self.end(one, errno=104, reason="the other side closed in the middle")
            return
        number = one.opened.connection
        self.frame(answered=wire.Answered(connection=number, status=200, sent=100, received=1000))
        one.stream.sendall(b"done\n")

    def end(self, one: Connection, errno: int = 0, reason: str = "", address: str = "") -> None:
        number = one.opened.connection
        reached = address or next(iter(one.addresses), "")
        ended = wire.Ended(
            connection=number,
            errno=errno,
            reason=reason,
            sent=one.sent,
            received=one.received,
            address=reached,
        )
        self.frame(ended=ended)
        del self.open[number]
        if one.stream in self.waiting.get_map():
            self.waiting.unregister(one.stream)
        one.stream.close()


def main(arguments: list[str]) -> None:
    control = socket.socket(fileno=int(arguments[arguments.index("--socket") + 1]))
    prctl.set_parent_death_signal(signal.SIGKILL)
    if "--broken" in arguments:
        sys.exit(1)
    if "--unlocked" not in arguments:
        prctl.set_no_new_privs()
        seccomp.install((Instruction(Opcode.RETURN, 0, 0, 0x7FFF0000),), tsync=False)
    broker = Broker(control)
    if "--by-another" in arguments and os.fork():
        os.waitpid(-1, 0)
        return
    broker.frame(ready=wire.Ready(isolation="none (a fake)"))
    broker.serve()


if __name__ == "__main__":
    main(sys.argv[2:])
