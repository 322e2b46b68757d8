"""
One session in one boxed worker: frames in, cells run, frames out.

The guest shares this process and its interpreter, so nothing here keeps it in: the box does, and
the server takes every frame for an attacker's. What is kept here is what an agent needs: its
output in order and bounded, interrupts that end a cell and not the session, and an end that is
told. Cells run in the main thread; the pump and the watch have a thread each.
"""

import _thread
import contextlib
import errno
import hashlib
import os
import resource
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final, NoReturn

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import bundles, told
from executor.kernel.errors import CodecageError, InternalError
from executor.kernel.toolframes import answered, refused
from executor.kernel.tooling import cell, given
from executor.kernel.worker_channel import ServerGoneError, WorkerChannel
from executor.linux import rlimits
from executor.process import reseed
from executor.process.runtime import BROKEN, NativeGuest
from executor.process.worker_door import DONE, Child, Door, Refusal
from executor.process.worker_files import Work, perform
from executor.process.worker_interrupts import Interrupts
from executor.process.worker_output import BoxOutput

EXIT_FAILED: Final = 70
# The worker's own descriptors besides the standard three: the channel, two pipes, the pump's wake.
_OWN_DESCRIPTORS: Final = 4
# Longer than every name of a host: RFC 1035.
_NAME_MAX: Final = 300
_STATUS: Final = {
    "ok": wire.CellDone.OK,
    "error": wire.CellDone.ERROR,
    "exited": wire.CellDone.EXITED,
    "interrupted": wire.CellDone.INTERRUPTED,
}
_INTERRUPTED: Final[dict[str, Any]] = {
    "status": "interrupted",
    "name": "KeyboardInterrupt",
    "message": "",
    "traceback": "KeyboardInterrupt\n",
}
# Looked up now: the guest gets others in their place.
_exit = os._exit


