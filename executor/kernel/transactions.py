"""
The acts of a session on its transactions: commit, dry run and rollback.

They take the steps of every act of the gate: count, decide, record, do, record. A commit is decided
twice: whether there may be one, and then for each path of its list as if it were written now. Where
its mount has gates, they judge the list (`judging.py`) before anything is locked or staged; and
where it wants an approval, a person is shown what the gates have let pass, and just that. The
record has the list's digest before anything is changed, and what came of it afterwards.

A file that the guest still has open to write belongs to neither before nor after, so it is waited
for a moment (the kernel of a box tells of the last close when nobody waits for it), and then the
commit is refused.
"""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum
from typing import Final, TypeVar

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.listing import listing, seen
from executor.audit.record import OK, UNKNOWN, Detail, Head
from executor.kernel.approval import ChangeList, Question
from executor.kernel.approval import Verdict as Approval
from executor.kernel.docket import Docket
from executor.kernel.errors import GuestError, InternalError, WorkerFault
from executor.kernel.handles import Handles
from executor.kernel.judging import UNJUDGED, Judged, Judging
from executor.kernel.paths import HostTrees, check_path
from executor.kernel.peers import Peers
from executor.kernel.pool import Share
from executor.kernel.refusals import error_name
from executor.kernel.reply import Reply
from executor.kernel.reports import shows_whole, told
from executor.kernel.turn import Turn
from executor.transactions.changes import Change, ChangeKind, digest_of_changes
from executor.transactions.commits import Commit, Outcome, Report, conflict_report, preview
from executor.transactions.errors import Conflict
from executor.transactions.layer import Layer
from executor.transactions.verdicts import Verdict
from policy.requests import CommitRequest, FileAction, FileRequest
from policy.types import Access, Decision, FileGrant, Policy

_R = TypeVar("_R")
Approve = Callable[[Question], Awaitable[Approval]]
_PATIENCE: Final = 1.0
_LOOK_AGAIN: Final = 0.02
_ENDED: Final = "the session ended while its commit was judged"


class Verb(Enum):
    """
    What is done with a transaction; the value is the word in a worker's frame.
    """

    COMMIT = "commit"
    DRY_RUN = "dry_run"
    ROLLBACK = "rollback"


