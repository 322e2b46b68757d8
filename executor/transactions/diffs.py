"""
What changed in a text, line by line, for people; bounded in time and in size.

The usual algorithms take time without bound on texts that are made for it. Here common lines at
both ends are cut off first, and what is left is compared in a table of limited size; where it does
not fit, the old lines are shown removed and the new ones added, which is true as well. The form is
that of a unified diff (POSIX, diff(1), "Diff -u Output Format").
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from executor.audit.escape import visible

MOST_TEXT: Final = 256 * 1024
"""Bytes of a file up to which it has a diff."""
MOST_SHOWN: Final = 64 * 1024
"""Bytes of all diffs of a list of changes together."""
MOST_CELLS: Final = 500_000
"""Fields of all tables of a list of changes together: about a tenth of a second."""
_CONTEXT: Final = 3
_NO_NEWLINE: Final = "\\ No newline at end of file"


class Undiffed(Enum):
    """
    Why a file that changes has no diff; the value is said to people.
    """

    BINARY = "it is no text in UTF-8"
    LONG = "it is longer than 256 KiB"
    BEYOND = "the diffs of the commit have reached 64 KiB, or 50 files"
    UNREADABLE = "it could not be read"


@dataclass(slots=True)
class DiffBudget:
    """
    What the diffs of one list may still take.
    """

    cells: int = MOST_CELLS
    size: int = MOST_SHOWN


def unified(path: str, old: bytes, new: bytes, budget: DiffBudget) -> str | Undiffed:
    """
    The unified diff of two versions of a file, cut where the budget ends; or why there is none.
    """
    if budget.size <= len(head(path).encode()):
        return Undiffed.BEYOND
    before, after = _lines(old), _lines(new)
    if isinstance(before, Undiffed):
        return before
    if isinstance(after, Undiffed):
        return after
    text = head(path) + "".join(f"{line}\n" for line in _hunks(_edits(before, after, budget)))
    shown = text.encode()[: budget.size].decode(errors="ignore")
    budget.size -= len(shown.encode())
    return shown if len(shown) == len(text) else f"{shown}\n[cut]\n"


def head(path: str) -> str:
    """
    The two lines with which a file's diff begins. No name makes a third one.
    """
    name = visible(path)
    return f"--- a/{name}\n+++ b/{name}\n"


@dataclass(frozen=True, slots=True)
class _Edit:
    mark: str
    line: str


def _lines(data: bytes) -> list[str] | Undiffed:
    if len(data) > MOST_TEXT:
        return Undiffed.LONG
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return Undiffed.BINARY
    if "\0" in text:
        return Undiffed.BINARY
    lines = text.split("\n")
    if lines[-1]:
        lines[-1] += f"\n{_NO_NEWLINE}"
        return lines
    return lines[:-1]


def _edits(old: list[str], new: list[str], budget: DiffBudget) -> list[_Edit]:
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    middle_old, middle_new = old[start : len(old) - end], new[start : len(new) - end]
    return [
        *(_Edit(" ", line) for line in old[:start]),
        *_middle(middle_old, middle_new, budget),
        *(_Edit(" ", line) for line in old[len(old) - end :]),
    ]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            break
        count += 1
    return count


def _middle(old: list[str], new: list[str], budget: DiffBudget) -> Iterator[_Edit]:
    cells = len(old) * len(new)
    if not cells or cells > budget.cells:
        yield from (_Edit("-", line) for line in old)
        yield from (_Edit("+", line) for line in new)
        return
    budget.cells -= cells
    yield from _walked(old, new, _table(old, new))


def _table(old: list[str], new: list[str]) -> list[list[int]]:
    """
    The longest common subsequence of what follows, for each pair of lines.
    """
    rows = [[0] * (len(new) + 1)]
    for line in reversed(old):
        below, row = rows[-1], [0] * (len(new) + 1)
        for index in range(len(new) - 1, -1, -1):
            same = line == new[index]
            row[index] = below[index + 1] + 1 if same else max(below[index], row[index + 1])
        rows.append(row)
    rows.reverse()
    return rows


def _walked(old: list[str], new: list[str], rows: list[list[int]]) -> Iterator[_Edit]:
    left, right = 0, 0
    while left < len(old) or right < len(new):
        if left < len(old) and right < len(new) and old[left] == new[right]:
            yield _Edit(" ", old[left])
            left, right = left + 1, right + 1
        elif right == len(new) or (
            left < len(old) and rows[left + 1][right] >= rows[left][right + 1]
        ):
            yield _Edit("-", old[left])
            left += 1
        else:
            yield _Edit("+", new[right])
            right += 1


def _hunks(edits: list[_Edit]) -> Iterator[str]:
    changed = [index for index, edit in enumerate(edits) if edit.mark != " "]
    position, ends = 0, _groups(changed, len(edits))
    old_line, new_line = 1, 1
    for start, end in ends:
        skipped = start - position
        old_line, new_line = old_line + skipped, new_line + skipped
        hunk = edits[start:end]
        old_count = sum(edit.mark != "+" for edit in hunk)
        new_count = sum(edit.mark != "-" for edit in hunk)
        yield f"@@ -{_range(old_line, old_count)} +{_range(new_line, new_count)} @@"
        yield from (edit.mark + edit.line for edit in hunk)
        old_line, new_line = old_line + old_count, new_line + new_count
        position = end


def _groups(changed: list[int], length: int) -> Iterator[tuple[int, int]]:
    """
    Where hunks start and end: changed lines with three others around them.
    """
    start = end = -1
    for index in changed:
        if start >= 0 and index - _CONTEXT > end:
            yield start, min(end, length)
            start = -1
        if start < 0:
            start = max(0, index - _CONTEXT)
        end = index + 1 + _CONTEXT
    if start >= 0:
        yield start, min(end, length)


def _range(line: int, count: int) -> str:
    """
    A range of lines; an empty one is after the line before it.
    """
    first = line if count else line - 1
    return f"{first}" if count == 1 else f"{first},{count}"
