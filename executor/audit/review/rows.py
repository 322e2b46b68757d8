"""
Records as rows of a table, an outcome beside its decision, and what stands in them.
"""

from collections.abc import Sequence
from enum import Enum

from executor.audit.escape import visible
from executor.audit.record import OK, Answer, Event, Origin, Record, Text
from executor.audit.report import Column, moment
from executor.audit.review.search import Step

COLUMNS = (
    Column("seq"),
    Column("time (UTC)"),
    Column("cell"),
    Column("event"),
    Column("request", elastic=True),
    Column("rule", elastic=True),
    Column("outcome", elastic=True),
)
_TOLD = ("status", "address", "exit", "reason")
_CREATED = ("policy", "image", "isolation", "labels")
# Who speaks of it where nobody else does; another is named.
_USUAL = {
    Event.DECISION: Origin.BROKER,
    Event.OUTCOME: Origin.BROKER,
    Event.WORKER_NOTE: Origin.WORKER,
}
ERASED = "(erased)"
_TIME_OF_DAY = len("2026-01-31T")


class Look(Enum):
    """
    How a line stands out; the value is what a terminal is told (ECMA-48, SGR).
    """

    PLAIN = ""
    DENIED = "31;1"
    FAILED = "33"
    QUIET = "2"
    # Lines of a diff.
    ADDED = "32"
    REMOVED = "31"


def row(step: Step) -> tuple[str, ...]:
    """
    The cells of one line, in the order of `COLUMNS`.
    """
    record = step.record
    return (
        str(record.sequence),
        moment(record.wall_ns)[:-1],
        "" if record.cell is None else str(record.cell),
        happened(record),
        asked(step),
        shown(record.rule_place),
        came_of(step.outcome or record),
    )


def for_terminal(
    steps: Sequence[Step],
) -> tuple[tuple[Column, ...], list[tuple[str, ...]]]:
    """
    The columns and rows of a narrow table: where all is of one day, its heading says the day.
    """
    made = [row(step) for step in steps]
    days = {cells[1][:_TIME_OF_DAY] for cells in made}
    if len(days) != 1:
        return COLUMNS, made
    (day,) = days
    headings = (COLUMNS[0], Column(day.removesuffix("T")), *COLUMNS[2:])
    return headings, [(seq, time[_TIME_OF_DAY:], *rest) for seq, time, *rest in made]


def happened(record: Record) -> str:
    """
    What was decided, else the event's word; and who says so where that is not the usual one.
    """
    word = record.answer.value if record.answer else record.event.value
    if would_deny(record) is not None:
        word = f"{word}, would deny"
    usual = _USUAL.get(record.event, Origin.SERVER)
    return word if record.origin is usual else f"{word} ({record.origin.value})"


def would_deny(record: Record) -> Text | int | None:
    """
    The rule that denies what a policy in audit mode has let pass; None elsewhere.
    """
    return dict(record.detail).get("would_deny")


def look(step: Step) -> Look:
    """
    Denials first of all, then what went wrong; what was neither asked nor decided is quiet.
    """
    if step.record.answer is Answer.DENY:
        return Look.DENIED
    if would_deny(step.record) is not None:
        return Look.FAILED
    ended = step.outcome or step.record
    if ended.event in {Event.OUTCOME, Event.FILE_RPC} and ended.outcome != OK:
        return Look.FAILED
    if ended.event in {Event.WORKER_LOST, Event.DROPPED, Event.SERVER_RECOVERED}:
        return Look.FAILED
    return Look.PLAIN if step.record.event in {Event.DECISION, Event.OUTCOME} else Look.QUIET


def asked(step: Step) -> str:
    """
    What was asked; of another record what it tells, in brackets, so that no request looks like it.
    """
    record = step.record
    if record.erased:
        return ERASED
    if record.request is not None:
        return visible(record.request)
    if step.decision is not None:
        return f"of {step.decision.sequence}: {shown(step.decision.request)}"
    told = _told(record)
    return f"({told})" if told else ""


def came_of(record: Record) -> str:
    """
    How it ended: the outcome's word, and what is known besides.
    """
    if record.outcome is None:
        return ""
    found = dict(record.detail)
    parts = [visible(record.outcome)]
    parts += [f"{key} {value_text(found[key])}" for key in _TOLD if key in found]
    if record.size is not None:
        parts.append(f"{record.size} bytes")
    return ", ".join(parts)


def shown(text: Text | None) -> str:
    """
    A text made visible; nothing where there is none.
    """
    return "" if text is None else visible(text)


def value_text(value: Text | int) -> str:
    """
    A detail's value, made visible.
    """
    return str(value) if isinstance(value, int) else visible(value)


def _told(record: Record) -> str:
    match record.event:
        case Event.CELL_START:
            return f"code of {record.size} bytes" if record.size is not None else ""
        case Event.SESSION_CREATE:
            return _details(record, _CREATED)
        case Event.CELL_END | Event.SESSION_END | Event.DECISION | Event.OUTCOME:
            return ""
        case _:
            return _details(record, tuple(key for key, _ in record.detail))


def _details(record: Record, keys: tuple[str, ...]) -> str:
    found = dict(record.detail)
    said = [(visible(key), value_text(found[key])) for key in keys if key in found]
    return ", ".join(f"{key} {value}" for key, value in said if value not in {"", "{}"})
