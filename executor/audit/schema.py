"""
The store's tables, and how they are opened.

A row holds the bytes that are hashed (`body`, see `leaf.py`), their hash as a leaf of the tree, the
tree's root after it, the texts that the body commits to, and a few columns that only make searching
fast. Nothing trusts those columns: verify compares each with the body.

Each session has a row with its key. Texts and keys are only ever overwritten in place, by as many
bytes, and rows are only added at the end of a table, so that no page is split and no copy of them
stays behind in a part of the file that is free.

Format 2 had no texts and no keys: its records are whole in their bodies. Files of it are read as
they are, and the one that is written to is taken on: its records stay what they are, and what is
added is in format 3.
"""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from executor.audit.encoding import MAX_ENCODED
from executor.audit.errors import AuditDamaged

FORMAT = 3
_FORMER = 2
# "CcAu": lets file(1) and us tell the store from another SQLite file.
APPLICATION_ID = 0x43634175

_FORMER_TABLES = (
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
# As `ALTER TABLE` leaves it, so that a file that was taken on has the same schema.
_RECORD = _FORMER_TABLES[1].replace("root BLOB NOT NULL)", "root BLOB NOT NULL, texts BLOB)")
_KEYS = """CREATE TABLE session_key (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
    key BLOB NOT NULL)"""
TABLES = (_FORMER_TABLES[0], _RECORD, *_FORMER_TABLES[2:], _KEYS)
_UPGRADE = ("ALTER TABLE record ADD COLUMN texts BLOB", _KEYS)
_FORMER_COLUMNS = "sequence, session, cell, event, answer, refers, hash, body, root"
COLUMNS = f"{_FORMER_COLUMNS}, texts"
_KEY = "(SELECT key FROM session_key WHERE name = record.session)"
# The names of the columns are constants of this program, here as below.
INSERT = f"INSERT INTO record ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
INSERT_TILE = "INSERT INTO tile (level, number, hash) VALUES (?, ?, ?)"
INSERT_KEY = "INSERT INTO session_key (name, key) VALUES (?, ?)"
SELECTED = ", ".join(f"record.{name}" for name in COLUMNS.split(", ")) + f", {_KEY}"
"""What a `Row` has, in a statement in which the table goes by its own name."""
SELECT = f"SELECT {SELECTED} FROM record"  # noqa: S608
# A file of the former format as if it were of this one; what is temporary is found first.
_AS_NOW = (
    "PRAGMA temp_store = MEMORY",
    f"""CREATE TEMP VIEW record AS SELECT {_FORMER_COLUMNS}, NULL AS texts
    FROM main.record""",  # noqa: S608
    "CREATE TEMP VIEW session_key AS SELECT NULL AS name, NULL AS key WHERE FALSE",
)


@dataclass(frozen=True, slots=True)
class Carried:
    """
    What a file of the record has of those before it: the identity, their end as `start.py` writes
    it, and the rows of all tiles.
    """

    genesis: bytes
    start: bytes
    tiles: tuple[tuple[int, int, bytes], ...]


Columns = tuple[int, str | None, int | None, str, str | None, int | None]
"""What a row has for searches."""
Stored = tuple[*Columns, bytes, bytes, bytes, bytes | None]
"""A row as it is written."""
Row = tuple[*Columns, bytes, bytes, bytes, bytes | None, bytes | None]
"""A row as it is read: its session's key is the last."""


def connect_writer(path: Path, patience: float) -> sqlite3.Connection:
    """
    The one writing connection; `patience` is how long to wait for a foreign lock, in seconds.

    A commit in WAL mode with synchronous=NORMAL is written, not synced: it survives the death of
    the process. `durability.py` syncs the WAL itself, so that one sync serves many commits and
    those who only need "written" do not wait for it. Checkpoints are its work too.
    Where SQLite moves what a page holds (the first of a table, when a second is needed) the old
    place is overwritten: else a text that is erased later would still be there.
    Source: https://www.sqlite.org/wal.html and https://www.sqlite.org/pragma.html.
    """
    db = _connect(f"file:{quote(str(path))}?mode=rw", patience)
    try:
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise AuditDamaged(f"audit store {path}: this file system has no WAL ({mode}); move it")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")
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
    db = _connect(f"file:{quote(str(path))}?mode=ro", patience)
    try:
        if _is_former(db):
            for statement in _AS_NOW:
                db.execute(statement)
    except BaseException:
        db.close()
        raise
    return db


def _is_former(db: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_schema WHERE name = 'record' AND sql = ?"
    return db.execute(query, (_FORMER_TABLES[1],)).fetchone() is not None


def take_on(db: sqlite3.Connection) -> bool:
    """
    Make a file of the former format one of this, and nothing that it holds is changed; True leaves
    that to be committed, False says that it is of this format, or of none.

    Raises AuditDamaged where its schema is not exactly what this program has made.
    """
    if not _is_former(db):
        return False
    db.execute("BEGIN IMMEDIATE")
    meta(db)
    for statement in _UPGRADE:
        db.execute(statement)
    db.execute("UPDATE meta SET value = ? WHERE key = 'format'", (str(FORMAT).encode(),))
    return True


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
    version = _FORMER if found == set(_FORMER_TABLES) else FORMAT
    if version == FORMAT and found != set(TABLES):
        odd = sorted(str(sql)[:80] for sql in found ^ set(TABLES))
        raise AuditDamaged(f"the audit store's schema is not format {FORMAT}; it differs in {odd}")
    held = dict(db.execute("SELECT key, value FROM meta").fetchall())
    value, start = held.get("genesis"), held.get("start")
    if (
        set(held) - {"start"} != {"format", "genesis"}
        or held["format"] != str(version).encode()
        or not isinstance(value, bytes)
        or len(value) != 32
        or not isinstance(start, bytes | None)
    ):
        raise AuditDamaged(f"the audit store's meta table is not that of format {version}")
    return value, start
