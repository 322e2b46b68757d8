"""
One session's part of the record, within its budget.

A guest can ask, and be refused, a million times. Each refusal up to the budget is a record; those
beyond are refused all the same, counted by kind, and told in one `dropped` record at the end of
the cell. An act that the policy allows is different: it must not happen unrecorded, so beyond the
budget it is refused too. Else a flood of denied opens would buy a hole in the record.
"""

from collections import Counter
from typing import Any, Protocol

from executor.audit.errors import AuditBudgetSpent, AuditError, AuditUnavailable
from executor.audit.record import Answer, Detail, Draft, Event, Head, Origin
from executor.audit.redact import withheld
from executor.audit.store import MAX_NOTES_WAITING, MAX_WAITING
from policy.redaction import NO_REDACTION, Redaction
from policy.requests import Request, kind_of
from policy.types import Decision, Rule


class Appends(Protocol):
    """
    What takes a session's records: the store, or what looks on for the session's sake.
    """

    async def append(self, draft: Draft, *, durable: bool = False) -> Head:
        """
        As `AuditStore.append`.
        """
        ...

    def append_at_once(self, draft: Draft) -> Head | None:
        """
        As `AuditStore.append_at_once`.
        """
        ...

    def append_nowait(self, draft: Draft, *, most: int = MAX_WAITING) -> None:
        """
        As `AuditStore.append_nowait`.
        """
        ...


