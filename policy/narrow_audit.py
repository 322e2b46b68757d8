"""
What two policies together say of the record: all that either wants recorded, and nothing of what
either leaves out.
"""

from collections.abc import Iterator

from policy.types import Audit, AuditLevel


def narrowed_audit(own: Audit, ceiling: Audit) -> Audit:
    """
    The level of the two that records more, and the names of both.
    """
    level = max(own.level, ceiling.level, key=_records)
    return Audit(level, united(own.redact, ceiling.redact))


def united(own: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """
    All names, each once: the case of its letters makes none another.
    """
    names: dict[str, str] = {}
    for name in (*own, *others):
        names.setdefault(name.lower(), name)
    return tuple(names.values())


def told_more(old: Audit, new: Audit) -> Iterator[tuple[str, str]]:
    """
    What `new` lets happen with less of a record, and records that `old` leaves out, each as a place
    and a text.
    """
    if _records(new.level) < _records(old.level):
        yield "audit.level", f"{new.level.value}, not {old.level.value}"
    kept = {name.lower() for name in new.redact}
    for name in old.redact:
        if name.lower() not in kept:
            yield "audit.redact", f"what is called {name} is recorded"


def _records(level: AuditLevel) -> int:
    return list(AuditLevel).index(level)
