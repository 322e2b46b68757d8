"""
Closing a file of the record and going on in a new one, which carries on the same tree.

It happens between sessions alone: then no record in a file refers to one in another, and each
file can be read by itself. The order makes a crash at any point harmless: the new file is whole
and synced under a name of its own before the old one gets its closed name, and one that is found
there without the other is given its place at the next start.
"""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from executor.audit.chain import End
from executor.audit.errors import AuditDamaged, AuditUnavailable
from executor.audit.files import make_file, sync_directory
from executor.audit.merkle import TILE_LEAVES
from executor.audit.schema import Carried, genesis
from executor.audit.segments import closed_files, closed_name
from executor.audit.start import Start, start_of, tree_of

MIN_BYTES: Final = 65_536
CLOSED: Final = 0o400
"""The mode of a closed file."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """
    When a file is closed: once it has `max_bytes` (at least 65,536; None: however large), and
    where `daily` is set once a day of UTC has ended since its first record.
    """

    max_bytes: int | None = None
    daily: bool = False

    def __post_init__(self) -> None:
        """
        Raises ValueError for a size that is too small.
        """
        if self.max_bytes is not None and self.max_bytes < MIN_BYTES:
            raise ValueError(f"a file of {self.max_bytes} bytes: {MIN_BYTES} or more are possible")

    def is_due(self, path: Path, first_ns: int | None, now_ns: int) -> bool:
        """
        Whether the file at `path`, whose first record is of `first_ns`, is to be closed; never
        where it has none.
        """
        if first_ns is None:
            return False
        if self.daily and _day(first_ns) < _day(now_ns):
            return True
        # Without the WAL: most of its pages are there several times, and it goes into the file
        # every few hundred commits.
        return self.max_bytes is not None and path.stat().st_size >= self.max_bytes


def finish(path: Path) -> None:
    """
    Give a new file its place where a crash came between the two names.

    Raises AuditDamaged where closed files are there and the one to be written to is not.
    """
    if path.exists() or path.is_symlink() or not path.parent.is_dir() or not closed_files(path):
        return
    fresh = _fresh(path)
    if not fresh.is_file():
        raise AuditDamaged(
            f"audit store {path}: it is gone, and closed files of it are there; put it back, or "
            "move those aside to start a new record"
        )
    fresh.rename(path)
    sync_directory(path.parent)


def rotate(path: Path, db: sqlite3.Connection, end: End) -> bool:
    """
    Close the file of this connection, its only one that writes, and put a new one in its place;
    False, and nothing has happened, where somebody is reading it just now.

    The connection is closed where it returns True. Raises AuditUnavailable where the new file
    could not be made; OSError.
    """
    start = start_of(db)
    carried = _carried(db, start, end)
    if not _is_whole_alone(db):
        return False
    closed = closed_name(path, start.head.sequence + 1, end.head.sequence)
    if closed.exists():
        raise AuditUnavailable(f"{closed} is there already; move it aside")
    make_file(_fresh(path), carried)
    db.close()
    path.rename(closed)
    closed.chmod(CLOSED)
    _fresh(path).rename(path)
    sync_directory(path.parent)
    return True


def _carried(db: sqlite3.Connection, start: Start, end: End) -> Carried:
    size = end.head.sequence + 1
    whole = size - size % TILE_LEAVES
    tree = tree_of(db, start)
    leaves = tuple(tree.subtree(0, number) for number in range(whole, size))
    tiles = db.execute("SELECT level, number, hash FROM tile ORDER BY level, number").fetchall()
    return Carried(genesis(db), Start(end.head, end.leaf, leaves).encode(), tuple(tiles))


def _is_whole_alone(db: sqlite3.Connection) -> bool:
    """
    Take all of the WAL into the file, and have no WAL: a file that is moved must not leave one.
    """
    try:
        (mode,) = db.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith("SQLITE_BUSY"):
            return False
        raise
    return bool(mode == "delete")


def _fresh(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _day(wall_ns: int) -> str:
    return f"{datetime.fromtimestamp(wall_ns // 10**9, UTC):%Y-%m-%d}"
