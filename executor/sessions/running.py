"""
A running cell: its limits, why it is being stopped, and what it has used.

The guest is asked to stop by a signal, which becomes KeyboardInterrupt in it, so that the session
keeps its state. Who does not stop within a second of being told to for a limit is killed. Time is
taken from the kernel's clocks here; the worker is not asked how long it ran.
"""

import asyncio
import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.alarm import Alarm
from executor.audit.record import Detail, Head
from executor.errors import ProtocolBroken
from executor.kernel import bundles
from executor.kernel.cage import Caged
from executor.kernel.calling import Calling
from executor.kernel.docket import Counts
from executor.sessions.cells import CellLog
from executor.sessions.displays import Joiner
from executor.sessions.events import (
    CellError,
    CellStatus,
    Display,
    Ended,
    Output,
    Stream,
    ToolCall,
    ToolCancelled,
    Usage,
    Value,
)
from executor.sessions.events import Final as FinalAnswer
from policy.types import Limits

GRACE: Final = 1.0
# A clock that is asked too often costs more than the overrun that it finds.
_FINEST: Final = 0.005
# What a correct worker may send beyond the limit, which it keeps itself: one frame and a mark.
_SLACK: Final = 4 * 2**20
_STDOUT: Final = Stream.STDOUT.value
_STDERR: Final = Stream.STDERR.value
_LONGEST_NAME: Final = 256
_LONGEST_TEXT: Final = 2**16
_LONGEST_TRACEBACK: Final = 2**18


