"""
What one answer has room for of a report on a transaction, whose lists may be long.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from executor.transactions.changes import Change
from executor.transactions.commits import Report
from executor.transactions.verdicts import Verdict

_MOST_TOLD: Final = 1000
# JSON may take six characters for one, and a frame has a megabyte for all.
_MOST_TEXT: Final = 96 * 1024
_MOST_CONFLICTS: Final = 16 * 1024
_MOST_SAID: Final = 16 * 1024
_MOST_PATHS: Final = 512 * 1024


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
            "gates": [_told_verdict(verdict) for verdict in shown_verdicts(report)],
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


def shows_whole(changes: tuple[Change, ...]) -> bool:
    """
    Whether a person is shown every change of a list: a thousand at most, whose paths together are
    no longer than 512 KiB.
    """
    if len(changes) > _MOST_TOLD:
        return False
    return sum(len(change.path.encode()) for change in changes) <= _MOST_PATHS


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


def shown_verdicts(report: Report) -> tuple[Verdict, ...]:
    """
    What the gates say, each as far as one answer has room for all of them.
    """
    most = _MOST_SAID // max(1, len(report.gates))
    return tuple(replace(one, message=one.message[:most]) for one in report.gates)


def _told_verdict(verdict: Verdict) -> dict[str, object]:
    return {
        "gate": verdict.gate,
        "judgement": verdict.judgement.value,
        "message": verdict.message,
        "advisory": verdict.advisory,
    }


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
