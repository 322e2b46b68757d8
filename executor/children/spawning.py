"""
The server's end of one zygote: one datagram asks for a worker, one answers with its pidfd.

Zygotes of the process cage are asked for a box after an order, may answer that they cannot make
it, and send their boxes our signals.

A zygote is ours and never sees data of a session, so its words are believed; what is checked is
that they are of the protocol, and that the process it names is the one it forked.
"""

import asyncio
import logging
import os
import select
import socket
import time
from dataclasses import dataclass, replace
from typing import Any, Final

from executor.children.channel import Channel
from executor.children.workers import Origin, Worker
from executor.errors import CageUnavailable, ProtocolBroken, WorkerGone
from executor.holding import CageMissing
from executor.kernel.boxing import (
    DESCRIPTORS_MAX,
    FROM_ZYGOTE_MAX,
    BoxesHold,
    BoxExited,
    BoxRefused,
    BoxSignal,
    BoxSpawned,
    Holding,
    SignalBox,
    SpawnBox,
)
from executor.kernel.orders import BoxOrder
from executor.kernel.spawn import (
    SpawnWorker,
    WorkerExited,
    WorkerSpawned,
    ZygoteReady,
)
from executor.linux import proc
from executor.linux.errors import MechanismError
from executor.linux.pidfd import Process

_LOG = logging.getLogger(__name__)
_START_PATIENCE: Final = 120.0
_SPAWN_PATIENCE: Final = 10.0
# A piece of a file and a frame of output wait whole in a worker's socket, so that neither side has
# to be woken several times for one. The kernel gives what net.core.wmem_max allows.
_WAITING: Final = 2**20