class Session:
    """
    The worker's side of a session, on `connection`; `work` is the guest's working directory.

    `kept` are the generators of chance that exist since before the fork.
    """

    def __init__(
        self,
        guest: NativeGuest,
        door: Door,
        connection: socket.socket,
        kept: tuple[Any, ...],
        work: Work,
    ) -> None:
        self._guest = guest
        self._door = door
        self._channel = WorkerChannel(connection)
        self._output = BoxOutput(connection.fileno(), self._channel.send_output)
        self._interrupts = Interrupts()
        # A signal's handler or a finaliser of the guest's can strike the thread that asks, and ask.
        self._asking = threading.RLock()
        self._asks = False
        self._kept = kept
        self._work = work
        self._begun = False
        self._ended = False
        self._process = os.getpid()
        self._output_limit = 0
        self._value: wire.FromWorker | None = None
        door.host = self
        door.codes = door.CODES | {Session._ran.__code__}

    def serve(self, isolation: str, boot_digest: bytes) -> None:
        """
        Announce the worker and handle frames until the server ends it.
        """
        self._output.take_descriptors()
        self._guest.rehearse()
        os.register_at_fork(after_in_child=self._door_of_child)
        _thread.start_new_thread(self._pump, ())
        _thread.start_new_thread(self._interrupts.watch, ())
        ready = wire.Ready(isolation=isolation, boot_digest=boot_digest)
        self._channel.send(wire.FromWorker(ready=ready))
        with contextlib.suppress(ServerGoneError):
            while True:
                self._handle(self._channel.receive())

    def _pump(self) -> None:
        with _ENDING:
            self._output.pump()

    def _door_of_child(self) -> None:
        self._door.host = Child()

    def _handle(self, frame: wire.ToWorker) -> None:
        kind = frame.WhichOneof("frame")
        if kind == "begin" and not self._begun:
            self._begin(frame.begin)
        elif kind == "run" and self._begun:
            self._run(frame.run)
        elif kind == "file" and self._begun:
            self._channel.send_file(*perform(frame.file, self._work))
        else:
            raise InternalError(f"the server sent {kind} out of order")

    # ---- beginning ------------------------------------------------------------------------------

    def _begin(self, begin: wire.Begin) -> None:
        _require_possible(begin)
        open_files = begin.max_open_files + _OWN_DESCRIPTORS
        rlimits.lower({rlimits.Limit.DESCRIPTORS: open_files})
        self._output_limit = begin.output_bytes
        self._begun = True
        seed = hashlib.sha512(begin.entropy).digest()
        reseed.renew(self._kept, seed)
        environment = dict(begin.environment)
        self._guest.serve(_seen(begin), (*begin.places, self._work.place))
        self._guest.call(
            {
                "op": "begin",
                "environment": environment,
                "seed": seed.hex(),
                "directory": self._work.place,
                "given": given(begin),
            }
        )

    # ---- cells ----------------------------------------------------------------------------------

    def _run(self, run: wire.RunCell) -> None:
        """
        Run one cell to its `CellDone`.
        """
        self._output.start(self._output_limit)
        self._interrupts.limit_message = run.timeout_message
        answer = self._ran(run)
        # From here on nothing asks, and an interrupt that is under way finds no cell.
        with self._asking:
            self._output.stop()
        self._send_done(self._done(answer))

    def _ran(self, run: wire.RunCell) -> dict[str, Any]:
        """
        The guest's answer. An interrupt strikes in its entry or, like one between cells, not
        at all: `Door.codes`.
        """
        answer = dict(_INTERRUPTED)
        try:
            self._interrupts.start(run.interrupts_sent)
            answer = self._guest.call(cell(run))
        except KeyboardInterrupt:
            # The answer is the one that there was before, if the cell had ended.
            pass
        except CodecageError:
            raise
        except BaseException:  # noqa: BLE001 - whatever a cell has left of the guest's half raises
            answer = dict(BROKEN)
        if os.getpid() != self._process:
            _end_child(answer)
        # A handler of the guest's own may be in the place of ours, which does not strike here.
        while self._interrupts.running():
            with contextlib.suppress(KeyboardInterrupt):
                self._interrupts.stop()
        return answer

    def _done(self, answer: Mapping[str, Any]) -> wire.CellDone:
        """
        The guest's answer in a frame; the guest may have forged it, so only shapes are believed.
        """
        value = answer.get("value")
        if isinstance(value, dict):
            shown = wire.Value(text=told.text(value.get("text")), full_length=told.length(value))
            self._value = wire.FromWorker(value=shown)
        code = answer.get("code")
        return wire.CellDone(
            status=_STATUS.get(str(answer.get("status")), wire.CellDone.ERROR),
            error_name=told.text(answer.get("name"))[:256],
            error_message=told.text(answer.get("message")),
            traceback=told.text(answer.get("traceback")),
            exit_code=code & 0xFF if isinstance(code, int) else 0,
        )

    def _send_done(self, done: wire.CellDone) -> None:
        done.peak_memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        done.stdout_bytes = self._output.totals[1]
        done.stderr_bytes = self._output.totals[2]
        done.output_truncated = self._output.truncated
        value, self._value = self._value, None
        last = (
            [wire.FromWorker(done=done)] if value is None else [value, wire.FromWorker(done=done)]
        )
        self._channel.send(*last)

    # ---- what the guest's half asks for: any thread, and no exception goes back ------------------

    def write(self, stream: int, data: bytes) -> None:
        """
        The guest wrote on stream 1 or 2.
        """
        with _ENDING:
            self._output.write(stream, data)

    def show(self, forms: Mapping[str, bytes]) -> Refusal:
        """
        The guest wants a bundle shown; between cells nobody would see it.
        """
        frames = tuple(told.display_frames(forms))
        with _ENDING:
            cost = bundles.cost(forms)
            if self._output.send_whole(cost, lambda: self._channel.send(*frames)):
                return DONE
        return errno.EAGAIN, "no cell is running: what is to be shown has to be shown by a cell"

    def run(self, program: str) -> Refusal:
        """
        The gate judges, and records, an attempt at a program.
        """
        said = self._asked(wire.Ask(run=told.text(program)))
        return said or (errno.EPERM, "programs can be started by a cell alone, and none is running")

    def denial(self, path: str) -> Refusal:
        """
        The gate tells of a refusal at a path.
        """
        return self._asked(wire.Ask(denial=told.text(path))) or DONE

    def verdict(self, path: str, action: str) -> Refusal:
        """
        The gate judges, and records, what the kernel has refused by itself.
        """
        asked = wire.RefusedAsk(path=told.text(path), action=told.text(action))
        return self._asked(wire.Ask(refused=asked)) or DONE

    def refusal(self, host: str, port: int, own_port: int) -> Refusal:
        """
        The gate tells of a name or a connection.
        """
        asked = wire.RefusalAsk(host=told.text(host)[:_NAME_MAX], port=port, own_port=own_port)
        return self._asked(wire.Ask(refusal=asked)) or DONE

    def address(self, host: str) -> Refusal:
        """
        The gate makes an address up for a name that may be connected to.
        """
        with self._turn() as given:
            if not given:
                return errno.EAGAIN, "names are looked up by a cell alone"
            answer = self._channel.answer_to(wire.Ask(address=told.text(host)[:_NAME_MAX]))
        return (answer.errno, answer.reason) if answer.errno else (0, answer.address)

    def socket(self, kind: str) -> Refusal:
        """
        The gate tells why there is no such socket.
        """
        return self._asked(wire.Ask(network=wire.NetworkAsk(socket=kind))) or DONE

    def tool(self, frame: bytes) -> bytes:
        """
        The gate decides a call of one of the client's functions, and the client makes it.

        One at a time, in whatever thread: the channel has one ask open.
        """
        with self._turn() as given:
            if not given:
                return refused(errno.EAGAIN, "tools can be called by a cell alone")
            # What was printed before is seen before.
            self._output.catch_up()
            return answered(frame, self._channel.answer_to)

    def transact(self, verb: str, mount: str) -> Refusal:
        """
        The gate does it, and reports.
        """
        ask = wire.Ask(transact=wire.TransactAsk(verb=verb, mount=told.text(mount)))
        with self._turn() as given:
            if not given:
                return errno.EAGAIN, "no cell is running: a cell commits, or the session's client"
            answer = self._channel.answer_to(ask)
        return (answer.errno, answer.reason) if answer.errno else (0, answer.report)

    def is_child(self) -> bool:
        """
        It is the session's first.
        """
        return False

    def _asked(self, ask: wire.Ask) -> Refusal | None:
        """
        The gate's answer; None where nobody answers.
        """
        with self._turn() as given:
            if not given:
                return None
            answer = self._channel.answer_to(ask)
            return answer.errno, answer.reason

    @contextlib.contextmanager
    def _turn(self) -> Iterator[bool]:
        """
        Wait for one's turn to ask; there is none between cells, nor while this thread asks already.
        """
        with _ENDING, self._asking:
            if self._asks or not self._interrupts.running():
                yield False
                return
            self._asks = True
            try:
                yield True
            finally:
                self._asks = False

    def end(self, code: int, how: str) -> None:
        """
        The guest ends itself: its cell is told so, once, and the process ends.
        """
        if self._interrupts.running() and not self._ended:
            self._ended = True
            with _ENDING:
                self._output.stop()
                ended = wire.CellDone.GUEST_ENDED
                self._send_done(wire.CellDone(status=ended, reason=how, exit_code=code))

    def reason(self) -> str:
        """
        Why the last interrupt came.
        """
        return self._interrupts.reason()

    def running(self) -> bool:
        """
        Whether a cell runs.
        """
        return self._interrupts.running()

    def interrupt_may_come(self) -> bool:
        """
        Asked once for each nudge: whether it was for an interrupt that is still to be brought.
        """
        return self._interrupts.may_come()


