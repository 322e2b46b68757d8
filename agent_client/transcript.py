"""
A loop's conversation as a file, and that conversation played again.

The file is JSON lines: what the model was told first, each turn, the end. It holds the conversation
and what the server said of each cell. No id of a session is in it, with which one could be used,
no address and no key; what task, code and output hold is in it as it was.
"""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_client.course import Ending, LoopLimits, Manner, Messages, Outcome, Turn
from agent_client.errors import InvalidRequest
from agent_client.extraction import BareText, Reply
from agent_client.loop import CodeActLoop, Runs
from agent_client.observation import Cut
from agent_client.wording import Wording

FORMAT = 1
_MAX_INT_BITS = 10_000  # JSON is read with a bound on the digits of an integer


@dataclass(frozen=True, slots=True)
class PlayedTurn:
    """
    A turn as a file keeps it: `status` is how the cell ended, empty where nothing was run.
    """

    reply: Reply
    code: str | None
    told: str
    status: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """
    A loop as a file keeps it. An answer that JSON has no word for is its repr.
    """

    task: str
    manner: Manner
    turns: tuple[PlayedTurn, ...]
    ending: Ending
    answer: object


@dataclass(frozen=True, slots=True)
class Difference:
    """
    Where a loop went another way than its transcript: in which turn (0 for the end), in what
    (`code`, `status`, `told`, `ending`, `answer`), and what was there before and is now.
    """

    turn: int
    what: str
    recorded: object
    observed: object


@dataclass(frozen=True, slots=True)
class Replay:
    """
    A transcript played again; without `differences` everything was as before.
    """

    outcome: Outcome
    differences: tuple[Difference, ...]


def transcript_of(outcome: Outcome) -> Transcript:
    """
    What `save_transcript` would write of a loop.
    """
    turns = tuple(_played(turn) for turn in outcome.turns)
    answer = outcome.answer if _is_json(outcome.answer) else _shown(outcome.answer)
    return Transcript(outcome.task, outcome.manner, turns, outcome.ending, answer)


def save_transcript(outcome: Outcome, path: str | Path) -> None:
    """
    Write a loop's transcript, for its owner's eyes (0600). A file of that name is replaced, whole
    or not at all. Raises OSError.
    """
    lines = "".join(f"{json.dumps(line)}\n" for line in _lines(outcome))
    target = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:50]}-")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def load_transcript(path: str | Path) -> Transcript:
    """
    Read a transcript. Raises OSError, and InvalidRequest for what is none.
    """
    text = Path(path).read_bytes().decode("ascii", errors="replace")
    lines = [_line(number, line) for number, line in enumerate(text.splitlines(), 1)]
    if len(lines) < 2 or lines[0].get("codecage_transcript") != FORMAT:
        raise InvalidRequest(
            f"{path} is no transcript of format {FORMAT}; save_transcript writes such files"
        )
    try:
        return _read(lines[0], lines[1:-1], lines[-1])
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidRequest(f"{path} is no whole transcript: {error!r}") from None


class Recorded:
    """
    A model that says what a transcript's model said, in the same order.
    """

    def __init__(self, transcript: Transcript) -> None:
        self._replies = [turn.reply for turn in _run_turns(transcript)]
        self._said = 0

    def __call__(self, messages: Messages) -> Reply:
        """
        The next reply. Raises InvalidRequest after the last one.
        """
        del messages  # it has said what it said, whatever it is told now
        if self._said == len(self._replies):
            raise InvalidRequest(f"the transcript has {self._said} replies, and one more was asked")
        self._said += 1
        return self._replies[self._said - 1]


def replay(transcript: Transcript, session: Runs, *, cell_seconds: float | None = None) -> Replay:
    """
    Run a transcript's code again in a session, which should be as fresh as the first was, and
    compare. Times that are told, addresses in a repr and chance differ; a policy with `clock:
    virtual` and a seed has neither of the last two. Raises what `CodeActLoop.run` raises.
    """
    turns = max(1, len(_run_turns(transcript)))
    manner = transcript.manner
    loop = CodeActLoop(
        Recorded(transcript),
        session,
        system=manner.system,
        limits=LoopLimits(turns=turns, seconds=None, cell_seconds=cell_seconds),
        wording=manner.wording,
        bare=manner.bare,
        max_chars=manner.max_chars,
        cut=manner.cut,
    )
    outcome = loop.run(transcript.task)
    return Replay(outcome, differences(transcript, outcome))


def differences(transcript: Transcript, outcome: Outcome) -> tuple[Difference, ...]:
    """
    Where a loop, run with `Recorded`, went another way than the transcript.
    """
    again = transcript_of(outcome)
    recorded = _run_turns(transcript)
    found = [
        one for number, pair in _pairs(recorded, again.turns) for one in _unlike(number, *pair)
    ]
    if transcript.ending in {Ending.FINAL_ANSWER, Ending.ANSWER, Ending.SESSION_LOST}:
        if transcript.ending is not again.ending:
            found.append(Difference(0, "ending", transcript.ending, again.ending))
        if transcript.answer != again.answer:
            found.append(Difference(0, "answer", transcript.answer, again.answer))
    return tuple(found)


