"""
How far a copy of the record has come, in a file, so that a sender that starts again goes on there.

Counters are sent as what was added: a sender that began anew would count everything twice. The
file is written after what it tells of was sent, so that a sender which was killed in between
sends one page again and leaves none out.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from executor.audit.errors import AuditDamaged
from executor.audit.review.written import replaced

_LARGEST: Final = 2**62


@dataclass(frozen=True, slots=True)
class Progress:
    """
    Of which store (64 hex digits), to which record, and how many signed checkpoints were sent.
    """

    identity: str
    reached: int
    checkpoints: int


def load(file: Path, identity: str) -> Progress:
    """
    What the file tells; the beginning where there is none. Raises OSError, and AuditDamaged where
    it is no such file, or of another store.
    """
    if not file.exists():
        return Progress(identity, 0, 0)
    try:
        found = json.loads(file.read_bytes())
        numbers = found["reached"], found["checkpoints"]
        right = all(type(number) is int and 0 <= number < _LARGEST for number in numbers)
    except (ValueError, TypeError, KeyError, RecursionError):
        right = False
    if not right:
        raise AuditDamaged(f"{file} does not tell how far a copy has come; remove it to begin anew")
    if found.get("identity") != identity:
        raise AuditDamaged(f"{file} tells of the copy of another store; name another file")
    return Progress(identity, *numbers)


def save(file: Path, progress: Progress) -> None:
    """
    Put it into the file, whole or not at all, for its owner's eyes. Raises OSError.
    """
    with replaced(file) as out:
        out.write(f"{json.dumps(asdict(progress))}\n".encode())
