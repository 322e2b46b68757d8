"""
The server's side of the supervisor: it is started, given sessions, and its questions answered.

The supervisor (`executor/process/supervisor.py`) speaks with the kernel for the guests of all
boxes; this side decides. Its questions go through the session's one gate, like the worker's own,
and its notes of refused calls into the record, as its own word and within the session's budget.

It shows what it is before it is given anything (`vouching.py`). One that ends takes its sessions
with it, with words; the next session starts another.

Sources: unix(7) (SO_PASSCRED, SCM_RIGHTS).
"""

import asyncio
import contextlib
import logging
import signal
import socket
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.record import Origin
from executor.audit.session import SessionLog
from executor.children import passing
from executor.children.channel import Channel, Pace
from executor.children.launcher import Launcher
from executor.children.vouching import ROOM, vouched
from executor.errors import CageUnavailable, ProtocolBroken, WorkerGone
from executor.kernel.cage import BoxEnds
from executor.kernel.errors import InternalError, WorkerFault
from executor.kernel.gate import Gate
from executor.linux.errors import MechanismError
from executor.linux.pidfd import Process
from executor.process.supervisor_attach import Attach, ServedMount
from policy.types import Policy

_LOG = logging.getLogger(__name__)
_READY: Final = b"ready "
_START_PATIENCE: Final = 30.0
_ATTACH_PATIENCE: Final = 10.0
_LONGEST_GREETING: Final = 512
_LONGEST_NOTE: Final = 200
# A path is looked up component by component, so the kernel asks more often than a guest would.
_PACE: Final = Pace(rate=32_000.0, burst=8_000.0)
_GONE: Final = "the process that serves its files and hears of its refused calls has ended"


class Supervision:
    """
    The supervisor of one server, started when a session needs it. `row` is its place in the
    launcher's table.
    """

    def __init__(self, launcher: Launcher, row: int) -> None:
        self._launcher = launcher
        self._row = row
        self._running: _Supervisor | None = None

    @property
    def pid(self) -> int | None:
        """
        The process that runs now, once it has shown itself.
        """
        return None if self._running is None else self._running.pid

    async def attach(
        self, session: str, ends: BoxEnds, gate: Gate, log: SessionLog
    ) -> "Attendance | None":
        """
        Serve the session's mounts and hear of its refused calls until the result is closed; None
        where it has neither.

        Raises CageUnavailable when the supervisor does not start or takes no session.
        """
        if ends.listener is None and not ends.served:
            return None
        supervisor = self._supervisor()
        await supervisor.started()
        mounts = tuple(_mount(path, gate.policy) for path, _ in ends.served)
        attach = Attach(mounts, ends.listener is not None, ends.memory is not None)
        devices = [descriptor for _, descriptor in ends.served]
        calls = [one for one in (ends.listener, ends.memory) if one is not None]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                await supervisor.give(attach, [theirs.fileno(), *devices, *calls])
        except BaseException:
            ours.close()
            raise
        return Attendance(session, ours, gate, log)

    def close(self) -> None:
        """
        End the supervisor, and with it whatever it serves.
        """
        if self._running is not None:
            self._running.end()

    def _supervisor(self) -> "_Supervisor":
        if self._running is None or not self._running.alive:
            self._running = _Supervisor(self._launcher, self._row)
        return self._running


