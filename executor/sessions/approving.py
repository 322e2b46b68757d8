"""
Questions to approvers: asked by sessions, shown to who may decide, decided once.

A question is known by a random name and by a digest of all that it shows and of where it comes
from; who decides sends both, so that nobody decides about something else than what he has seen. It
is over when somebody has decided, when its time is up, or when what it was about is no more: the
cell or its session has ended, or the policy of that name was replaced. A decision is on disk before
anything follows from it, and is used once.
"""

import asyncio
import errno
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from executor.audit.errors import AuditError
from executor.audit.record import Detail, Head
from executor.audit.session import SessionLog
from executor.errors import AuditRefuses, LimitReached
from executor.facts import Facts
from executor.kernel.approval import Ending, Question, ToolCall, Verdict
from executor.kernel.errors import ExecutorError, GuestError, Status
from policy.types import Policy

MOST_OPEN: Final = 256
"""Questions that are open at a time, of all sessions; one of each session beyond that."""
MOST_OF_SESSION: Final = 32
_MOST_WATCHERS: Final = 64
# News that a watcher has not taken; more of them end its watching.
_MOST_UNSEEN: Final = 1024


class ApprovalOver(ExecutorError):
    """
    The question is decided, expired or void, or never was: nothing can be decided about it.
    """

    def __init__(self) -> None:
        super().__init__(
            Status.NOT_FOUND,
            "APPROVAL_NOT_FOUND",
            "nothing of this name waits for an approval: it was decided, its time was up, or what "
            "it was about is no more; list what waits now",
        )


class AnotherDigest(ExecutorError):
    """
    Somebody would decide about something else than what is asked.
    """

    def __init__(self) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "APPROVAL_CHANGED",
            "what waits has another digest than the one that was sent; look at it again",
        )


@dataclass(frozen=True, slots=True)
class Approver:
    """
    Who decides: an account of the server's machine, as the kernel names a socket's other end.
    """

    name: str
    uid: int

    def __str__(self) -> str:
        return f"{self.name} (uid {self.uid})"


class Choice(Enum):
    """
    What an approver says.
    """

    APPROVE = Ending.APPROVED
    DENY = Ending.DENIED


@dataclass(frozen=True, slots=True)
class Asked:
    """
    An open question as approvers see it. Times are seconds since 1970.
    """

    name: str
    digest: str
    facts: Facts
    cell: int | None
    question: Question
    asked_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Over:
    """
    That a question is over, for who watches; `by` is the approver where one has decided.
    """

    name: str
    ending: Ending
    by: str


News = Asked | Over


@dataclass(slots=True, eq=False)
class _Open:
    """
    A question whose verdict is waited for; `head` is its record.
    """

    asked: Asked
    log: SessionLog
    head: Head
    verdict: "asyncio.Future[Verdict]"
    claimed: bool = False

    def end(self, ending: Ending, why: str, by: str = "") -> None:
        if not self.verdict.done():
            self.verdict.set_result(Verdict(ending, why, by))


@dataclass(slots=True, eq=False)
class _Watcher:
    news: "asyncio.Queue[News]" = field(default_factory=lambda: asyncio.Queue(_MOST_UNSEEN))
    behind: bool = False


class Desk:
    """
    All open questions of a server. It belongs to one event loop.
    """

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._watchers: set[_Watcher] = set()
        self._asked = 0
        self._deciding: set[asyncio.Task[Head]] = set()

    def approvals_of(self, facts: Facts, log: SessionLog) -> "SessionApprovals":
        """
        What asks here on behalf of a session.
        """
        return SessionApprovals(self, facts, log)

    def open(self) -> list[Asked]:
        """
        What waits for an approval, the oldest first.
        """
        return [one.asked for one in self._open.values()]

    async def watch(self) -> AsyncIterator[News]:
        """
        What waits now, then what is asked and what is over, as it happens. Raises LimitReached for
        one watcher too many, and for one that does not keep up.
        """
        if len(self._watchers) >= _MOST_WATCHERS:
            raise LimitReached("watchers of approvals", _MOST_WATCHERS, "end another one")
        watcher = _Watcher()
        for asked in self.open():
            watcher.news.put_nowait(asked)
        self._watchers.add(watcher)
        try:
            while True:
                if watcher.behind and watcher.news.empty():
                    raise LimitReached("unseen approvals", _MOST_UNSEEN, "watch again")
                yield await watcher.news.get()
        finally:
            self._watchers.discard(watcher)

    async def decide(self, name: str, digest: str, choice: Choice, by: Approver, why: str) -> Head:
        """
        Decide about an open question; the head of the record that says so, which is on disk.

        Raises ApprovalOver, AnotherDigest, AuditRefuses.
        """
        one = self._open.get(name)
        if one is None or one.claimed or one.verdict.done():
            raise ApprovalOver
        if not secrets.compare_digest(one.asked.digest.encode(), digest.encode()):
            raise AnotherDigest
        one.claimed = True
        # The record is written although the approver has gone, so what it says is done, too.
        deciding = asyncio.get_running_loop().create_task(_decided(one, choice, by, why))
        self._deciding.add(deciding)
        deciding.add_done_callback(self._deciding.discard)
        return await asyncio.shield(deciding)

    def void_replaced(self, policies: Mapping[str, Policy]) -> None:
        """
        Other policies are in force: what sessions ask under one that is none of them is void.
        """
        for one in self._open.values():
            policy = one.asked.facts.policy
            now = policies.get(policy.name)
            if now is None or now.digest != policy.digest:
                one.end(Ending.VOID, "the policy was replaced while it waited for an approval")

    async def wait_for(self, one: _Open) -> Verdict:
        """
        Show a question until it is over.
        """
        name = one.asked.name
        self._open[name] = one
        self._tell(one.asked)
        timer = asyncio.get_running_loop().call_later(
            one.asked.question.expires, one.end, Ending.EXPIRED, _EXPIRED
        )
        try:
            verdict = await one.verdict
        except asyncio.CancelledError:
            self._tell(Over(name, Ending.VOID, ""))
            raise
        finally:
            timer.cancel()
            del self._open[name]
        self._tell(Over(name, verdict.ending, verdict.by))
        return verdict

    @contextmanager
    def room(self, *, first: bool) -> Iterator[None]:
        """
        Room for one more question, from before its record is written. Raises GuestError where so
        many are open that nobody would see another one, unless it is a session's first: the others
        may not keep it from being asked.
        """
        if self._asked >= MOST_OPEN and not first:
            raise GuestError(
                errno.EAGAIN, f"{MOST_OPEN} approvals are waited for on this server; try later"
            )
        self._asked += 1
        try:
            yield
        finally:
            self._asked -= 1

    def _tell(self, news: News) -> None:
        for watcher in self._watchers:
            if watcher.news.full():
                watcher.behind = True
            elif not watcher.behind:
                watcher.news.put_nowait(news)


