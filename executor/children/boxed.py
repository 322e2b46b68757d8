"""
One box of the process cage as the server holds it.

The server has given up root by the time that there are boxes, and a box that root's zygote has
made is another user's. So what only its maker may do, sending a signal, the zygote is asked to do;
what everybody may do, looking at its control group and waiting for its end, is done here.
"""

import asyncio
import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from executor.children.channel import Channel
from executor.children.workers import Exit, Origin, Worker
from executor.errors import WorkerGone
from executor.kernel.boxing import BoxExited, BoxSignal, BoxSpawned, Holding
from executor.kernel.cage import BoxEnds
from executor.kernel.orders import BoxOrder
from executor.kernel.spawn import INTERRUPT_SIGNAL, LIMIT_SIGNAL, NUDGE_SIGNAL
from executor.linux import notifications
from executor.linux.cgroups import Group
from executor.linux.errors import MechanismError
from executor.linux.pidfd import Process

_SIGNALS: Final = {
    INTERRUPT_SIGNAL: BoxSignal.INTERRUPT,
    LIMIT_SIGNAL: BoxSignal.LIMIT,
    signal.SIGKILL: BoxSignal.KILL,
}
_OUT_OF_MEMORY: Final = (
    "the kernel ended it because the session held more memory than limits.memory allows, files in "
    "memory included; keep less at a time, or have the limit raised"
)
_OF_SIGNAL: Final[dict[int, str]] = {
    signal.SIGSYS: (
        "it was ended for a system call that is foreign to this machine's programs (SIGSYS); no "
        "library that is meant for this machine makes one"
    ),
    signal.SIGXCPU: "it has used all the CPU time that a session may have; create a new one",
    signal.SIGSEGV: "its process crashed (SIGSEGV): native code touched memory that is not its own",
    signal.SIGABRT: "its process called abort (SIGABRT), as native code does when it finds a fault",
}


@dataclass(frozen=True, slots=True)
class BoxExit(Exit):
    """
    How a box ended: its first process's wait status, and whether the kernel had ended one of its
    processes for memory.
    """

    out_of_memory: bool = False

    def __str__(self) -> str:
        if self.out_of_memory:
            return _OUT_OF_MEMORY
        if self.status is not None and os.WIFSIGNALED(self.status):
            number = os.WTERMSIG(self.status)
            if number in _OF_SIGNAL:
                return _OF_SIGNAL[number]
        return Exit.__str__(self)


class BoxedWorker(Worker):
    """
    A worker in a box that `spawned` tells of, made after `order`; `ends` are its descriptors here.

    `tell` asks the zygote to send the box a signal; `alone` says that its first process is all of
    it.
    """

    def __init__(
        self,
        origin: Origin,
        channel: Channel,
        process: Process,
        spawned: BoxSpawned,
        ends: BoxEnds,
        tell: Callable[[BoxSignal], None],
        *,
        alone: bool,
    ) -> None:
        super().__init__(spawned.number, origin, channel, process)
        self._holding = spawned.holding
        self._group = Group(spawned.group, spawned.unified) if spawned.group else None
        self._ends: BoxEnds | None = ends
        self._tell = tell
        self._alone = alone
        self._told: BoxExited | None = None
        if ends.listener is not None:
            asyncio.get_running_loop().add_reader(ends.listener, self._refuse, ends.listener)

    @property
    def holding(self) -> Holding:
        """
        What holds the box, part by part.
        """
        return self._holding

    async def locked(self) -> None:
        """
        As every worker's; what holds the box is its zygote's word, not its own.
        """
        await super().locked()
        self.isolation = str(self._holding)

    def limit_memory(self, size: int) -> None:  # noqa: ARG002 - the box was made with it
        """
        The box has had its limit since it was made. Raises WorkerGone when it has ended.
        """
        if not self.alive:
            raise WorkerGone("it has ended")

    def cpu_time(self) -> float | None:
        """
        The seconds of CPU that all its processes have used; when it has ended, what they had used
        then, or None when nobody could tell.
        """
        if self._told is not None:
            return self._told.cpu_us / 1e6
        if self._group is None or self.ended.done():
            return super().cpu_time()
        try:
            used = self._group.cpu_time()
        except MechanismError:
            used = None
        return super().cpu_time() if used is None else used

    def memory_peak(self) -> int | None:
        """
        The most memory that its processes held at once (bytes), beyond what they share with the
        zygote; where no control group counts it, of its one process, with what is shared. None
        where it may have several, and no group.
        """
        if self._told is not None:
            return self._told.memory_peak or None
        if self.ended.done():
            return None
        if self._group is None:
            return self._peak_of_one() if self._alone else None
        try:
            return self._group.used().memory_peak or None
        except MechanismError:
            return None

    def _peak_of_one(self) -> int | None:
        try:
            return self._process.memory_peak()
        except ProcessLookupError:
            return None

    def take_ends(self) -> BoxEnds | None:
        """
        Our ends of what the box was made with: the caller's from now on. None the second time.
        """
        ends, self._ends = self._ends, None
        if ends is not None:
            self._leave_calls(ends)
        return ends

    def exited(self, told: BoxExited) -> None:
        """
        The zygote has waited for its first process.
        """
        self._told = told
        self.reaped(told.status)

    def drop(self) -> None:
        """
        Kill the box and let go of all that belongs to it here.
        """
        super().drop()
        if (ends := self.take_ends()) is not None:
            ends.close()

    def _refuse(self, listener: int) -> None:
        """
        Nobody hears of the refused calls of a box that waits for its session: its guest has not
        begun, and what is refused is Python's own looking around.
        """
        try:
            waiting = notifications.receive(listener)
            if waiting is not None:
                notifications.refuse(listener, waiting, errno.EPERM)
        except MechanismError:
            waiting = None
        if waiting is None and not self.alive and self._ends is not None:
            self._leave_calls(self._ends)

    @staticmethod
    def _leave_calls(ends: BoxEnds) -> None:
        if ends.listener is not None:
            asyncio.get_running_loop().remove_reader(ends.listener)

    def _how(self) -> Exit:
        killed = self._told is not None and self._told.out_of_memory > 0
        return BoxExit(self._status, killed)

    def _send(self, number: int) -> None:
        if self.ended.done():
            return
        try:
            super()._send(number)
            if number != signal.SIGKILL:
                super()._send(NUDGE_SIGNAL)
        except PermissionError:
            self._tell(_SIGNALS[number])


def ends_of(order: BoxOrder, spawned: BoxSpawned, descriptors: list[int]) -> BoxEnds:
    """
    The descriptors that came with a box, after its pidfd, by what they are.

    A network is had in one of two ways: by listeners in a namespace of its own, or without one by
    sockets that are made here, for which the box's memory is read. Raises ValueError where they are
    not those that the order asked for; they stay the caller's.
    """
    sockets = spawned.memory
    ports = () if sockets else order.ports
    wanted = (
        order.watched,
        len(order.served),
        len(ports),
        order.names and not sockets,
        sockets and order.watched and bool(order.ports),
    )
    found = (spawned.listener, spawned.served, spawned.listeners, spawned.names, spawned.memory)
    if wanted != found or len(descriptors) + 1 != spawned.descriptors:
        raise ValueError(f"box {spawned.number} came with {found}, and {wanted} was ordered")
    rest = iter(descriptors)
    return BoxEnds(
        listener=next(rest) if spawned.listener else None,
        served=tuple((mount, next(rest)) for mount in order.served),
        listeners=tuple((port, next(rest)) for port in ports),
        names=next(rest) if spawned.names else None,
        memory=next(rest) if spawned.memory else None,
    )
