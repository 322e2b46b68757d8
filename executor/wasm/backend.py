"""
One session in one locked worker: frames in, cells run, frames out.

The main thread does everything but two things, which are the watchdog's: it turns the server's
signals into the guest's KeyboardInterrupt, and the timer's into a flush of output. It waits in
sigwait(3), so no signal handler ever runs, and it touches the guest by one store of 32 bits.
"""

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import bundles, told
from executor.kernel.errors import InternalError
from executor.kernel.frames import DIVERGED, FAILED, TRAPPED
from executor.kernel.spawn import LIMIT_SIGNAL
from executor.kernel.toolframes import answered
from executor.kernel.tooling import cell, given
from executor.kernel.worker_channel import ServerGoneError
from executor.linux import heap
from executor.wasm.abi import Errno
from executor.wasm.booted import LINEAR_MAX, Guest, GuestOutOfMemoryError
from executor.wasm.broker import Broker
from executor.wasm.calls import GuestTrapped
from executor.wasm.channel import Channel
from executor.wasm.commands import perform
from executor.wasm.jail import WATCHDOG_SIGNALS
from executor.wasm.output import GuestOutput
from executor.wasm.process import HOME, WORK, Clock, Denial, Entropy, Exited, VirtualClock
from executor.wasm.space import Space
from executor.wasm.tape import Diverged, ReplayedTape, Tape
from executor.wasm.taping import put_on_tape
from executor.wasm.waiting import Waker

_SIGINT: Final = 2
# Before the entropy that generators are seeded from. A Mersenne Twister gives its seed away, which
# must tell nothing of the random bytes that come from the same entropy.
_GENERATORS: Final = b"codecage generators"
# What comes of a client's file at a time, and the copies of it that are under way.
_LARGEST_PIECE: Final = 2**21
_FREE_KEPT: Final = 2**22
_NOTES_MAX: Final = 32
# An interrupt that was sent arrives within this many seconds, or something is wrong.
_SETTLE: Final = 5.0
_STATUS: Final = {
    "ok": wire.CellDone.OK,
    "error": wire.CellDone.ERROR,
    "exited": wire.CellDone.EXITED,
    "interrupted": wire.CellDone.INTERRUPTED,
}


def _rehearsal() -> Iterator[wire.ToWorker]:
    begin = wire.Begin(
        entropy=bytes(32),
        deterministic=True,
        frozen_clock_ns=1,
        memory_bytes=LINEAR_MAX,
        scratch_bytes=2**20,
        max_files=64,
        max_open_files=64,
        output_bytes=2**20,
    )
    yield wire.ToWorker(begin=begin)
    # A second cell takes a millisecond more and saves no later one anything.
    yield wire.ToWorker(run=wire.RunCell(code="None", timeout_message="its time is over"))


# A session of a cell that leaves nothing, whose chance and clock are constants. An expression takes
# the way of most cells, and a value of None is neither shown nor kept.
REHEARSAL: Final = tuple(frame.SerializeToString() for frame in _rehearsal())


