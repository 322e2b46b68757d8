"""
What a commit has changed, as it stands in the record: a line for each path, in a few details.

    added file 120 - 9f86d0... reports/q3.csv

The kind, `file` or `directory`, the size in bytes afterwards, the digests of the content before and
after (`-` for none), and the path, made visible, which is the rest of the line. Contents are not in
the record. What does not fit is counted by the commit's `changes`, and its digest is over all.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from executor.audit.escape import visible
from executor.audit.record import TEXT_CAP, Detail

MOST_DETAILS: Final = 24
_NAME: Final = "changed_{:02}"
_KEY: Final = re.compile("changed_[0-9]{2}")
_LINE: Final = re.compile(
    "(added|modified|deleted) (file|directory) ([0-9]{1,18}) (-|[0-9a-f]{64}) (-|[0-9a-f]{64}) (.+)"
)


@dataclass(frozen=True, slots=True)
class Listed:
    """
    One path that was changed; digests are "" where there is no content. `path` is relative to the
    mount and visible: no character of it acts.
    """

    kind: str
    directory: bool
    size: int
    before: str
    after: str
    path: str

    def __str__(self) -> str:
        what = "directory" if self.directory else "file"
        digests = f"{self.before or '-'} {self.after or '-'}"
        return f"{self.kind} {what} {self.size} {digests} {self.path}"


def listing(changes: Iterable[Listed]) -> Detail:
    """
    The details that say so, 24 at most; a line that is longer than a record's text is left out
    with all that follow.
    """
    texts: list[str] = []
    for change in changes:
        line = str(change)
        if len(line.encode()) > TEXT_CAP:
            break
        if texts and len(texts[-1].encode()) + len(line.encode()) < TEXT_CAP:
            texts[-1] += f"\n{line}"
        elif len(texts) == MOST_DETAILS:
            break
        else:
            texts.append(line)
    return tuple((_NAME.format(place), text) for place, text in enumerate(texts))


def listed(detail: Detail) -> tuple[Listed, ...]:
    """
    What `listing` wrote; lines of another form are left out.
    """
    texts = [value for key, value in detail if _KEY.fullmatch(key) and isinstance(value, str)]
    found = (_LINE.fullmatch(line) for text in texts for line in text.split("\n"))
    return tuple(
        Listed(
            kind=match[1],
            directory=match[2] == "directory",
            size=int(match[3]),
            before=match[4].strip("-"),
            after=match[5].strip("-"),
            path=match[6],
        )
        for match in found
        if match is not None
    )


def seen(kind: str, path: str, *, directory: bool, size: int, before: str, after: str) -> Listed:
    """
    A change as it is recorded: its path is made visible.
    """
    return Listed(kind, directory, size, before, after, visible(path))