class Attendance:
    """
    One session that the supervisor serves. `lost` is done, with a sentence, when it does no more.
    """

    def __init__(self, session: str, stream: socket.socket, gate: Gate, log: SessionLog) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = loop.create_future()
        self._session = session
        self._channel = Channel(stream, _PACE, passing.send_guest_stream)
        self._gate = gate
        self._log = log
        self._serving = loop.create_task(self._serve())

    async def close(self) -> None:
        """
        The session is over: the supervisor lets go of its mounts and its listener.

        An ask that a file system of the host holds up is not waited for; the gate closes after it.
        """
        self.lost.cancel()
        self._channel.close()

    async def _serve(self) -> None:
        why = "of a fault in the server"
        try:
            while True:
                await self._take(await self._channel.receive())
        except WorkerGone:
            why = _GONE
        except (InternalError, MechanismError) as error:
            if not self.lost.done():
                _LOG.exception("session %s is served no more", self._session)
                broken = isinstance(error, WorkerFault)
                why = f"its supervisor broke the protocol ({error})" if broken else why
        finally:
            self._channel.close()
            if not self.lost.done():
                self.lost.set_result(why)

    async def _take(self, frame: frames_pb2.FromWorker) -> None:
        match frame.WhichOneof("frame"):
            case "ask":
                await self._answer(frame.ask)
            case "note":
                self._note(frame.note)
            case kind:
                raise ProtocolBroken(f"a frame {kind!r} of the supervisor, which asks and notes")

    async def _answer(self, ask: frames_pb2.Ask) -> None:
        reply = await self._gate.serve(ask)
        try:
            frame = frames_pb2.ToWorker(answer=reply.answer)
            await self._channel.send(frame, reply.passed)
        finally:
            reply.close()

    def _note(self, note: frames_pb2.Note) -> None:
        what, name = note.what[:_LONGEST_NOTE], note.errno[:_LONGEST_NOTE]
        detail = (("count", note.count), ("errno", name), ("what", what))
        self._log.note(detail, Origin.SUPERVISOR)


class _Supervisor:
    """
    One supervisor process, from its start to its end.
    """

    def __init__(self, launcher: Launcher, row: int) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = ours
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._parent = launcher.process.pid
        self._process: Process | None = None
        self._ready: asyncio.Future[None] = loop.create_future()
        self._giving = asyncio.Lock()
        self.alive = True
        try:
            with theirs:
                launcher.start_zygote(0, row, theirs)
        except OSError as error:
            self.end()
            raise CageUnavailable(f"no supervisor can be started: {error.strerror}") from error
        loop.add_reader(ours.fileno(), self._on_readable)

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def started(self) -> None:
        """
        Wait until it is locked. Raises CageUnavailable when it ends before, or takes half a minute.
        """
        await asyncio.wait({self._ready}, timeout=_START_PATIENCE)
        if not self._ready.done():
            self.end()
        if not self.alive:
            raise CageUnavailable("the supervisor did not start, and the server's log says why")

    async def give(self, attach: Attach, descriptors: list[int]) -> None:
        """
        Hand a session over. Raises CageUnavailable when it takes none.
        """
        data = attach.pack()
        try:
            async with asyncio.timeout(_ATTACH_PATIENCE), self._giving:
                while self.alive and not self._sent(data, descriptors):
                    await passing.writable(self._control)
        except (TimeoutError, OSError) as error:
            self.end()
            raise CageUnavailable(f"the supervisor takes no session ({error})") from error
        if not self.alive:
            raise CageUnavailable(_GONE)

    def end(self) -> None:
        """
        Kill it. The second call does nothing.
        """
        if not self.alive:
            return
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send(signal.SIGKILL)
            self._process.close()
        if not self._ready.done():
            self._ready.set_result(None)

    def _sent(self, data: bytes, descriptors: list[int]) -> bool:
        try:
            socket.send_fds(self._control, [data], descriptors)
        except BlockingIOError:
            return False
        return True

    def _on_readable(self) -> None:
        """
        Take its one word, that it is ready; anything later is its end.
        """
        try:
            data, ancillary, _, _ = self._control.recvmsg(_LONGEST_GREETING, ROOM)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        try:
            if self._ready.done() or not data.startswith(_READY):
                raise ProtocolBroken(f"the supervisor says {data[:40]!r}, or has ended")
            self._process = vouched(ancillary, self._parent)
        except (ProtocolBroken, MechanismError) as error:
            if self.alive:
                _LOG.error("the supervisor is ended: %s", error)
            self.end()
        else:
            self._ready.set_result(None)
            _LOG.info("the supervisor is ready (process %d)", self._process.pid)


def _mount(path: str, policy: Policy) -> ServedMount:
    for grant in policy.filesystem:
        if grant.mount == path:
            return ServedMount(path, grant.quota, grant.max_files)
    raise InternalError(f"a box has {path} served, which its policy does not grant")
