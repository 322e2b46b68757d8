"""
What the tests of erasing share: sessions with texts that can be looked for, and stores as the
former format had them.
"""

import asyncio
import os
import sqlite3
from contextlib import closing
from dataclasses import fields

from audit_world import allow, append_all, draft

from executor.audit import schema
from executor.audit.chain import End, columns_of, origin_leaf
from executor.audit.counts import Counts
from executor.audit.encoding import encode
from executor.audit.merkle import Edge, leaf_hash
from executor.audit.record import OK, Draft, Event, Record
from executor.audit.store import AuditStore

MINE, OTHERS = "a1" * 16, "b2" * 16
SECRET = "salary-of-miriam"
LONG = f"/data/{SECRET}/" + "x" * 9000
CODE = bytes(range(100, 132))


def a_session(name, word, more=()):
    """
    A whole session in whose texts, details, outcomes and digests `word` is, and `CODE`.
    """
    return [
        draft(Event.SESSION_CREATE, session=name, detail=(("policy", "p"), ("labels", word))),
        draft(Event.CELL_START, session=name, cell=1, digest=CODE, size=7),
        allow(f"read /data/{word}.csv", session=name, cell=1, detail=(("reason", word),)),
        draft(Event.OUTCOME, session=name, cell=1, refers=3, outcome=f"ENOENT {word}", size=9),
        allow(f"read /data/{word}.csv", session=name, cell=1, detail=(("reason", word),)),
        *more,
        draft(Event.CELL_END, session=name, cell=1, outcome=OK),
        draft(Event.SESSION_END, session=name, outcome="closed"),
    ]


def mine():
    return a_session(MINE, SECRET, [allow(f"read {LONG}", session=MINE, cell=1)])


def both(path):
    """
    Two sessions, whose records alternate, and the head behind them.
    """
    first, second = mine(), a_session(OTHERS, "weather")
    drafts = [one for pair in zip(first, second, strict=False) for one in pair]
    drafts += [first[-1], draft(Event.SERVER_STOP, session=None, outcome="closed")]
    with AuditStore.open(path) as store:
        append_all(store, drafts)
        return store.head()


def found_in(path, *words):
    """
    The files beside the store, and the words that are in them somewhere.
    """
    files = [one for one in path.parent.rglob("*") if one.is_file()]
    assert path in files
    return {word for word in words for one in files if word in one.read_bytes()}


def keys_of(path):
    with closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT name, key FROM session_key").fetchall())


def former(path, drafts):
    """
    A store of these drafts as the version before wrote it: whole records, no keys.
    """
    path.parent.mkdir(mode=0o700, parents=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    counts, genesis = Counts({}), os.urandom(32)
    leaf = origin_leaf(genesis)
    end = End(Edge().push(leaf)[0], leaf)
    insert = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for statement in schema._FORMER_TABLES:
            db.execute(statement)
        rows = [("format", b"2"), ("genesis", genesis)]
        db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        for sequence, one in enumerate(drafts, 1):
            said = {field.name: getattr(one, field.name) for field in fields(Draft)}
            ordinal = counts.number(one.session, one.event)
            record = Record(
                sequence=sequence,
                wall_ns=1_766_000_000 * 10**9 + sequence,
                monotonic_ns=sequence,
                ordinal=ordinal,
                previous=b"",
                hash=b"",
                root=b"",
                **said,
            )
            body = end.leaf + encode(record)
            end, tiles = end.add(leaf_hash(body))
            columns = columns_of(one, sequence)
            db.execute(insert, (*columns, end.leaf, body, end.edge.root))
            for tile in tiles:
                db.execute(schema.INSERT_TILE, (tile.level, tile.number, tile.hash))
    return end.head


def add(path, drafts):
    with AuditStore.open(path) as store:
        return asyncio.run(_added(store, drafts))


async def _added(store, drafts):
    return [await store.append(one) for one in drafts]
