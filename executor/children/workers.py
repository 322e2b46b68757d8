"""
One worker as the server holds it: a process, a socket, and no way to mean another process.

Everything that the worker says of itself is a suspect's word. What the server relies on it asks
the kernel: that the process lives (its pidfd), what CPU time it used, and that seccomp and
no_new_privs are in force for each of its threads before it learns anything of a session.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.children.channel import Channel
from executor.errors import ProtocolBroken, WorkerGone
from executor.kernel.boxing import Holding
from executor.kernel.cage import BoxEnds
from executor.kernel.spawn import INTERRUPT_SIGNAL, LIMIT_SIGNAL
from executor.linux import proc
from executor.linux.errors import MechanismError
from executor.linux.pidfd import Process
from executor.linux.rlimits import limit_data_of

# The zygote reaps and tells how the worker ended; the pidfd tells that it did. They race.
_STATUS_PATIENCE: Final = 0.5
_LOCKED: Final = {"Seccomp": "2", "NoNewPrivs": "1"}
_LOCKED_NAMES: Final = frozenset(name.encode() for name in _LOCKED)
# What a worker may hold besides the guest's memory and files: stacks, frames, the cage's tables.
_RESERVE: Final = 64 * 2**20
_HINTS: Final[dict[int, str]] = {
    signal.SIGKILL: " (killed from outside, as the kernel does when memory runs out)",
    signal.SIGSYS: " (it made a system call that no worker may make)",
}
_LONGEST_ISOLATION: Final = 100
_DIGEST: Final = 32


@dataclass(frozen=True, slots=True)
class Exit:
    """
    How a worker's process ended: its wait status (waitpid(2)), or None when nobody could tell.
    """

    status: int | None

    def __str__(self) -> str:
        if self.status is None:
            return "its process ended"
        if os.WIFSIGNALED(self.status):
            return _of_signal(os.WTERMSIG(self.status))
        return f"its process exited with status {os.WEXITSTATUS(self.status)}"


def _of_signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"its process was ended by {name}{_HINTS.get(number, '')}"


@dataclass(frozen=True, slots=True)
class Origin:
    """
    What a worker was forked from: the image's key, and the bytes that the booted guest held.
    """

    image_key: str
    boot_memory: int


class Worker:
    """
    A worker's process and socket. It is used for one session and never again.

    `ended` is a future with its `Exit`; `image_key` and `boot_memory` are those of its origin,
    which its zygote told before there was a session. `isolation` and `boot_digest` are what it
    said when it was locked.
    """

    def __init__(self, number: int, origin: Origin, channel: Channel, process: Process) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.image_key = origin.image_key
        self.boot_memory = origin.boot_memory
        self.channel = channel
        self.isolation = ""
        self.boot_digest = b""
        self.ended: asyncio.Future[Exit] = loop.create_future()
        self._process = process
        self._status: int | None = None
        self._ending = False
        loop.add_reader(process.fileno(), self._on_end)

    @property
    def pid(self) -> int:
        """
        The number of its process, for records.
        """
        return self._process.pid

    @property
    def alive(self) -> bool:
        """
        Whether its process still runs.
        """
        return not self.ended.done() and not self._process.ended()

    @property
    def holding(self) -> Holding | None:
        """
        None: what holds a worker of the wasm cage is always the same.
        """
        return None

    async def locked(self) -> None:
        """
        Wait for the worker's first frame and check from outside that it is held.

        Raises WorkerGone, ProtocolBroken.
        """
        frame = await self.channel.receive()
        if not frame.HasField("ready"):
            raise ProtocolBroken("the worker's first frame does not say that it is locked")
        self.isolation, self.boot_digest = _facts_of(frame.ready)
        require_locked(self.pid)

    def limit_memory(self, size: int) -> None:
        """
        Let the kernel refuse memory beyond `size` bytes and a reserve for the cage itself.

        The worker keeps the limit; this holds where it has been taken over. Raises WorkerGone,
        also when the limit cannot be set.
        """
        try:
            limit_data_of(self.pid, size + _RESERVE)
        except MechanismError as error:
            raise WorkerGone(f"its memory could not be limited: {error}") from error
        if not self.alive:  # or its number may be another's by now
            raise WorkerGone("it has ended")

    def interrupt(self, *, limit: bool) -> None:
        """
        Interrupt the guest's running cell; with `limit` the guest is told which limits it has.

        Does nothing when the process has ended.
        """
        self._send(LIMIT_SIGNAL if limit else INTERRUPT_SIGNAL)

    def kill(self) -> None:
        """
        End the process now. Does nothing when it has ended.
        """
        self._send(signal.SIGKILL)

    def cpu_time(self) -> float | None:
        """
        The seconds of CPU that the process has used, or None when it has ended.
        """
        if self.ended.done():
            return None
        try:
            return self._process.cpu_time()
        except ProcessLookupError:
            return None

    def memory_peak(self) -> int | None:
        """
        None: the worker's own word is all there is.
        """
        return None

    def take_ends(self) -> BoxEnds | None:
        """
        None: it is in no box.
        """
        return None

    def reaped(self, status: int) -> None:
        """
        The zygote has waited for the process; its wait status was `status`.
        """
        self._status = status
        if self._ending:
            self._finish()

    def on_end(self, act: Callable[[], None]) -> None:
        """
        Call `act` once when the process has ended, at once if it has already.
        """
        self.ended.add_done_callback(lambda _: act())

    def drop(self) -> None:
        """
        Kill the process and let go of the socket; `ended` tells when it is over.
        """
        self.kill()
        self.channel.close()

    def _send(self, number: int) -> None:
        if self.ended.done():
            return
        try:
            self._process.send(number)
        except ProcessLookupError:
            return

    def _on_end(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._process.fileno())
        self._ending = True
        if self._status is not None:
            self._finish()
            return
        loop.call_later(_STATUS_PATIENCE, self._finish)

    def _finish(self) -> None:
        if not self.ended.done():
            self.ended.set_result(self._how())
            self._process.close()

    def _how(self) -> Exit:
        return Exit(self._status)


def require_locked(pid: int) -> None:
    """
    Look at every thread of process `pid` in proc(5): seccomp's filter and no_new_privs must hold.

    Raises ProtocolBroken where one does not, or the process cannot be seen.
    """
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - see proc.py
        states = [_state(proc.read(f"/proc/{pid}/task/{thread}/status")) for thread in threads]
    except OSError as error:
        raise ProtocolBroken(f"the worker's threads cannot be looked at: {error}") from error
    if not states or any(state != _LOCKED for state in states):
        raise ProtocolBroken(f"the worker says that it is locked, and its threads show {states}")


def _state(status: bytes) -> dict[str, str]:
    fields = (line.partition(b":") for line in status.splitlines())
    return {
        name.decode(): value.strip().decode() for name, _, value in fields if name in _LOCKED_NAMES
    }


def _facts_of(ready: frames_pb2.Ready) -> tuple[str, bytes]:
    isolation, digest = ready.isolation, ready.boot_digest
    if not (isolation.isascii() and isolation.isprintable()):
        raise ProtocolBroken("the worker names its isolation with characters that are no text")
    if len(isolation) > _LONGEST_ISOLATION or len(digest) != _DIGEST:
        raise ProtocolBroken("the worker's first frame has fields of the wrong length")
    return isolation, digest
