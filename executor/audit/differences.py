"""
What a commit made of files, line by line, as whoever reads the record is shown it.

The text itself is not in the record: the session's capture has it, encrypted, where the policy has
one made. The record has two details with the decision on the commit: where the diffs are, and
their seal, which tells nothing of them once the session's key is dropped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from executor.audit.record import Detail, Record

PLACE: Final = "diff"
"""The detail with the number of the diffs in the session's capture, from 0."""
SEAL: Final = "diff_seal"
"""The detail with their seal, in hex."""
LOST: Final = "diff_lost"
"""The detail that says why they are not kept, where they should have been."""
_MOST_PLACES: Final = 2**32


@dataclass(frozen=True, slots=True)
class FileDiff:
    """
    A file of a commit. `diff` is a unified one without its two first lines; where there is none,
    `why` says so. Neither is escaped: any character may be in them, and in `path`.
    """

    path: str
    diff: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Differences:
    """
    The diffs of one commit. `more` files are not among them; where there are none at all, `why`
    says so.
    """

    files: tuple[FileDiff, ...] = ()
    more: int = 0
    why: str = ""


DiffReader = Callable[[Path, str, Sequence[Record]], Mapping[int, Differences]]
"""
What reads the diffs of a session's commits, by the sequences of their decisions: of the store at a
path, the session, and those decisions.
"""


def sealed(decision: Record) -> tuple[int, str] | None:
    """
    Where the diffs of a commit are, and their seal, as its decision says; None where it does not.
    """
    place, seal = _told(decision.detail, PLACE), _told(decision.detail, SEAL)
    if not isinstance(place, int) or not isinstance(seal, str) or not 0 <= place < _MOST_PLACES:
        return None
    return place, seal


def lost(decision: Record) -> str:
    """
    Why the diffs of a commit were not kept, as its decision says; "" where it does not.
    """
    said = _told(decision.detail, LOST)
    return said if isinstance(said, str) else ""


def _told(detail: Detail, key: str) -> object:
    return dict(detail).get(key)
