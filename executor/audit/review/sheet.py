"""
What there is to tell of one session, read from the record: for the page, and for what is said of
it on a terminal. It is bounded; what does not fit is counted.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from executor.audit.differences import DiffReader
from executor.audit.read import MAX_ROWS, SessionSummary, creation, snapshot, summary
from executor.audit.record import Answer, Record
from executor.audit.report import moment
from executor.audit.review import commits
from executor.audit.review.asked import PLACE_KINDS, asked_of
from executor.audit.review.commits import Committed
from executor.audit.review.filters import Filter
from executor.audit.review.search import Page, Step, find
from executor.audit.verify import Verdict

MAX_LISTED = 1000
_NETWORK = frozenset({*PLACE_KINDS, "http"})


@dataclass(frozen=True, slots=True)
class Sheet:
    """
    What is known of a session: its beginning, its records in order, two selections, and what it
    committed.
    """

    verdict: Verdict
    summary: SessionSummary
    start: Record
    all: Page
    denied: Page
    network: Page
    committed: tuple[Committed, ...]
    commits_are_all: bool


def gather(path: Path, session: str, verdict: Verdict, reader: DiffReader | None = None) -> Sheet:
    """
    Read what is told of a session, with the diffs of its commits where there is a `reader`.

    Raises LookupError where there is no such session, FileNotFoundError, AuditDamaged.
    """
    if (start := creation(path, session)) is None:
        raise LookupError(f"the record has no beginning of session {session}")
    with snapshot(path) as db:
        short = summary(db, start)
    denied = Filter(session=session, answer=Answer.DENY)
    network = Filter(session=session, kinds=_NETWORK)
    committing = Filter(session=session, kinds=frozenset({commits.COMMIT}))
    found = find(path, committing, limit=MAX_LISTED)
    committed = commits.commits(found.steps)
    if reader is not None:
        committed = commits.with_diffs(committed, path, session, reader)
    return Sheet(
        verdict=verdict,
        summary=short,
        start=start,
        all=find(path, Filter(session=session), limit=MAX_ROWS),
        denied=find(path, denied, limit=MAX_LISTED),
        network=find(path, network, limit=MAX_LISTED),
        committed=tuple(committed),
        commits_are_all=found.ended,
    )


def by_host(steps: Sequence[Step]) -> dict[str, tuple[int, int, int]]:
    """
    Of each host, in lower case, the allowed requests, the denied ones, and the bytes of its
    connections: a request's bytes are its connection's too.
    """
    allowed, denied, size = Counter[str](), Counter[str](), Counter[str]()
    for step in steps:
        request = asked_of(step.record.request or "")
        host = (request.host or "").lower()
        (allowed if step.record.answer is Answer.ALLOW else denied)[host] += 1
        if step.outcome is not None and request.kind == "connect":
            size[host] += step.outcome.size or 0
    return {host: (allowed[host], denied[host], size[host]) for host in {*allowed, *denied}}


def ended(short: SessionSummary) -> str:
    """
    When a session ended.
    """
    return "it goes on" if short.ended_ns is None else moment(short.ended_ns)