async def _decided(one: _Open, choice: Choice, by: Approver, why: str) -> Head:
    name, digest = one.asked.name, one.asked.digest
    said: Detail = (("approval", name), ("approver", str(by)), ("digest", digest))
    if why:
        said = (*said, ("reason", why))
    try:
        head = await one.log.approval_ended(one.head, choice.value.value, said, durable=True)
    except AuditError as error:
        one.claimed = False
        raise AuditRefuses from error
    if one.verdict.done():
        raise ApprovalOver  # it was voided meanwhile, which has a record of its own
    one.end(choice.value, _sentence(choice, by, name, why), str(by))
    return head


class SessionApprovals:
    """
    Asks on behalf of one session.
    """

    def __init__(self, desk: Desk, facts: Facts, log: SessionLog) -> None:
        self._desk = desk
        self._facts = facts
        self._log = log
        self._asking: set[_Open] = set()

    async def ask(self, question: Question) -> Verdict:
        """
        Wait for the answer to a question, which is in the record before anybody sees it.

        Raises GuestError where no more can be asked now, and what the audit raises.
        """
        if len(self._asking) >= MOST_OF_SESSION:
            raise GuestError(
                errno.EAGAIN, f"the session waits for {MOST_OF_SESSION} approvals already"
            )
        with self._desk.room(first=not self._asking):
            return await self._ask(question)

    async def _ask(self, question: Question) -> Verdict:
        name = secrets.token_hex(16)
        digest = digest_of(name, self._facts, question)
        detail: Detail = (
            ("approval", name),
            ("digest", digest),
            ("expires_s", round(question.expires)),
        )
        loop, now, cell = asyncio.get_running_loop(), time.time(), self._log.cell
        asked = Asked(name, digest, self._facts, cell, question, now, now + question.expires)
        one = _Open(asked, self._log, _UNWRITTEN, loop.create_future())
        # Before the record is waited for: what voids it meanwhile finds it.
        self._asking.add(one)
        try:
            rule = question.decision.rule
            one.head = await self._log.approval_asked(question.request, rule, detail)
            verdict = await self._desk.wait_for(one)
        finally:
            self._asking.discard(one)
        if verdict.ending in {Ending.EXPIRED, Ending.VOID}:
            said: Detail = (("approval", name), ("reason", verdict.why))
            await self._log.approval_ended(one.head, verdict.ending.value, said)
        return verdict

    def void(self, why: str) -> None:
        """
        Nobody waits any more for what is being asked.
        """
        for one in self._asking:
            one.end(Ending.VOID, why)


_UNWRITTEN: Final = Head(0, b"")
_EXPIRED: Final = "nobody approved it in time"


def digest_of(name: str, facts: Facts, question: Question) -> str:
    """
    SHA-256, in hex, of a question: its random name, where it comes from, and exactly what would be
    done.
    """
    shows = question.shows
    if isinstance(shows, ToolCall):
        what = ["call", shows.tool, hashlib.sha256(shows.document).hexdigest()]
    else:
        what = ["commit", shows.mount, shows.digest]
    said = json.dumps([name, facts.id, facts.policy.digest, *what], ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()


def _sentence(choice: Choice, by: Approver, name: str, why: str) -> str:
    """
    What the record of an approved act says, or the agent of one that was denied, which is not told
    of the host's accounts.
    """
    if choice is Choice.APPROVE:
        return f"{by} has approved it (approval {name})"
    return f"an approver denied it: {why}" if why else "an approver denied it"