def leave(code: int) -> NoReturn:
    """
    End the process, whatever the guest has put in the place of os._exit.
    """
    _exit(code)


def _seen(begin: wire.Begin) -> tuple[str, ...]:
    """
    The places that the server serves, each looked at once: before that the kernel does not know
    whose they are, and lets nobody make a file in them.
    """
    places = tuple(mount.path for mount in begin.mounts)
    for place in places:
        with contextlib.suppress(OSError):
            os.stat(place)  # noqa: PTH116 - as the call is named
    return places


def _end_child(answer: Mapping[str, Any]) -> NoReturn:
    """
    End a child that the guest has forked and that came to its cell's end: it has no session.
    """
    said = told.text(answer.get("traceback")).encode()
    with contextlib.suppress(OSError):
        os.write(2, said)
    code = answer.get("code")
    leave(code & 0xFF if isinstance(code, int) else int(answer.get("status") != "ok"))


def _require_possible(begin: wire.Begin) -> None:
    """
    Raises InternalError for what this cage cannot keep: better no session than a weaker one.
    """
    impossible = {
        "a seed for all chance": begin.deterministic,
        "a clock that stands still": begin.frozen_clock_ns,
        "a clock of the session's own": begin.virtual_clock_ns,
        "connections through the gate": begin.max_connections,
        "scratch of the worker's own": any(mount.scratch for mount in begin.mounts),
    }
    for what, wanted in impossible.items():
        if wanted:
            raise InternalError(f"the process cage cannot give a session {what}; use the wasm cage")


class _EndingWithTheServer:
    """
    A block in which this process ends if its server has gone. No generator: each line that is
    printed passes one, and a generator's 1.5 us were a third of it.
    """

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: object, _traceback: object) -> None:
        if isinstance(error, ServerGoneError):
            leave(EXIT_FAILED)


_ENDING: Final = _EndingWithTheServer()
