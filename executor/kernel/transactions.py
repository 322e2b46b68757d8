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
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from typing import Final

from executor.audit.record import OK, UNKNOWN, Head
from executor.kernel.committing import MountLocks
from executor.kernel.docket import Docket
from executor.kernel.errors import GuestError
from executor.kernel.handles import Handles
from executor.kernel.paths import HostTrees
from executor.kernel.pool import Share
from executor.kernel.refusals import error_name
from executor.transactions.changes import Change, ChangeKind
from executor.transactions.commits import (
    Commit,
    Outcome,
    Report,
    conflict_report,
    preview,
)
from executor.transactions.errors import Conflict
from executor.transactions.layer import Layer
from policy.requests import CommitRequest, FileAction, FileRequest
from policy.types import Access, Decision

_Act = Callable[[], Report]
_PATIENCE: Final = 1.0
_LOOK_AGAIN: Final = 0.02
_MOST_TOLD: Final = 1000
# JSON may take six characters for one, and a frame has a megabyte for all.
_MOST_TEXT: Final = 96 * 1024
_MOST_CONFLICTS: Final = 16 * 1024


class Verb(Enum):
    """
    What is done with a transaction; the value is the word in a worker's frame.
    """

    COMMIT = "commit"
    DRY_RUN = "dry_run"
    ROLLBACK = "rollback"


class Transactions:
    """
    The transactions of one session.
    """

    def __init__(
        self,
        docket: Docket,
        trees: HostTrees,
        handles: Handles,
        threads: Share,
        locks: MountLocks,
    ) -> None:
        self._docket = docket
        self._trees = trees
        self._handles = handles
        self._threads = threads
        self._locks = locks

    async def closed(self, mount: str) -> None:
        """
        Wait until no file below `mount` is open to be written, a second at most.
        """
        left = _PATIENCE
        while left > 0 and self._handles.written_below(mount):
            await asyncio.sleep(_LOOK_AGAIN)
            left -= _LOOK_AGAIN

    async def do(self, verb: Verb, asked: CommitRequest) -> Report:
        """
        Do it; the caller lets nothing else of the session happen meanwhile.

        Raises GuestError: EACCES or ENOENT where it is not granted, EBUSY where a file is open to
        be written or another commit is under way; and what the audit raises.
        """
        await self._docket.count(asked)
        if verb is Verb.COMMIT:
            decision = await self._docket.admitted(asked)
            return await self._commit(self._layer(asked.path), asked, decision)
        layer = self._layer(asked.path)
        if verb is Verb.DRY_RUN:
            return await self._run_checked(layer, lambda: preview(layer))
        return await self._run_checked(layer, lambda: _rolled_back(layer))

    def _layer(self, mount: str) -> Layer:
        grants = self._docket.policy.filesystem
        if any(one.mount == mount and one.access is Access.TRANSACTION for one in grants):
            self._require_closed(mount)
            return self._trees.layer(mount)
        raise GuestError(errno.ENOENT, f"no transaction is mounted at {mount}")

    def _require_closed(self, mount: str) -> None:
        if open_files := self._handles.written_below(mount):
            raise GuestError(
                errno.EBUSY,
                f"{open_files[0]} is open to be written; close what is open below {mount} first",
            )

    async def _run_checked(self, layer: Layer, act: _Act) -> Report:
        try:
            return await self._threads.run(act)
        except OSError as error:
            raise GuestError.from_host(error, f"the transaction at {layer.mount}") from error

    async def _commit(self, layer: Layer, asked: CommitRequest, decision: Decision) -> Report:
        async with self._locks.alone(self._trees.source(asked.path)):
            commit = Commit(layer)
            try:
                await self._prepared(commit, layer)
            except Conflict as conflict:
                head = await self._recorded(asked, decision, commit)
                self._docket.outcome([head], Outcome.CONFLICT.value, None)
                return conflict_report(layer, conflict, commit.changes)
            if not commit.changes:
                return await self._run_checked(layer, lambda: _nothing_to_do(layer))
            try:
                await self._require_allowed(asked.path, commit.changes)
                head = await self._recorded(asked, decision, commit)
            except BaseException:
                await self._threads.run(commit.abandon)
                raise
            return await self._applied(commit, layer, head)

    async def _prepared(self, commit: Commit, layer: Layer) -> None:
        try:
            await self._threads.run(commit.prepare)
        except OSError as error:
            raise GuestError.from_host(error, f"commit {layer.mount}") from error

    async def _applied(self, commit: Commit, layer: Layer, head: Head) -> Report:
        changes, digest = commit.changes, commit.digest
        try:
            await self._threads.run(commit.apply)
        except Conflict as conflict:
            self._docket.outcome([head], Outcome.CONFLICT.value, None)
            return conflict_report(layer, conflict, changes)
        except OSError as error:
            told = GuestError.from_host(error, f"commit {layer.mount}")
            self._docket.outcome([head], error_name(told.errno), None)
            raise told from error
        except BaseException:
            self._docket.outcome([head], UNKNOWN, None)
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
        told = ", ".join(
            f"{count} {kind.value}" for count, kind in zip(kinds, ChangeKind, strict=True)
        )
        reason = f"{decision.reason}: {told}; changes sha256 {commit.digest}"
        return await self._docket.allowed(asked, replace(decision, reason=reason), durable=True)


def told(report: Report) -> str:
    """
    A report as JSON, for the guest: of the changes a thousand at most, and what fits.
    """
    changes = list(_told_changes(report))
    return json.dumps(
        {
            "mount": report.mount,
            "outcome": report.outcome.value,
            "digest": report.digest,
            "changes": changes,
            "more": len(report.changes) - len(changes),
            "conflicts": shown_conflicts(report),
        }
    )


def shortened(report: Report) -> tuple[Change, ...]:
    """
    The changes of a report that one answer has room for.
    """
    left, shown = _MOST_TEXT, []
    for change in report.changes[:_MOST_TOLD]:
        left -= len(change.path.encode()) + len(change.diff.encode()) + 2 * 64
        if left < 0:
            break
        shown.append(change)
    return tuple(shown)


def shown_conflicts(report: Report) -> list[str]:
    """
    The conflicts of a report that one answer has room for: the first of them, and what fits.
    """
    left = _MOST_CONFLICTS
    shown: list[str] = []
    for path in report.conflicts:
        left -= len(path.encode()) + 1
        if left < 0 and shown:
            break
        shown.append(path)
    return shown


def _told_changes(report: Report) -> Iterator[dict[str, object]]:
    for change in shortened(report):
        yield {
            "path": change.path,
            "kind": change.kind.value,
            "directory": change.directory,
            "before": change.before,
            "after": change.after,
            "size": change.size,
            "diff": change.diff,
        }


def _rolled_back(layer: Layer) -> Report:
    layer.drop()
    return Report(layer.mount, Outcome.ROLLED_BACK)


def _nothing_to_do(layer: Layer) -> Report:
    layer.drop()
    return Report(layer.mount, Outcome.UNCHANGED)


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
