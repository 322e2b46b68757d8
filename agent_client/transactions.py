"""
What came of a commit: the list of changes, and where the host's files stood in its way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from codecage.v1 import codecage_pb2 as pb


class CommitOutcome(StrEnum):
    """
    How a commit ended; UNKNOWN is an outcome that this client is too old to name.
    """

    COMMITTED = "committed"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"
    PREVIEW = "preview"
    GATE_FAILED = "gate failed"
    UNKNOWN = "unknown"


class ChangeKind(StrEnum):
    """
    What becomes of a path.
    """

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Change:
    """
    One path that changes, relative to the mount. The digests are SHA-256 in hex, empty for
    directories and where there is no such file; `size` is in bytes, afterwards. `diff` is a unified
    diff where both are texts and there is room: the agent's words, never to be trusted.
    """

    path: str
    kind: ChangeKind
    directory: bool
    digest_before: str
    digest_after: str
    size: int
    diff: str


class Judgement(StrEnum):
    """
    What a gate says. Only PASSED is a yes; REFUSED is about what it does not look at, and BROKEN
    one that came to no answer.
    """

    PASSED = "passed"
    FAILED = "failed"
    REFUSED = "refused"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """
    One gate's answer. `message` is what it wrote, which the changed files may have dictated;
    `advisory` says that its yes decides nothing. `session_id` is the session that it ran in, as the
    audit record has it, and `output_digest` the SHA-256, in hex, of all that it wrote.
    """

    gate: str
    judgement: Judgement
    message: str
    advisory: bool = False
    session_id: str = ""
    output_digest: str = ""


@dataclass(frozen=True, slots=True)
class CommitReport:
    """
    What came of a commit, or would come of it. `digest` is that of the list of changes, which the
    audit record of the commit has; `more_changes` counts those that are not shown here. `conflicts`
    are paths that changed on the host since the session first saw them, `gates` what the mount's
    gates said.
    """

    mount: str
    outcome: CommitOutcome
    digest: str
    changes: tuple[Change, ...]
    more_changes: int
    conflicts: tuple[str, ...]
    gates: tuple[GateVerdict, ...] = ()

    @property
    def committed(self) -> bool:
        """
        Whether the host's files are as the session left them.
        """
        return self.outcome in {CommitOutcome.COMMITTED, CommitOutcome.UNCHANGED}

    @property
    def text(self) -> str:
        """
        The report for a model or a person to read.
        """
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield _SENTENCES[self.outcome].format(mount=self.mount)
        for path in self.conflicts:
            yield f"  changed on the host: {path}"
        for gate in self.gates:
            yield f"  {gate.gate}: {gate.judgement}{' (advice)' if gate.advisory else ''}"
            yield from (f"    {line}" for line in gate.message.splitlines())
        for change in self.changes:
            yield f"  {change.kind.value} {change.path}{'/' if change.directory else ''}"
        if self.more_changes:
            yield f"  and {self.more_changes} more"
        yield from (change.diff for change in self.changes if change.diff)


_SENTENCES = {
    CommitOutcome.COMMITTED: "Committed {mount}:",
    CommitOutcome.UNCHANGED: "There was nothing to commit in {mount}.",
    CommitOutcome.CONFLICT: (
        "Nothing was written to {mount}: files changed on the host after this session had seen "
        "them. Roll back, look at them again, and repeat the changes."
    ),
    CommitOutcome.PREVIEW: "A commit of {mount} would do this:",
    CommitOutcome.GATE_FAILED: (
        "Nothing was written to {mount}: what judges its commits did not agree. The changes are "
        "still there; correct them, and commit again."
    ),
    CommitOutcome.UNKNOWN: "This client is too old to say what came of {mount}.",
}
_OUTCOMES = {
    pb.COMMIT_OUTCOME_COMMITTED: CommitOutcome.COMMITTED,
    pb.COMMIT_OUTCOME_UNCHANGED: CommitOutcome.UNCHANGED,
    pb.COMMIT_OUTCOME_CONFLICT: CommitOutcome.CONFLICT,
    pb.COMMIT_OUTCOME_PREVIEW: CommitOutcome.PREVIEW,
    pb.COMMIT_OUTCOME_GATE_FAILED: CommitOutcome.GATE_FAILED,
}
_JUDGEMENTS = {
    pb.JUDGEMENT_PASSED: Judgement.PASSED,
    pb.JUDGEMENT_FAILED: Judgement.FAILED,
    pb.JUDGEMENT_REFUSED: Judgement.REFUSED,
    pb.JUDGEMENT_BROKEN: Judgement.BROKEN,
}
_KINDS = {
    pb.CHANGE_KIND_ADDED: ChangeKind.ADDED,
    pb.CHANGE_KIND_MODIFIED: ChangeKind.MODIFIED,
    pb.CHANGE_KIND_DELETED: ChangeKind.DELETED,
}


def report(reply: pb.CommitResponse) -> CommitReport:
    """
    A commit as its server tells of it.
    """
    return CommitReport(
        mount=reply.mount,
        outcome=_OUTCOMES.get(reply.outcome, CommitOutcome.UNKNOWN),
        digest=reply.digest,
        changes=tuple(map(change_of, reply.changes)),
        more_changes=reply.more_changes,
        conflicts=tuple(reply.conflicts),
        gates=tuple(map(_verdict, reply.gates)),
    )


def _verdict(verdict: pb.GateVerdict) -> GateVerdict:
    return GateVerdict(
        gate=verdict.gate,
        judgement=_JUDGEMENTS.get(verdict.judgement, Judgement.UNKNOWN),
        message=verdict.message,
        advisory=verdict.advisory,
        session_id=verdict.session_id,
        output_digest=verdict.output_digest,
    )


def change_of(change: pb.Change) -> Change:
    """
    A change as its server tells of it.
    """
    return Change(
        path=change.path,
        kind=_KINDS.get(change.kind, ChangeKind.UNKNOWN),
        directory=change.directory,
        digest_before=change.digest_before,
        digest_after=change.digest_after,
        size=change.size,
        diff=change.diff,
    )