class Transactions:
    """
    The transactions of the session `asker`. By the locks of `peers` sessions wait for each other's
    commits. `approve` asks an approver, where the server lets any in.
    """

    def __init__(
        self,
        docket: Docket,
        trees: HostTrees,
        handles: Handles,
        threads: Share,
        turn: Turn,
        peers: Peers,
        approve: Approve,
        asker: str,
    ) -> None:
        self._docket = docket
        self._trees = trees
        self._handles = handles
        self._threads = threads
        self._locks = peers.locks
        self._turn = turn
        self._judging = Judging(docket, threads, peers.judges, asker)
        self._approve = None if peers.approvals is None else approve
        self._diffs = peers.diffs
        self._over = False

    def end(self) -> None:
        """
        The session's worker has ended: what is not being applied by now is not applied any more.
        """
        self._over = True
        self._judging.give_up(GuestError(errno.ECANCELED, _ENDED))

    def interrupt(self) -> None:
        """
        The cell is interrupted: what is being judged is not committed.
        """
        message = "the cell was interrupted while its commit was judged"
        self._judging.give_up(GuestError(errno.EINTR, message))

    async def answer(self, ask: frames_pb2.TransactAsk) -> Reply:
        """
        Answer the guest's ask. Raises as `do` does, and WorkerFault for a verb that is none.
        """
        try:
            verb = Verb(ask.verb)
        except ValueError as error:
            raise WorkerFault(f"the worker asked to {ask.verb!r} a transaction") from error
        mount = ask.mount or self._only_mount()
        check_path(mount)
        report = await self.do(verb, CommitRequest(mount))
        return Reply(frames_pb2.Answer(report=told(report)))

    async def do(self, verb: Verb, asked: CommitRequest) -> Report:
        """
        Commit a transaction, show what a commit would do, or drop it. Do not cancel who waits here.

        Raises GuestError: EACCES or ENOENT where it is not granted, EBUSY where a file is open to
        be written or another commit is under way; what the audit raises; and InternalError after
        the session's end.
        """
        await self._closed(asked.path)
        async with self._turn.taken(str(asked)):
            return await self._done(verb, asked)

    def _only_mount(self) -> str:
        mounts = [one.mount for one in transactions_of(self._docket.policy)]
        if len(mounts) == 1:
            return mounts[0]
        raise GuestError(errno.EINVAL, f"there are {len(mounts)} transactions: name the mount")

    async def _closed(self, mount: str) -> None:
        """
        Wait until no file below `mount` is open to be written, a second at most.
        """
        left = _PATIENCE
        while left > 0 and self._handles.written_below(mount):
            await asyncio.sleep(_LOOK_AGAIN)
            left -= _LOOK_AGAIN

    async def _done(self, verb: Verb, asked: CommitRequest) -> Report:
        await self._docket.count(asked)
        if verb is Verb.COMMIT:
            decision = self._docket.decide(asked)
            if self._approve is None or not decision.awaits_approval:
                decision = await self._docket.admitted(asked)
            return await self._weighed(self._layer(asked.path), asked, decision)
        layer = self._layer(asked.path)
        if verb is Verb.DRY_RUN:
            proposal = await self._run(layer, lambda: preview(layer))
            judged = await self._judged(layer, proposal)
            return replace(proposal, gates=judged.verdicts)
        return await self._run(layer, lambda: _emptied(layer, Outcome.ROLLED_BACK))

    async def _weighed(self, layer: Layer, asked: CommitRequest, decision: Decision) -> Report:
        """
        A commit as its mount wants it: what is staged, judged and applied is one list by its
        digest, whatever happens meanwhile.
        """
        if not (self._judging.gates(layer.mount) or decision.awaits_approval):
            return await self._commit(layer, asked, decision, None)
        proposal = await self._run(layer, lambda: preview(layer))
        await self._require_allowed(layer.mount, proposal.changes)
        if decision.awaits_approval and not proposal.changes:
            return await self._run(layer, lambda: _emptied(layer, Outcome.UNCHANGED))
        judged = await self._judged(layer, proposal)
        if judged.passed:
            if decision.awaits_approval:
                decision = await self._approved(asked, decision, proposal)
                # What was shown is what is applied, also where no gate has judged it.
                judged = replace(judged, digest=proposal.digest)
            return await self._commit(layer, asked, decision, judged)
        if decision.awaits_approval:
            # Nobody was asked, so this is what there is to say of it: the gates have refused it.
            decision = self._docket.decide(replace(asked, approved=True))
        head = await self._recorded(asked, decision, proposal.changes, judged)
        said = _said(judged.verdicts)
        self._docket.outcome([head], Outcome.GATE_FAILED.value, None, said)
        return replace(proposal, outcome=Outcome.GATE_FAILED, gates=judged.verdicts)

    async def _judged(self, layer: Layer, proposal: Report) -> Judged:
        if not proposal.changes or proposal.conflicts:
            return UNJUDGED
        try:
            judged = await self._judging.judged(layer, proposal)
        except OSError as error:
            raise GuestError.from_host(error, f"the transaction at {layer.mount}") from error
        if self._over:
            raise GuestError(errno.ECANCELED, _ENDED)
        return judged

    async def _approved(
        self, asked: CommitRequest, decision: Decision, proposal: Report
    ) -> Decision:
        """
        Have an approver look at the list of a preview; the decision that allows just that. Raises
        GuestError where nobody agrees, where what would be committed is in conflict already, and
        where its list is longer than a person is shown.
        """
        if (approve := self._approve) is None or (grant := decision.grant) is None:
            raise InternalError(f"an approval is wanted that nobody can be asked for: {asked}")
        if proposal.conflicts:
            reason = (
                f"committing {asked.path} was not done: {proposal.conflicts[0]} has changed on the "
                "host, so nobody was asked to approve it; roll back and repeat the changes"
            )
            raise await self._docket.denied(asked, replace(decision, reason=reason))
        if not shows_whole(proposal.changes):
            reason = (
                f"committing {asked.path} was not done: it changes {len(proposal.changes)} paths, "
                "more than a person is shown, so nobody was asked; commit fewer at a time"
            )
            raise await self._docket.denied(asked, replace(decision, reason=reason))
        shows = ChangeList(asked.path, proposal.digest, proposal.changes)
        verdict = await approve(Question(asked, decision, shows, grant.approval_expires))
        if not verdict.approved:
            reason = f"committing {asked.path} was not done: {verdict.why}"
            raise await self._docket.denied(asked, replace(decision, reason=reason))
        if self._over:
            raise GuestError(errno.ECANCELED, "the session ended while its commit was looked at")
        allowed = await self._docket.admitted(replace(asked, approved=True))
        return replace(allowed, reason=f"{allowed.reason}, and {verdict.why}")

    def _layer(self, mount: str) -> Layer:
        if not any(one.mount == mount for one in transactions_of(self._docket.policy)):
            raise GuestError(errno.ENOENT, f"no transaction is mounted at {mount}")
        if open_files := self._handles.written_below(mount):
            raise GuestError(
                errno.EBUSY,
                f"{open_files[0]} is open to be written; close what is open below {mount} first",
            )
        return self._trees.layer(mount)

    async def _run(self, layer: Layer, act: Callable[[], _R]) -> _R:
        try:
            return await self._threads.run(act)
        except OSError as error:
            raise GuestError.from_host(error, f"the transaction at {layer.mount}") from error

    async def _commit(
        self, layer: Layer, asked: CommitRequest, decision: Decision, judged: Judged | None
    ) -> Report:
        async with self._locks.alone(layer.base.host_path):
            commit = Commit(layer)
            try:
                await self._run(layer, lambda: _prepared(commit, layer, judged))
            except Conflict as conflict:
                head = await self._recorded(asked, decision, commit.changes, judged)
                self._docket.outcome([head], Outcome.CONFLICT.value, None)
                return conflict_report(layer, conflict, commit.changes)
            if not commit.changes:
                return await self._run(layer, lambda: _emptied(layer, Outcome.UNCHANGED))
            try:
                await self._require_allowed(asked.path, commit.changes)
                head = await self._recorded(asked, decision, commit.changes, judged)
            except BaseException:
                await self._threads.run(commit.abandon)
                raise
            report = await self._applied(commit, layer, head)
            return report if judged is None else replace(report, gates=judged.verdicts)

    async def _applied(self, commit: Commit, layer: Layer, head: Head) -> Report:
        changes, digest = commit.changes, commit.digest
        try:
            await self._run(layer, commit.apply)
        except Conflict as conflict:
            self._docket.outcome([head], Outcome.CONFLICT.value, None)
            return conflict_report(layer, conflict, changes)
        except BaseException as error:
            name = error_name(error.errno) if isinstance(error, GuestError) else UNKNOWN
            self._docket.outcome([head], name, None)
            raise
        size = sum(change.size for change in changes)
        counted: Detail = (("changes", len(changes)), ("digest", digest))
        self._docket.outcome([head], OK, size, (*counted, *_listing(changes)))
        return Report(layer.mount, Outcome.COMMITTED, changes, digest)

    async def _require_allowed(self, mount: str, changes: tuple[Change, ...]) -> None:
        for change in changes:
            for action in _actions(change):
                await self._docket.admitted(FileRequest(action, f"{mount}/{change.path}"))

    async def _recorded(
        self,
        asked: CommitRequest,
        decision: Decision,
        changes: tuple[Change, ...],
        judged: Judged | None,
    ) -> Head:
        kinds = [sum(one.kind is kind for one in changes) for kind in ChangeKind]
        counted = ", ".join(
            f"{count} {kind.value}" for count, kind in zip(kinds, ChangeKind, strict=True)
        )
        reason = f"{decision.reason}: {counted}; changes sha256 {digest_of_changes(changes)}"
        if judged is not None and judged.verdicts:
            reason = f"{reason}; {judged.summary}"
        decision = replace(decision, reason=reason)
        kept = () if self._diffs is None else await self._threads.run(self._diffs.keep, changes)
        return await self._docket.allowed(asked, decision, durable=True, detail=kept)


