"""
What the pages tell of a session, read from the record in a few short steps: none takes longer the
more records there are.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from executor.audit.chain import column_text, open_row
from executor.audit.read import SessionSummary, creation, last_of, snapshot, summary
from executor.audit.record import Answer, Cut, Event, Record, Text
from executor.audit.review.asked import FILE_KINDS, PLACE_KINDS, asked_of
from executor.audit.review.filters import Filter
from executor.audit.review.search import Page, Step, find, session_named
from executor.audit.schema import SELECT
from executor.review.places import key_of
from executor.review.verification import Verified

MOST_STEPS: Final = 500
MOST_DENIALS: Final = 100
MOST_CELLS: Final = 2000
MOST_TEXT: Final = 1_000_000
"""Characters of texts on one page of records: a worker's notes may be long, and many."""
_NATIVE: Final = "incomplete (native code)"
_NETWORK: Final = frozenset({*PLACE_KINDS, "http"})
_CHANGING: Final = frozenset(FILE_KINDS) - {"read", "list", "stat", "get"}


class Badge(Enum):
    """
    How a session's record stands; the value is its class in the style.
    """

    GOOD = "good"
    BAD = "bad"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Stand:
    """
    A badge and its words.
    """

    badge: Badge
    words: str


@dataclass(frozen=True, slots=True)
class Told:
    """
    A session: its beginning, a page of its records, its denials, the ends of its cells.
    """

    key: str
    start: Record
    summary: SessionSummary
    last: int
    end: Record | None
    steps: Page
    denied: Page
    ends: tuple[Record, ...]


def start_of(path: Path, key: str) -> Record:
    """
    The beginning of the session that is named in an address. Raises LookupError,
    FileNotFoundError, AuditDamaged.
    """
    by_number = key.startswith("@")
    found = _at(path, key[1:]) if by_number else creation(path, session_named(path, key))
    if found is None or found.event is not Event.SESSION_CREATE or found.session is None:
        raise LookupError(f"the record has no beginning of session {key}")
    return found


def _at(path: Path, number: str) -> Record | None:
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        return None
    with snapshot(path) as db:
        row = db.execute(f"{SELECT} WHERE sequence = ?", (int(number),)).fetchone()
        return None if row is None else open_row(row)


def tell(path: Path, start: Record, after: int) -> Told:
    """
    The session that `start` begins, with its records behind `after`. Raises as `start_of` does.
    """
    session = start.session or ""
    with snapshot(path) as db:
        short = summary(db, start)
        last, end = reach_of(db, short)
    return Told(
        key=key_of(session, start.sequence),
        start=start,
        summary=short,
        last=last,
        end=end,
        steps=fitting(find(path, Filter(session=session), after=after, limit=MOST_STEPS)),
        denied=fitting(find(path, Filter(session=session, answer=Answer.DENY), limit=MOST_DENIALS)),
        ends=ends_of(path, session),
    )


def fitting(page: Page) -> Page:
    """
    The page's beginning whose texts are short enough for one page, one record at the least.
    """
    length = 0
    for place, step in enumerate(page.steps):
        length += _length(step.record) + (0 if step.outcome is None else _length(step.outcome))
        if length > MOST_TEXT and place:
            shown = page.steps[:place]
            return Page(shown, shown[-1].record.sequence, ended=False)
    return page


def _length(record: Record) -> int:
    texts = (record.request, record.rule, record.rule_place, record.outcome)
    given = [*texts, *(value for _, value in record.detail)]
    return sum(len(text.start if isinstance(text, Cut) else str(text)) for text in given if text)


def end_of(db: sqlite3.Connection, short: SessionSummary) -> Record | None:
    """
    The record of a session's end, None while it goes on.
    """
    row = db.execute(
        f"{SELECT} WHERE session = ? AND event = ? ORDER BY sequence DESC LIMIT 1",
        (column_text(short.session), Event.SESSION_END.value),
    ).fetchone()
    return None if row is None else open_row(row)


def reach_of(db: sqlite3.Connection, short: SessionSummary) -> tuple[int, Record | None]:
    """
    The last record that a verdict on a session is about, and that of its end, if it has ended.
    """
    end = end_of(db, short)
    return (last_of(db, short.session) if end is None else end.sequence), end


def ends_of(path: Path, session: str) -> tuple[Record, ...]:
    """
    The records of the ends of a session's cells, the first 2,000. Raises as `start_of` does.
    """
    query = f"{SELECT} WHERE session = ? AND event = ? AND answer IS NULL ORDER BY sequence LIMIT ?"
    with snapshot(path) as db:
        values = (column_text(session), Event.CELL_END.value, MOST_CELLS)
        return tuple(open_row(row) for row in db.execute(query, values))


def network(steps: Sequence[Step]) -> list[Step]:
    """
    Those that asked for something of the network.
    """
    return [step for step in steps if _kind(step) in _NETWORK]


def tools(steps: Sequence[Step]) -> list[Step]:
    """
    Those that called a function of the client's.
    """
    return [step for step in steps if _kind(step) == "call"]


def files(steps: Sequence[Step]) -> list[Step]:
    """
    Those that asked to change a file, commits left out.
    """
    return [step for step in steps if _kind(step) in _CHANGING - {"commit"}]


def _kind(step: Step) -> str:
    return asked_of(step.record.request).kind if step.record.request is not None else ""


def verified(last: int, verdict: Verified | None) -> Stand:
    """
    How the last verdict stands to a session whose last record is `last`.
    """
    if verdict is None:
        return Stand(Badge.OPEN, "not verified yet")
    if verdict.bad is not None and verdict.bad <= last:
        return Stand(Badge.BAD, f"not whole from record {verdict.bad}")
    if verdict.reached < last:
        return Stand(Badge.OPEN, f"verified to record {verdict.reached} of {last}")
    return Stand(Badge.GOOD, f"verified to record {last}")


def replayable(end: Record | None, *, ended: bool) -> Stand:
    """
    Whether the session's inputs were captured, by what its end says.
    """
    said = _capture(end)
    if said is None:
        return Stand(Badge.OPEN, "no replay" if ended else "it goes on")
    if said == "complete":
        return Stand(Badge.GOOD, "replayable")
    return Stand(Badge.OPEN, f"replay {said}")


def is_captured(end: Record | None) -> bool:
    """
    Whether there is a capture of its cells, or was one, by what the session's end says.
    """
    return _capture(end) not in {None, _NATIVE}


def _capture(end: Record | None) -> Text | int | None:
    return None if end is None else dict(end.detail).get("capture")
