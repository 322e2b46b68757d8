"""
The record from a sequence on, through closed files, also while the server closes another.

What is read of a page's records (their decisions, the session's beginning) is in the same file:
a file is closed between sessions alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from executor.audit.review.filters import EVERYTHING, Filter
from executor.audit.review.search import Outcomes, Page, find
from executor.audit.segments import closed_files

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """
    A page of records, and the file that it was read from.
    """

    file: Path
    page: Page


def unread(path: Path, after: int, which: Filter = EVERYTHING) -> Iterator[Part]:
    """
    All records behind sequence `after` that match, outcomes on their own, page by page, of the
    closed files beside the one at `path` too; the last page's `reached` is where to go on.

    Records whose file was moved away are passed over. Raises as `search.find` does.
    """
    while True:
        part = _next(path, after, which)
        yield part
        if part.page.ended and part.file == path:
            return
        after = part.page.reached


def _next(path: Path, after: int, which: Filter) -> Part:
    page = _page(path, after, which)
    # Asked for after the page was read: a file that was closed meanwhile is found under its new
    # name, and what came after it is not taken for what comes next.
    closed = [one for one in closed_files(path) if one.last > after]
    if not closed or (page.steps and closed[0].first > page.steps[0].record.sequence):
        return Part(path, page)
    page = _page(closed[0].path, after, which)
    # A closed file that ends before its name says so has nothing more to give either.
    reached = max(page.reached, closed[0].last) if page.ended else page.reached
    return Part(closed[0].path, replace(page, reached=reached))


def _page(path: Path, after: int, which: Filter) -> Page:
    return find(path, which, after=after, limit=_BATCH, outcomes=Outcomes.ALONE)