def _prepared(commit: Commit, layer: Layer, judged: Judged | None) -> None:
    """
    Prepare a commit that is the one that was judged, where it had to be. Raises as both do, with
    nothing left behind.
    """
    commit.prepare()
    if judged is None or not commit.changes:
        return
    try:
        judged.require_holds(layer, commit.digest)
    except BaseException:
        commit.abandon()
        raise


def _said(verdicts: tuple[Verdict, ...]) -> tuple[tuple[str, str], ...]:
    """
    The beginning of what each gate wrote, for the record; its digest stands in the decision.
    """
    return tuple((f"gate.{one.gate}", one.message[:_MOST_SAID]) for one in verdicts)


_MOST_SAID: Final = 1000


def transactions_of(policy: Policy) -> list[FileGrant]:
    """
    The grants of a policy that are transactions.
    """
    return [grant for grant in policy.filesystem if grant.access is Access.TRANSACTION]


def _listing(changes: tuple[Change, ...]) -> Detail:
    return listing(
        seen(
            one.kind.value,
            one.path,
            directory=one.directory,
            size=one.size,
            before=one.before,
            after=one.after,
        )
        for one in changes
    )


def _emptied(layer: Layer, outcome: Outcome) -> Report:
    layer.drop()
    return Report(layer.mount, outcome)


def _actions(change: Change) -> tuple[FileAction, ...]:
    """
    What a change is, in the words of the policy.
    """
    match change.kind, change.directory:
        case ChangeKind.DELETED, True:
            return (FileAction.REMOVE_DIRECTORY,)
        case ChangeKind.DELETED, False:
            return (FileAction.REMOVE,)
        case ChangeKind.ADDED, True:
            return (FileAction.MAKE_DIRECTORY,)
        case ChangeKind.ADDED, False:
            return (FileAction.WRITE, FileAction.CREATE)
        case _:
            return (FileAction.WRITE,)
