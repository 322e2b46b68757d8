"""
The record as a Parquet file: typed columns, written group by group.

Memory is bounded by a group of rows, whatever the record's length. Texts are as they were asked
for, control characters and all, but for what UTF-8 cannot hold, which is written as an escape; a
cut one says so at its end. Source: https://parquet.apache.org/docs/file-format/.
"""

from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
from pyarrow import parquet as pq

from executor.audit.ledger import stored_head
from executor.audit.read import snapshot
from executor.audit.record import Record, Text
from executor.audit.report import Json, dump, value_json
from executor.audit.review.filters import EVERYTHING, Filter
from executor.audit.review.search import pages
from executor.audit.schema import genesis

ROWS: Final = 16_384
"""A group of rows is written at so many, or before it holds `_TEXT_MAX` characters."""
_TEXT_MAX: Final = 32 * 1024 * 1024
_WORD: Final = pa.dictionary(pa.int32(), pa.string())

SCHEMA: Final = pa.schema(
    [
        pa.field("sequence", pa.int64(), nullable=False),
        pa.field("time", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("monotonic_ns", pa.int64(), nullable=False),
        pa.field("origin", _WORD, nullable=False),
        pa.field("event", _WORD, nullable=False),
        pa.field("session", _WORD),
        pa.field("cell", pa.int64()),
        pa.field("ordinal", pa.int64()),
        pa.field("refers", pa.int64()),
        pa.field("request", pa.string()),
        pa.field("decision", _WORD),
        pa.field("rule", _WORD),
        pa.field("rule_place", _WORD),
        pa.field("policy_digest", _WORD),
        pa.field("outcome", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("digest", pa.binary(32)),
        pa.field("detail", pa.string()),
        pa.field("hash", pa.binary(32), nullable=False),
        pa.field("root", pa.binary(32), nullable=False),
    ]
)


def write(path: Path, to: BinaryIO, which: Filter = EVERYTHING, *, after: int = 0) -> None:
    """
    Write the records behind sequence `after` that match, up to the one that is last now.

    `to` is only written to, never sought in. Raises FileNotFoundError when there is no store,
    AuditDamaged when it cannot be read, OSError.
    """
    with snapshot(path) as db:
        identity, head = genesis(db).hex(), stored_head(db)
    told = {"codecage.audit.identity": identity, "codecage.audit.head": str(head)}
    schema = SCHEMA.with_metadata(told)
    with pq.ParquetWriter(pa.PythonFile(to, mode="w"), schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for page in pages(path, which, after=after, until=head.sequence):
            for step in page.steps:
                rows.append(row := _row(step.record))
                size += sum(len(value) for value in row.values() if isinstance(value, str))
                if len(rows) >= ROWS or size >= _TEXT_MAX:
                    _write_group(writer, rows)
                    size = 0
        _write_group(writer, rows)


def _write_group(writer: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        writer.write_table(pa.Table.from_pylist(rows, writer.schema))
        rows.clear()


def _row(record: Record) -> dict[str, Any]:
    detail: Json = {key: value_json(value) for key, value in record.detail}
    return {
        "sequence": record.sequence,
        "time": record.wall_ns,
        "monotonic_ns": record.monotonic_ns,
        "origin": record.origin.value,
        "event": record.event.value,
        "session": _text(record.session),
        "cell": record.cell,
        "ordinal": record.ordinal,
        "refers": record.refers,
        "request": _text(record.request),
        "decision": record.answer.value if record.answer else None,
        "rule": _text(record.rule),
        "rule_place": _text(record.rule_place),
        "policy_digest": _text(record.policy_digest),
        "outcome": _text(record.outcome),
        "bytes": record.size,
        "digest": record.digest,
        "detail": dump(detail) if detail else None,
        "hash": record.hash,
        "root": record.root,
    }


def _text(text: Text | None) -> str | None:
    return None if text is None else str(text).encode("utf-8", "backslashreplace").decode("utf-8")
