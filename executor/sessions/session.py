"""
One session: a locked worker, the gate it asks through, and the cell that runs in it.

One task reads the worker's frames for as long as it lives; everything else (running a cell, a
file command, closing) sends a frame and waits for what that task finds. So frames are handled
strictly in order, and a worker that says something out of turn is noticed by comparing with what
was asked of it. However the worker ends, that task ends it: the running cell, the waiting
command, the record.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.alarm import Alarm
from executor.audit.errors import AuditError
from executor.audit.record import Head
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.errors import (
    AuditRefuses,
    CellNotFound,
    CellRunning,
    LimitReached,
    ProtocolBroken,
    SessionLost,
    SessionNotFound,
    WorkerGone,
)
from executor.facts import Facts
from executor.idle import IdleTime
from executor.kernel.boxing import Holding
from executor.kernel.cage import Attached, Caged
from executor.kernel.errors import InternalError, WorkerFault
from executor.kernel.gate import Gate
from executor.kernel.reply import Reply
from executor.kernel.tools import Tools
from executor.linux.errors import MechanismError
from executor.sessions.cells import Reader
from executor.sessions.commanding import FileCommands
from executor.sessions.events import CellStatus, Ended, Started, Usage
from executor.sessions.following import Following
from executor.sessions.running import GRACE, Asked, RunningCell, Start, Stop, detail_of
from policy.types import Mode

_LOG = logging.getLogger(__name__)
_END_PATIENCE: Final = 2.0
_LONGEST_NOTE: Final = 200


class State(Enum):
    """
    What a session does; `LOST` is for good, and `CLOSED` is not seen by clients.
    """

    IDLE = "idle"
    RUNNING = "running"
    LOST = "lost"
    CLOSED = "closed"


class Session:
    """
    A session whose worker has been told its facts. `on_idle_timeout` is called when nothing was
    asked of it for as long as its policy lets it be idle. `attached` serve its box, and are closed
    with it.
    """

    def __init__(
        self,
        facts: Facts,
        worker: Caged,
        gate: Gate,
        log: SessionLog,
        store: AuditStore,
        on_idle_timeout: Callable[[], None],
        attached: tuple[Attached, ...] = (),
    ) -> None:
        self.facts = facts
        self.cells = 0
        self.following = Following()
        self.lost_reason = ""
        self._worker = worker
        self._gate = gate
        self._log = log
        self._store = store
        self._interrupts = 0
        self._cell: RunningCell | None = None
        self._last: RunningCell | None = None
        self._commands = FileCommands(worker)
        self._guest_end: frames_pb2.CellDone | None = None
        self._asked_to_end = ""
        self._turn = asyncio.Lock()
        self._attached = attached
        self._unserved = ""
        for one in attached:
            one.lost.add_done_callback(self._on_unserved)
        self._idle = IdleTime(facts.policy.limits.idle_timeout, on_idle_timeout)
        self._idle.rest()
        self._watch = Alarm()
        self._reading = asyncio.get_running_loop().create_task(self._serve())
        self._reading.add_done_callback(_report)
        # It may end while the reading task waits for a tool, or for the gates of a commit.
        asyncio.ensure_future(worker.ended).add_done_callback(lambda _: self._unheard())

    @property
    def state(self) -> State:
        """
        What the session does now.
        """
        if self._asked_to_end:
            return State.CLOSED
        if self.lost_reason:
            return State.LOST
        return State.IDLE if self._cell is None else State.RUNNING

    @property
    def isolation(self) -> str:
        """
        How its worker is held, in words.
        """
        return self._worker.isolation

    @property
    def holding(self) -> Holding | None:
        """
        What holds its box, part by part; None in the wasm cage.
        """
        return self._worker.holding

    @property
    def tools(self) -> Tools:
        """
        The functions that its client performs.
        """
        return self._gate.tools

    async def execute(self, asked: Asked) -> Reader:
        """
        Start a cell and return a reader of its events, which the caller closes.

        Raises CellRunning, SessionLost, LimitReached, AuditRefuses. When the caller is cancelled
        the cell counts as abandoned.
        """
        if (reader := self._start_at_once(asked)) is not None:
            return reader
        starting = asyncio.get_running_loop().create_task(self._start(asked))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_abandon)
            raise

    def attach(self, cell: int, after: int) -> Reader:
        """
        A reader of the events of `cell`, running or last, numbered above `after`.

        Raises CellNotFound.
        """
        current = self._cell or self._last
        if current is None or current.number != cell:
            raise CellNotFound(cell, self.cells)
        return current.log.read(after)

    def interrupt(self, why: Stop = Stop.CLIENT) -> bool:
        """
        Interrupt the running cell; whether one was running.
        """
        if self._cell is None:
            return False
        self._cell.stop(why)
        return True

    async def command(self, frame: frames_pb2.ToWorker, data: bytes = b"") -> frames_pb2.FileReply:
        """
        Have the worker do a client's file command, between cells: `frame` has it as its `file`,
        and `data` are what it puts.

        Raises CellRunning, SessionLost.
        """
        # The reply comes even when the client has gone.
        return await asyncio.shield(self._command(frame, data))

    @asynccontextmanager
    async def between_cells(self) -> AsyncIterator[Gate]:
        """
        Hold the session between two cells. Raises CellRunning, SessionLost.
        """
        async with self._turn:
            self._require_idle()
            self._idle.stop()
            try:
                yield self._gate
            finally:
                self._idle.rest()

    async def record_file(
        self, request: str, outcome: str, size: int | None = None, digest: bytes | None = None
    ) -> None:
        """
        Record what a client did with a file. Raises AuditRefuses.
        """
        try:
            await self._log.file_rpc(request, outcome, size=size, digest=digest)
        except AuditError as error:
            raise AuditRefuses from error

    async def wait_for_cell(self) -> None:
        """
        Wait until no cell runs.
        """
        while (cell := self._cell) is not None:
            await cell.over.wait()

    async def close(self, why: str) -> Head:
        """
        End the session: its worker is killed, the record closed. The head after that.

        Raises SessionNotFound when it is being closed already.
        """
        if self._asked_to_end:
            raise SessionNotFound
        self._asked_to_end = why
        self.following.end()
        self._idle.end()
        self._worker.kill()
        # A stuck host file system may hold the reading task; the session does not wait for it.
        await asyncio.wait({self._reading}, timeout=_END_PATIENCE)
        try:
            return await self._log.end(why)
        except AuditError:
            _LOG.warning("the end of session %s is not in the record", self.facts.id)
            return self._store.head()

    def _start_at_once(self, asked: Asked) -> Reader | None:
        """
        The usual case: nobody else starts something, and the record can be written now. Nothing
        is waited for, so nobody can be cancelled in the middle. None where it is not the case.
        """
        if self._turn.locked():
            return None
        self._require_startable()
        data = asked.code.encode()
        digest = hashlib.sha256(data).digest()
        try:
            if self._log.cell_start_at_once(self.cells + 1, digest, len(data)) is None:
                return None
        except AuditError as error:
            raise AuditRefuses from error
        return self._run(asked)

    async def _start(self, asked: Asked) -> Reader:
        async with self._turn:
            self._require_startable()
            data = asked.code.encode()
            try:
                await self._log.cell_start(self.cells + 1, hashlib.sha256(data).digest(), len(data))
            except AuditError as error:
                raise AuditRefuses from error
            await self._still_idle()
            return self._run(asked)

    def _require_startable(self) -> None:
        self._require_idle()
        limits = self.facts.policy.limits
        if self.cells >= limits.cells:
            raise LimitReached("limits.cells", limits.cells, "create a new session")

    async def _still_idle(self) -> None:
        """
        Look again after the record was written: the worker may have ended meanwhile.
        """
        if self.lost_reason or self._asked_to_end:
            await self._log.cell_end(CellStatus.WORKER_LOST.value)
            self._require_idle()

    def _run(self, asked: Asked) -> Reader:
        self._idle.stop()
        self.cells += 1
        policy = self.facts.policy
        longest = policy.limits.wall_time
        wall_time = min(asked.wall_time or longest, longest)
        cell = RunningCell(
            Start(self.cells, wall_time, asked.keep, policy.mode is Mode.AUDIT),
            self._worker,
            policy.limits,
            self._gate.counts,
            self._watch,
            self._on_interrupt,
        )
        self._cell = self._last = cell
        self._gate.narrow(asked.narrow)
        self._gate.tools.begin_cell(cell, answers=asked.answers)
        reader = cell.log.read()
        cell.log.put(Started(self.facts.id, cell.number))
        # Written where it stays: a message that is given to another one is copied on the way.
        frame = frames_pb2.ToWorker()
        run = frame.run
        run.cell, run.code = cell.number, asked.code
        run.interrupts_sent = self._interrupts
        run.directory, run.assigned = asked.directory, asked.assigned
        run.timeout_message = (
            f"a limit of the cell is reached: {wall_time:g} s in all, "
            f"{policy.limits.cpu_time:g} s of computing"
        )
        with suppress(WorkerGone):  # the reading task finds out too, and ends the cell
            self._worker.channel.post(frame)
        return reader

    async def _command(self, frame: frames_pb2.ToWorker, data: bytes) -> frames_pb2.FileReply:
        async with self.between_cells():
            return await self._commands.send(frame, data)

    async def _serve(self) -> None:
        broken = ""
        try:
            while True:
                await self._take(await self._worker.channel.receive())
        except WorkerGone as error:
            _LOG.debug("session %s: %s", self.facts.id, error)
        except WorkerFault as error:
            broken = f"its worker broke the protocol ({error})"
        except (InternalError, MechanismError):
            broken = "of a fault in the server"
            _LOG.exception("session %s is ended", self.facts.id)
        finally:
            await self._end(broken)

    async def _take(self, frame: frames_pb2.FromWorker) -> None:
        kind = frame.WhichOneof("frame")
        if kind != "display" and self._cell is not None and self._cell.display_is_open:
            raise ProtocolBroken(f"a frame {kind!r} between the parts of a display")
        match kind:
            case "ask":
                self._require_turn("an ask")
                await self._answer(frame.ask)
            case "output":
                await self._running("output").output(frame.output)
            case "display":
                await self._running("a display").display(frame.display)
            case "value":
                await self._running("a value").value(frame.value)
            case "done":
                await self._done(frame.done)
            case "file":
                self._commands.replied(frame.file)
            case "note":
                self._note(frame.note)
            case _:
                raise ProtocolBroken(f"a frame {kind!r} out of turn")

    async def _answer(self, ask: frames_pb2.Ask) -> None:
        reply = await (self._final(ask.final) if ask.HasField("final") else self._gate.answer(ask))
        try:
            frame = frames_pb2.ToWorker(answer=reply.answer)
            await self._worker.channel.send(frame, reply.passed)
        finally:
            reply.close()

    async def _final(self, value: bytes) -> Reply:
        if not self.facts.given.final_answer:
            raise ProtocolBroken("a final answer in a session that has none")
        return Reply(await self._running("a final answer").final(value))

    async def _done(self, done: frames_pb2.CellDone) -> None:
        cell = self._running("the end of a cell")
        self._gate.tools.end_cell()
        if done.status == frames_pb2.CellDone.GUEST_ENDED:
            self._guest_end = done
            asyncio.get_running_loop().call_later(GRACE, self._worker.kill)
            return
        cell.finish()
        status = cell.status(done)
        await self._gate.settle()
        usage = cell.usage(done)
        head = await self._record_end(status, usage)
        self._idle.rest()
        await self._over(cell, cell.ended(status, usage, done, head))

    async def _over(self, cell: RunningCell, last: Ended) -> None:
        # Idle before the client hears of it: it may send the next cell at once.
        self._cell = None
        self._gate.narrow()
        cell.over.set()
        await cell.log.add(last)

    async def _record_end(self, status: CellStatus, usage: Usage) -> Head:
        try:
            return await self._log.cell_end(status.value, detail_of(usage))
        except AuditError:
            # The cell has run; its end cannot be undone, and its client has to be told.
            _LOG.warning("the end of a cell of session %s is not in the record", self.facts.id)
            return self._store.head()

    async def _end(self, broken: str) -> None:
        self._worker.kill()
        self._gate.tools.end_cell()
        how = await self._exit()
        reason = self._asked_to_end or self._why_lost(broken, how)
        if not self._asked_to_end:
            self._idle.rest()  # nobody may come to close it
            self.lost_reason = reason
            with suppress(AuditError):
                await self._log.worker_lost(reason, (("exit", how),))
        for one in self._attached:
            await one.close()
        await self._gate.hang_up()
        if (cell := self._cell) is not None:
            cell.finish()
            cell.log.stop_waiting()
            done = self._guest_end or frames_pb2.CellDone()
            usage = cell.usage(done)
            head = await self._record_end(CellStatus.WORKER_LOST, usage)
            await self._over(cell, cell.lost(reason, usage, done, head))
        self._watch.end()
        self._commands.give_up(reason)
        self._worker.channel.close()
        with suppress(AuditError):
            self._gate.close()

    async def _exit(self) -> str:
        try:
            async with asyncio.timeout(_END_PATIENCE):
                return str(await asyncio.shield(self._worker.ended))
        except TimeoutError:
            return "its process does not end"

    def _why_lost(self, broken: str, how: str) -> str:
        if broken or self._unserved:
            return broken or self._unserved
        if self._guest_end is not None:
            return self._guest_end.reason[:_LONGEST_NOTE] or "the guest ended itself"
        if self._cell is not None and self._cell.killed and self._cell.stopped is not None:
            return (
                f"the cell was told to stop because {self._cell.stopped.words}, did not within "
                f"{GRACE:g} s, and was killed"
            )
        return how

    def _note(self, note: frames_pb2.Note) -> None:
        what, name = note.what[:_LONGEST_NOTE], note.errno[:_LONGEST_NOTE]
        self._log.note((("count", note.count), ("errno", name), ("what", what)))

    def _running(self, what: str) -> RunningCell:
        if self._cell is None or self._guest_end is not None:
            raise ProtocolBroken(f"{what} while no cell was running")
        return self._cell

    def _require_turn(self, what: str) -> None:
        if self._cell is None and not self._commands.under_way:
            raise ProtocolBroken(f"{what} while nothing was asked of the worker")

    def _require_idle(self) -> None:
        if self._asked_to_end:
            raise SessionNotFound
        if self.lost_reason:
            raise SessionLost(self.lost_reason)
        if self._cell is not None:
            raise CellRunning(self._cell.number)

    def _on_unserved(self, lost: "asyncio.Future[str]") -> None:
        if not lost.cancelled():
            self._unserved = self._unserved or lost.result()
            self._worker.kill()

    def _on_interrupt(self) -> None:
        self._interrupts += 1
        self._gate.tools.stop()
        self._gate.transactions.interrupt()

    def _unheard(self) -> None:
        self._gate.tools.end_cell()
        self._gate.transactions.end()


def _abandon(starting: "asyncio.Task[Reader]") -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().close()


def _report(reading: "asyncio.Task[None]") -> None:
    if not reading.cancelled() and (error := reading.exception()) is not None:
        _LOG.critical("a session could not be ended in order", exc_info=error)
