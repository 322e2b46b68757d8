"""
The record for people: tables that fit the terminal, and JSON lines that lose nothing.

Every text in a table goes through `visible`, for any of them may be the guest's. JSON is pure
ASCII: a terminal shows it unharmed, and a parser gets back exactly what was recorded. A cut text
is an object there, which no string can imitate.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from executor.audit.erasures import Erased
from executor.audit.escape import columns, visible
from executor.audit.read import SessionSummary
from executor.audit.record import Cut, Head, Record, Text
from executor.audit.verify import Proof, Verdict

_GAP = "  "
_NARROWEST = 8
_WIDEST = 80
_STATEMENTS = 8
_DAY = len("2026-01-31")

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Column:
    """
    A heading, and whether the column may be narrowed to make the table fit.
    """

    heading: str
    elastic: bool = False


SESSION_COLUMNS = (
    Column("session"),
    Column("policy", elastic=True),
    Column("started (UTC)"),
    Column("ended (UTC)"),
    Column("cells"),
    Column("denied"),
    Column("dropped"),
    Column("outcome", elastic=True),
)


def session_row(summary: SessionSummary) -> tuple[str, ...]:
    """
    A session's cells, in the order of `SESSION_COLUMNS`.
    """
    return (
        visible(summary.session),
        visible(summary.policy),
        moment(summary.started_ns)[:-1],
        "" if summary.ended_ns is None else moment(summary.ended_ns)[:-1],
        str(summary.cells),
        str(summary.denied),
        str(summary.dropped),
        _shown(summary.outcome),
    )


def table(
    headings: Sequence[Column], rows: Iterable[Sequence[str]], width: int | None = None
) -> list[str]:
    """
    Lines of a table at most `width` terminal columns wide.

    Elastic columns give way, widest first, to eight columns each; if that is not enough the
    lines are longer than asked. A shortened cell ends in `…`; JSON has the whole. With None
    nothing is shortened, and one long cell makes its own line long, not all of them.
    """
    cells = [[column.heading for column in headings], *([*row] for row in rows)]
    widths = [max(map(columns, column)) for column in zip(*cells, strict=True)]
    if width is None:
        widths = [min(one, _WIDEST) for one in widths]
        return [_line(row, map(max, widths, map(columns, row))) for row in cells]
    _narrow(widths, headings, width)
    return [_line(row, widths) for row in cells]


def record_json(record: Record) -> str:
    """
    One record as one line of JSON; times are nanoseconds, digests hex, what is missing null. Of a
    session whose texts were erased it says `erased`.
    """
    return dump(
        {
            "sequence": record.sequence,
            "wall_ns": record.wall_ns,
            "monotonic_ns": record.monotonic_ns,
            "ordinal": record.ordinal,
            "origin": record.origin.value,
            "event": record.event.value,
            "session": record.session,
            "cell": record.cell,
            "refers": record.refers,
            "request": value_json(record.request),
            "decision": record.answer.value if record.answer else None,
            "rule": value_json(record.rule),
            "rule_place": value_json(record.rule_place),
            "policy_digest": record.policy_digest,
            "outcome": value_json(record.outcome),
            "bytes": record.size,
            "digest": None if record.digest is None else record.digest.hex(),
            "detail": {key: value_json(value) for key, value in record.detail},
            "previous": record.previous.hex(),
            "hash": record.hash.hex(),
            "root": record.root.hex(),
            **({"erased": True} if record.erased else {}),
        }
    )


def session_json(summary: SessionSummary) -> str:
    """
    One session's summary as one line of JSON.
    """
    return dump(session_fields(summary))


def session_fields(summary: SessionSummary) -> Json:
    """
    The fields of that line; times are nanoseconds since 1970.
    """
    return {
        "session": summary.session,
        "sequence": summary.sequence,
        "policy": value_json(summary.policy),
        "started_ns": summary.started_ns,
        "ended_ns": summary.ended_ns,
        "outcome": value_json(summary.outcome),
        "cells": summary.cells,
        "denied": summary.denied,
        "dropped": summary.dropped,
    }


def verdict_json(verdict: Verdict) -> str:
    """
    A verification's result as one line of JSON.
    """
    return dump(verdict_fields(verdict))


def verdict_fields(verdict: Verdict) -> Json:
    """
    The fields of that line.
    """
    finding = verdict.finding
    return {
        "whole": verdict.whole,
        "first_sequence": verdict.first,
        "records": verdict.records,
        "head": _head(verdict.head),
        "first_bad_sequence": None if finding is None else finding.sequence,
        "fault": None if finding is None else finding.fault.value,
        "message": None if finding is None else finding.message,
        "unanchored_since": verdict.unanchored_since,
        "pruned_by": verdict.pruned_by,
        "erased_records": sum(one.records for one in verdict.erased),
        "erased_sessions": [one.session for one in verdict.erased],
        "erased_by": [one.statement for one in verdict.erased],
        "erasing_unfinished": [one.session for one in verdict.erased if not one.finished],
    }


def verdict_lines(verdict: Verdict) -> list[str]:
    """
    A verification's result in sentences.
    """
    if verdict.finding is not None:
        place = verdict.finding.sequence
        where = f"first bad record: {place}" if place else "the file as a whole"
        fault, message = verdict.finding.fault.value, visible(verdict.finding.message)
        return [f"NOT WHOLE, {where} ({fault}): {message}", f"good until {_head(verdict.head)}"]
    lines = [f"whole: {verdict.records} records, head {_head(verdict.head)}"]
    lines += _erased_lines(verdict.erased)
    if verdict.first > 1:
        lines.append(
            f"records 1 to {verdict.first - 1} {_gone(verdict)}; what they held is "
            "vouched for by what the first of these files carries of them"
        )
    if verdict.unanchored_since is not None:
        lines.append(
            f"unanchored since seq {verdict.unanchored_since}: no head kept outside vouches for "
            "it; compare with one by --head SEQ:HASH"
        )
    return lines


def _erased_lines(erased: Sequence[Erased]) -> list[str]:
    done = [one for one in erased if one.finished]
    lines = [_erased_line(done)] if done else []
    return lines + [
        f"the texts of session {visible(one.session)} are to be gone, as record {one.statement} "
        "says, and are not all: run `codecage audit erase` again"
        for one in erased
        if not one.finished
    ]


def _erased_line(done: Sequence[Erased]) -> str:
    days = sorted({moment(one.wall_ns)[:_DAY] for one in done})
    when = f"on {days[0]}" if len(days) == 1 else f"between {days[0]} and {days[-1]}"
    said = ", ".join(str(one.statement) for one in done[:_STATEMENTS])
    more = f" and {len(done) - _STATEMENTS} more" if len(done) > _STATEMENTS else ""
    sessions = "1 session" if len(done) == 1 else f"{len(done)} sessions"
    return (
        f"{sum(one.records for one in done)} records of {sessions} were erased {when} (record "
        f"{said}{more}) and can no longer be read, only counted"
    )


def _gone(verdict: Verdict) -> str:
    if verdict.pruned_by is None:
        return "are in files that are not here"
    return f"were removed on purpose, as record {verdict.pruned_by} says"


def proof_json(proof: Proof) -> str:
    """
    A proof as one line of JSON: `leaf` and `path` are hexadecimal, sizes count leaf 0 too.
    """
    return dump(
        {
            "sequence": proof.sequence,
            "head": _head(proof.head),
            "tree_size": proof.head.sequence + 1,
            "leaf": None if proof.leaf is None else proof.leaf.hex(),
            "path": [step.hex() for step in proof.path],
        }
    )


def proof_lines(proof: Proof) -> list[str]:
    """
    A proof in sentences, and its hashes.
    """
    if proof.leaf is None:
        said = f"the record only grew since {proof.sequence}; its head is {proof.head}"
    else:
        said = f"record {proof.sequence} ({proof.leaf.hex()}) is under the head {proof.head}"
    return [f"proved: {said}", *(f"  {step.hex()}" for step in proof.path)]


def moment(wall_ns: int) -> str:
    """
    A wall time as ISO 8601 in UTC, to the millisecond.
    """
    seconds, rest = divmod(wall_ns, 10**9)
    day = datetime.fromtimestamp(seconds, UTC)
    return f"{day:%Y-%m-%dT%H:%M:%S}.{rest // 10**6:03}Z"


def _shown(text: Text | None) -> str:
    return "" if text is None else visible(text)


def _head(head: Head) -> str | None:
    return str(head) if head.hash else None


def value_json(value: Text | int | None) -> object:
    """
    A text or number as JSON has it: a cut text is an object, which no string can imitate.
    """
    if isinstance(value, Cut):
        return {"cut": value.start, "bytes": value.length, "sha256": value.sha256.hex()}
    return value


def dump(value: Json) -> str:
    """
    One line of JSON in ASCII, without a control character.
    """
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _narrow(widths: list[int], headings: Sequence[Column], width: int) -> None:
    elastic = [place for place, column in enumerate(headings) if column.elastic]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    while over > 0:
        widest = max(elastic, key=lambda place: widths[place])
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1
        over -= 1


def _line(row: Sequence[str], widths: Iterable[int]) -> str:
    return _GAP.join(map(fit, row, widths)).rstrip()


def fit(text: str, width: int) -> str:
    """
    The text in exactly `width` columns, shortened with `…` or filled with spaces.
    """
    taken = columns(text)
    if taken <= width:
        return text + " " * (width - taken)
    while columns(text) > width - 1:
        text = text[: min(len(text) - 1, width - 1)]
    return text + "…" + " " * (width - 1 - columns(text))
