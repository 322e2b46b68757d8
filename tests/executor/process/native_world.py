"""
The server's side of a native zygote and its workers, by hand: datagrams and frames.
"""

import os
import select
import signal
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.frames import MAX_FROM_WORKER, FrameBuffer, encode
from executor.kernel.spawn import (
    INTERRUPT_SIGNAL,
    LIMIT_SIGNAL,
    MESSAGE_MAX,
    SpawnWorker,
    WorkerExited,
    WorkerSpawned,
    ZygoteReady,
)
from executor.launcher import program

PATIENCE = 30.0
REASON = 'the policy "tests" grants no programs'


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
    asked: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        return wire.CellDone.Status.Name(self.done.status)


class Worker:
    """
    One worker as its server holds it.
    """

    def __init__(self, stream: socket.socket, pid: int, pidfd: int) -> None:
        stream.settimeout(PATIENCE)
        self.stream, self.pid, self.pidfd = stream, pid, pidfd
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
            seen.asked.append(frame.ask.run)
            self.send(answer=wire.Answer(errno=13, reason=REASON))
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
        signal.pidfd_send_signal(self.pidfd, LIMIT_SIGNAL if limit else INTERRUPT_SIGNAL)

    def file(self, **command: Any) -> wire.FileReply:
        self.send(file=wire.FileCommand(**command))
        return self.receive().file

    def ended(self) -> bool:
        return bool(select.select([self.pidfd], [], [], PATIENCE)[0])

    def close(self) -> None:
        self.stream.close()
        os.close(self.pidfd)


class NativeZygote:
    """
    A zygote that was started by a command line, to which its socket's number is added.
    """

    def __init__(self, command: Sequence[str], *, last: Sequence[str] = ()) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(PATIENCE)
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(
                [*command, str(number), *last],
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
        first = self._control.recv(MESSAGE_MAX)
        self.complaint = "" if first else self.end()
        self.ready = ZygoteReady.unpack(first) if first else None

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

    def spawn(self) -> Worker:
        """
        A worker that has said that it is ready.
        """
        ours, theirs = socket.socketpair()
        self._spawned += 1
        with theirs:
            datagram = SpawnWorker(self._spawned).pack()
            socket.send_fds(self._control, [datagram], [theirs.fileno()])
        data, received = b"", [-1]
        while data[:4] != b"pid1":
            data, received, _, _ = socket.recv_fds(self._control, MESSAGE_MAX, 1)
        worker = Worker(ours, WorkerSpawned.unpack(data).pid, received[0])
        self._workers.append(worker)
        return worker

    def release(self, worker: Worker) -> None:
        """
        Let a worker go before the others.
        """
        self._workers.remove(worker)
        worker.close()

    def exited(self) -> WorkerExited:
        """
        What it says of the next worker that ends.
        """
        return WorkerExited.unpack(self._control.recv(MESSAGE_MAX))

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
    return NativeZygote(program("tests.executor.process.plain_zygote"), last=[work])


def boxed(image: str, key: str) -> NativeZygote:
    """
    The real one.
    """
    row = ("executor.process.zygote", "--image", image, "--key", key, "--socket")
    return NativeZygote(program(*row))
