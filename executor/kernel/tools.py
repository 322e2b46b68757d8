"""
The client's functions, as the guest calls them: each call is decoded, bound, counted, decided,
recorded, and only then told to the client, whose result goes back as it came.

The guest has one ask open, so it either waits for a call (`call`), or begins several and collects
what has ended (`collect`). Who performs is the client that runs the cell: it is told of a call by
an event, and `take` brings its result. Neither side is believed: a number that is not waited for is
refused, results are bounded in size, one by one and together, and whatever ends the waiting (an
interrupt, the end of the cell, a client that has gone) ends it here, without either's help.

A call is on disk before its client hears of it: nobody knows what a function does, or could undo
it. Where the policy says that a tool only reads, its calls are written down before, and not waited
for at the disk. After an interrupt a cell calls nothing more.
"""

import asyncio
import errno
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.errors import AuditError
from executor.audit.record import OK, Head
from executor.kernel.approval import MOST_SHOWN, Approvals, Question, ToolCall, Verdict
from executor.kernel.calling import Calling, Outcome, Performs, Unexpected
from executor.kernel.docket import Docket
from executor.kernel.errors import GuestError, InternalError, WorkerFault
from executor.kernel.refusals import answer_to, error_name
from executor.kernel.reply import Reply
from executor.kernel.toolbind import Misfit, bound, shown, signature_of
from executor.kernel.tooling import (
    LONGEST_NAME,
    MOST_ARGUMENTS,
    MOST_AT_ONCE,
    MOST_HELD,
    MOST_RESULT,
    Tool,
)
from policy.requests import REDACTED, ToolRequest, tool_request
from policy.types import Decision, Effect

# What of a worker's asks is answered here.
TOOL_ASKS: Final = frozenset({"call", "collect", "rest"})
CHUNK: Final = 2**20
_PATIENCE: Final = 1.0
# Calls that nobody waits for any more, and whose results may still be on their way.
_CANCELLED_KEPT: Final = 1024


@dataclass(slots=True, eq=False)
class _Pending:
    """
    A call that the client has been told of, or, as long as `head` is None, one that an approver is
    being asked about by the task `asking`. `digest` is what the record has of its arguments.
    """

    calling: Calling
    head: Head | None
    digest: str
    outcome: "asyncio.Future[Outcome]"
    asking: "asyncio.Task[None] | None" = None


