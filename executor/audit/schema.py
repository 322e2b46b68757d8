"""
The store's tables, and how they are opened.

A row holds the bytes that are hashed (`body`: the hash of the record before, then the encoding),
their hash as a leaf of the tree, the tree's root after it, and a few columns that only make
searching fast. Nothing trusts those columns: verify compares each with the body.
"""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from executor.audit.encoding import MAX_ENCODED
from executor.audit.errors import AuditDamaged

FORMAT = 2
# "CcAu": lets file(1) and us tell the store from another SQLite file.
APPLICATION_ID = 0x43634175

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE record (sequence INTEGER PRIMARY KEY, session TEXT, cell INTEGER,
    event TEXT NOT NULL, answer TEXT, refers INTEGER, hash BLOB NOT NULL, body BLOB NOT NULL,
    root BLOB NOT NULL)""",
    """CREATE TABLE tile (level INTEGER, number INTEGER, hash BLOB NOT NULL,
    PRIMARY KEY (level, number)) WITHOUT ROWID""",
    "CREATE INDEX record_session ON record (session, event, answer)",
    "CREATE INDEX record_start ON record (sequence) WHERE event = 'session.create'",
    "CREATE INDEX record_refers ON record (refers) WHERE refers IS NOT NULL",
)
COLUMNS = "sequence, session, cell, event, answer, refers, hash, body, root"
INSERT = f"INSERT INTO record ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constant
INSERT_TILE = "INSERT INTO tile (level, number, hash) VALUES (?, ?, ?)"
SELECT = f"SELECT {COLUMNS} FROM record"  # noqa: S608 - constant


@dataclass(frozen=True, slots=True)
class Carried:
    """
    What a file of the record has of those before it: the identity, their end as `start.py` writes
    it, and the rows of all tiles.
    """

    genesis: bytes
    start: bytes
    tiles: tuple[tuple[int, int, bytes], ...]


Row = tuple[int, str | None, int | None, str, str | None, int | None, bytes, bytes, bytes]


def connect_writer(path: Path, patience: float) -> sqlite3.Connection:
    """
    The one writing connection; `patience` is how long to wait for a foreign lock, in seconds.

    A commit in WAL mode with synchronous=NORMAL is written, not synced: it survives the death of
    the process. `durability.py` syncs the WAL itself, so that one sync serves many commits and
    those who only need "written" do not wait for it. Checkpoints are its work too.
    Source: https://www.sqlite.org/wal.html and https://www.sqlite.org/pragma.html.
    """
    db = _connect(f"file:{quote(str(path))}?mode=rw", patience)
    try:
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise AuditDamaged(f"audit store {path}: this file system has no WAL ({mode}); move it")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("PRAGMA journal_size_limit = 4194304")
    except BaseException:
        db.close()
        raise
    return db


def connect_reader(path: Path, patience: float = 5.0) -> sqlite3.Connection:
    """
    A connection that cannot write; each BEGIN sees one snapshot while the server goes on writing.
    """
    return _connect(f"file:{quote(str(path))}?mode=ro", patience)


def _connect(uri: str, patience: float) -> sqlite3.Connection:
    db = sqlite3.connect(
        uri, uri=True, timeout=patience, isolation_level=None, check_same_thread=False
    )
    # The file may be an attacker's: no functions from its schema, no bodies beyond our own.
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4 * MAX_ENCODED)
    return db


def build(path: Path, carried: Carried | None = None) -> None:
    """
    Fill an empty file with the tables and a fresh random identity, or with what it carries of
    the file before it; synced to the disk.
    """
    db = _connect(f"file:{quote(str(path))}?mode=rw", 0.0)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("BEGIN IMMEDIATE")
        for statement in TABLES:
            db.execute(statement)
        identity = os.urandom(32) if carried is None else carried.genesis
        rows = [("format", str(FORMAT).encode()), ("genesis", identity)]
        if carried is not None:
            rows.append(("start", carried.start))
            db.executemany(INSERT_TILE, carried.tiles)
        db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("COMMIT")
    finally:
        db.close()


def genesis(db: sqlite3.Connection) -> bytes:
    """
    The store's random identity (32 bytes). Raises AuditDamaged as `meta` does.
    """
    return meta(db)[0]


def meta(db: sqlite3.Connection) -> tuple[bytes, bytes | None]:
    """
    The store's identity, and where this file starts if another comes before it, after a check
    that the schema is exactly ours.

    A trigger or a view in place of a table could show one thing to verify and another to a
    reader. Raises AuditDamaged.
    """
    found = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    if found != set(TABLES):
        odd = sorted(str(sql)[:80] for sql in found ^ set(TABLES))
        raise AuditDamaged(f"the audit store's schema is not format {FORMAT}; it differs in {odd}")
    held = dict(db.execute("SELECT key, value FROM meta").fetchall())
    value, start = held.get("genesis"), held.get("start")
    if (
        set(held) - {"start"} != {"format", "genesis"}
        or held["format"] != str(FORMAT).encode()
        or not isinstance(value, bytes)
        or len(value) != 32
        or not isinstance(start, bytes | None)
    ):
        raise AuditDamaged(f"the audit store's meta table is not that of format {FORMAT}")
    return value, start