class Zygote:
    """
    One zygote, from its start to the end of its last worker.

    `control` is our end of a SOCK_SEQPACKET pair. `ready` is a future with what it said when it
    had booted, `ended` one that is done when it forks no more because it is gone. `holding` is how
    the boxes of a native one are held, None until it has tried.
    """

    def __init__(self, number: int, image_key: str, control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        control.setblocking(False)
        self.number = number
        self.started = time.monotonic()
        self.spawned = 0
        self.ready: asyncio.Future[ZygoteReady] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.holding: Holding | None = None
        self._image_key = image_key
        self._control = control
        self._retired = False
        self._refusal: BoxRefused | None = None
        self._waiting: dict[int, _Wanted] = {}
        self._workers: dict[int, Worker] = {}
        loop.add_reader(control, self._on_message)

    @property
    def alive(self) -> bool:
        """
        Whether it still forks workers.
        """
        return not self.ended.done() and not self._retired

    @property
    def is_in_vain(self) -> bool:
        """
        Whether it has ended because this host lacks what every box needs.
        """
        return self._refusal is not None and self._refusal.missing

    async def booted(self) -> ZygoteReady:
        """
        Wait until it is ready; what it said of its guest's memory.

        Raises CageUnavailable when it ends before, or takes two minutes; CageMissing when it said
        that this host cannot hold its boxes.
        """
        try:
            async with asyncio.timeout(_START_PATIENCE):
                either: set[asyncio.Future[Any]] = {self.ready, self.ended}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise CageUnavailable(f"zygote {self.number} does not get ready") from error
        if not self.ready.done():
            if self._refusal is not None:
                raise _refused(self._refusal)
            raise CageUnavailable(f"zygote {self.number} ended before it was ready")
        return self.ready.result()

    async def spawn(self, order: BoxOrder | None = None) -> Worker:
        """
        Fork a worker, in a box where there is an order, and wait until it is locked.

        Raises CageUnavailable, and CageMissing where this host cannot make such a box.
        """
        await self.booted()
        try:
            async with asyncio.timeout(_SPAWN_PATIENCE):
                return await self._locked(await self._fork(order))
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
            self._fail(number, WorkerGone("the zygote has ended"))

    async def _fork(self, order: BoxOrder | None) -> Worker:
        if self.ended.done():
            raise WorkerGone("the zygote has ended")
        self.spawned += 1
        number = self.spawned
        asked = SpawnWorker(number) if order is None else SpawnBox(number, order)
        ours, theirs = _pair()
        answer: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Wanted(answer, ours, order)
        ours.setblocking(False)
        asyncio.get_running_loop().add_reader(ours, self._on_early, number)
        try:
            with theirs:
                socket.send_fds(self._control, [asked.pack()], [theirs.fileno()])
            return await answer
        except BaseException:
            # Nobody will want the worker, which may be there already and must not wait for ever.
            if number in self._waiting:
                self._claim(number).socket.close()
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
            data, received, _, _ = socket.recv_fds(self._control, FROM_ZYGOTE_MAX, DESCRIPTORS_MAX)
            self._take(data, received)
        except BlockingIOError:
            return
        except (ValueError, TypeError, OSError, MechanismError) as error:
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
            case b"hld1" if not self.ready.done():
                self.holding = BoxesHold.unpack(data).holding
            case b"pid1":
                self._adopt(WorkerSpawned.unpack(data), received)
            case b"bxd1":
                self._adopt(BoxSpawned.unpack(data), received)
            case b"ref1":
                self._on_refusal(BoxRefused.unpack(data))
            case b"end1":
                self._reaped(WorkerExited.unpack(data))
            case b"bxe1":
                self._exited(BoxExited.unpack(data))
            case _:
                raise ValueError(f"unexpected message {data[:64]!r}")

    def _adopt(self, spawned: WorkerSpawned | BoxSpawned, received: list[int]) -> None:
        wanted = spawned.descriptors if isinstance(spawned, BoxSpawned) else 1
        if len(received) != wanted:
            raise ValueError(f"worker {spawned.number} came with {len(received)} descriptors")
        if spawned.number not in self._waiting:
            return
        process = _identified(spawned.pid, received[0])
        if process is None:
            self._fail(spawned.number, WorkerGone("the worker ended at once"))
            return
        worker = self._worker(spawned, self._waiting[spawned.number], process, received)
        claimed = self._claim(spawned.number)
        self._workers[spawned.number] = worker
        worker.on_end(lambda: self._forget(spawned.number))
        if claimed.answer.done():
            worker.drop()
        else:
            claimed.answer.set_result(worker)

    def _worker(
        self,
        spawned: WorkerSpawned | BoxSpawned,
        claimed: "_Wanted",
        process: Process,
        received: list[int],
    ) -> Worker:
        origin = Origin(self._image_key, self.ready.result().memory)
        if isinstance(spawned, WorkerSpawned):
            return Worker(spawned.number, origin, Channel(claimed.socket), process)
        order = claimed.order
        if order is None:
            raise ValueError(f"box {spawned.number} was not ordered")
        # For policies with native images alone, as `serving.parts` has it.
        from executor.children.boxed import BoxedWorker, ends_of  # noqa: PLC0415

        ends = ends_of(order, spawned, received[1:])
        del received[1:]  # they are the worker's now
        number = spawned.number
        channel = Channel(claimed.socket)
        return BoxedWorker(
            *(origin, channel, process, spawned, ends),
            tell=lambda wanted: self._tell(number, wanted),
            alone=not (order.fork or order.programs),
        )

    def _tell(self, number: int, wanted: BoxSignal) -> None:
        if self.ended.done():
            return  # and with it the box
        try:
            self._control.send(SignalBox(number, wanted).pack())
        except OSError as error:
            _LOG.error("zygote %d cannot be told to signal a box: %s", self.number, error)
            self.end()

    def _on_refusal(self, refused: BoxRefused) -> None:
        if refused.number == 0:
            self._refusal = refused
        elif refused.number in self._waiting:
            order = self._waiting[refused.number].order
            reason = refused.reason if order is None else order.named(refused.reason)
            self._fail(refused.number, _refused(replace(refused, reason=reason)))

    def _exited(self, exited: BoxExited) -> None:
        from executor.children.boxed import BoxedWorker  # noqa: PLC0415 - as in `_worker`

        worker = self._workers.get(exited.number)
        if isinstance(worker, BoxedWorker):
            worker.exited(exited)

    def _reaped(self, exited: WorkerExited) -> None:
        if (worker := self._workers.get(exited.number)) is not None:
            worker.reaped(exited.status)

    def _on_early(self, number: int) -> None:
        """
        Something is on a worker's socket before its pidfd came: its first frame, or the end.
        """
        ours = self._waiting[number].socket
        asyncio.get_running_loop().remove_reader(ours)
        try:
            ended = not ours.recv(1, socket.MSG_PEEK)
        except OSError:
            ended = True
        # A native zygote always answers, also when it could make no box: why is on its way.
        if ended and self._waiting[number].order is None:
            self._fail(number, WorkerGone("the zygote could not fork"))

    def _fail(self, number: int, why: WorkerGone | CageUnavailable | CageMissing) -> None:
        claimed = self._claim(number)
        claimed.socket.close()
        if not claimed.answer.done():
            claimed.answer.set_exception(why)

    def _claim(self, number: int) -> "_Wanted":
        claimed = self._waiting.pop(number)
        asyncio.get_running_loop().remove_reader(claimed.socket)
        return claimed

    def _forget(self, number: int) -> None:
        self._workers.pop(number, None)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._retired and not self._workers and not self._waiting:
            self.end()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """
    A worker that was asked for: who waits for it, our end of its socket, and the order of its box.
    """

    answer: asyncio.Future[Worker]
    socket: socket.socket
    order: BoxOrder | None


def _refused(refused: BoxRefused) -> CageMissing | CageUnavailable:
    if refused.missing:
        return CageMissing(refused.reason)
    return CageUnavailable(refused.reason)


def _pair() -> tuple[socket.socket, socket.socket]:
    """
    Our end of a worker's socket, and the worker's.
    """
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WAITING)
    return ends


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
    # Not select(2): it takes no number from 1024 up, and sessions have files open in this process.
    held = select.poll()
    held.register(pidfd, select.POLLIN)
    if held.poll(0):
        process.close()
        return None
    return process


def _pid_of(pidfd: int) -> int:
    # pidfd_open(2): the field is -1 once the process was reaped, 0 in another pid namespace.
    _, _, rest = proc.read(f"/proc/self/fdinfo/{pidfd}").partition(b"\nPid:")
    return int(rest.partition(b"\n")[0])
