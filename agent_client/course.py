"""
The course of a loop, turn by turn, without anything that waits: `loop.py` asks the model and runs
the cells, in both of its faces, and this says what comes next.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from agent_client.errors import InvalidRequest
from agent_client.extraction import Answer, BareText, Code, Problem, Reply, checked_reply, extract
from agent_client.observation import DEFAULT_MAX_CHARS, MIN_MAX_CHARS, Cut, Observation
from agent_client.wording import Wording, worded, worded_text

Messages: TypeAlias = list[dict[str, str]]
Clock: TypeAlias = Callable[[], float]
# An endpoint refuses a message without text, also one that its own model gave.
_NO_TEXT = "[no text]"
_BLANK = "[the output is blank]"


class Ending(StrEnum):
    """
    Why a loop ended: with an answer (the first two), or at a limit, or without a session.
    """

    FINAL_ANSWER = "final_answer"
    ANSWER = "answer"
    TURNS = "turns"
    TIME = "time"
    TOKENS = "tokens"
    SESSION_LOST = "session_lost"


@dataclass(frozen=True, slots=True)
class LoopLimits:
    """
    How far a loop may go: `turns` replies of the model, `seconds` in all, `tokens` in all (for
    models that count them), `cell_seconds` for each cell. None is no limit of the loop's own; the
    policy's hold in any case. The time does not interrupt a plain function that is a model: give it
    a timeout of its own.
    """

    turns: int = 10
    seconds: float | None = 600.0
    tokens: int | None = None
    cell_seconds: float | None = None

    def __post_init__(self) -> None:
        """
        Raise InvalidRequest for a limit that lets nothing happen.
        """
        for name in ("turns", "seconds", "tokens", "cell_seconds"):
            limit = getattr(self, name)
            # Written so that a NaN, which is neither more nor less, is refused.
            if limit is not None and not limit > 0:
                raise InvalidRequest(f"{name} is {limit}; it has to be more than 0")


@dataclass(frozen=True, slots=True)
class Manner:
    """
    How a loop speaks: what the model is told first, in whose words, in how many characters, and
    what a longer text loses.
    """

    system: str
    wording: Wording = Wording.PLAIN
    bare: BareText = BareText.ANSWER
    max_chars: int = DEFAULT_MAX_CHARS
    cut: Cut = Cut.MIDDLE

    def __post_init__(self) -> None:
        """
        Raise InvalidRequest for a text that would be marks alone.
        """
        if self.max_chars < MIN_MAX_CHARS:
            raise InvalidRequest(f"max_chars is {self.max_chars}; {MIN_MAX_CHARS} or more")


@dataclass(frozen=True, slots=True)
class Turn:
    """
    One reply of the model and what came of it.

    `code` is what was run, None where nothing was; `told` is the next message to the model, empty
    where a text was the end; `observation` is what the cell gave.
    """

    number: int
    reply: Reply
    code: str | None
    told: str
    observation: Observation | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How a loop ended. `answer` is the value of `final_answer`, or a text, None without an answer.
    """

    task: str
    manner: Manner
    ending: Ending
    answer: object
    turns: tuple[Turn, ...]
    tokens: int | None = None

    @property
    def answered(self) -> bool:
        """
        Whether the model gave an answer, right or wrong.
        """
        return self.ending in {Ending.FINAL_ANSWER, Ending.ANSWER}

    @property
    def messages(self) -> Messages:
        """
        The whole conversation, as a model would be given it.
        """
        return conversation(self.task, self.manner, self.turns)


def conversation(task: str, manner: Manner, turns: tuple[Turn, ...]) -> Messages:
    """
    What a model has been told and has said so far, in the form of chat messages.
    """
    said = [("system", manner.system)] if manner.system else []
    said.append(("user", task))
    for turn in turns:
        said.append(("assistant", turn.reply.text if turn.reply.text.strip() else _NO_TEXT))
        if turn.told:
            said.append(("user", turn.told))
    return [{"role": role, "content": _encodable(text)} for role, text in said]


def _encodable(text: str) -> str:
    """
    A text that every endpoint can read: a lone surrogate, which a cell's error may have, stands as
    its escape.
    """
    return text.encode(errors="backslashreplace").decode()