class SessionLog:
    """
    Writes the records of one session; it belongs to the store's event loop.

    `budget` (records, at least 0) is for what the guest or its worker can cause at will:
    decisions and notes. The start and end of cells and of the session are always recorded, and
    so is the outcome of every recorded decision. `redaction` names what is left out.
    """

    def __init__(
        self,
        store: Appends,
        session: str,
        policy_digest: str,
        budget: int,
        redaction: Redaction = NO_REDACTION,
    ) -> None:
        self.redaction = redaction
        self._store = store
        self._session = session
        self._policy_digest = policy_digest
        self._left = budget
        self._cell: int | None = None
        self._dropped: Counter[str] = Counter()
        self._created: Head | None = None
        self._started: Head | None = None

    @property
    def cell(self) -> int | None:
        """
        The number of the cell that runs.
        """
        return self._cell

    @property
    def session(self) -> str:
        """
        The session's identity.
        """
        return self._session

    @property
    def left(self) -> int:
        """
        How many more decisions and notes can be recorded one by one.
        """
        return self._left

    async def create(self, policy: str, detail: Detail = ()) -> Head:
        """
        Record that the session exists, under the policy of this name.
        """
        detail = (("policy", policy), *detail)
        self._created = await self._store.append(self._draft(Event.SESSION_CREATE, detail=detail))
        return self._created

    async def cell_start(self, cell: int, code_digest: bytes, size: int) -> Head:
        """
        Record that cell number `cell` (from 1) begins, with the SHA-256 and length of its code.
        """
        draft = self._draft(Event.CELL_START, cell=cell, digest=code_digest, size=size)
        self._started = await self._store.append(draft)
        self._cell = cell
        return self._started

    def cell_start_at_once(self, cell: int, code_digest: bytes, size: int) -> Head | None:
        """
        The same without waiting; None where it has to be waited for, and nothing was written.
        """
        draft = self._draft(Event.CELL_START, cell=cell, digest=code_digest, size=size)
        if (head := self._store.append_at_once(draft)) is not None:
            self._started, self._cell = head, cell
        return head

    async def decision(
        self,
        request: Request,
        decision: Decision,
        *,
        durable: bool = False,
        origin: Origin = Origin.BROKER,
        detail: Detail = (),
    ) -> Head | None:
        """
        Record a decision before it takes effect; `durable` for effects that cannot be undone.
        `detail` is what there is to tell of the request besides.

        Returns the record's head, which the outcome refers to, or None for a denial beyond the
        budget. Raises AuditBudgetSpent for an allowed act beyond the budget: it is refused and
        counted as such. Raises AuditUnavailable when it was not written: the act is refused.
        """
        if self._left <= 0:
            self._drop(request, decision)
            return None
        self._left -= 1
        return await self._store.append(
            self._draft(
                Event.DECISION,
                origin=origin,
                request=self.redaction.request_text(request),
                answer=Answer.ALLOW if decision.allowed else Answer.DENY,
                rule=decision.rule.name,
                rule_place=_place(decision.rule),
                detail=(*_said(decision), *detail),
            ),
            durable=durable,
        )

    def refused(self, request: Request) -> None:
        """
        Count a request that was refused without being decided, for its session has made too many:
        one record has told why, and the `dropped` record tells how many of each kind followed.
        """
        self._dropped[f"deny {kind_of(request)}"] += 1

    async def approval_asked(self, request: Request, rule: Rule, detail: Detail) -> Head:
        """
        Record that an approver is asked, before one can see it. Raises AuditBudgetSpent beyond the
        budget, and AuditUnavailable: then nobody is asked.
        """
        if self._left <= 0:
            self._dropped[f"refused {kind_of(request)}"] += 1
            raise AuditBudgetSpent("the session's audit budget is used up: nobody can be asked")
        self._left -= 1
        draft = self._draft(
            Event.APPROVAL,
            request=self.redaction.request_text(request),
            outcome="asked",
            rule=rule.name,
            rule_place=_place(rule),
            detail=detail,
        )
        return await self._store.append(draft)

    async def approval_ended(
        self, asked: Head, ending: str, detail: Detail, *, durable: bool = False
    ) -> Head:
        """
        Record how the wait for an approval ended; `durable` where something follows from it.
        """
        draft = self._draft(Event.APPROVAL, refers=asked.sequence, outcome=ending, detail=detail)
        return await self._store.append(draft, durable=durable)

    async def outcome(
        self,
        of: Head,
        outcome: str,
        *,
        size: int | None = None,
        digest: bytes | None = None,
        detail: Detail = (),
        durable: bool = False,
    ) -> Head:
        """
        Record what came of an allowed act: `ok` or an errno's name, and the bytes moved.
        """
        return await self._store.append(
            self._outcome(of, outcome, size=size, digest=digest, detail=detail),
            durable=durable,
        )

    def outcome_nowait(
        self,
        of: Head,
        outcome: str,
        *,
        size: int | None = None,
        digest: bytes | None = None,
        detail: Detail = (),
    ) -> None:
        """
        The same for an outcome that nobody waits for; a later awaited record is behind it.
        """
        self._store.append_nowait(
            self._outcome(of, outcome, size=size, digest=digest, detail=detail)
        )

    async def file_rpc(
        self,
        request: str,
        outcome: str,
        *,
        size: int | None = None,
        digest: bytes | None = None,
        durable: bool = False,
    ) -> Head:
        """
        Record what the client itself did to the session's files (`put /work/a.csv`).
        """
        draft = self._draft(
            Event.FILE_RPC, request=request, outcome=outcome, size=size, digest=digest
        )
        return await self._store.append(draft, durable=durable)

    def note(self, detail: Detail, origin: Origin = Origin.WORKER) -> None:
        """
        Queue what the worker says of itself, or the supervisor of what the kernel has refused it.

        Beyond the budget, while the store fails, or while 1,024 records wait, it is only counted:
        a suspect's word is not worth refusing anything for, nor anybody else's place in the queue.
        """
        kind = Event.WORKER_NOTE
        if self._left <= 0:
            self._dropped[kind.value] += 1
            return
        try:
            draft = self._draft(kind, origin=origin, detail=detail)
            self._store.append_nowait(draft, most=MAX_NOTES_WAITING)
        except AuditUnavailable:
            self._dropped[kind.value] += 1
            return
        self._left -= 1

    async def worker_lost(self, outcome: str, detail: Detail = ()) -> Head:
        """
        Record that the session's worker ended without being asked to.
        """
        return await self._store.append(
            self._draft(Event.WORKER_LOST, outcome=outcome, detail=detail)
        )

    async def cell_end(self, outcome: str, detail: Detail = ()) -> Head:
        """
        Record how the cell ended, after the summary of what was dropped in it.
        """
        await self._summarise()
        head = await self._store.append(
            self._draft(
                Event.CELL_END, outcome=outcome, detail=detail, refers=_sequence(self._started)
            )
        )
        self._cell = None
        self._started = None
        return head

    async def end(self, outcome: str, detail: Detail = ()) -> Head:
        """
        Record that the session is over; its ordinal seals the number of its records.
        """
        await self._summarise()
        return await self._store.append(
            self._draft(
                Event.SESSION_END, outcome=outcome, detail=detail, refers=_sequence(self._created)
            )
        )

    def _draft(self, event: Event, *, cell: int | None = None, **fields: Any) -> Draft:
        draft = Draft(
            event=event,
            session=self._session,
            cell=cell or self._cell,
            policy_digest=self._policy_digest,
            **fields,
        )
        return withheld(draft, self.redaction)

    def _outcome(self, of: Head, outcome: str, **fields: Any) -> Draft:
        return self._draft(
            Event.OUTCOME, origin=Origin.BROKER, refers=of.sequence, outcome=outcome, **fields
        )

    def _drop(self, request: Request, decision: Decision) -> None:
        """
        Count a decision that has no record; the kinds are ours and few, never the guest's words.
        """
        kind = kind_of(request)
        if not decision.allowed:
            self._dropped[f"deny {kind}"] += 1
            return
        self._dropped[f"refused {kind}"] += 1
        raise AuditBudgetSpent(
            f"{request}: the policy allows it, but the session's audit budget is used up and "
            "nothing happens unrecorded; raise limits.requests, or start a new session"
        )

    async def _summarise(self) -> None:
        """
        Write the `dropped` record; what could not be written stays counted for the next one.
        """
        dropped, self._dropped = self._dropped, Counter()
        if not dropped:
            return
        detail = tuple(sorted(dropped.items()))
        try:
            await self._store.append(self._draft(Event.DROPPED, detail=detail))
        except AuditError:
            self._dropped.update(dropped)
            raise


def _sequence(head: Head | None) -> int | None:
    return None if head is None else head.sequence


def _said(decision: Decision) -> Detail:
    """
    The decision's reason, and where only audit mode allows it the rule that denies it.
    """
    said: Detail = (("reason", decision.reason),)
    if decision.would_deny is None:
        return said
    return (*said, ("would_deny", decision.would_deny.name))


def _place(rule: Rule) -> str:
    """
    `file:line`, or for what no line of the file grants or denies the file and the rule's name.
    """
    return f"{rule.file}:{rule.line or rule.name}"
