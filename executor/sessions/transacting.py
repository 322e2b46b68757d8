"""
A client's commits, dry runs and rollbacks, between cells; and what a server does about transactions
before it serves.
"""

import asyncio
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from codecage.v1 import codecage_pb2 as wire
from executor.audit.errors import AuditError
from executor.errors import AuditRefuses, CannotStart, FileRefused, InvalidRequest
from executor.kernel.descriptors import open_root
from executor.kernel.errors import GuestError, SourceUnavailable
from executor.kernel.reports import shortened, shown_conflicts, shown_verdicts
from executor.kernel.transactions import Verb, transactions_of
from executor.sessions.session import Session
from executor.transactions.changes import Change, ChangeKind
from executor.transactions.commits import Outcome, Report
from executor.transactions.errors import Unrecoverable
from executor.transactions.staging import Recovered, alone, recover
from executor.transactions.verdicts import Judgement, Verdict
from policy.requests import CommitRequest
from policy.types import Policy

_LOG = logging.getLogger(__name__)
_OUTCOMES: Final = {
    Outcome.COMMITTED: wire.COMMIT_OUTCOME_COMMITTED,
    Outcome.UNCHANGED: wire.COMMIT_OUTCOME_UNCHANGED,
    Outcome.CONFLICT: wire.COMMIT_OUTCOME_CONFLICT,
    Outcome.PREVIEW: wire.COMMIT_OUTCOME_PREVIEW,
    Outcome.GATE_FAILED: wire.COMMIT_OUTCOME_GATE_FAILED,
}
_JUDGEMENTS: Final = {
    Judgement.PASSED: wire.JUDGEMENT_PASSED,
    Judgement.FAILED: wire.JUDGEMENT_FAILED,
    Judgement.REFUSED: wire.JUDGEMENT_REFUSED,
    Judgement.BROKEN: wire.JUDGEMENT_BROKEN,
}
_KINDS: Final = {
    ChangeKind.ADDED: wire.CHANGE_KIND_ADDED,
    ChangeKind.MODIFIED: wire.CHANGE_KIND_MODIFIED,
    ChangeKind.DELETED: wire.CHANGE_KIND_DELETED,
}


async def commit(session: Session, mount: str, *, dry_run: bool) -> wire.CommitResponse:
    """
    Commit a transaction of a session, or tell what that would do. Raises FileRefused, AuditRefuses,
    InvalidRequest, and as `Session.between_cells` does.
    """
    report = await _done(session, Verb.DRY_RUN if dry_run else Verb.COMMIT, mount)
    changes = shortened(report)
    return wire.CommitResponse(
        mount=report.mount,
        outcome=_OUTCOMES[report.outcome],
        digest=report.digest,
        changes=[change(one) for one in changes],
        more_changes=len(report.changes) - len(changes),
        conflicts=shown_conflicts(report),
        gates=[_verdict(verdict) for verdict in shown_verdicts(report)],
    )


async def rollback(session: Session, mount: str) -> wire.RollbackResponse:
    """
    Drop what a session has changed below a mount. Raises as `commit` does.
    """
    report = await _done(session, Verb.ROLLBACK, mount)
    return wire.RollbackResponse(mount=report.mount)


async def _done(session: Session, verb: Verb, mount: str) -> Report:
    where = mount or _only_mount(session.facts.policy)
    try:
        # A commit that has begun goes on when its client has gone.
        return await asyncio.shield(_transact(session, verb, where))
    except GuestError as error:
        raise FileRefused(error.errno, error.message) from error
    except AuditError as error:
        raise AuditRefuses from error


async def _transact(session: Session, verb: Verb, mount: str) -> Report:
    async with session.between_cells() as gate:
        return await gate.transactions.do(verb, CommitRequest(mount, by_client=True))


def _only_mount(policy: Policy) -> str:
    mounts = [one.mount for one in transactions_of(policy)]
    if len(mounts) != 1:
        raise InvalidRequest(
            "MOUNT_MISSING",
            f"the policy {policy.name} has {len(mounts)} transactions; say which mount is meant"
            if mounts
            else f"the policy {policy.name} has no mount with `access: transaction`",
        )
    return mounts[0]


def change(one: Change) -> wire.Change:
    """
    A change as clients are shown it.
    """
    return wire.Change(
        path=one.path,
        kind=_KINDS[one.kind],
        directory=one.directory,
        digest_before=one.before,
        digest_after=one.after,
        size=one.size,
        diff=one.diff,
    )


def _verdict(verdict: Verdict) -> wire.GateVerdict:
    return wire.GateVerdict(
        gate=verdict.gate,
        judgement=_JUDGEMENTS[verdict.judgement],
        message=verdict.message,
        advisory=verdict.advisory,
        session_id=verdict.session,
        output_digest=verdict.output_digest,
    )


def changes_directory(audit: Path) -> Path:
    """
    Where the sessions of a server keep their changes: beside its record, which no other server has.
    """
    return audit.parent / f"{audit.name}.changes"


def prepare_transactions(policies: Iterable[Policy], directory: Path) -> str:
    """
    Bring every commit that was cut off to its end, and remove what earlier sessions have left in
    `directory`, where changes are kept: its path. Before anything is served.

    Raises CannotStart where a source is not to be recovered: serving it could show half a commit.
    """
    grants = (grant for policy in policies for grant in transactions_of(policy))
    for source in dict.fromkeys(grant.source for grant in grants if grant.source):
        _recover(source)
    shutil.rmtree(directory, ignore_errors=True)
    return str(directory)


def _recover(source: str) -> None:
    try:
        with open_root(source) as root, alone(root):
            found = recover(root)
    except FileNotFoundError:
        return  # sessions under its policy are refused until it is there, and then recovered
    except GuestError:
        _LOG.warning("another server commits to a granted directory; it looks after itself")
        return
    except (Unrecoverable, SourceUnavailable, OSError) as error:
        detail = getattr(error, "detail", "") or str(error)
        raise CannotStart(f"the granted directory {source}: {detail}") from error
    if found is not Recovered.NOTHING:
        _LOG.warning("%s: %s", source, found.value)
