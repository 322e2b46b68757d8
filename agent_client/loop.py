"""
The loop of an agent that acts by code: ask the model, run what it wrote, tell it what came of it.

    loop = CodeActLoop(model, session)
    print(loop.run("What is the 10th Fibonacci number?").answer)

`model` is any callable from chat messages to the reply's text. What a reply asks for is decided in
`extraction.py`, what comes next in `course.py`; here is what waits.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeAlias, TypeVar, cast

from agent_client.course import Clock, Course, LoopLimits, Manner, Messages, Outcome, Turn
from agent_client.errors import InvalidRequest
from agent_client.extraction import BareText, Reply
from agent_client.observation import DEFAULT_MAX_CHARS, Cut, Observation
from agent_client.wording import Wording

Model: TypeAlias = Callable[[Messages], str | Reply]
AsyncModel: TypeAlias = Callable[[Messages], Awaitable[str | Reply]]
OnTurn: TypeAlias = Callable[[Turn], object]
_Asked = TypeVar("_Asked")
_Running = TypeVar("_Running")
# The server's word for a cell that is too long to be taken: the model's fault, who can mend it.
_TOO_LONG = "CODE_TOO_LONG"

INSTRUCTIONS = """\
You solve tasks by writing Python, which is run for you in a session that keeps its variables and \
files from one step to the next.
To run code, write it between <execute> and </execute> and end your reply there; what it printed, \
the value of its last expression and its errors are your next message.
Work in small steps, look at the results, and mend what fails. What the session's policy does not \
allow raises an exception that says so: do not try it again, find another way.
When you are done, give your answer between <solution> and </solution>, in a reply without code."""

INSTRUCTIONS_FOR_CALLS = """\
You solve tasks by writing Python, which the tool `python` runs for you in a session that keeps \
its variables and files from one call to the next.
Work in small steps, one call at a time, look at the results, and mend what fails. What the \
session's policy does not allow raises an exception that says so: do not try it again, find \
another way.
When you are done, give your answer between <solution> and </solution>, without a call."""
"""What to say to a model that is offered the tool (`calls=True`)."""


class Runs(Protocol):
    """
    What a loop needs of a session: `Session`, or something that wraps one.
    """

    def run(self, code: str, *, timeout: float | None, max_chars: int) -> Observation:
        """
        Run Python and wait for its end.
        """


class AsyncRuns(Protocol):
    """
    What an asyncio loop needs of a session: `AsyncSession`, or something that wraps one.
    """

    async def run(self, code: str, *, timeout: float | None, max_chars: int) -> Observation:  # noqa: ASYNC109 - measured by the server
        """
        Run Python and wait for its end.
        """


class _Loop(Generic[_Asked, _Running]):
    """
    What both faces know.
    """

    def __init__(
        self,
        model: _Asked,
        session: _Running,
        *,
        system: str = INSTRUCTIONS,
        limits: LoopLimits | None = None,
        wording: Wording = Wording.PLAIN,
        bare: BareText = BareText.ANSWER,
        max_chars: int = DEFAULT_MAX_CHARS,
        cut: Cut = Cut.MIDDLE,
        on_turn: OnTurn | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._model = model
        self._session = session
        self._manner = Manner(system, Wording(wording), BareText(bare), max_chars, Cut(cut))
        self._limits = limits or LoopLimits()
        self._on_turn = on_turn
        self._clock = clock

    def _begin(self, task: str) -> Course:
        return Course(task, self._manner, self._limits, self._clock)

    def _tell(self, turn: Turn) -> None:
        if self._on_turn is not None:
            self._on_turn(turn)


class CodeActLoop(_Loop[Model, Runs]):
    """
    A model and a session at work on a task.

    `system` is the first message, `limits` how far it may go, `wording` whose words a model is told
    results in, `bare` what a reply without code is, `max_chars` (500 or more) the most characters
    of a result and `cut` what a longer one loses, and `on_turn` is called with each Turn as it is
    over.
    """

    def run(self, task: str) -> Outcome:
        """
        Work on a task until there is an answer, or a limit is reached.

        What the model raises, and errors of the session such as CellRunning, leave this call; the
        turns before have been given to `on_turn`. A session that is lost by a cell is an ending.
        """
        course = self._begin(task)
        while course.goes_on():
            code = course.heard(self._model(course.messages()))
            if code is not None:
                self._execute(course, code)
            self._tell(course.last())
        return course.outcome()

    def _execute(self, course: Course, code: str) -> None:
        seconds = course.cell_seconds()
        try:
            seen = self._session.run(code, timeout=seconds, max_chars=self._manner.max_chars)
        except InvalidRequest as error:
            if error.reason != _TOO_LONG:
                raise
            course.refused(str(error))
        else:
            course.observed(seen)


class AsyncCodeActLoop(_Loop[AsyncModel | Model, AsyncRuns]):
    """
    `CodeActLoop` for asyncio: the model is a coroutine function, or a plain one, which is called in
    a thread. The loop's time limit interrupts a coroutine.
    """

    async def run(self, task: str) -> Outcome:
        """
        Work on a task; see `CodeActLoop.run`. Cancelling this interrupts the cell.
        """
        course = self._begin(task)
        while course.goes_on():
            try:
                async with asyncio.timeout(course.seconds_left()) as patience:
                    reply = await self._ask(course.messages())
            except TimeoutError:
                if not patience.expired():
                    raise  # the model's own
                course.timed_out()
                break
            code = course.heard(reply)
            if code is not None:
                await self._execute(course, code)
            self._tell(course.last())
        return course.outcome()

    async def _ask(self, messages: Messages) -> str | Reply:
        if inspect.iscoroutinefunction(self._model) or inspect.iscoroutinefunction(
            getattr(self._model, "__call__", None)  # noqa: B004 - an object may be a model
        ):
            return await cast("AsyncModel", self._model)(messages)
        given = await asyncio.to_thread(self._model, messages)
        return await given if inspect.isawaitable(given) else given

    async def _execute(self, course: Course, code: str) -> None:
        seconds = course.cell_seconds()
        try:
            seen = await self._session.run(code, timeout=seconds, max_chars=self._manner.max_chars)
        except InvalidRequest as error:
            if error.reason != _TOO_LONG:
                raise
            course.refused(str(error))
        else:
            course.observed(seen)