class Tools:
    """
    The tools of one session, on the event loop of `docket`. Without `approvals` nobody can be asked
    for one.
    """

    def __init__(
        self, docket: Docket, tools: tuple[Tool, ...], approvals: Approvals | None = None
    ) -> None:
        self._docket = docket
        self._approvals = approvals
        self._asking: set[asyncio.Task[None]] = set()
        self._signatures = {tool.name: signature_of(tool) for tool in tools}
        self._earlier: Counter[str] = Counter()
        self._performer: Performs | None = None
        # Why nobody performs calls; empty where somebody does.
        self._absent = _GONE
        self._stopped = False
        self._last = 0
        self._pending: dict[int, _Pending] = {}
        self._cancelled: dict[int, None] = {}
        self._ended: dict[int, Outcome] = {}
        self._reading = b""
        self._changed = asyncio.Event()

    # ---- the session's side ----------------------------------------------------------------------

    def begin_cell(self, performer: Performs, *, answers: bool) -> None:
        """
        A cell begins; `answers` says whether its client performs calls.
        """
        self._performer, self._stopped = performer, False
        self._absent = "" if answers else _NOBODY

    def stop(self) -> None:
        """
        The cell is interrupted: nothing is waited for, and it calls nothing more.
        """
        self._stopped = True
        self._give_up(Outcome(errno=errno.EINTR, reason="the cell was interrupted"))
        self._changed.set()

    def gone(self) -> None:
        """
        The client performs no more calls in this cell.
        """
        self._absent = _GONE
        self._give_up(Outcome(errno=errno.ECONNRESET, reason=_GONE))

    def end_cell(self) -> None:
        """
        The cell is over, and nobody may perform for it.
        """
        self._give_up(Outcome(errno=errno.ECANCELED, reason="the cell that called has ended"))
        self._performer = None
        self._changed.set()

    def take(self, number: int, outcome: Outcome) -> None:
        """
        The client's result of a call. Raises Unexpected.
        """
        if number in self._cancelled:
            del self._cancelled[number]
            return
        pending = self._pending.get(number)
        if pending is None or pending.head is None:
            raise Unexpected(f"no call {number} waits for its result")
        self._end(pending, outcome)

    def expects(self, number: int) -> bool:
        """
        Whether a result of this number would be taken, if only to be dropped.
        """
        pending = self._pending.get(number)
        return number in self._cancelled or (pending is not None and pending.head is not None)

    async def settled(self) -> None:
        """
        After `end_cell`: wait until the record has the end of every question to an approver.
        """
        if self._asking:
            await asyncio.wait(self._asking)

    # ---- the guest's side ------------------------------------------------------------------------

    async def answer(self, kind: str, ask: frames_pb2.Ask) -> Reply:
        """
        Answer one of TOOL_ASKS. Raises GuestError, AuditError, WorkerFault.
        """
        if kind == "call":
            called = await self._call(ask.call)
        elif kind == "collect":
            called = await self._collect(ask.collect / 1000)
        else:
            called = self._rest(ask.rest)
        return Reply(frames_pb2.Answer(called=called))

    async def _call(self, asked: frames_pb2.CallAsk) -> frames_pb2.Called:
        if len(asked.arguments) > MOST_ARGUMENTS:
            raise WorkerFault(f"a call with {len(asked.arguments)} bytes of arguments")
        request = await self._bound(asked.name[: LONGEST_NAME + 1], asked.arguments)
        await self._docket.count(request)
        if (approvals := self._approvals) and self._docket.decide(request).awaits_approval:
            pending = self._put(approvals, request, asked)
        else:
            decision = await self._docket.admitted(request)
            self._require_performer()
            # Counted before it is done, so that no way round the record gives one for nothing.
            self._earlier[request.tool] += 1
            head = await self._docket.allowed(request, decision, durable=not _reads(decision))
            pending = await self._begun(request, asked, head)
        if asked.begin:
            return frames_pb2.Called(call=pending.calling.number)
        if pending.asking is not None:
            with _held(self._performer):
                waited_for: set[asyncio.Future[Any]] = {pending.asking, pending.outcome}
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        outcome = await pending.outcome
        return self._told(pending.calling.number, outcome)

    async def ask(self, question: Question) -> Verdict:
        """
        Ask an approver about something else than a call, with the clock of the cell that runs, if
        one does, standing still. Raises as `Approvals.ask` does.
        """
        if self._approvals is None:
            raise InternalError("nobody can be asked for an approval")
        if self._performer is not None and self._stopped:
            raise GuestError(errno.EINTR, "the cell was interrupted")
        with _held(self._performer):
            return await self._approvals.ask(question)

    async def _bound(self, name: str, data: bytes) -> ToolRequest:
        """
        The request of a call. Raises GuestError, recorded, for one that no tool of the session
        could take.
        """
        signature = self._signatures.get(name)
        if signature is None:
            why = "the session has no tool of this name: its client gives them when it opens it"
            raise await self._misfit(tool_request(name, {}), why)
        try:
            arguments = bound(signature, data)
        except Misfit as error:
            raise await self._misfit(tool_request(name, {}), str(error)) from None
        earlier = self._earlier[name]
        return tool_request(name, arguments, open_ended=signature.open_ended, earlier=earlier)

    async def _misfit(self, request: ToolRequest, why: str) -> GuestError:
        await self._docket.count(request)
        reason = f"calling {request.tool[:LONGEST_NAME]!r} is denied: {why}"
        decision = Decision(False, self._docket.policy.rule("tools"), reason)
        return await self._docket.denied(request, decision)

    def _require_performer(self) -> Performs:
        if self._stopped:
            raise GuestError(errno.EINTR, "the cell was interrupted")
        if self._performer is None or self._absent:
            raise GuestError(errno.ECONNREFUSED, self._absent or _GONE)
        if len(self._pending) + len(self._ended) >= MOST_AT_ONCE:
            raise GuestError(
                errno.EAGAIN, f"{MOST_AT_ONCE} calls are under way; await one of them first"
            )
        return self._performer

    async def _begun(self, request: ToolRequest, asked: frames_pb2.CallAsk, head: Head) -> _Pending:
        try:
            performer = self._require_performer()  # again: writing the record took a while
        except GuestError as error:
            self._docket.outcome([head], error_name(error.errno), None)
            raise
        self._docket.counts.tool_calls += 1
        pending = self._added(request, asked, head)
        await performer.perform(pending.calling)
        return pending

    def _added(
        self, request: ToolRequest, asked: frames_pb2.CallAsk, head: Head | None
    ) -> _Pending:
        self._last += 1
        calling = Calling(self._last, request.tool, asked.arguments, asked.begin)
        waiting = asyncio.get_running_loop().create_future()
        digest = self._digest(request, asked.arguments)
        pending = self._pending[calling.number] = _Pending(calling, head, digest, waiting)
        return pending

    # ---- what an approver is asked ---------------------------------------------------------------

    def _put(
        self, approvals: Approvals, request: ToolRequest, asked: frames_pb2.CallAsk
    ) -> _Pending:
        """
        Have an approver asked about a call, and the call made if one agrees.
        """
        self._require_performer()
        if len(asked.arguments) > MOST_SHOWN:
            reason = f"arguments that a person has to approve are {MOST_SHOWN:,} bytes at most"
            raise GuestError(errno.EMSGSIZE, reason)
        # Counted as a call, whatever the answer is: nobody is asked without end.
        self._earlier[request.tool] += 1
        pending = self._added(request, asked, None)
        task = asyncio.get_running_loop().create_task(self._ask(approvals, request, pending))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        pending.asking = task
        return pending

    async def _ask(self, approvals: Approvals, request: ToolRequest, pending: _Pending) -> None:
        # What the guest is told of a fault that is raised: it does not wait for ever.
        refused: Outcome | None = Outcome(errno=errno.EIO, reason="a fault in the server")
        try:
            refused = await self._approved(approvals, request, pending)
        except (GuestError, AuditError) as error:
            answer = answer_to(error)
            refused = Outcome(errno=answer.errno, reason=answer.reason)
        finally:
            if refused is not None and pending.calling.number in self._pending:
                self._end(pending, refused)
            self._changed.set()

    async def _approved(
        self, approvals: Approvals, request: ToolRequest, pending: _Pending
    ) -> Outcome | None:
        """
        Ask, and have the call made; None where its outcome comes from elsewhere. Raises GuestError
        and AuditError where it is not made.
        """
        decision, calling = self._docket.decide(request), pending.calling
        if calling.number not in self._pending:
            return None  # given up before anybody was asked, and nothing would end the question
        if (grant := decision.tool) is None:
            raise InternalError(f"an approval is wanted for no tool: {request}")
        call = ToolCall(
            grant.name, shown(self._signatures[grant.name], calling.arguments), calling.arguments
        )
        question = Question(request, decision, call, grant.approval_expires)
        verdict = await approvals.ask(question)
        if calling.number not in self._pending:
            return None  # it has been given up meanwhile, and the guest has heard so
        if not verdict.approved:
            denied = replace(decision, reason=f"calling {grant.name} was not done: {verdict.why}")
            raise await self._docket.denied(request, denied)
        # Decided once more: what the session has done meanwhile may have taken the right away.
        request = replace(request, approved=True)
        decision = await self._docket.admitted(request)
        decision = replace(decision, reason=f"{decision.reason}, and {verdict.why}")
        head = await self._docket.allowed(request, decision, durable=not _reads(decision))
        if calling.number not in self._pending or self._performer is None:
            self._docket.outcome([head], error_name(errno.ECANCELED), None)
            return Outcome(errno=errno.ECANCELED, reason="the cell that called has ended")
        pending.head = head
        self._docket.counts.tool_calls += 1
        await self._performer.perform(calling)
        return None

    def _digest(self, request: ToolRequest, arguments: bytes) -> str:
        """
        What the record has of the arguments as they came: no digest where one of them is not to be
        told, as a short value could be guessed by it.
        """
        if self._docket.redaction.hidden_arguments(request):
            return REDACTED
        return hashlib.sha256(arguments).hexdigest()

    async def _collect(self, patience: float) -> frames_pb2.Called:
        await self._held_until_ended(min(patience, _PATIENCE))
        if self._stopped:
            self._ended.clear()
            raise GuestError(errno.EINTR, "the cell was interrupted")
        if self._ended:
            number = next(iter(self._ended))
            return self._told(number, self._ended.pop(number))
        if not self._beside():
            raise GuestError(errno.ECANCELED, "no call is under way")
        return frames_pb2.Called()

    async def _held_until_ended(self, patience: float) -> None:
        """
        Wait until a call has ended; with the cell's clock standing still as long as approvers are
        all that is waited for.
        """
        held = self._waits_for_approvers()
        with _held(self._performer if held else None):
            await self._until(
                lambda: (
                    bool(self._ended)
                    or self._stopped
                    or not self._beside()
                    or held is not self._waits_for_approvers()
                ),
                patience,
            )

    def _waits_for_approvers(self) -> bool:
        under_way = self._pending.values()
        return bool(under_way) and all(one.head is None for one in under_way)

    def _rest(self, offset: int) -> frames_pb2.Called:
        if not 0 < offset < len(self._reading):
            raise WorkerFault(f"byte {offset} of a result was asked for")
        data = self._reading[offset : offset + CHUNK]
        if offset + len(data) == len(self._reading):
            self._reading = b""
        return frames_pb2.Called(data=data)

    def _told(self, number: int, outcome: Outcome) -> frames_pb2.Called:
        data = outcome.data
        self._reading = data if len(data) > CHUNK else b""
        return frames_pb2.Called(
            call=number,
            done=True,
            failed=outcome.failed,
            data=data[:CHUNK],
            size=len(data),
            errno=outcome.errno,
            reason=outcome.reason,
        )

    # ---- the end of a call -----------------------------------------------------------------------

    def _end(self, pending: _Pending, outcome: Outcome) -> None:
        calling = pending.calling
        del self._pending[calling.number]
        outcome = self._recorded(pending, self._bounded(outcome))
        if calling.beside:
            self._ended[calling.number] = outcome
        pending.outcome.set_result(outcome)
        self._changed.set()

    def _bounded(self, outcome: Outcome) -> Outcome:
        if len(outcome.data) > MOST_RESULT:
            reason = f"the result has more than {MOST_RESULT:,} bytes; return less, or use a file"
            return Outcome(errno=errno.EMSGSIZE, reason=reason)
        held = sum(len(one.data) for one in self._ended.values())
        if held + len(outcome.data) > MOST_HELD:
            reason = f"results of {MOST_HELD:,} bytes wait to be awaited, and no more are kept"
            return Outcome(errno=errno.ENOBUFS, reason=reason)
        return outcome

    def _recorded(self, pending: _Pending, outcome: Outcome) -> Outcome:
        if pending.head is None:
            return outcome  # it was not allowed, which the record has
        name = error_name(outcome.errno) if outcome.errno else OK
        detail = (
            ("arguments", pending.digest),
            ("arguments_size", len(pending.calling.arguments)),
            ("call", pending.calling.number),
            ("raised", int(outcome.failed)),
        )
        try:
            self._docket.outcome([pending.head], name, len(outcome.data), detail)
        except AuditError:
            # What was done is done; its result is not told where the record has no place for it.
            return Outcome(errno=errno.EIO, reason="the audit record cannot be written now")
        return outcome

    def _give_up(self, outcome: Outcome) -> None:
        for pending in [*self._pending.values()]:
            if pending.head is not None:
                self._cancel(pending.calling.number)
            self._end(pending, outcome)
        if self._approvals is not None:
            self._approvals.void(outcome.reason)

    def _cancel(self, number: int) -> None:
        self._cancelled[number] = None
        if len(self._cancelled) > _CANCELLED_KEPT:
            del self._cancelled[next(iter(self._cancelled))]
        if self._performer is not None:
            self._performer.cancel(number)

    def _beside(self) -> bool:
        return any(one.calling.beside for one in self._pending.values())

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not done():
                    self._changed.clear()  # the guest has one ask open: nobody else waits
                    await self._changed.wait()
        except TimeoutError:
            return


@contextmanager
def _held(performer: Performs | None) -> Iterator[None]:
    """
    While the guest waits for a person, the clock of its cell, if one runs, stands still.
    """
    if performer is None:
        yield
        return
    performer.hold()
    try:
        yield
    finally:
        performer.go_on()


def _reads(decision: Decision) -> bool:
    return decision.tool is not None and decision.tool.effect is Effect.READ


_GONE: Final = (
    "the client that performs the session's tools has gone; what it was doing may have been done"
)
_NOBODY: Final = (
    "the client that runs this cell performs no tools: run it from the session that was opened "
    "with them"
)