class Stop(Enum):
    """
    Why a cell is being stopped: the status it then has, and the words for it.
    """

    CLIENT = (CellStatus.INTERRUPTED, "it was interrupted")
    ABANDONED = (CellStatus.INTERRUPTED, "its client had gone")
    DRAIN = (CellStatus.INTERRUPTED, "the server is stopping")
    WALL = (CellStatus.TIMED_OUT, "its wall time was over")
    CPU = (CellStatus.CPU_LIMIT, "its CPU time was used")

    def __init__(self, status: CellStatus, words: str) -> None:
        self.status = status
        self.words = words


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A cell that a client wants run: times in seconds, None where it says nothing. `wall_time` may
    only shorten the policy's; `keep` as in `Start`; `answers` says that the client performs calls
    of tools; `narrow` are rights that the cell does without, as `Gate.narrow` has them. `directory`
    is the guest's from then on (empty: as it is), and `assigned` asks for the value of a last
    assignment.
    """

    code: str
    wall_time: float | None
    keep: float | None
    answers: bool
    narrow: frozenset[str]
    directory: str = ""
    assigned: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """
    How a cell begins: its number, its wall time (seconds), for how long it goes on when nobody
    reads its events (seconds; None: not at all), and whether its policy is in audit mode.
    """

    cell: int
    wall_time: float
    keep: float | None
    audit_mode: bool


class RunningCell:
    """
    One cell from its start to its last event. `watch` is its session's for the limits of time, and
    `signalled` is called for each interrupt sent; `over` is set when the session runs it no more.
    """

    def __init__(
        self,
        start: Start,
        worker: Caged,
        limits: Limits,
        counts: Counts,
        watch: Alarm,
        signalled: Callable[[], None],
    ) -> None:
        self.number = start.cell
        self.log = CellLog(self._on_left, self._on_back)
        self.stopped: Stop | None = None
        self.killed = False
        self.over = asyncio.Event()
        self._start = start
        self._worker = worker
        self._limits = limits
        self._counts = counts
        self._signalled = signalled
        self._before = counts.copy()
        self._began = time.monotonic()
        # For how long wall time has stood still, and since when it does.
        self._held = 0.0
        self._held_since: float | None = None
        self._cpu_before = worker.cpu_time() or 0.0
        self._cpu_used = 0.0
        # By the number of the stream.
        self._bytes = {_STDOUT: 0, _STDERR: 0}
        # What counts against the limit beside the two streams.
        self._displayed = 0
        self._displays = 0
        self._parts = Joiner()
        self._truncated = False
        self._has_value = False
        self._has_answer = False
        self._finished = False
        self._abandoned: asyncio.TimerHandle | None = None
        self._kill: asyncio.TimerHandle | None = None
        self._watch = watch
        self._look_again_after(min(start.wall_time, limits.cpu_time))

    def stop(self, why: Stop) -> None:
        """
        Interrupt the cell. The first reason given is the one it ends with, except that a limit
        or a client's leaving counts also for a cell that has ignored an interrupt.
        """
        if self._finished:
            return
        if self.stopped is None or self.stopped is Stop.CLIENT:
            self.stopped = why
        self._signalled()
        self._worker.interrupt(limit=why in {Stop.WALL, Stop.CPU})
        if why is Stop.CLIENT:
            return
        self.log.stop_waiting()
        if self._kill is None:
            self._kill = asyncio.get_running_loop().call_later(GRACE, self._on_grace_over)

    def finish(self) -> None:
        """
        The guest has ended: no limit matters any more.
        """
        self._measure()
        self._finished = True
        self._watch.clear()
        for timer in (self._abandoned, self._kill):
            if timer is not None:
                timer.cancel()

    async def output(self, frame: frames_pb2.Output) -> None:
        """
        Pass output on, as much of it as the limit leaves. Raises ProtocolBroken.
        """
        try:
            stream = Stream(frame.stream)
        except ValueError as error:
            raise ProtocolBroken(f"output of stream {frame.stream}") from error
        data = frame.data  # once: each reading of it is a copy
        room = self._room(len(data))
        self._bytes[frame.stream] += len(data)
        if data := data[: max(0, room)]:
            await self.log.add(Output(stream, data))

    async def display(self, frame: frames_pb2.Display) -> None:
        """
        Join the parts of what is to be shown, and pass it on if the limit has room for it.

        Raises ProtocolBroken.
        """
        if (forms := self._parts.add(frame)) is None:
            return
        size = bundles.cost(forms)
        room = self._room(size)
        self._displayed += size
        if size <= room:
            self._displays += 1
            await self.log.add(Display(forms))

    @property
    def display_is_open(self) -> bool:
        """
        Whether the parts of a display have begun and the last one is missing.
        """
        return self._parts.is_open

    def _room(self, size: int) -> int:
        """
        What the limit has left, before `size` more bytes come. Raises ProtocolBroken.
        """
        room = self._left()
        if size > room:
            self._truncated = True
        if size > room + self._limits.output + _SLACK:
            raise ProtocolBroken("the worker goes on sending output far beyond the limit")
        return room

    def _left(self) -> int:
        return self._limits.output - sum(self._bytes.values()) - self._displayed

    async def value(self, frame: frames_pb2.Value) -> None:
        """
        Pass the cell's value on. Raises ProtocolBroken for a second one.
        """
        if self._has_value:
            raise ProtocolBroken("a second value of one cell")
        self._has_value = True
        text = frame.text[:_LONGEST_TEXT]
        full = max(frame.full_length, len(frame.text))
        await self.log.add(Value(text, full, truncated=full > len(text)))

    async def final(self, value: bytes) -> frames_pb2.Answer:
        """
        Pass the guest's answer on, as large as the output limit lets it be; there is one.
        """
        if self._has_answer:
            return frames_pb2.Answer(errno=errno.EALREADY, reason="the cell has given its answer")
        size = bundles.BUNDLE_COST + len(value)
        if size > self._left():
            reason = f"the answer takes {size:,} bytes, and limits.output has no room for it"
            return frames_pb2.Answer(errno=errno.EDQUOT, reason=reason)
        self._displayed += size
        self._has_answer = True
        await self.log.add(FinalAnswer(value))
        return frames_pb2.Answer()

    async def perform(self, calling: Calling) -> None:
        """
        Have the client call a tool.
        """
        await self.log.add(
            ToolCall(calling.number, calling.name, calling.arguments, calling.beside)
        )

    def cancel(self, number: int) -> None:
        """
        Tell the client that nobody waits for a call any more.
        """
        self.log.put(ToolCancelled(number))

    def hold(self) -> None:
        """
        Wall time stands still: the guest waits for a person, and can do nothing meanwhile.
        """
        if self._held_since is None:
            self._held_since = time.monotonic()

    def go_on(self) -> None:
        """
        It passes again.
        """
        if self._held_since is not None:
            self._held += time.monotonic() - self._held_since
            self._held_since = None
        if not self._finished:
            self._watch.clear()
            self._keep_limits()

    def status(self, done: frames_pb2.CellDone) -> CellStatus:
        """
        How the cell ended, from the worker's word and from what we did to it.
        """
        if done.status == frames_pb2.CellDone.INTERRUPTED:
            # Without a signal of ours the guest raised KeyboardInterrupt itself.
            return self.stopped.status if self.stopped else CellStatus.ERROR
        try:
            return _STATUS[done.status]
        except KeyError as error:
            raise ProtocolBroken(f"a cell ended with status {done.status}") from error

    def ended(
        self, status: CellStatus, usage: Usage, done: frames_pb2.CellDone, head: Head
    ) -> Ended:
        """
        The last event of a cell whose worker lives.
        """
        return Ended(
            status=status,
            usage=usage,
            head=head,
            error=_error(done),
            exit_code=done.exit_code if status is CellStatus.EXITED else 0,
            reason=done.reason[:_LONGEST_TEXT],
            audit_mode=self._start.audit_mode,
        )

    def lost(self, reason: str, usage: Usage, done: frames_pb2.CellDone, head: Head) -> Ended:
        """
        The last event of a cell whose worker is gone; `done` is empty unless the guest ended it.
        """
        return Ended(
            status=CellStatus.WORKER_LOST,
            usage=usage,
            head=head,
            exit_code=done.exit_code,
            session_lost=True,
            reason=reason,
            audit_mode=self._start.audit_mode,
        )

    def usage(self, done: frames_pb2.CellDone) -> Usage:
        """
        What the cell has used so far; what the guest wrote is what arrived, or more if it says so.
        """
        now, before = self._counts, self._before
        return Usage(
            wall_time=time.monotonic() - self._began,
            cpu_time=self._cpu_used,
            peak_memory=self._worker.memory_peak() or done.peak_memory_bytes,
            stdout=max(done.stdout_bytes, self._bytes[_STDOUT]),
            stderr=max(done.stderr_bytes, self._bytes[_STDERR]),
            truncated=done.output_truncated or self._truncated,
            requests=now.requests - before.requests,
            denied=now.denied - before.denied,
            kinds=now.kinds_since(before),
            displays=self._displays,
            displayed=self._displayed,
            connections=now.connections - before.connections,
            exchanges=now.exchanges - before.exchanges,
            sent=now.sent - before.sent,
            received=now.received - before.received,
            tool_calls=now.tool_calls - before.tool_calls,
        )

    def _keep_limits(self) -> None:
        self._measure()
        cpu = self._limits.cpu_time - self._cpu_used
        if self._held_since is not None and cpu > 0:
            self._look_again_after(cpu)
            return
        wall = self._began + self._held + self._start.wall_time - time.monotonic()
        if min(wall, cpu) <= 0:
            self.stop(Stop.WALL if wall <= 0 else Stop.CPU)
            return
        self._look_again_after(min(wall, cpu))

    def _look_again_after(self, seconds: float) -> None:
        self._watch.set(max(_FINEST, seconds), self._keep_limits)

    def _measure(self) -> None:
        if (now := self._worker.cpu_time()) is not None:
            self._cpu_used = now - self._cpu_before

    def _on_grace_over(self) -> None:
        self.killed = True
        self._worker.kill()

    def _on_left(self) -> None:
        if self._finished:
            return
        wait = self._start.keep or 0.0
        self._abandoned = asyncio.get_running_loop().call_later(wait, self.stop, Stop.ABANDONED)

    def _on_back(self) -> None:
        if self._abandoned is not None:
            self._abandoned.cancel()


_STATUS: Final = {
    frames_pb2.CellDone.OK: CellStatus.OK,
    frames_pb2.CellDone.ERROR: CellStatus.ERROR,
    frames_pb2.CellDone.EXITED: CellStatus.EXITED,
}


def _error(done: frames_pb2.CellDone) -> CellError | None:
    if not done.error_name:
        return None
    return CellError(
        done.error_name[:_LONGEST_NAME],
        done.error_message[:_LONGEST_TEXT],
        done.traceback[:_LONGEST_TRACEBACK],
    )


def detail_of(usage: Usage) -> Detail:
    """
    What a cell used, for the record.
    """
    return (
        ("wall_us", int(usage.wall_time * 1e6)),
        ("cpu_us", int(usage.cpu_time * 1e6)),
        ("stdout", usage.stdout),
        ("stderr", usage.stderr),
        ("displays", usage.displays),
        ("displayed", usage.displayed),
        ("truncated", int(usage.truncated)),
        ("requests", usage.requests),
        ("denied", usage.denied),
        ("connections", usage.connections),
        ("exchanges", usage.exchanges),
        ("sent", usage.sent),
        ("received", usage.received),
        ("tool_calls", usage.tool_calls),
        ("peak_memory", usage.peak_memory),
    )
