"""
A session that is captured: its worker, of which every frame is kept.

What the frames do not show (clocks, connections) the worker tells in `Inputs`, which end here; the
session never sees them. A worker that was taken over can tell of inputs that it never had: what
replay proves is then that the pinned image, given these, does what is recorded (docs/replay.md).
"""

import hashlib
import json
import platform
import socket
from collections.abc import Awaitable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.capture.events import Kind
from executor.capture.recording import REDACTED, Capture
from executor.errors import ProtocolBroken, WorkerGone
from executor.facts import Facts
from executor.kernel.boxing import Holding
from executor.kernel.cage import BoxEnds, Caged, Frames
from executor.kernel.frames import FAILED, TRAPPED
from executor.wasm import target

_LONGEST_REASON: Final = 200
_ENDS: Final = frozenset({"done", "file"})


class CapturedFrames:
    """
    The way to a worker and back, of which all is kept.
    """

    def __init__(self, frames: Frames, capture: Capture, *, redacts: bool) -> None:
        self._frames = frames
        self._capture = capture
        self._redacts = redacts
        # Kept when it is answered: what the record withholds of it, the capture does not hold.
        self._ask: frames_pb2.FromWorker | None = None
        self._decisions = 0
        # With which frame the step ends that goes on, "" where none does; how many have begun.
        self._ends = ""
        self._steps = 0

    async def receive(self) -> frames_pb2.FromWorker:
        """
        The next frame of the worker that is for the session.

        Raises what the channel raises: in the middle of a cell that is no end that can be replayed.
        """
        while True:
            try:
                frame = await self._frames.receive()
            except (WorkerGone, ProtocolBroken):
                self._capture.lose_step("did not end by itself")
                raise
            if not self._is_inputs(frame):
                return frame

    async def send(
        self, frame: frames_pb2.ToWorker, passed: int | socket.socket | None = None
    ) -> None:
        """
        Send a frame, as the channel does.
        """
        self._sent(frame)
        await self._frames.send(frame, passed)

    async def send_put(self, frame: frames_pb2.ToWorker, data: bytes) -> None:
        """
        Send a frame that puts data: it is kept whole, so it is made whole.
        """
        frame.file.put.data = data
        await self.send(frame)

    def post(self, frame: frames_pb2.ToWorker) -> None:
        """
        Send a frame without waiting, as the channel does.
        """
        self._sent(frame)
        self._frames.post(frame)

    def close(self) -> None:
        """
        Let go of the socket.
        """
        self._frames.close()

    def interrupted(self) -> None:
        """
        A signal goes to the worker: where it arrives is in no frame.
        """
        self._capture.lose_step("was interrupted, and where is not known")

    def _sent(self, frame: frames_pb2.ToWorker) -> None:
        if frame.HasField("run"):
            self._begin(f"cell {frame.run.cell}", "done")
        elif frame.HasField("file"):
            self._begin("a file command", "file")
        self._keep_ask()
        self._capture.add(Kind.TO_WORKER, frame.SerializeToString())

    def _begin(self, step: str, ends: str) -> None:
        self._capture.begin(step)
        self._ends = ends
        self._steps += 1

    def _keep_ask(self) -> None:
        ask, self._ask = self._ask, None
        if ask is None:
            return
        # Beyond its budget the record does not tell each call, and not what it withholds of one.
        told = self._capture.decisions > self._decisions
        if self._redacts and ask.ask.HasField("call") and not told:
            self._capture.lose(REDACTED)
        self._capture.add(Kind.FROM_WORKER, ask.SerializeToString())

    def _is_inputs(self, frame: frames_pb2.FromWorker) -> bool:
        """
        Keep a frame of the worker; whether it was for the capture alone.
        """
        if not self._is_in_turn(frame):
            # The session ends it for that, and nothing that it said passes for an end of a step.
            self._capture.lose("its worker spoke out of turn")
        if frame.HasField("ask"):
            self._ask, self._decisions = frame, self._capture.decisions
            return False
        if frame.done.reason.startswith(TRAPPED):
            # Where a stack ends is the machine's, not the code's.
            self._capture.lose_step("ended by a trap of the guest")
        elif frame.done.reason.startswith(FAILED):
            # So is how much memory our side of its calls had.
            self._capture.lose_step("ended by a failure of the cage")
        self._capture.add(Kind.FROM_WORKER, frame.SerializeToString())
        if frame.WhichOneof("frame") in _ENDS:
            self._capture.end()
            self._ends = ""
        if frame.inputs.lost:
            self._capture.lose(frame.inputs.lost[:_LONGEST_REASON])
        return frame.HasField("inputs")

    def _is_in_turn(self, frame: frames_pb2.FromWorker) -> bool:
        kind = frame.WhichOneof("frame")
        if kind == "inputs":
            return frame.inputs.segment <= self._steps
        return bool(self._ends) and (kind not in _ENDS or kind == self._ends)


class CapturedWorker:
    """
    A worker whose frames are kept; everything else of it is as it was. `redacts` says that the
    policy names what the record is not to hold.
    """

    def __init__(self, worker: Caged, capture: Capture, *, redacts: bool) -> None:
        self._worker = worker
        self._frames = CapturedFrames(worker.channel, capture, redacts=redacts)
        self.pid: Final = worker.pid
        self.image_key: Final = worker.image_key
        self.boot_digest: Final = worker.boot_digest
        self.boot_memory: Final = worker.boot_memory
        self.isolation: Final = worker.isolation
        self.holding: Final[Holding | None] = worker.holding

    @property
    def channel(self) -> Frames:
        """
        Its frames.
        """
        return self._frames

    @property
    def ended(self) -> Awaitable[object]:
        """
        Done when the process has ended.
        """
        return self._worker.ended

    def limit_memory(self, size: int) -> None:
        """
        As the worker's.
        """
        self._worker.limit_memory(size)

    def interrupt(self, *, limit: bool) -> None:
        """
        As the worker's; the capture ends there.
        """
        self._frames.interrupted()
        self._worker.interrupt(limit=limit)

    def kill(self) -> None:
        """
        As the worker's.
        """
        self._worker.kill()

    def drop(self) -> None:
        """
        As the worker's.
        """
        self._worker.drop()

    def cpu_time(self) -> float | None:
        """
        As the worker's.
        """
        return self._worker.cpu_time()

    def memory_peak(self) -> int | None:
        """
        As the worker's.
        """
        return self._worker.memory_peak()

    def take_ends(self) -> BoxEnds | None:
        """
        As the worker's.
        """
        return self._worker.take_ends()


def header(facts: Facts, worker: Caged) -> bytes:
    """
    What a session was made of, and where: what a replay has to have, and what it compares.
    """
    told = {
        "session": facts.id,
        "image": facts.image,
        "image_key": worker.image_key,
        "boot_digest": worker.boot_digest.hex(),
        **MACHINE,
    }
    return json.dumps(told, sort_keys=True).encode()


def _machine() -> dict[str, str]:
    return {
        "engine": f"wasmtime {metadata.version('wasmtime')}",
        "abi": _source(Path(target.__file__).parent),
        "level": target.this_target().name,
        "cpu": _processor(),
    }


def _source(package: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


# What a run depends on besides its image: the engine, our half of the guest's calls (SHA-256 of its
# source), the level of processors that code is compiled for, and the processor. Read when this is
# imported, as root perhaps: the server's account may not see where packages lie.
MACHINE: Final[Mapping[str, str]] = _machine()