class Interrupts:
    """
    The server's interrupts, from the watchdog thread to the guest's signal flag.

    `taken` counts them, so that a cell starts only when all that were meant for earlier cells
    have arrived, and one that comes before its cell has started is not lost. While a session is
    `rehearsed`, none has an effect.
    """

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        # Its own calls are made with the condition held; only the wait itself is not.
        self._waker = Waker()
        self._running = False
        self._pending = False
        self._taken = 0
        self._is_limit = False
        self.rehearsed = False
        self.limit_message = ""

    def deliver(self, *, limit: bool) -> None:
        """
        An interrupt has come (watchdog thread).
        """
        with self._lock:
            self._taken += 1
            self._is_limit = limit
            if self._running and not self.rehearsed:
                self._raise()
            self._changed.notify_all()

    def start(self, sent: int) -> None:
        """
        A cell begins, after `sent` interrupts. Raises InternalError when one of them is missing.
        """
        with self._lock:
            if self._taken < sent and not self._settled(sent):
                raise InternalError("an interrupt that was sent has not arrived")
            self._clear()
            self._running = True
            if self._taken > sent and not self.rehearsed:
                self._raise()

    def stop(self) -> None:
        """
        The cell has ended.
        """
        with self._lock:
            self._running = False
            self._clear()

    def take(self) -> int:
        """
        The guest polls: the signal's number once, then 0.
        """
        with self._lock:
            number = _SIGINT if self._pending else 0
            self._clear()
            return number

    @property
    def descriptors(self) -> frozenset[int]:
        """
        What has to stay open in a worker that is locked.
        """
        return self._waker.descriptors

    def close(self) -> None:
        """
        Let go of what has to stay open.
        """
        self._waker.close()

    def wait(self, seconds: float) -> bool:
        """
        Sleep; true when an interrupt is pending.
        """
        return self.wait_for({}, seconds)

    def wait_for(self, descriptors: Mapping[int, int], seconds: float) -> bool:
        """
        Wait until a descriptor has one of its poll(2) events; true when an interrupt is pending.
        """
        with self._lock:
            if self._pending and not self._guest.signal_pending():
                # The interpreter has taken it without asking: it wakes no later sleep.
                self._clear()
        return self._waker.wait(descriptors, seconds)

    def _raise(self) -> None:
        """
        Have the running cell interrupted.
        """
        self._pending = True
        message = self.limit_message if self._is_limit else ""
        self._guest.process.denial = Denial(Errno.EINTR, message) if message else None
        self._guest.set_signal(pending=True)
        self._waker.wake()

    def _settled(self, sent: int) -> bool:
        return self._changed.wait_for(lambda: self._taken >= sent, _SETTLE)

    def _clear(self) -> None:
        self._pending = False
        self._waker.clear()
        self._guest.set_signal(pending=False)


