"""
What one session asks for and what its policy says to that: counted, decided, recorded.

Files and the network go through the same few steps here, in the same words: count the request,
decide it, write down a denial or, before anything is done, that it is allowed; and what came of
it afterwards. Nothing here acts.
"""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from executor.audit.record import OK, Detail, Head
from executor.audit.session import SessionLog
from executor.kernel.errors import GuestError, InternalError
from executor.kernel.refusals import refusal
from executor.kernel.standing import Standing
from policy.redaction import Redaction
from policy.requests import Request, kind_of
from policy.types import Decision, Policy

# A path of a program has a few components, and nothing that the kernel is told of one lasts.
LOOKUPS_A_REQUEST: Final = 16
# What is recorded only where it is denied.
_LOOKS: Final = frozenset({"stat", "list", "resolve", "dial"})
_MOST_LOOKED: Final = 10_000


@dataclass(slots=True)
class Counts:
    """
    What was asked of the gate since the session began: requests, of which kinds, the kernel's
    lookups on its way to them, and what was denied; connections that were granted, HTTP requests
    that were passed on, and the bytes that the network brokers have told of so far; calls of tools
    that were passed on to the client.
    """

    requests: int = 0
    lookups: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    denied: int = 0
    connections: int = 0
    exchanges: int = 0
    sent: int = 0
    received: int = 0
    tool_calls: int = 0

    def copy(self) -> "Counts":
        """
        What they are now, for later.
        """
        return replace(self, kinds=self.kinds.copy())

    def kinds_since(self, before: "Counts") -> Mapping[str, int]:
        """
        The requests by kind, those `before` left out.
        """
        then = before.kinds
        return {
            kind: count - then.get(kind, 0)
            for kind, count in self.kinds.items()
            if count != then.get(kind)
        }


class Docket:
    """
    The requests of one session. It belongs to the event loop of `log`.
    """

    def __init__(self, standing: Standing, log: SessionLog) -> None:
        self.counts = Counts()
        self._standing = standing
        self._log = log
        self._looked: set[Request] = set()

    @property
    def policy(self) -> Policy:
        """
        The session's policy.
        """
        return self._standing.policy

    @property
    def redaction(self) -> Redaction:
        """
        What the record leaves out, by its names.
        """
        return self._log.redaction

    def decide(self, request: Request) -> Decision:
        """
        What the policy says; nothing is counted or recorded.
        """
        return self._standing.decide(request)

    async def count(self, request: Request) -> None:
        """
        Count a request that names something; what is done with what is open is not one.

        Raises GuestError (EDQUOT) beyond `limits.requests`.
        """
        counts, kind = self.counts, kind_of(request)
        counts.requests += 1
        counts.kinds[kind] = counts.kinds.get(kind, 0) + 1
        limit = self.policy.limits.requests
        if counts.requests > limit:
            reason = f"the session has made the {limit} requests that its policy allows"
            raise await self._spent(request, reason, first=counts.requests == limit + 1)

    async def count_lookup(self, request: Request) -> None:
        """
        Count a name that the kernel looks up on its way to what the guest wants: a request for
        each component of each path, of which a wasm guest makes none.

        Raises GuestError (EDQUOT) beyond 16 times `limits.requests`.
        """
        self.counts.lookups += 1
        limit = LOOKUPS_A_REQUEST * self.policy.limits.requests
        if self.counts.lookups > limit:
            reason = (
                f"the session has looked up {limit} names, {LOOKUPS_A_REQUEST} for each request"
            )
            raise await self._spent(request, reason, first=self.counts.lookups == limit + 1)

    async def _spent(self, request: Request, reason: str, *, first: bool) -> GuestError:
        decision = Decision(False, self.policy.rule("limits.requests"), reason)
        if first:  # one record tells why, and the cell's last one how many more there were
            return await self.denied(request, decision, errno.EDQUOT)
        self._log.refused(request)
        return _refused(decision, self.policy, errno.EDQUOT)

    async def denied(
        self, request: Request, decision: Decision, number: int | None = None
    ) -> GuestError:
        """
        Record a denial; the error for the guest, with the errno `number` where that is not what
        the decision itself comes to.
        """
        self.counts.denied += 1
        await self._log.decision(request, decision)
        return _refused(decision, self.policy, number)

    async def allowed(
        self, request: Request, decision: Decision, *, durable: bool = False, detail: Detail = ()
    ) -> Head:
        """
        Record that a request is allowed, before it takes effect; `durable` where that cannot be
        undone, with `detail` besides. The record, which the outcome refers to.

        Raises AuditBudgetSpent or AuditUnavailable: then it must not be done.
        """
        head = await self._log.decision(request, decision, durable=durable, detail=detail)
        if head is None:
            raise InternalError(f"an allowed act has no record: {request}")
        self.observe(request)
        return head

    def observe(self, request: Request) -> None:
        """
        What is granted may take rights away, which are gone before anything else happens.
        """
        self._standing.observe(request)

    async def admitted(self, request: Request) -> Decision:
        """
        The decision for a request that the policy allows. Raises GuestError, recorded, for
        another.
        """
        if not (decision := self.decide(request)).allowed:
            raise await self.denied(request, decision)
        if decision.would_deny is not None and kind_of(request) in _LOOKS:
            await self._relaxed(request, decision)
        return decision

    async def _relaxed(self, request: Request, decision: Decision) -> None:
        """
        Record a look that only audit mode allows, the first time: others are not recorded where
        they are allowed, and this is what audit mode is for.
        """
        if request not in self._looked and len(self._looked) < _MOST_LOOKED:
            self._looked.add(request)
            self.outcome([await self.allowed(request, decision)], OK, None)

    def outcome(
        self, heads: Sequence[Head], outcome: str, size: int | None, detail: Detail = ()
    ) -> None:
        """
        Record what came of allowed acts. Raises AuditUnavailable.
        """
        for head in heads:
            self._log.outcome_nowait(head, outcome, size=size, detail=detail)


def _refused(decision: Decision, policy: Policy, number: int | None) -> GuestError:
    error = refusal(decision, policy.name)
    return error if number is None else GuestError(number, error.message, decision)