class Course:
    """
    One run of a loop. `heard` takes a reply and gives code to run, and `observed` what it did.
    """

    def __init__(self, task: str, manner: Manner, limits: LoopLimits, clock: Clock) -> None:
        self._task = task
        self._manner = manner
        self._limits = limits
        self._clock = clock
        self._begun = clock()
        self._turns: list[Turn] = []
        self._tokens: int | None = None
        self._ending: Ending | None = None
        self._answer: object = None
        self._pending: tuple[Reply, Code] | None = None

    def goes_on(self) -> bool:
        """
        Whether the model is to be asked once more.
        """
        if self._ending is None:
            self._ending = self._limit_reached()
        return self._ending is None

    def messages(self) -> Messages:
        """
        The conversation so far; it is the caller's, who may change it.
        """
        return conversation(self._task, self._manner, tuple(self._turns))

    def heard(self, given: object) -> str | None:
        """
        Take the model's reply, and give the code to run, if it asks for that and may still.

        Raises InvalidRequest for what is no reply, and for one that does not say its tokens where
        they are limited.
        """
        reply = checked_reply(given)
        self._count(reply)
        match extract(reply, self._manner.bare):
            case Answer(text):
                self._end(Ending.ANSWER, text)
                self._add(reply, None, "", None)
            case Problem(text):
                self._add(reply, None, self._words(text), None)
            case Code() as code:
                if reached := self._too_late():
                    self._end(reached, None)
                    self._add(reply, None, "", None)
                else:
                    self._pending = (reply, code)
                    return code.text
        return None

    def cell_seconds(self) -> float | None:
        """
        What the next cell may take: the loop's limit of a cell, or what is left of its time.
        """
        own, left = self._limits.cell_seconds, self.seconds_left()
        limits = [limit for limit in (own, left) if limit is not None]
        return min(limits) if limits else None

    def seconds_left(self) -> float | None:
        """
        What is left of the loop's time, None where it has no end.
        """
        if self._limits.seconds is None:
            return None
        # Never 0: a cell or a call that was decided on gets a moment.
        return max(0.05, self._limits.seconds - (self._clock() - self._begun))

    def observed(self, observation: Observation) -> Turn:
        """
        Take what the code did.
        """
        reply, code = self._taken()
        if observation.is_final:
            self._end(Ending.FINAL_ANSWER, observation.final)
        elif observation.session_lost:
            self._end(Ending.SESSION_LOST, None)
        manner = self._manner
        told = worded(observation, manner.wording, manner.max_chars, self._left() - 1, manner.cut)
        told = f"{told}\n{code.note}" if code.note else told
        return self._add(reply, code.text, told if told.strip() else _BLANK, observation)

    def refused(self, reason: str) -> Turn:
        """
        Tell the model why its code was not taken.
        """
        reply, _ = self._taken()
        return self._add(reply, None, self._words(f"Nothing was run: {reason}"), None)

    def timed_out(self) -> None:
        """
        End, since the time was over while the model was asked.
        """
        self._end(Ending.TIME, None)

    def last(self) -> Turn:
        """
        The latest turn.
        """
        return self._turns[-1]

    def outcome(self) -> Outcome:
        """
        How it ended.
        """
        assert self._ending is not None, "the loop has not ended"
        turns = tuple(self._turns)
        return Outcome(self._task, self._manner, self._ending, self._answer, turns, self._tokens)

    def _limit_reached(self) -> Ending | None:
        return Ending.TURNS if self._left() <= 0 else self._too_late()

    def _too_late(self) -> Ending | None:
        """
        A limit after which nothing more is run: the answer to it could not be given.
        """
        if self._over():
            return Ending.TIME
        return Ending.TOKENS if self._overspent() else None

    def _left(self) -> int:
        return self._limits.turns - len(self._turns)

    def _over(self) -> bool:
        limit = self._limits.seconds
        return limit is not None and self._clock() - self._begun >= limit

    def _overspent(self) -> bool:
        limit = self._limits.tokens
        return limit is not None and (self._tokens or 0) >= limit

    def _count(self, reply: Reply) -> None:
        if reply.tokens is not None:
            self._tokens = (self._tokens or 0) + reply.tokens
        elif self._limits.tokens is not None:
            raise InvalidRequest(
                f"tokens are limited to {self._limits.tokens}, and the model does not say what it "
                "used; let it return a Reply with tokens, or leave the limit out"
            )

    def _words(self, text: str) -> str:
        return worded_text(text, self._manner.wording, self._left() - 1)

    def _taken(self) -> tuple[Reply, Code]:
        assert self._pending is not None, "no code is pending"
        taken, self._pending = self._pending, None
        return taken

    def _end(self, ending: Ending, answer: object) -> None:
        self._ending, self._answer = ending, answer

    def _add(
        self, reply: Reply, code: str | None, told: str, observation: Observation | None
    ) -> Turn:
        turn = Turn(len(self._turns) + 1, reply, code, told, observation)
        self._turns.append(turn)
        return turn