def _pairs(
    recorded: tuple[PlayedTurn, ...], again: tuple[PlayedTurn, ...]
) -> Iterator[tuple[int, tuple[PlayedTurn, PlayedTurn]]]:
    nothing = PlayedTurn(Reply(""), None, "", "")
    for number in range(max(len(recorded), len(again))):
        before = recorded[number] if number < len(recorded) else nothing
        now = again[number] if number < len(again) else nothing
        yield number + 1, (before, now)


def _unlike(number: int, recorded: PlayedTurn, again: PlayedTurn) -> Iterator[Difference]:
    for what in ("code", "status", "told"):
        before, now = getattr(recorded, what), getattr(again, what)
        # MINT's words count the turns that are left, of which a replay has fewer.
        if before != now and not (what == "told" and _uncounted(before) == _uncounted(now)):
            yield Difference(number, what, before, now)


def _uncounted(told: str) -> str:
    return told.partition("\nYou have ")[0] if told.startswith("Observation:\n") else told


def _run_turns(transcript: Transcript) -> tuple[PlayedTurn, ...]:
    """
    The turns that were taken to their end: not a last one that came too late to be run.
    """
    late = transcript.ending in {Ending.TIME, Ending.TOKENS}
    if late and transcript.turns and not transcript.turns[-1].told:
        return transcript.turns[:-1]
    return transcript.turns


def _played(turn: Turn) -> PlayedTurn:
    status = turn.observation.status.value if turn.observation else ""
    return PlayedTurn(turn.reply, turn.code, turn.told, status)


def _lines(outcome: Outcome) -> Iterator[dict[str, object]]:
    manner = outcome.manner
    yield {
        "codecage_transcript": FORMAT,
        "task": outcome.task,
        "system": manner.system,
        "wording": manner.wording.value,
        "bare": manner.bare.value,
        "max_chars": manner.max_chars,
        "cut": manner.cut.value,
    }
    for turn in outcome.turns:
        yield _turn_line(turn)
    answer = {"answer": outcome.answer} if _is_json(outcome.answer) else {}
    shown = {} if answer else {"answer_repr": _shown(outcome.answer)}
    yield {"ending": outcome.ending.value, "tokens": outcome.tokens, **answer, **shown}


def _turn_line(turn: Turn) -> dict[str, object]:
    reply = turn.reply
    line: dict[str, object] = {"turn": turn.number, "reply": reply.text, "code": turn.code}
    line |= {"told": turn.told, "cut": reply.cut, "tokens": reply.tokens}
    if (seen := turn.observation) is not None:
        line |= {"status": seen.status.value, "error": seen.error.name if seen.error else None}
        line |= {"duration": seen.duration, "denied": seen.denied, "tool_calls": seen.tool_calls}
        line |= {"audit_head": str(seen.audit_head)}
    return line


def _line(number: int, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest(f"line {number} of the transcript is no JSON object")
    return found


def _read(first: dict[str, Any], turns: list[dict[str, Any]], last: dict[str, Any]) -> Transcript:
    wording, bare = Wording(first["wording"]), BareText(first["bare"])
    # Transcripts of earlier builds have no word for it, and lost their middle.
    cut = Cut(first.get("cut", Cut.MIDDLE))
    manner = Manner(_text(first, "system"), wording, bare, int(first["max_chars"]), cut)
    answer = last["answer_repr"] if "answer_repr" in last else last["answer"]
    played = tuple(_read_turn(turn) for turn in turns)
    return Transcript(_text(first, "task"), manner, played, Ending(last["ending"]), answer)


def _read_turn(turn: Mapping[str, Any]) -> PlayedTurn:
    tokens = None if turn["tokens"] is None else int(turn["tokens"])
    reply = Reply(_text(turn, "reply"), bool(turn["cut"]), tokens)
    code = None if turn["code"] is None else _text(turn, "code")
    return PlayedTurn(reply, code, _text(turn, "told"), str(turn.get("status", "")))


def _text(line: Mapping[str, Any], name: str) -> str:
    if isinstance(text := line[name], str):
        return text
    raise TypeError(f"{name} is not a text")


def _is_json(value: object) -> bool:
    """
    Whether a value comes back from JSON as it was.
    """
    match value:
        case None | bool() | str():
            return True
        case int():
            return value.bit_length() <= _MAX_INT_BITS
        case float():
            return math.isfinite(value)
        case list():
            return all(map(_is_json, value))
        case dict():
            return all(isinstance(key, str) and _is_json(value[key]) for key in value)
        case _:
            return False


def _shown(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # it holds an integer of more digits than Python shows
        return f"<{type(value).__name__} with a number too long to be shown>"
