"""
The acts of a session on its transactions: commit, dry run and rollback.

They take the steps of every act of the gate: count, decide, record, do, record. A commit is decided
twice: whether there may be one, and then for each path of its list as if it were written now. The
record has the list's digest before anything is changed, and what came of it afterwards.

A file that the guest still has open to write belongs to neither before nor after, so it is waited
for a moment (the kernel of a box tells of the last close when nobody waits for it), and then the
commit is refused.
"""

import asyncio
import errno
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import Final, TypeVar

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.record import OK, UNKNOWN, Head
from executor.kernel.committing import MountLocks
from executor.kernel.docket import Docket
from executor.kernel.errors import GuestError, WorkerFault
from executor.kernel.handles import Handles
from executor.kernel.paths import HostTrees, check_path
from executor.kernel.pool import Share
from executor.kernel.refusals import error_name
from executor.kernel.reply import Reply
from executor.kernel.reports import told
from executor.kernel.turn import Turn
from executor.transactions.changes import Change, ChangeKind
from executor.transactions.commits import Commit, Outcome, Report, conflict_report, preview
from executor.transactions.errors import Conflict
from executor.transactions.layer import Layer
from policy.requests import CommitRequest, FileAction, FileRequest
from policy.types import Access, Decision, FileGrant, Policy

_R = TypeVar("_R")
_PATIENCE: Final = 1.0
_LOOK_AGAIN: Final = 0.02


class Verb(Enum):
    """
    What is done with a transaction; the value is the word in a worker's frame.
    """

    COMMIT = "commit"
    DRY_RUN = "dry_run"
    ROLLBACK = "rollback"


class Transactions:
    """
    The transactions of one session. By `locks`, the server's, its sessions wait for one another's
    commits.
    """

    def __init__(
        self,
        docket: Docket,
        trees: HostTrees,
        handles: Handles,
        threads: Share,
        locks: MountLocks,
        turn: Turn,
    ) -> None:
        self._docket = docket
        self._trees = trees
        self._handles = handles
        self._threads = threads
        self._locks = locks
        self._turn = turn

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
            decision = await self._docket.admitted(asked)
            return await self._commit(self._layer(asked.path), asked, decision)
        layer = self._layer(asked.path)
        if verb is Verb.DRY_RUN:
            return await self._run(layer, lambda: preview(layer))
        return await self._run(layer, lambda: _emptied(layer, Outcome.ROLLED_BACK))

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

    async def _commit(self, layer: Layer, asked: CommitRequest, decision: Decision) -> Report:
        async with self._locks.alone(layer.base.host_path):
            commit = Commit(layer)
            try:
                await self._run(layer, commit.prepare)
            except Conflict as conflict:
                head = await self._recorded(asked, decision, commit)
                self._docket.outcome([head], Outcome.CONFLICT.value, None)
                return conflict_report(layer, conflict, commit.changes)
            if not commit.changes:
                return await self._run(layer, lambda: _emptied(layer, Outcome.UNCHANGED))
            try:
                await self._require_allowed(asked.path, commit.changes)
                head = await self._recorded(asked, decision, commit)
            except BaseException:
                await self._threads.run(commit.abandon)
                raise
            return await self._applied(commit, layer, head)

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
        self._docket.outcome([head], OK, size, (("changes", len(changes)), ("digest", digest)))
        return Report(layer.mount, Outcome.COMMITTED, changes, digest)

    async def _require_allowed(self, mount: str, changes: tuple[Change, ...]) -> None:
        for change in changes:
            for action in _actions(change):
                await self._docket.admitted(FileRequest(action, f"{mount}/{change.path}"))

    async def _recorded(self, asked: CommitRequest, decision: Decision, commit: Commit) -> Head:
        kinds = [sum(one.kind is kind for one in commit.changes) for kind in ChangeKind]
        counted = ", ".join(
            f"{count} {kind.value}" for count, kind in zip(kinds, ChangeKind, strict=True)
        )
        reason = f"{decision.reason}: {counted}; changes sha256 {commit.digest}"
        return await self._docket.allowed(asked, replace(decision, reason=reason), durable=True)


def transactions_of(policy: Policy) -> list[FileGrant]:
    """
    The grants of a policy that are transactions.
    """
    return [grant for grant in policy.filesystem if grant.access is Access.TRANSACTION]


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
