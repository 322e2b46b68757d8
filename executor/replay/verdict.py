"""
One session replayed: the verdict, and its words.
"""

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final

from executor.kernel.cage import Caged
from executor.replay.errors import CaptureInvalid, CellMissing
from executor.replay.player import Differs, Played, Player
from executor.replay.reading import Recorded
from executor.replay.steps import Step, steps
from executor.sessions.captured import MACHINE

_CELLS: Final = ("engine", "abi", "level")


class Answer(Enum):
    """
    What came of a replay; the value is the word in its output.
    """

    IDENTICAL = "identical"
    # As far as it was captured; there is more that was not.
    INCOMPLETE = "incomplete"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What came of one session. `why` says what differs, or why the capture is incomplete; `event`
    and `record` number what differs first in the capture and before that in the audit record, 0
    where that is not one; `remarks` are what the verdict does not cover.
    """

    session: str
    answer: Answer
    played: Played
    why: str = ""
    event: int = 0
    record: int = 0
    cell: int = 0
    remarks: tuple[str, ...] = ()

    def line(self) -> str:
        """
        One line of text.
        """
        done = self.played
        same = f"{done.cells} cells, {done.asks} requests, {done.output:,} bytes of output"
        remarks = "".join(f"; {one}" for one in self.remarks)
        match self.answer:
            case Answer.IDENTICAL:
                return f"{self.session} identical: {same}{remarks}"
            case Answer.INCOMPLETE:
                return f"{self.session} identical as far as captured: {same}; {self.why}{remarks}"
        where = f" in cell {self.cell}" if self.cell else ""
        after = f", after record {self.record}" if self.record else ""
        at = f" at event {self.event}{after}{where}" if self.event else ""
        return f"{self.session} differs{at}: {self.why}{remarks}"

    def json(self) -> dict[str, Any]:
        """
        The same for a program.
        """
        return {**asdict(self), "answer": self.answer.value}


def plan(recorded: Recorded, until: int | None) -> list[Step]:
    """
    The steps to play: all that have an end, or those up to the end of a cell.

    Raises CaptureInvalid, CellMissing.
    """
    found = steps(recorded.events)
    if not found[-1].is_begin and found[-1].ends is None:
        if not recorded.lost:
            raise CaptureInvalid("its last step has no end")
        found.pop()
    if until is None:
        return found
    last = max(step.cell for step in found)
    for index, step in enumerate(found):
        if step.cell == until:
            return found[: index + 1]
    raise CellMissing(until, last)


def disagreeing(recorded: Recorded) -> Verdict | None:
    """
    The verdict on a session whose record is not the one that was captured; None for every other.
    """
    if not recorded.disagreement:
        return None
    return Verdict(recorded.session, Answer.DIFFERS, Played(), recorded.disagreement)


async def replayed(recorded: Recorded, played: list[Step], player: Player) -> Verdict:
    """
    Play the steps and say what came of it.
    """
    remarks = _remarks(recorded, player.worker)
    if remarks is None:
        why = "the image boots to other memory than it did; it is not the same image"
        return Verdict(recorded.session, Answer.DIFFERS, Played(), why)
    try:
        done = await player.play(played)
    except Differs as differs:
        why = f"expected {differs.expected}; came {differs.came}"
        record = recorded.sequence_at(differs.event)
        numbers = (differs.event, record, differs.cell)
        return Verdict(
            recorded.session, Answer.DIFFERS, player.played, why, *numbers, remarks=remarks
        )
    lost = f"incomplete ({recorded.lost})" if recorded.lost else ""
    answer = Answer.INCOMPLETE if lost else Answer.IDENTICAL
    return Verdict(recorded.session, answer, done, lost, remarks=remarks)


def _remarks(recorded: Recorded, worker: Caged) -> tuple[str, ...] | None:
    """
    What is another here than where the session ran; None where nothing can be compared.
    """
    if worker.boot_digest.hex() != recorded.header["boot_digest"]:
        return None
    remarks = []
    if recorded.header["cpu"] != MACHINE["cpu"]:
        remarks.append("unverified across CPUs")
    others = [name for name in _CELLS if recorded.header[name] != MACHINE[name]]
    if others:
        remarks.append(f"by another {', '.join(others)} than it ran on")
    return tuple(remarks)
