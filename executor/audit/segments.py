"""
The files of a record that was rotated: the one that is written to, and those that were closed.

A closed file stands beside the other under its name with the first and the last record's number:
`audit.000000000001-000000004711.sqlite3`. The names are for finding files; what is in them is
checked by what is in them.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from executor.audit.chain import origin_leaf
from executor.audit.schema import connect_reader, genesis
from executor.audit.start import Earlier


@dataclass(frozen=True, slots=True)
class Closed:
    """
    A closed file, and the numbers of the records that its name says are in it.
    """

    path: Path
    first: int
    last: int


def closed_name(path: Path, first: int, last: int) -> Path:
    """
    What the file at `path` is called once it is closed.
    """
    return path.with_name(f"{path.stem}.{first:012}-{last:012}{path.suffix}")


def closed_files(path: Path) -> list[Closed]:
    """
    The closed files beside the one at `path`, in order; those that were moved away are missing.
    """
    pattern = re.compile(
        re.escape(path.stem) + r"\.([0-9]{12})-([0-9]{12})" + re.escape(path.suffix)
    )
    found = [(one, pattern.fullmatch(one.name)) for one in path.parent.iterdir()]
    files = [Closed(one, int(match[1]), int(match[2])) for one, match in found if match]
    return sorted(files, key=lambda one: one.first)


def earlier_leaves(path: Path) -> Earlier:
    """
    What finds leaf hashes in the closed files beside `path`; those that are not there it leaves
    out, and who asked sees that some are missing.
    """

    def find(first: int, last: int) -> list[bytes]:
        return [leaf for one in closed_files(path) for leaf in _leaves(one, first, last)]

    return find


def _leaves(one: Closed, first: int, last: int) -> Iterator[bytes]:
    if not ((one.first <= last and first <= one.last) or (one.first == 1 and first == 0)):
        return
    with closing(connect_reader(one.path)) as db:
        identity = genesis(db)
        if one.first == 1 and first == 0:
            yield origin_leaf(identity)
        query = "SELECT hash FROM record WHERE sequence BETWEEN ? AND ? ORDER BY sequence"
        for (leaf,) in db.execute(query, (max(first, one.first), min(last, one.last))):
            yield leaf
