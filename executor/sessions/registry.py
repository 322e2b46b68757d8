"""
All sessions of the server: how one is made, found and ended.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from executor.audit.errors import AuditError
from executor.audit.record import OK, Answer, Draft, Event, Head
from executor.audit.session import Appends, SessionLog
from executor.audit.store import AuditStore
from executor.choice import ImageNotAllowed, require_room
from executor.errors import (
    AuditRefuses,
    CageUnavailable,
    Draining,
    LimitReached,
    PolicyNotFound,
    SessionNotFound,
    WorkerGone,
)
from executor.facts import Facts, begin_frame, creation_detail, is_captured, new_facts
from executor.gating.runs import Gatekeeper
from executor.holding import CageMissing, is_boxed, require_held, require_kept
from executor.kernel.cage import Attached, Attaches, Cage, Caged
from executor.kernel.committing import MountLocks
from executor.kernel.errors import InternalError
from executor.kernel.gate import Gate
from executor.kernel.orders import BoxOrder
from executor.kernel.paths import HostTrees
from executor.kernel.peers import KeepsDiffs, Peers
from executor.kernel.pool import FilePool, Share
from executor.kernel.standing import Standing, Taints, reach_of
from executor.kernel.tooling import NOTHING, Given
from executor.kernel.way import Way
from executor.linux.errors import MechanismError
from executor.sessions.running import Stop
from executor.sessions.session import Session
from policy.cages import cage_of
from policy.decide import compile_policy, decide
from policy.redaction import Redaction
from policy.relaxing import prepared
from policy.requests import FORK, FileAction, FileRequest, ImageRequest, ProcessRequest, Request
from policy.types import Decision, Policy

if TYPE_CHECKING:
    from executor.children.brokers import Brokers
    from executor.sessions.approving import Desk
    from executor.sessions.capturing import Begun, Captures

_R = TypeVar("_R")
_LOG = logging.getLogger(__name__)
DEFAULT_POLICY: Final = "calculator"


@dataclass(frozen=True, slots=True)
class Served:
    """
    What sessions are made from: policies by name, the record, the cage, the threads for files,
    how many sessions there may be at a time, and the network brokers. Without these no session
    can be made under a policy that grants connections. `attaches` serve boxes from outside.
    `changes` is the directory in which transactions keep what they change. `desk` is where
    approvers are asked, where any can come. Without `captures` no session can be made under a
    policy whose sessions are captured.
    """

    policies: Mapping[str, Policy]
    store: AuditStore
    cage: Cage
    files: FilePool
    most_sessions: int = 256
    brokers: "Brokers | None" = None
    attaches: tuple[Attaches, ...] = ()
    changes: str | None = None
    desk: "Desk | None" = None
    captures: "Captures | None" = None


class Sessions:
    """
    The sessions that exist, by identity.
    """

    def __init__(self, served: Served) -> None:
        self._served = served
        self._policies = served.policies
        self._taints = Taints()
        self._sessions: dict[str, Session] = {}
        self._taken: Counter[str] = Counter()
        self._draining = False
        self._locks = MountLocks()
        self._gates: set[Session] = set()
        self._gatekeeper = Gatekeeper(self)
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def policies(self) -> Mapping[str, Policy]:
        """
        The policies that sessions can be created under, by name.
        """
        return self._policies

    def replace_policies(self, policies: Mapping[str, Policy]) -> None:
        """
        Sessions are created under these from now on; those that exist keep what they have, but for
        approvals that they wait for under a policy that is replaced.
        """
        self._policies = policies
        if (desk := self._served.desk) is not None:
            desk.void_replaced(policies)

    async def create(
        self, policy: str, labels: Mapping[str, str], image: str = "", given: Given = NOTHING
    ) -> Session:
        """
        Make a session under the policy of this name, with this image or the policy's first, and
        with what its client gives it.

        Raises PolicyNotFound, ImageNotAllowed, ImageNotBuilt, ImageTooLarge, LimitReached,
        Draining, CageUnavailable, AuditRefuses, what `holding.py` has where the process cage
        cannot hold the session as its policy says, and SourceUnavailable for a granted directory
        that cannot be held. A caller who is cancelled leaves a session that ends when its idle
        time is over.
        """
        found = self._policies.get(policy or DEFAULT_POLICY)
        if found is None:
            raise PolicyNotFound(policy)
        self.require_serving()
        chosen = await self._choose(found, image or found.image, labels)
        self._require_room(found)
        self._taken[found.name] += 1
        making = self._in_background(self._make(found, chosen, labels, given))
        return await asyncio.shield(making)

    @asynccontextmanager
    async def gate_session(
        self, policy: Policy, labels: Mapping[str, str]
    ) -> AsyncIterator[Session]:
        """
        A session of a gate, which no client sees, for as long as the block lasts. Raises as
        `create` does.
        """
        self.require_serving()
        self._taken[policy.name] += 1
        session = await self._make(policy, policy.image, labels, NOTHING, own=True)
        try:
            if self._draining:
                raise Draining
            yield session
        finally:
            self._gates.discard(session)
            self._taken[policy.name] -= 1
            with suppress(SessionNotFound):  # the server is stopping, and was quicker
                await asyncio.shield(self._in_background(session.close("the gate is over")))

    def get(self, identity: str) -> Session:
        """
        The session of this identity. Raises SessionNotFound.
        """
        session = self._sessions.get(identity)
        if session is None:
            raise SessionNotFound
        return session

    def list(self) -> list[Session]:
        """
        All sessions, the oldest first.
        """
        return [*self._sessions.values()]

    async def close(self, identity: str, why: str) -> Head:
        """
        End a session; its identity means nothing from now on. Raises SessionNotFound.
        """
        session = self.get(identity)
        del self._sessions[identity]
        try:
            return await asyncio.shield(self._in_background(session.close(why)))
        finally:
            self._taken[session.facts.policy.name] -= 1

    async def drain(self, grace: float, hurry: "asyncio.Future[Any]") -> None:
        """
        Take no more work, let running cells go on for `grace` seconds or until `hurry` is done,
        interrupt those that still run, and close every session.
        """
        self._draining = True
        cells = asyncio.gather(*(one.wait_for_cell() for one in self.list()))
        await asyncio.wait({cells, hurry}, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        for session in (*self.list(), *self._gates):
            session.interrupt(Stop.DRAIN)
        await cells
        await asyncio.gather(*(self.close(one.facts.id, "server stopped") for one in self.list()))
        if self._tasks:
            await asyncio.wait(self._tasks)

    def require_serving(self) -> None:
        """
        Raises Draining when the server takes no new work.
        """
        if self._draining:
            raise Draining

    async def _choose(self, policy: Policy, image: str, labels: Mapping[str, str]) -> str:
        """
        The image itself where the policy has it. Raises ImageNotAllowed, and AuditRefuses where
        the denial cannot be recorded.
        """
        decision = decide(policy, ImageRequest(image))
        if decision.allowed:
            require_kept(policy, image)
            return image
        try:
            await self._served.store.append(_denial(policy, image, decision, labels))
        except AuditError as error:
            raise AuditRefuses from error
        raise ImageNotAllowed(policy, image, decision.reason)

    def _require_room(self, policy: Policy) -> None:
        self.require_serving()
        most = self._served.most_sessions
        if sum(self._taken.values()) >= most:
            raise LimitReached("sessions of the server", most, "close one, or try again later")
        if self._taken[policy.name] >= (most := policy.limits.sessions):
            raise LimitReached("limits.sessions", most, "close one, or try again later")

    async def _make(
        self,
        policy: Policy,
        image: str,
        labels: Mapping[str, str],
        given: Given,
        *,
        own: bool = False,
    ) -> Session:
        asked_ns = time.monotonic_ns()
        share = self._served.files.share(policy.name)
        with ExitStack() as undo:
            undo.callback(self._free_place, policy)
            ready = prepared(policy)
            if (way := self._join(ready)) is not None:
                undo.callback(way.leave, ())
            # What opens nothing needs no thread.
            opens = any(grant.source is not None for grant in ready.filesystem)
            trees = HostTrees(())
            if opens:
                trees = await share.run(HostTrees, ready.filesystem, self._served.changes)
            undo.callback(trees.close)
            order = await self._order(policy, image, share if opens else None)
            worker = await self._take(policy, image, order)
            undo.callback(worker.drop)
            if order is None:  # what a box shares with its zygote is not counted as its own
                require_room(policy, image, worker.boot_memory)
            facts = new_facts(policy, image, labels, order, given)
            store: Appends = self._served.store
            diffs: KeepsDiffs | None = None
            if is_captured(policy):
                begun = self._capture(facts, worker)
                undo.callback(begun.abandon)
                facts, worker, store = begun.facts, begun.worker, begun.store
                diffs = begun.diffs
            log = SessionLog(
                store,
                facts.id,
                policy.digest,
                policy.limits.requests,
                Redaction(policy.audit.redact),
            )
            standing = Standing(compile_policy(policy))
            desk = self._served.desk
            approvals = None if desk is None else desk.approvals_of(facts, log)
            peers = Peers(self._locks, approvals, self._gatekeeper, facts.captured, diffs)
            gate = Gate(standing, trees, log, share, way, cage_of(image), given.tools, peers)
            if policy.after:
                self._taints.join(standing, await share.run(reach_of, policy))
            session = await self._begin(facts, worker, gate, log, asked_ns, own=own)
            undo.pop_all()
            return session

    def _free_place(self, policy: Policy) -> None:
        self._taken[policy.name] -= 1

    def _capture(self, facts: Facts, worker: Caged) -> "Begun":
        if self._served.captures is None:
            raise InternalError(f"policy {facts.policy.name} is captured; nothing does that here")
        try:
            return self._served.captures.begin(facts, worker, self._served.store)
        except OSError as error:
            _LOG.error("no session can be captured: %s", error)
            raise AuditRefuses from error

    async def _take(self, policy: Policy, image: str, order: BoxOrder | None) -> Caged:
        """
        A worker that is held as the policy insists. Raises IsolationTooWeak.
        """
        cage = self._served.cage
        try:
            worker = await cage.take(image, order)
        except CageMissing:
            # Made was none; what the machine does have says more than what it has not.
            require_held(policy, cage.holding(image))
            raise
        try:
            require_held(policy, worker.holding)
        except BaseException:
            worker.drop()
            raise
        return worker

    async def _order(self, policy: Policy, image: str, share: Share | None) -> BoxOrder | None:
        if not is_boxed(image):
            return None
        from executor.children.ordering import order_of  # noqa: PLC0415 - with what only boxes need

        return order_of(policy) if share is None else await share.run(order_of, policy)

    def _join(self, policy: Policy) -> Way | None:
        if not policy.network:
            return None
        if self._served.brokers is None:
            raise InternalError(f"policy {policy.name} grants connections; nothing makes them here")
        return self._served.brokers.join(policy)

    async def _begin(
        self,
        facts: Facts,
        worker: Caged,
        gate: Gate,
        log: SessionLog,
        asked_ns: int,
        *,
        own: bool,
    ) -> Session:
        took = ("start_us", (time.monotonic_ns() - asked_ns) // 1000)
        try:
            await log.create(facts.policy.name, (*creation_detail(facts, worker), took))
        except AuditError as error:
            raise AuditRefuses from error
        async with AsyncExitStack() as undo:
            try:
                attached = await self._attach(facts, worker, gate, log, undo)
                worker.limit_memory(facts.policy.limits.memory)
                await worker.channel.send(begin_frame(facts))
            except BaseException as error:
                await log.end("its worker could not begin")
                raise _unable(error) from error
            undo.pop_all()
        store, identity = self._served.store, facts.id
        session = Session(facts, worker, gate, log, store, lambda: self._expire(identity), attached)
        if own:
            self._gates.add(session)
        else:
            self._sessions[identity] = session
        return session

    async def _attach(
        self, facts: Facts, worker: Caged, gate: Gate, log: SessionLog, undo: AsyncExitStack
    ) -> tuple[Attached, ...]:
        """
        Have a box served from outside, and record what it lets be done without asking.
        """
        if (ends := worker.take_ends()) is None:
            return ()
        attached: tuple[Attached, ...] = ()
        try:
            if facts.order is not None:
                await _record_unasked(facts.policy, facts.order, log)
            for attaches in self._served.attaches:
                one = await attaches.attach(facts.id, ends, gate, log)
                if one is not None:
                    undo.push_async_callback(one.close)
                    attached = (*attached, one)
        finally:
            ends.close()
        return attached

    def _expire(self, identity: str) -> None:
        if identity in self._sessions:
            self._in_background(self.close(identity, "idle timeout"))

    def _in_background(self, work: Coroutine[Any, Any, _R]) -> asyncio.Task[_R]:
        # The set keeps the task alive: the loop itself holds only weak references.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _unable(error: BaseException) -> BaseException:
    """
    What a client is told of a worker that could not begin.
    """
    if isinstance(error, (WorkerGone, MechanismError)):
        return CageUnavailable(str(error))
    return AuditRefuses() if isinstance(error, AuditError) else error


async def _record_unasked(policy: Policy, order: BoxOrder, log: SessionLog) -> None:
    """
    Record the one decision that each thing is which the box's kernel lets be done by itself: what
    is read in a mount that it shows, programs and children that are started.
    """
    for tree in order.shown:
        request = FileRequest(FileAction.READ, tree.mount)
        await _record_whole(policy, request, "shown whole: what is read beneath it is", log)
    started = (*order.programs, *((FORK,) if order.fork else ()))
    for program in started:
        await _record_whole(policy, ProcessRequest(program), "each time that it is done is", log)


async def _record_whole(policy: Policy, request: Request, what: str, log: SessionLog) -> None:
    decision = decide(policy, request)
    if not decision.allowed:
        raise InternalError(f"a box lets the guest {request}, and that is denied")
    reason = f"{decision.reason}; {what} not recorded one by one"
    durable = isinstance(request, ProcessRequest)
    head = await log.decision(request, replace(decision, reason=reason), durable=durable)
    if head is not None:
        log.outcome_nowait(head, OK)


def _denial(policy: Policy, image: str, decision: Decision, labels: Mapping[str, str]) -> Draft:
    """
    The record of a session that was not made, and therefore has no identity.
    """
    return Draft(
        event=Event.DECISION,
        request=str(ImageRequest(image)),
        answer=Answer.DENY,
        rule=decision.rule.name,
        rule_place=f"{decision.rule.file}:{decision.rule.line or decision.rule.name}",
        policy_digest=policy.digest,
        detail=(
            ("labels", json.dumps(Redaction(policy.audit.redact).values(labels), sort_keys=True)),
            ("policy", policy.name),
            ("reason", decision.reason),
        ),
    )
