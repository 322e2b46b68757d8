"""
The record in the forms of other programs: JSON lines, CSV, and events of OCSF.

All records up to the one that was last when the export began, in their order, an outcome where
its decision matches the filter. They are read in pages, so that a long export does not keep the
server from tidying its log; memory does not grow with the record.
"""

import csv
from collections.abc import Callable, Iterator
from enum import Enum
from io import StringIO
from pathlib import Path
from typing import Final

from executor.audit.escape import visible
from executor.audit.ledger import stored_head
from executor.audit.read import snapshot
from executor.audit.record import Record, Text
from executor.audit.report import Json, dump, moment, record_json, value_json
from executor.audit.review.filters import EVERYTHING, Filter
from executor.audit.review.ocsf import event_of
from executor.audit.review.search import Step, pages
from executor.audit.schema import genesis


class Form(Enum):
    """
    What an export looks like.
    """

    JSONL = "jsonl"
    CSV = "csv"
    OCSF = "ocsf"


def export(path: Path, form: Form, which: Filter = EVERYTHING, *, after: int = 0) -> Iterator[str]:
    """
    The lines of an export, without their ends, behind sequence `after`.

    Raises FileNotFoundError when there is no store, AuditDamaged when it cannot be read.
    """
    with snapshot(path) as db:
        identity = genesis(db).hex()
        last = stored_head(db).sequence
    line, headings = _writer(form, identity)
    yield from headings
    for page in pages(path, which, after=after, until=last):
        yield from map(line, page.steps)


def _writer(form: Form, identity: str) -> tuple[Callable[[Step], str], list[str]]:
    match form:
        case Form.JSONL:
            return (lambda step: record_json(step.record)), []
        case Form.CSV:
            return (lambda step: _csv_line(csv_row(step.record))), [_csv_line(CSV_COLUMNS)]
        case Form.OCSF:
            return (lambda step: dump(event_of(step, identity))), []


CSV_COLUMNS: Final = (
    "sequence",
    "time",
    "origin",
    "event",
    "session",
    "cell",
    "refers",
    "request",
    "decision",
    "rule",
    "rule_place",
    "policy_digest",
    "outcome",
    "bytes",
    "digest",
    "detail",
    "hash",
    "root",
)
# What makes a spreadsheet take a cell for a formula, the full-width forms included, which some of
# them take for the plain ones. Our own mark is among them: whoever strips one gets the text back.
_FORMULA: Final = tuple("=+-@'\uff1d\uff0b\uff0d\uff20")


def csv_row(record: Record) -> tuple[str, ...]:
    """
    A record's cells, in the order of `CSV_COLUMNS`, in which no text is a formula.

    Control characters and line ends are written as escapes, as everywhere where people look. A
    cell that would begin like a formula, also behind blanks, has `'` before it.
    """
    detail: Json = {key: value_json(value) for key, value in record.detail}
    return tuple(
        _harmless(cell)
        for cell in (
            str(record.sequence),
            moment(record.wall_ns),
            record.origin.value,
            record.event.value,
            _text(record.session),
            _number(record.cell),
            _number(record.refers),
            _text(record.request),
            record.answer.value if record.answer else "",
            _text(record.rule),
            _text(record.rule_place),
            _text(record.policy_digest),
            _text(record.outcome),
            _number(record.size),
            record.digest.hex() if record.digest else "",
            dump(detail) if detail else "",
            record.hash.hex(),
            record.root.hex(),
        )
    )


def _text(text: Text | None) -> str:
    return "" if text is None else visible(text)


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.lstrip().startswith(_FORMULA) else cell


def _csv_line(row: tuple[str, ...]) -> str:
    # Every cell in quotes: a program that cuts at semicolons must not find a formula behind one.
    line = StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow(row)
    return line.getvalue()
