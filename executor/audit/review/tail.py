"""
A record as one line, as `tail` shows the end of the record.

Unlike a table, a line does not wait for others to find its columns; and an outcome has a line of
its own, for it may come long after its decision.
"""

from executor.audit.escape import columns, visible
from executor.audit.report import fit, moment
from executor.audit.review.rows import Look, asked, came_of, happened, look, shown
from executor.audit.review.search import Step

_SESSION = 8


def line(step: Step, width: int | None) -> tuple[str, Look]:
    """
    One record as a line of at most `width` columns, and how it stands out.
    """
    record = step.record
    word = happened(record)
    session = visible(record.session or "-")[:_SESSION]
    cell = "" if record.cell is None else f"cell {record.cell}"
    rule = shown(record.rule_place)
    said = [asked(step), f"by {rule}" if rule else "", came_of(record)]
    start = f"{record.sequence:>8}  {moment(record.wall_ns)}  {session:8}  {cell:8}  {word:16}"
    text = f"{start}  {'  '.join(part for part in said if part)}".rstrip()
    short = width is not None and columns(text) > width
    return (fit(text, width) if short and width else text), look(step)
