"""
The server's side of a native zygote and its workers, by hand: datagrams and frames.
"""

import os
import select
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from codecage.worker.v1 import worker_pb2 as wire
from executor.children.launcher import program
from executor.kernel.boxing import (
    DESCRIPTORS_MAX,
    FROM_ZYGOTE_MAX,
    BoxesHold,
    BoxExited,
    BoxRefused,
    BoxSignal,
    BoxSpawned,
    SignalBox,
    SpawnBox,
)
from executor.kernel.frames import MAX_FROM_WORKER, FrameBuffer, encode
from executor.kernel.orders import BoxOrder
from executor.kernel.spawn import ZygoteReady

PATIENCE = 30.0
REASON = 'the policy "tests" grants no programs'
# Answers an ask of the guest, which is also kept in `Seen.asks`.
Answers = Callable[[wire.Ask], wire.Answer]


def refuse(_ask: wire.Ask) -> wire.Answer:
    """
    What a policy says that grants nothing.
    """
    return wire.Answer(errno=13, reason=REASON)


@dataclass
class Seen:
    """
    What one cell told.
    """

    done: wire.CellDone
    out: str = ""
    err: str = ""
    value: str | None = None
    displays: list[dict[str, bytes]] = field(default_factory=list)
    asks: list[wire.Ask] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        return wire.CellDone.Status.Name(self.done.status)

    @property
    def asked(self) -> list[str]:
        """
        The programs that the gate was asked for.
        """
        return [ask.run for ask in self.asks if ask.WhichOneof("ask") == "run"]


class Worker:
    """
    One worker as its server holds it.
    """

    def __init__(
        self,
        stream: socket.socket,
        spawned: BoxSpawned,
        descriptors: Sequence[int],
        send: Callable[[BoxSignal], None],
    ) -> None:
        stream.settimeout(PATIENCE)
        self.stream, self.pid, self.spawned = stream, spawned.pid, spawned
        self.pidfd, *self.others = descriptors
        self.answers: Answers = refuse
        self._signal = send
        self._buffer = FrameBuffer(MAX_FROM_WORKER)
        self.sent = 0
        self.cell = 0
        self.ready = self.receive().ready

    def receive(self) -> wire.FromWorker:
        while (data := self._buffer.take()) is None:
            more = self.stream.recv(2**20)
            if not more:
                raise EOFError
            self._buffer.feed(more)
        return wire.FromWorker.FromString(data)

    def send(self, **frame: Any) -> None:
        self.stream.sendall(encode(wire.ToWorker(**frame).SerializeToString()))

    def begin(self, **changed: Any) -> Self:
        facts: dict[str, Any] = {
            "entropy": os.urandom(32),
            "memory_bytes": 2**29,
            "scratch_bytes": 2**26,
            "max_files": 1000,
            "max_open_files": 64,
            "output_bytes": 2**20,
        }
        self.send(begin=wire.Begin(**{**facts, **changed}))
        return self

    def start(self, code: str, timeout_message: str = "") -> None:
        self.cell += 1
        run = wire.RunCell(
            cell=self.cell,
            code=code,
            interrupts_sent=self.sent,
            timeout_message=timeout_message,
        )
        self.send(run=run)

    def run(self, code: str) -> Seen:
        self.start(code)
        return self.finish()

    def finish(self, seen: Seen | None = None) -> Seen:
        seen = seen or Seen(wire.CellDone())
        raw = {1: bytearray(), 2: bytearray()}
        while not seen.done.status:
            self._take(self.receive(), seen, raw)
        seen.out, seen.err = seen.out + raw[1].decode(), seen.err + raw[2].decode()
        return seen

    def _take(self, frame: wire.FromWorker, seen: Seen, raw: dict[int, bytearray]) -> None:
        kind = frame.WhichOneof("frame") or ""
        seen.kinds.append(kind)
        if kind == "output":
            raw[frame.output.stream] += frame.output.data
        elif kind == "value":
            seen.value = frame.value.text
        elif kind == "display":
            seen.displays.append(dict(frame.display.data))
        elif kind == "ask":
            seen.asks.append(frame.ask)
            self.send(answer=self.answers(frame.ask))
        elif kind == "done":
            seen.done = frame.done

    def started(self) -> None:
        """
        Wait for the first output of the cell that runs.
        """
        while self.receive().WhichOneof("frame") != "output":
            pass

    def interrupt(self, *, limit: bool = False) -> None:
        self.sent += 1
        self._signal(BoxSignal.LIMIT if limit else BoxSignal.INTERRUPT)

    def file(self, **command: Any) -> wire.FileReply:
        self.send(file=wire.FileCommand(**command))
        return self.receive().file

    def ended(self) -> bool:
        return bool(select.select([self.pidfd], [], [], PATIENCE)[0])

    def close(self) -> None:
        self.stream.close()
        for descriptor in (self.pidfd, *self.others):
            os.close(descriptor)


