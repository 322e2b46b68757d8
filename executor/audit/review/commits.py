"""
The commits of a session: what each was to change, and what came of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from executor.audit.differences import Differences, DiffReader
from executor.audit.listing import Listed, listed
from executor.audit.record import Answer, Record, Text
from executor.audit.review.asked import asked_of
from executor.audit.review.search import Step

COMMIT: Final = "commit"


@dataclass(frozen=True, slots=True)
class Committed:
    """
    A commit of a transaction: its decision, what came of it, and the list of what it changed;
    `whole` is False where the record has only its beginning. `differences` are None where nothing
    of its contents was kept, or nobody has asked for it.
    """

    decision: Record
    outcome: Text
    digest: Text
    changes: tuple[Listed, ...]
    whole: bool
    differences: Differences | None = None

    @property
    def request(self) -> Text:
        """
        What was asked.
        """
        return self.decision.request or ""


def commits(steps: Sequence[Step]) -> list[Committed]:
    """
    The commits among these steps, with what each has changed.
    """
    return [_committed(step) for step in steps if is_commit(step.record)]


def is_commit(record: Record) -> bool:
    """
    Whether it is a decision on a commit.
    """
    return record.request is not None and asked_of(record.request).kind == COMMIT


def with_diffs(
    made: Sequence[Committed], audit: Path, session: str, reader: DiffReader
) -> list[Committed]:
    """
    The same with the diffs that were kept.
    """
    found = reader(audit, session, [one.decision for one in made])
    return [replace(one, differences=found.get(one.decision.sequence)) for one in made]


def _committed(step: Step) -> Committed:
    record, outcome = step.record, step.outcome
    detail = dict(outcome.detail) if outcome is not None else {}
    count, changes = detail.get("changes", 0), listed(outcome.detail) if outcome else ()
    digest = detail.get("digest", "")
    return Committed(
        decision=record,
        outcome=(outcome.outcome or "") if outcome else (record.answer or Answer.DENY).value,
        digest=digest if not isinstance(digest, int) else "",
        changes=changes,
        whole=count == len(changes),
    )
