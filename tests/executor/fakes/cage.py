"""
A cage without a guest: a zygote and workers that speak the real frames and run code natively.

Run as `python cage.py PATHS --socket FD`. A cell is Python of the test's own, run in the worker
itself, where `frame`, `raw`, `ask` and `sock` are at hand: so a test can make a worker that lies,
floods or dies. It is locked by a filter that allows everything, because the server looks.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any

sys.path[:0] = json.loads(sys.argv[1])

from codecage.worker.v1 import worker_pb2 as wire  # noqa: E402
from executor.kernel.frames import MAX_TO_WORKER, FrameBuffer, encode  # noqa: E402
from executor.kernel.spawn import (  # noqa: E402
    INTERRUPT_SIGNAL,
    LIMIT_SIGNAL,
    SpawnWorker,
    WorkerExited,
    WorkerSpawned,
    ZygoteReady,
)
from executor.linux import prctl, seccomp  # noqa: E402
from executor.linux.bpf import Instruction, Opcode  # noqa: E402
from executor.linux.descriptors import receive_passed  # noqa: E402

_SIGNALS = {INTERRUPT_SIGNAL, LIMIT_SIGNAL}
_DIGEST = bytes(32)


class Worker:
    def __init__(self, sock: socket.socket, *, locked: bool) -> None:
        self.sock = sock
        self.buffer = FrameBuffer(MAX_TO_WORKER)
        self.passed: list[int] = []
        self.files: dict[str, bytes] = {}
        self.begin = wire.Begin()
        self.taken = 0
        self.names: dict[str, Any] = {
            "ask": self.ask,
            "begin": self.begin,
            "files": self.files,
            "frame": self.frame,
            "passed": self.passed,
            "pause": self.pause,
            "print": self.print,
            "raw": self.sock.sendall,
            "receive": self.receive,
            "sock": self.sock,
            "wire": wire,
        }
        if locked:
            lock()
        self.frame(ready=wire.Ready(isolation="none (a fake)", boot_digest=_DIGEST))

    def frame(self, **fields: Any) -> None:
        data = encode(wire.FromWorker(**fields).SerializeToString())
        # A frame is sent whole: an interrupt waits for its end.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self.sock.sendall(data)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def print(self, *words: object, stream: int = 1) -> None:
        text = " ".join(map(str, words)) + "\n"
        self.frame(output=wire.Output(stream=stream, data=text.encode()))

    def pause(self) -> None:
        """
        Sleep until an interrupt comes; signal.pause() would miss one that comes just before it.
        """
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            signal.sigwait(_SIGNALS)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.interrupted()

    def receive(self) -> wire.ToWorker:
        while (data := self.buffer.take()) is None:
            more, found = receive_passed(self.sock, 2**16)
            if not more:
                os._exit(0)
            if found is not None:
                self.passed.append(found.descriptor)
            self.buffer.feed(more)
        return wire.ToWorker.FromString(data)

    def ask(self, **fields: Any) -> wire.Answer:
        self.frame(ask=wire.Ask(**fields))
        return self.receive().answer

    def serve(self) -> None:
        while True:
            message = self.receive()
            match message.WhichOneof("frame"):
                case "begin":
                    self.begin.CopyFrom(message.begin)
                case "run":
                    self.run(message.run)
                case "file":
                    self.frame(file=self.file(message.file))

    def run(self, cell: wire.RunCell) -> None:
        while self.taken < cell.interrupts_sent:
            signal.sigwait(_SIGNALS)
            self.taken += 1
        done = wire.CellDone(status=wire.CellDone.OK)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            try:
                self.evaluate(cell.code)
            finally:
                signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        except KeyboardInterrupt:
            done.status = wire.CellDone.INTERRUPTED
        except SystemExit as end:
            done.status = wire.CellDone.EXITED
            done.exit_code = int(end.code or 0)
        except BaseException as error:  # noqa: BLE001 - as a guest's kernel would
            done.status = wire.CellDone.ERROR
            done.error_name = type(error).__name__
            done.error_message = str(error)
            done.traceback = traceback.format_exc()
        self.frame(done=done)

    def evaluate(self, code: str) -> None:
        with contextlib.suppress(SyntaxError):
            value = eval(compile(code, "<cell>", "eval"), self.names)
            if value is not None:
                self.frame(value=wire.Value(text=repr(value), full_length=len(repr(value))))
            return
        exec(compile(code, "<cell>", "exec"), self.names)

    def file(self, command: wire.FileCommand) -> wire.FileReply:
        match command.WhichOneof("command"):
            case "put":
                put = command.put
                old = self.files.get(put.path, b"")[: put.offset]
                self.files[put.path] = old + put.data
                return wire.FileReply(status=wire.FileStatus(kind=wire.KIND_FILE))
            case "get" if command.get.path in self.files:
                get = command.get
                data = self.files[get.path][get.offset : get.offset + get.length]
                return wire.FileReply(data=data, end=len(data) < get.length)
            case "list":
                found = [self.entry(path) for path in self.files if path.startswith(command.list)]
                return wire.FileReply(entries=found, end=True)
            case "remove" if self.files.pop(command.remove, None) is not None:
                return wire.FileReply()
        return wire.FileReply(errno=2, reason="there is no such file")

    def entry(self, path: str) -> wire.FileEntry:
        status = wire.FileStatus(kind=wire.KIND_FILE, size=len(self.files[path]))
        return wire.FileEntry(name=path.rsplit("/", 1)[1], status=status)

    def interrupted(self, *_: object) -> None:
        self.taken += 1
        raise KeyboardInterrupt


def lock() -> None:
    prctl.set_no_new_privs()
    seccomp.install((Instruction(Opcode.RETURN, 0, 0, 0x7FFF0000),), tsync=False)


def fork_worker(control: socket.socket, number: int, sock: int, *, locked: bool) -> int:
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    control.close()
    signal.set_wakeup_fd(-1)
    prctl.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != zygote:
        os._exit(0)
    worker = Worker(socket.socket(fileno=sock), locked=locked)
    for wanted in _SIGNALS:
        signal.signal(wanted, worker.interrupted)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        worker.serve()
    finally:
        os._exit(9)


def main(arguments: list[str]) -> None:
    control = socket.socket(fileno=int(arguments[arguments.index("--socket") + 1]))
    locked = "--unlocked" not in arguments
    if "--broken" in arguments:
        sys.exit(1)
    prctl.set_parent_death_signal(signal.SIGKILL)
    children: dict[int, int] = {}

    def reap() -> None:
        for pid in [*children]:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                control.send(WorkerExited(children.pop(pid), status).pack())

    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    memory = int(arguments[arguments.index("--memory") + 1]) if "--memory" in arguments else 0
    control.send(ZygoteReady(_DIGEST, memory).pack())
    while True:
        readable, _, _ = select.select([control, woken], [], [])
        if woken in readable:
            woken.recv(4096)
            reap()
        if control not in readable:
            continue
        data, received, _, _ = socket.recv_fds(control, 256, 2)
        if not data:
            os._exit(0)
        number = SpawnWorker.unpack(data).number
        pid = fork_worker(control, number, received[0], locked=locked)
        os.close(received[0])
        pidfd = os.pidfd_open(pid)
        children[pid] = number
        socket.send_fds(control, [WorkerSpawned(number, pid).pack()], [pidfd])
        os.close(pidfd)


if __name__ == "__main__":
    main(sys.argv[2:])
