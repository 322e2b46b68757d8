"""
The server's end of one zygote: one datagram asks for a worker, one answers with its pidfd.

A zygote is ours and never sees data of a session, so its words are believed; what is checked is
that they are of the protocol, and that the process it names is the one it forked.
"""

import asyncio
import logging
import os
import select
import socket
import time
from typing import Any, Final

from executor.channel import Channel
from executor.errors import CageUnavailable, ProtocolBroken, WorkerGone
from executor.kernel.spawn import (
    MESSAGE_MAX,
    SpawnWorker,
    WorkerExited,
    WorkerSpawned,
    ZygoteReady,
)
from executor.linux.errors import MechanismError
from executor.linux.pidfd import Process
from executor.workers import Origin, Worker

_LOG = logging.getLogger(__name__)
_START_PATIENCE: Final = 120.0
_SPAWN_PATIENCE: Final = 10.0


class Zygote:
    """
    One zygote, from its start to the end of its last worker.

    `control` is our end of a SOCK_SEQPACKET pair. `ready` is a future with what it said when it
    had booted, `ended` one that is done when it forks no more because it is gone.
    """

    def __init__(self, number: int, image_key: str, control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        control.setblocking(False)
        self.number = number
        self.started = time.monotonic()
        self.spawned = 0
        self.ready: asyncio.Future[ZygoteReady] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._image_key = image_key
        self._control = control
        self._retired = False
        self._waiting: dict[int, tuple[asyncio.Future[Worker], socket.socket]] = {}
        self._workers: dict[int, Worker] = {}
        loop.add_reader(control, self._on_message)

    @property
    def alive(self) -> bool:
        """
        Whether it still forks workers.
        """
        return not self.ended.done() and not self._retired

    async def booted(self) -> ZygoteReady:
        """
        Wait until it is ready; what it said of its guest's memory.

        Raises CageUnavailable when it ends before, or takes two minutes.
        """
        try:
            async with asyncio.timeout(_START_PATIENCE):
                either: set[asyncio.Future[Any]] = {self.ready, self.ended}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise CageUnavailable(f"zygote {self.number} does not get ready") from error
        if not self.ready.done():
            raise CageUnavailable(f"zygote {self.number} ended before it was ready")
        return self.ready.result()

    async def spawn(self) -> Worker:
        """
        Fork a worker and wait until it is locked.

        Raises CageUnavailable.
        """
        await self.booted()
        try:
            async with asyncio.timeout(_SPAWN_PATIENCE):
                return await self._locked(await self._fork())
        except (WorkerGone, ProtocolBroken, TimeoutError, OSError) as error:
            raise CageUnavailable(f"a worker of zygote {self.number}: {error!r}") from error

    def retire(self) -> None:
        """
        Fork no more, and end when the last worker has.
        """
        self._retired = True
        self._end_if_done()

    def end(self) -> None:
        """
        Let go of it now: it ends when it sees that, and its workers with it.
        """
        if self.ended.done():
            return
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        self.ended.set_result(None)
        for number in [*self._waiting]:
            self._fail(number, "the zygote has ended")

    async def _fork(self) -> Worker:
        if self.ended.done():
            raise WorkerGone("the zygote has ended")
        self.spawned += 1
        number = self.spawned
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        answer: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting[number] = (answer, ours)
        ours.setblocking(False)
        asyncio.get_running_loop().add_reader(ours, self._on_early, number)
        try:
            with theirs:
                socket.send_fds(self._control, [SpawnWorker(number).pack()], [theirs.fileno()])
            return await answer
        except BaseException:
            # Nobody will want the worker, which may be there already and must not wait for ever.
            if number in self._waiting:
                self._claim(number).close()
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                answer.result().drop()
            raise

    async def _locked(self, worker: Worker) -> Worker:
        try:
            await worker.locked()
        except BaseException:
            worker.drop()
            raise
        return worker

    def _on_message(self) -> None:
        received: list[int] = []
        try:
            data, received, _, _ = socket.recv_fds(self._control, MESSAGE_MAX, 2)
            self._take(data, received)
        except BlockingIOError:
            return
        except (ValueError, OSError, MechanismError) as error:
            _LOG.error("zygote %d is given up: %s", self.number, error)
            self.end()
        finally:
            for descriptor in received:
                os.close(descriptor)

    def _take(self, data: bytes, received: list[int]) -> None:
        match data[:4]:
            case b"":
                self.end()
            case b"rdy1" if not self.ready.done():
                self.ready.set_result(ZygoteReady.unpack(data))
            case b"pid1":
                self._adopt(WorkerSpawned.unpack(data), received)
            case b"end1":
                self._reaped(WorkerExited.unpack(data))
            case _:
                raise ValueError(f"unexpected message {data!r}")

    def _adopt(self, spawned: WorkerSpawned, received: list[int]) -> None:
        if len(received) != 1:
            raise ValueError(f"worker {spawned.number} came with {len(received)} descriptors")
        if spawned.number not in self._waiting:
            return
        process = _identified(spawned.pid, received[0])
        if process is None:
            self._fail(spawned.number, "the worker ended at once")
            return
        answer = self._waiting[spawned.number][0]
        ours = self._claim(spawned.number)
        facts = Origin(self._image_key, self.ready.result().memory)
        worker = Worker(spawned.number, facts, Channel(ours), process)
        self._workers[spawned.number] = worker
        worker.on_end(lambda: self._forget(spawned.number))
        if answer.done():
            worker.drop()
        else:
            answer.set_result(worker)

    def _reaped(self, exited: WorkerExited) -> None:
        if (worker := self._workers.get(exited.number)) is not None:
            worker.reaped(exited.status)

    def _on_early(self, number: int) -> None:
        """
        Something is on a worker's socket before its pidfd came: its first frame, or the end.
        """
        _, ours = self._waiting[number]
        asyncio.get_running_loop().remove_reader(ours)
        try:
            ended = not ours.recv(1, socket.MSG_PEEK)
        except OSError:
            ended = True
        if ended:
            self._fail(number, "the zygote could not fork")

    def _fail(self, number: int, why: str) -> None:
        answer = self._waiting[number][0]
        self._claim(number).close()
        if not answer.done():
            answer.set_exception(WorkerGone(why))

    def _claim(self, number: int) -> socket.socket:
        _, ours = self._waiting.pop(number)
        asyncio.get_running_loop().remove_reader(ours)
        return ours

    def _forget(self, number: int) -> None:
        self._workers.pop(number, None)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._retired and not self._workers and not self._waiting:
            self.end()


def _identified(pid: int, pidfd: int) -> Process | None:
    """
    Process `pid`, if it is the one that `pidfd` holds; None when that has ended.

    Asked after opening: if the process of the pidfd lives then, `pid` was its number all the time.
    """
    if _pid_of(pidfd) != pid:
        return None
    try:
        process = Process(pid)
    except ProcessLookupError:
        return None
    if select.select([pidfd], [], [], 0)[0]:
        process.close()
        return None
    return process


def _pid_of(pidfd: int) -> int:
    # pidfd_open(2): the field is -1 once the process was reaped, 0 in another pid namespace.
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as lines:  # noqa: PTH123 - by number
        fields = dict(line.split(":", 1) for line in lines)
    return int(fields["Pid"])