class Session:
    """
    The worker's side of a session.
    """

    def __init__(self, guest: Guest, connection: socket.socket) -> None:
        self._guest = guest
        self._channel = Channel(connection)
        self._output = GuestOutput(connection.fileno(), self._channel.send_output, guest.gathering)
        self._interrupts = Interrupts(guest)
        self._notes: Counter[tuple[str, str]] = Counter()
        self._begun = False
        self._output_limit = 0
        self._tape: Tape | None = None
        self._segment = 0
        # Frames that go out together with the cell's end: one wake-up of the server.
        self._last: list[wire.FromWorker] = []
        guest.hooks.on_output = self._output.write
        guest.hooks.on_display = self._show
        guest.hooks.on_tool = self._tool
        guest.hooks.on_wait = self._interrupts.wait
        guest.hooks.on_wait_for = self._interrupts.wait_for
        guest.hooks.on_signal = self._interrupts.take
        guest.hooks.on_note = self._note
        guest.hooks.on_lost = self._lost

    @property
    def descriptors(self) -> frozenset[int]:
        """
        What the session needs to stay open when the worker is locked.
        """
        return self._interrupts.descriptors

    def close(self) -> None:
        """
        Let go of its descriptors, but for the connection: a worker's end does that by itself.
        """
        self._interrupts.close()

    def watch(self) -> None:
        """
        The watchdog thread's whole life.
        """
        while True:
            number = signal.sigwait(WATCHDOG_SIGNALS)
            if number == signal.SIGALRM:
                self._output.on_timer()
            else:
                self._interrupts.deliver(limit=number == LIMIT_SIGNAL)

    def serve(self, isolation: str, boot_digest: bytes) -> None:
        """
        Announce the worker and handle frames until the server or the guest ends it.

        It rehearses while the server looks at it and records the session, where one waits for it.
        """
        ready = wire.Ready(isolation=isolation, boot_digest=boot_digest)
        self._channel.send(wire.FromWorker(ready=ready))
        self._rehearse()
        try:
            while self._handle(self._channel.receive()):
                pass
        except ServerGoneError:
            return

    def _rehearse(self) -> None:
        """
        Begin and run a cell with frames that nobody sent, so that the pages which every
        session writes are copied while nobody waits. The begin of the session sets all of it anew.
        """
        entropy = self._guest.process.kernel_entropy
        self._channel.muted = self._interrupts.rehearsed = True
        for data in REHEARSAL:
            self._handle(wire.ToWorker.FromString(data))
        self._channel.muted = self._interrupts.rehearsed = False
        self._guest.process.kernel_entropy = entropy
        self._begun = False
        self._segment = 0
        self._notes.clear()

    def _handle(self, frame: wire.ToWorker) -> bool:
        kind = frame.WhichOneof("frame")
        if kind == "begin" and not self._begun:
            return self._unless_diverged(lambda: self._begin(frame.begin))
        if kind == "inputs":
            self._feed(frame.inputs)
            return True
        if not self._unless_diverged(self._begin_segment):
            return False
        if kind == "run" and self._begun:
            return self._run(frame.run)
        if kind == "file" and self._begun:
            heap.keep(_LARGEST_PIECE, _FREE_KEPT)
            reply, data = perform(self._guest.process, frame.file)
            if taped := self._taped():
                self._channel.send(*taped)
            self._channel.send_file(reply, data)
            return True
        raise InternalError(f"the server sent {kind} out of order")

    # ---- beginning ------------------------------------------------------------------------------

    def _begin(self, begin: wire.Begin) -> None:
        """
        Give the guest its session: limits first, then the world, then its own begin.
        """
        guest, process = self._guest, self._guest.process
        total = guest.budget(begin.memory_bytes)
        process.total = total
        process.descriptors.limit = begin.max_open_files
        process.kernel_entropy = os.urandom
        process.entropy = Entropy(begin.entropy if begin.deterministic else None)
        self._keep_time(begin)
        process.environment = {**guest.environment, **begin.environment}
        process.broker = Broker(self._channel)
        process.network.limit = begin.max_connections
        clock = process.clock
        if begin.created_ns:
            process.clock = Clock(begin.created_ns)
        self._mount(begin, total)
        process.clock = clock
        self._output_limit = begin.output_bytes
        seed = Entropy(_GENERATORS + begin.entropy).take(64, os.urandom).hex()
        self._begun = True
        guest.call(
            {
                "op": "begin",
                "environment": dict(begin.environment),
                "seed": seed,
                "directory": WORK,
                "given": given(begin),
            }
        )
        if taped := self._taped():
            self._channel.send(*taped)

    def _keep_time(self, begin: wire.Begin) -> None:
        """
        Give the session its clock; over a tape where it is captured or replayed.
        """
        process = self._guest.process
        if not (begin.capture or begin.replay):
            process.keep_time(_clock(begin))
            return
        if self._tape is None:
            self._tape = Tape(self._send_inputs)
        self._tape.begin_segment()
        put_on_tape(process, _clock(begin), self._tape)

    # ---- capture and replay ---------------------------------------------------------------------

    def _feed(self, inputs: wire.Inputs) -> None:
        """
        Take inputs of the segment that begins with the next frame.
        """
        if self._tape is None and not self._begun:
            self._tape = ReplayedTape(self._send_inputs)
        if not isinstance(self._tape, ReplayedTape):
            raise InternalError("the server sent inputs to a session that is not replayed")
        self._tape.feed(inputs.data, live=inputs.live)

    def _begin_segment(self) -> None:
        self._segment += 1
        if self._tape is not None:
            self._tape.begin_segment()

    def _unless_diverged(self, act: Callable[[], None]) -> bool:
        """
        Do it; false where a replay diverged with it.
        """
        try:
            act()
        except Diverged as diverged:
            self._channel.send(wire.FromWorker(done=_ended(f"{DIVERGED}{diverged}")))
            return False
        return True

    def _send_inputs(self, data: bytes) -> None:
        self._channel.send(_inputs(self._segment, data))

    def _taped(self) -> tuple[wire.FromWorker, ...]:
        """
        The frame of what the tape has still to send, if anything.
        """
        data = self._tape.flush() if self._tape is not None else b""
        return (_inputs(self._segment, data),) if data else ()

    def _mount(self, begin: wire.Begin, total: Space) -> None:
        files = self._guest.process.files
        shared = Space(begin.scratch_bytes, begin.max_files, total)
        for path in ("/tmp", HOME, WORK):  # noqa: S108 - the guest's own
            files.add_directory(path, shared)
        for mount in sorted(begin.mounts, key=lambda mount: mount.path):
            if mount.scratch:
                files.add_directory(mount.path, Space(mount.quota_bytes, mount.max_files, total))
            else:
                files.add_mount(mount.path, writable=mount.writable)

    # ---- cells ----------------------------------------------------------------------------------

    def _run(self, run: wire.RunCell) -> bool:
        """
        Run one cell to its `CellDone`; false when the guest has ended with it.
        """
        self._output.start(self._output_limit)
        self._interrupts.limit_message = run.timeout_message
        self._interrupts.start(run.interrupts_sent)
        done = self._ran(cell(run))
        self._interrupts.stop()
        self._output.flush()
        self._add_notes()
        done.peak_memory_bytes = self._guest.process.total.peak
        done.stdout_bytes = self._output.totals[1]
        done.stderr_bytes = self._output.totals[2]
        done.output_truncated = self._output.truncated
        self._channel.send(*self._last, *self._taped(), wire.FromWorker(done=done))
        self._last.clear()
        return done.status != wire.CellDone.GUEST_ENDED

    def _ran(self, request: dict[str, Any]) -> wire.CellDone:
        try:
            return self._done(self._guest.call(request))
        except GuestOutOfMemoryError as error:
            return wire.CellDone(
                status=wire.CellDone.ERROR,
                error_name="MemoryError",
                error_message=str(error),
                traceback=f"MemoryError: {error}\n",
            )
        except Exited as exited:
            return _ended(exited.how, exited.code)
        except Diverged as diverged:
            return _ended(f"{DIVERGED}{diverged}")
        except GuestTrapped as trapped:
            return _ended(f"{TRAPPED}{trapped}")
        except ServerGoneError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the guest is over
            return _ended(f"{FAILED}{type(error).__name__}")

    def _done(self, answer: dict[str, Any]) -> wire.CellDone:
        """
        The guest's answer in a frame; the guest may have forged it, so only shapes are believed.
        """
        value = answer.get("value")
        if isinstance(value, dict):
            shown = wire.Value(text=told.text(value.get("text")), full_length=told.length(value))
            self._last.append(wire.FromWorker(value=shown))
        code = answer.get("code")
        return wire.CellDone(
            status=_STATUS.get(str(answer.get("status")), wire.CellDone.ERROR),
            error_name=told.text(answer.get("name"))[:256],
            error_message=told.text(answer.get("message")),
            traceback=told.text(answer.get("traceback")),
            exit_code=code & 0xFF if isinstance(code, int) else 0,
        )

    # ---- what the guest's calls need ------------------------------------------------------------

    def _show(self, forms: Mapping[str, bytes]) -> None:
        # In one call: nothing else may come between the parts of a bundle.
        frames = told.display_frames(forms)
        self._output.send_whole(bundles.cost(forms), lambda: self._channel.send(*frames))

    def _tool(self, frame: bytes) -> bytes:
        # What was printed before is seen before.
        self._output.flush()
        return answered(frame, self._channel.answer_to)

    def _lost(self, what: str) -> None:
        if self._tape is not None:
            self._channel.send(_inputs(self._segment, lost=what))

    def _note(self, name: str, errno: Errno) -> None:
        if (name, errno.name) in self._notes or len(self._notes) < _NOTES_MAX:
            self._notes[name, errno.name] += 1

    def _add_notes(self) -> None:
        for (name, errno), count in self._notes.items():
            note = wire.Note(what=name, errno=errno, count=min(count, 2**32 - 1))
            self._last.append(wire.FromWorker(note=note))
        self._notes.clear()


def _clock(begin: wire.Begin) -> Clock:
    if begin.virtual_clock_ns:
        return VirtualClock(begin.virtual_clock_ns)
    return Clock(begin.frozen_clock_ns or None)


def _inputs(segment: int, data: bytes = b"", lost: str = "") -> wire.FromWorker:
    return wire.FromWorker(inputs=wire.Inputs(segment=segment, data=data, lost=lost))


def _ended(reason: str, code: int = 0) -> wire.CellDone:
    return wire.CellDone(status=wire.CellDone.GUEST_ENDED, reason=reason, exit_code=code)
