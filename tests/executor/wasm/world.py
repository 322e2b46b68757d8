"""
What the tests of the wasm cage drive: a real zygote process and its locked workers.

They are spoken to in frames; the test plays the server, and its gate is a function. `tiny_kernel`
is the same without a guest.
"""

import os
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import psutil

from codecage.worker.v1 import worker_pb2 as wire
from executor.children import launcher
from executor.images import catalog
from executor.images.manifest import Image
from executor.kernel import frames, spawn
from executor.linux.descriptors import send_regular_file, send_stream

MIB: Final = 2**20
# No frame of a test takes longer, on a machine however busy: a guard against hanging for ever.
PATIENCE: Final = 60.0


def core_image() -> Image:
    """
    The image `core`, which `make setup` builds.
    """
    image = catalog.find("core")
    assert image is not None, "the image core is missing: run `make setup`"
    return image


@dataclass(slots=True)
class Cell:
    """
    What a worker sent while it ran a cell.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    order: list[tuple[int, bytes]] = field(default_factory=list)
    # Each with what stdout held when its last part came.
    displays: list[tuple[bytes, dict[str, bytes]]] = field(default_factory=list)
    value: wire.Value | None = None
    asks: list[wire.Ask] = field(default_factory=list)
    notes: list[wire.Note] = field(default_factory=list)
    done: wire.CellDone = field(default_factory=wire.CellDone)

    @property
    def text(self) -> str | None:
        return None if self.value is None else self.value.text

    @property
    def error(self) -> str:
        """
        The error as the last line of a traceback has it.
        """
        name, message = self.done.error_name, self.done.error_message
        return f"{name}: {message}" if message else name

    def ok(self) -> Self:
        assert self.done.status == wire.CellDone.OK, self.done
        return self

    def raised(self, name: str) -> Self:
        assert (self.done.status, self.done.error_name) == (wire.CellDone.ERROR, name), self.done
        return self

    def ended(self) -> Self:
        assert self.done.status == wire.CellDone.GUEST_ENDED, self.done
        return self


class WorkerGoneError(AssertionError):
    """
    The worker closed its socket where a frame was due.
    """


Answering = Callable[[wire.Ask], wire.Answer | tuple[wire.Answer, int | socket.socket]]


def refuse(_request: wire.Ask) -> wire.Answer:
    """
    The gate that grants nothing.
    """
    return wire.Answer(errno=13, reason="[policy test, rule none] not granted")


class Worker:
    """
    One locked worker, seen from the server's end of its socket.
    """

    def __init__(self, connection: socket.socket, spawned: spawn.WorkerSpawned, pidfd: int) -> None:
        self._socket = connection
        self._buffer = frames.FrameBuffer(frames.MAX_FROM_WORKER)
        self.number = spawned.number
        self.pid = spawned.pid
        self._pidfd = pidfd
        self.sent = 0
        self.cells = 0
        self.gate: Answering = refuse
        self._parts: dict[str, bytes] = {}
        connection.settimeout(PATIENCE)
        self.ready = self.receive().ready

    def close(self) -> None:
        """
        Close the socket, which ends the worker, and wait until it has ended.
        """
        self._socket.close()
        if self._pidfd >= 0:
            assert self.has_ended(), "the worker outlived its socket"
            os.close(self._pidfd)
            self._pidfd = -1

    def kill(self) -> None:
        """
        The server's hard stop.
        """
        signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def has_ended(self) -> bool:
        return bool(select.select([self._pidfd], [], [], PATIENCE)[0])

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.pid)

    def send(self, message: wire.ToWorker) -> None:
        self._socket.sendall(frames.encode(message.SerializeToString()))

    def receive(self) -> wire.FromWorker:
        while (data := self._buffer.take()) is None:
            more = self._socket.recv(2**16)
            if not more:
                raise WorkerGoneError("the worker closed its socket")
            self._buffer.feed(more)
        return wire.FromWorker.FromString(data)

    def begin(self, **changed: Any) -> Self:
        facts: dict[str, Any] = {
            "entropy": os.urandom(32),
            "memory_bytes": 256 * MIB,
            "scratch_bytes": 16 * MIB,
            "max_files": 500,
            "max_open_files": 64,
            "output_bytes": MIB,
            "max_requests": 1000,
            "policy_name": "test",
        }
        self.send(wire.ToWorker(begin=wire.Begin(**(facts | changed))))
        return self

    def signal(self, *, limit: bool = False) -> None:
        """
        Stop the running cell, as the server does.
        """
        self.sent += 1
        number = spawn.LIMIT_SIGNAL if limit else spawn.INTERRUPT_SIGNAL
        signal.pidfd_send_signal(self._pidfd, number)

    def run(self, code: str, *, on: tuple[bytes, Callable[[], None]] | None = None) -> Cell:
        """
        Run a cell to its end. With `on`, (text, act): act once stdout has held the text.
        """
        self.cells += 1
        run = wire.RunCell(
            cell=self.cells,
            code=code,
            interrupts_sent=self.sent,
            timeout_message="the wall time of 1 s is over",
        )
        self.send(wire.ToWorker(run=run))
        cell = Cell()
        while True:
            frame = self.receive()
            self._take(cell, frame)
            if frame.WhichOneof("frame") == "done":
                return cell
            if on is not None and on[0] in cell.stdout:
                on[1]()
                on = None

    def _take(self, cell: Cell, frame: wire.FromWorker) -> None:
        kind = frame.WhichOneof("frame")
        if kind == "output":
            cell.order.append((frame.output.stream, frame.output.data))
            if frame.output.stream == 1:
                cell.stdout += frame.output.data
            else:
                cell.stderr += frame.output.data
        elif kind == "display":
            self._join(cell, frame.display)
        elif kind == "value":
            cell.value = frame.value
        elif kind == "note":
            cell.notes.append(frame.note)
        elif kind == "ask":
            cell.asks.append(frame.ask)
            self._answer(frame.ask)
        else:
            assert kind == "done", frame
            cell.done = frame.done

    def _join(self, cell: Cell, part: wire.Display) -> None:
        for name, data in part.data.items():
            self._parts[name] = self._parts.get(name, b"") + data
        if not part.more:
            cell.displays.append((cell.stdout, self._parts))
            self._parts = {}

    def _answer(self, request: wire.Ask) -> None:
        answer = self.gate(request)
        if isinstance(answer, wire.Answer):
            self.send(wire.ToWorker(answer=answer))
            return
        data = frames.encode(wire.ToWorker(answer=answer[0]).SerializeToString())
        if isinstance(answer[1], socket.socket):
            with answer[1] as stream:
                assert send_stream(self._socket, data, stream.fileno()) == len(data)
            return
        try:
            assert send_regular_file(self._socket, data, answer[1]) == len(data)
        finally:
            os.close(answer[1])

    def file(self, **command: Any) -> wire.FileReply:
        """
        A client's file command.
        """
        self.send(wire.ToWorker(file=wire.FileCommand(**command)))
        while True:
            frame = self.receive()
            if frame.WhichOneof("frame") == "file":
                return frame.file
            assert frame.WhichOneof("frame") == "ask", frame
            self._answer(frame.ask)


class Zygote:
    """
    A real zygote process of the image `core`.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        user = ("--uid", "65534", "--gid", "65534") if os.getuid() == 0 else ()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *launcher.program("executor.children.zygote", "--image", "core"),
                    "--key", core_image().key,
                    "--socket", str(theirs.fileno()),
                    *user,
                ],
                pass_fds=(theirs.fileno(),),
                env=launcher.environment(os.environ),
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self._socket.settimeout(PATIENCE)
        self.pid = self._process.pid
        self.digest = spawn.ZygoteReady.unpack(self._socket.recv(spawn.MESSAGE_MAX)).digest
        self._spawned = 0
        self._exited: dict[int, int] = {}

    def close(self) -> None:
        self._socket.close()
        assert self._process.wait(PATIENCE) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def exit_code(self, worker: Worker) -> int:
        """
        How a worker that has been closed ended: its exit code, or a signal's number negated.
        """
        while worker.number not in self._exited:
            self._note_exit(self._socket.recv(spawn.MESSAGE_MAX))
        return os.waitstatus_to_exitcode(self._exited[worker.number])

    def _note_exit(self, data: bytes) -> None:
        exited = spawn.WorkerExited.unpack(data)
        self._exited[exited.number] = exited.status

    def spawn(self) -> Worker:
        """
        A worker that is locked and has not begun.
        """
        self._spawned += 1
        ours, theirs = socket.socketpair()
        with theirs:
            message = spawn.SpawnWorker(self._spawned).pack()
            socket.send_fds(self._socket, [message], [theirs.fileno()])
        while True:
            data, passed, _, _ = socket.recv_fds(self._socket, spawn.MESSAGE_MAX, 2)
            if passed:
                spawned = spawn.WorkerSpawned.unpack(data)
                return Worker(ours, spawned, passed[0])
            self._note_exit(data)

    @contextmanager
    def session(self, **facts: Any) -> Iterator[Worker]:
        """
        A worker that has begun; it has ended afterwards.
        """
        worker = self.spawn()
        try:
            yield worker.begin(**facts)
        finally:
            worker.close()


def regular_file(path: Path, **status: int) -> tuple[wire.Answer, int]:
    """
    The answer that passes a read-only descriptor of `path`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    size = os.fstat(descriptor).st_size
    found = wire.FileStatus(kind=wire.KIND_FILE, size=size, mode=0o444, **status)
    return wire.Answer(opened=wire.Opened(passed=True, status=found)), descriptor
