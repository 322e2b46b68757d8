"""
A captured session as steps: what the worker was sent, what it asked and was told, what it did.

A step begins with a frame of the server's (the session's begin, a cell, a file command) and ends
with the worker's word that it is done. In between the worker asks, one ask at a time, and shows
output. When it was flushed is time's doing, so output of one stream that follows on output of the
same is one output; its place among asks counts where the worker sees to it, before a tool's call.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.capture.events import Event, Kind
from executor.replay.errors import CaptureInvalid

# Asks before which output is sent, so that whoever acts on them has seen it.
_AFTER_OUTPUT: Final = frozenset({"call", "collect"})
_CALL: Final = b"a tool is called"
_ENDS: Final = frozenset({"done", "file"})


class Show(Enum):
    """
    What a worker shows; streams, and what is whole in itself.
    """

    STDOUT = auto()
    STDERR = auto()
    OTHER = auto()


@dataclass(slots=True)
class Shown:
    """
    What a step shows, in order.
    """

    parts: list[tuple[Show, bytearray]] = field(default_factory=list)

    def take(self, frame: frames_pb2.FromWorker) -> None:
        """
        Add a frame that shows something, or an ask that has its place among them.
        """
        if not frame.HasField("output"):
            data = _CALL if frame.HasField("ask") else frame.SerializeToString(deterministic=True)
            self.parts.append((Show.OTHER, bytearray(data)))
            return
        kind = Show.STDOUT if frame.output.stream == 1 else Show.STDERR
        if self.parts and self.parts[-1][0] is kind:
            self.parts[-1][1].extend(frame.output.data)
        elif frame.output.data:
            self.parts.append((kind, bytearray(frame.output.data)))


@dataclass(slots=True)
class Exchange:
    """
    One ask and its answer; `event` is the ask's number in the capture. Without an answer the
    capture ends there.
    """

    event: int
    ask: frames_pb2.Ask
    answer: frames_pb2.Answer | None = None


@dataclass(slots=True)
class Step:
    """
    One step. `begins` and `ends` are frames, `ended` the number of the event that ends it, 0 where
    none does. `cell` is the cell's number, 0 where it is none.
    """

    event: int
    begins: frames_pb2.ToWorker
    asked: list[Exchange] = field(default_factory=list)
    shown: Shown = field(default_factory=Shown)
    inputs: bytearray = field(default_factory=bytearray)
    notes: list[bytes] = field(default_factory=list)
    ends: frames_pb2.FromWorker | None = None
    ended: int = 0

    @property
    def cell(self) -> int:
        """
        The number of the cell, 0 for the session's begin and for a file command.
        """
        return self.begins.run.cell if self.begins.HasField("run") else 0

    @property
    def is_begin(self) -> bool:
        """
        Whether it is the session's begin, which the worker does not answer.
        """
        return self.begins.HasField("begin")

    def take(self, number: int, frame: frames_pb2.FromWorker) -> None:
        """
        A frame that the worker sent in this step. Raises CaptureInvalid.
        """
        kind = frame.WhichOneof("frame") or "nothing"
        if self.ends is not None:
            raise CaptureInvalid(f"event {number} is {kind!r} of a step that has ended")
        if kind == "ask":
            if number and self.asked and self.asked[-1].answer is None:
                raise CaptureInvalid(f"event {number} asks before the ask before it is answered")
            if frame.ask.WhichOneof("ask") in _AFTER_OUTPUT:
                self.shown.take(frame)
            self.asked.append(Exchange(number, frame.ask))
        elif kind in _ENDS:
            self.ends, self.ended = frame, number
        elif kind == "note":
            self.notes.append(frame.SerializeToString(deterministic=True))
        else:
            self.shown.take(frame)

    def answer(self, number: int, answer: frames_pb2.Answer) -> None:
        """
        What the server answered. Raises CaptureInvalid.
        """
        if not self.asked or self.asked[-1].answer is not None:
            raise CaptureInvalid(f"event {number} answers an ask that is not in the capture")
        self.asked[-1].answer = answer


def steps(events: Iterable[tuple[int, Event]]) -> list[Step]:
    """
    The steps of numbered events, the session's begin first. Raises CaptureInvalid.
    """
    found: list[Step] = []
    for number, event in events:
        if event.kind is Kind.TO_WORKER:
            _to_worker(found, number, frames_pb2.ToWorker.FromString(event.data))
        elif event.kind is Kind.FROM_WORKER:
            _from_worker(found, number, frames_pb2.FromWorker.FromString(event.data))
    if not found or not found[0].is_begin or any(step.is_begin for step in found[1:]):
        raise CaptureInvalid("the session's begin is not its first step")
    return found


def _to_worker(found: list[Step], number: int, frame: frames_pb2.ToWorker) -> None:
    if not frame.HasField("answer"):
        if found and found[-1].ends is None and not found[-1].is_begin:
            raise CaptureInvalid(f"event {number} begins a step, and the one before has no end")
        found.append(Step(number, frame))
    elif not found:
        raise CaptureInvalid(f"event {number} is an answer before the session's begin")
    else:
        found[-1].answer(number, frame.answer)


def _from_worker(found: list[Step], number: int, frame: frames_pb2.FromWorker) -> None:
    if not found:
        raise CaptureInvalid(f"event {number} comes before the session's begin")
    if not frame.HasField("inputs"):
        found[-1].take(number, frame)
    elif frame.inputs.segment >= len(found):
        raise CaptureInvalid(f"event {number} has inputs of a step that has not begun")
    else:
        # Those of the begin may come when the first cell has been sent already.
        found[frame.inputs.segment].inputs += frame.inputs.data