class NativeZygote:
    """
    A zygote that was started by a command line, to which its socket's number is added.
    """

    def __init__(self, command: Sequence[str], *, directory: str = "/work") -> None:
        self._directory = directory
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(PATIENCE)
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [*command, str(number)],
                pass_fds=(number,),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={
                    "PATH": "/usr/bin:/bin",
                    "SECRET": "hunter2",
                    **{name: os.environ[name] for name in _KEPT if name in os.environ},
                },
            )
        self._spawned = 0
        self._workers: list[Worker] = []
        first = self._control.recv(FROM_ZYGOTE_MAX)
        self.holding = BoxesHold.unpack(first).holding if first.startswith(b"hld1") else None
        if self.holding is not None:
            first = self._control.recv(FROM_ZYGOTE_MAX)
        is_ready = first.startswith(b"rdy1")
        self.complaint = "" if is_ready else self.end()
        self.ready = ZygoteReady.unpack(first) if is_ready else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.close()
        self.end()

    def spawn(self, **ordered: Any) -> Worker:
        """
        A worker, in a box of this order, that has said that it is ready.
        """
        ours, theirs = socket.socketpair()
        self._spawned += 1
        number = self._spawned
        with theirs:
            datagram = SpawnBox(
                number, BoxOrder(**{"directory": self._directory, **ordered})
            ).pack()
            socket.send_fds(self._control, [datagram], [theirs.fileno()])
        data, received = b"", list[int]()
        while not data.startswith(b"bxd1"):
            data, received, _, _ = socket.recv_fds(self._control, FROM_ZYGOTE_MAX, DESCRIPTORS_MAX)
            if data.startswith(b"ref1"):
                ours.close()
                raise AssertionError(BoxRefused.unpack(data).reason)
        worker = Worker(
            ours, BoxSpawned.unpack(data), received, lambda one: self._send(number, one)
        )
        self._workers.append(worker)
        return worker

    def _send(self, number: int, wanted: BoxSignal) -> None:
        self._control.send(SignalBox(number, wanted).pack())

    def release(self, worker: Worker) -> None:
        """
        Let a worker go before the others.
        """
        self._workers.remove(worker)
        worker.close()

    def exited(self) -> BoxExited:
        """
        What it says of the next worker that ends.
        """
        return BoxExited.unpack(self._control.recv(FROM_ZYGOTE_MAX))

    def end(self) -> str:
        """
        Let go of it; what it complained of, when it has ended.
        """
        self._control.close()
        _, told = self._process.communicate(timeout=PATIENCE)
        return str(told.decode())


_KEPT = ("HOME", "CODECAGE_CACHE", "XDG_CACHE_HOME")


def plain(work: str) -> NativeZygote:
    """
    One whose workers are plain forks, with `work` for a working directory.
    """
    return NativeZygote(program("tests.executor.process.plain_zygote"), directory=work)


def boxed(image: str, key: str) -> NativeZygote:
    """
    The real one.
    """
    row = ("executor.process.zygote", "--image", image, "--key", key, "--socket")
    return NativeZygote(program(*row))
