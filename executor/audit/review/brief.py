"""
What the page of a session says first, for a terminal and for programs: is the record whole, what
was denied, and which hosts were asked for.
"""

from collections.abc import Iterator

from executor.audit.escape import visible
from executor.audit.record import Answer, Record
from executor.audit.report import (
    Column,
    Json,
    dump,
    moment,
    session_fields,
    table,
    value_json,
    verdict_fields,
    verdict_lines,
)
from executor.audit.review import diffs
from executor.audit.review.rows import Look, shown, value_text
from executor.audit.review.sheet import Sheet, by_host, ended

_Line = tuple[str, Look]
_DENIED = (
    Column("seq"),
    Column("cell"),
    Column("request", elastic=True),
    Column("rule", elastic=True),
    Column("what the agent was told", elastic=True),
)
_NETWORK = (Column("host", elastic=True), Column("allowed"), Column("denied"), Column("bytes"))


def lines(sheet: Sheet, width: int | None) -> Iterator[_Line]:
    """
    The lines, at most `width` columns where that can be, each with how it stands out.
    """
    short = sheet.summary
    said = f", {shown(short.outcome)}" if short.outcome is not None else ""
    yield f"session {visible(short.session)}, policy {shown(short.policy)}", Look.PLAIN
    yield (
        f"from {moment(short.started_ns)} to {ended(short)}{said}; {short.cells} cells",
        Look.PLAIN,
    )
    verdict = Look.PLAIN if sheet.verdict.whole else Look.DENIED
    yield from ((line, verdict) for line in verdict_lines(sheet.verdict))
    yield "", Look.PLAIN
    more = f", and {short.dropped} more were not recorded one by one" if short.dropped else ""
    yield f"denied: {short.denied}{more}", Look.PLAIN
    if sheet.denied.steps:
        rows = [_denial(step.record) for step in sheet.denied.steps]
        yield from _table(_DENIED, rows, width, Look.DENIED)
    if sheet.committed:
        yield "", Look.PLAIN
        yield from diffs.lines(sheet.committed, "--diffs")
    if sheet.network.steps:
        yield "", Look.PLAIN
        hosts = sorted(by_host(sheet.network.steps).items())
        rows = [(visible(host), *map(str, counts)) for host, counts in hosts]
        yield from _table(_NETWORK, rows, width, Look.PLAIN)


def to_json(sheet: Sheet) -> str:
    """
    The same as one line of JSON; of the denials at most as many as the page lists.
    """
    said: Json = {
        **session_fields(sheet.summary),
        "verdict": verdict_fields(sheet.verdict),
        "denials": [_denial_json(step.record) for step in sheet.denied.steps],
        "denials_are_all": sheet.denied.ended,
        "commits": [diffs.to_json(one) for one in sheet.committed],
        "commits_are_all": sheet.commits_are_all,
        "hosts": {
            host: {"allowed": allowed, "denied": denied, "bytes": size}
            for host, (allowed, denied, size) in sorted(by_host(sheet.network.steps).items())
        },
        "hosts_are_all": sheet.network.ended,
    }
    return dump(said)


def _denial(record: Record) -> tuple[str, ...]:
    reason = dict(record.detail).get("reason")
    return (
        str(record.sequence),
        "" if record.cell is None else str(record.cell),
        shown(record.request),
        shown(record.rule_place),
        "" if reason is None else value_text(reason),
    )


def _denial_json(record: Record) -> Json:
    assert record.answer is Answer.DENY
    return {
        "sequence": record.sequence,
        "cell": record.cell,
        "request": value_json(record.request),
        "rule": value_json(record.rule),
        "rule_place": value_json(record.rule_place),
        "reason": value_json(dict(record.detail).get("reason")),
    }


def _table(
    columns: tuple[Column, ...], rows: list[tuple[str, ...]], width: int | None, look: Look
) -> Iterator[_Line]:
    made = table(columns, rows, width)
    yield made[0], Look.QUIET
    yield from ((line, look) for line in made[1:])
