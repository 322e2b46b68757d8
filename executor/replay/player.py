"""
Plays captured steps to a fresh worker, and holds every word of it against the capture.

The worker has no file, no connection and no tool: what it asks for is answered from the capture,
in order, and only where it asks for the very same. The first word that differs ends it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.errors import ProtocolBroken, WorkerGone
from executor.kernel.cage import Caged
from executor.kernel.frames import DIVERGED
from executor.replay.steps import Show, Shown, Step

# Of inputs in one frame: the worker takes frames of a cell's size.
_INPUTS: Final = 2**19
_SHOWN: Final = 160
_PATIENCE: Final = 600.0


class Differs(Exception):
    """
    The first thing that was not as captured. `event` is its number in the capture, `cell` the
    cell's, 0 outside of cells.
    """

    def __init__(self, event: int, cell: int, expected: str, came: str) -> None:
        super().__init__(f"event {event}: expected {expected}; came {came}")
        self.event = event
        self.cell = cell
        self.expected = expected
        self.came = came


@dataclass(frozen=True, slots=True)
class Played:
    """
    What was the same: `cells`, file commands and all, `asks` among them, and bytes of output.
    """

    steps: int = 0
    cells: int = 0
    asks: int = 0
    output: int = 0

    def with_step(self, step: Step) -> "Played":
        """
        One more.
        """
        shown = sum(len(data) for kind, data in step.shown.parts if kind is not Show.OTHER)
        return Played(
            self.steps + 1,
            self.cells + (step.cell > 0),
            self.asks + len(step.asked),
            self.output + shown,
        )


class Player:
    """
    One worker and how far it has come.
    """

    def __init__(self, worker: Caged, *, patience: float = _PATIENCE) -> None:
        self.worker = worker
        self.played = Played()
        self._patience = patience

    async def play(self, steps: Sequence[Step]) -> Played:
        """
        Play the steps, from the session's begin. Raises Differs.
        """
        # Inputs wait in the worker in one piece, and in a second one once their step begins.
        inputs = 3 * max((len(step.inputs) for step in steps), default=0)
        self.worker.limit_memory(steps[0].begins.begin.memory_bytes + inputs)
        for step in steps:
            await self._step(step)
            self.played = self.played.with_step(step)
        return self.played

    async def _step(self, step: Step) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._send(step)
                if not step.is_begin:
                    _compare(step, await self._answer(step))
        except TimeoutError:
            raise Differs(
                step.ended or step.event, step.cell, _end_of(step), "nothing in time"
            ) from None
        except (WorkerGone, ProtocolBroken) as error:
            raise Differs(
                step.ended or step.event, step.cell, _end_of(step), f"the worker's end ({error})"
            ) from error

    async def _send(self, step: Step) -> None:
        frame = frames_pb2.ToWorker()
        frame.CopyFrom(step.begins)
        if step.is_begin:
            frame.begin.capture, frame.begin.replay = False, True
        elif step.cell:
            frame.run.interrupts_sent = 0
        for start in range(0, len(step.inputs) or 1, _INPUTS):
            data = bytes(step.inputs[start : start + _INPUTS])
            await self.worker.channel.send(frames_pb2.ToWorker(inputs=frames_pb2.Inputs(data=data)))
        await self.worker.channel.send(frame)

    async def _answer(self, step: Step) -> Step:
        """
        What the worker does now, its asks answered as they were.
        """
        came = Step(step.event, step.begins)
        while came.ends is None:
            frame = await self.worker.channel.receive()
            if frame.HasField("inputs"):
                # Those of the begin come with the first of these.
                came.inputs += frame.inputs.data if frame.inputs.segment else b""
                continue
            came.take(0, frame)
            if frame.HasField("ask"):
                await self._reply(step, came)
        return came

    async def _reply(self, step: Step, came: Step) -> None:
        at = len(came.asked) - 1
        ask = came.asked[at].ask
        if at >= len(step.asked):
            raise Differs(step.ended or step.event, step.cell, _end_of(step), _told(ask))
        exchange = step.asked[at]
        if _bytes(exchange.ask) != _bytes(ask):
            raise Differs(exchange.event, step.cell, _told(exchange.ask), _told(ask))
        if exchange.answer is None:
            raise Differs(exchange.event, step.cell, "no more: the capture ends here", _told(ask))
        await self.worker.channel.send(frames_pb2.ToWorker(answer=exchange.answer))


def _compare(step: Step, came: Step) -> None:
    """
    Raises Differs where a step that has ended was not as captured.
    """
    end = step.ended or step.event
    assert came.ends is not None, "`_answer` returns with it"
    if came.ends.done.reason.startswith(DIVERGED):
        told = came.ends.done.reason.removeprefix(DIVERGED)
        raise Differs(end, step.cell, "the inputs of the capture", told)
    if len(came.asked) < len(step.asked):
        missing = step.asked[len(came.asked)]
        raise Differs(missing.event, step.cell, _told(missing.ask), _end_of(came))
    _compare_shown(step, came.shown)
    if step.notes != came.notes:
        raise Differs(end, step.cell, f"{step.notes} as notes", f"{came.notes}")
    if step.ends is None or _bytes(step.ends) != _bytes(came.ends):
        raise Differs(end, step.cell, _end_of(step), _end_of(came))
    if step.inputs != came.inputs:
        left = len(step.inputs) - len(came.inputs)
        raise Differs(end, step.cell, "all inputs asked for", f"{left} bytes not asked for")


def _compare_shown(step: Step, came: Shown) -> None:
    for index in range(max(len(step.shown.parts), len(came.parts))):
        expected, found = _part(step.shown, index), _part(came, index)
        if expected != found:
            raise Differs(step.ended or step.event, step.cell, *_where(expected, found))


def _part(shown: Shown, index: int) -> tuple[Show | None, bytes]:
    if index >= len(shown.parts):
        return None, b""
    kind, data = shown.parts[index]
    return kind, bytes(data)


def _where(
    expected: tuple[Show | None, bytes], found: tuple[Show | None, bytes]
) -> tuple[str, str]:
    """
    Both from the first byte on that differs, cut.
    """
    same = 0
    if expected[0] is found[0]:
        pairs = zip(expected[1], found[1], strict=False)
        same = next((at for at, (one, other) in enumerate(pairs) if one != other), -1)
        same = min(len(expected[1]), len(found[1])) if same < 0 else same
    return _shown(expected, same), _shown(found, same)


def _shown(part: tuple[Show | None, bytes], start: int) -> str:
    kind, data = part
    if kind is None:
        return "no more output"
    name = {Show.STDOUT: "stdout", Show.STDERR: "stderr", Show.OTHER: "a value or display"}[kind]
    return f"{name} with {data[start : start + _SHOWN]!r} at byte {start}"


def _told(ask: frames_pb2.Ask) -> str:
    kind = ask.WhichOneof("ask") or "nothing"
    return f"the ask {kind} {str(getattr(ask, kind, ''))[:_SHOWN]!r}"


def _end_of(step: Step) -> str:
    if step.ends is None:
        return "no end of the step"
    return f"the end {str(step.ends)[: 2 * _SHOWN]!r}"


def _bytes(message: frames_pb2.Ask | frames_pb2.FromWorker) -> bytes:
    return message.SerializeToString(deterministic=True)
