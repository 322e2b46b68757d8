"""
What the audit tests share: drafts, filled stores, and hands that alter the file.
"""

import asyncio
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

from executor.audit.record import OK, Answer, Draft, Event, Head, Origin
from executor.audit.schema import SELECT
from executor.audit.store import AuditStore

SESSION = "5e551011" * 4
POLICY = "ab" * 32


def draft(event=Event.DECISION, **fields):
    said_by = Origin.BROKER if event in {Event.DECISION, Event.OUTCOME} else Origin.SERVER
    fields.setdefault("origin", said_by)
    fields.setdefault("session", SESSION)
    return Draft(event=event, **fields)


def allow(request="read /work/a.txt", **fields):
    place = {"rule": "filesystem[0]", "rule_place": "policy.yaml:12", "policy_digest": POLICY}
    return draft(request=request, answer=Answer.ALLOW, **place, **fields)


def append_all(store, drafts, *, durable=False):
    async def run():
        return [await store.append(one, durable=durable) for one in drafts]

    return asyncio.run(run())


def session_drafts(count):
    """
    `count` records of one whole session, no two alike.
    """
    middle = [
        allow(f"read /work/{n}.txt", cell=1 + n % 5)
        if n % 2 == 0
        else draft(Event.OUTCOME, outcome=OK, refers=n + 1, size=n)
        for n in range(count - 2)
    ]
    return [draft(Event.SESSION_CREATE), *middle, draft(Event.SESSION_END, outcome=OK)]


def filled(path: Path, drafts) -> Head:
    with AuditStore.open(path) as store:
        append_all(store, drafts)
        return store.head()


def tamper(path: Path, *statements):
    """
    Run (sql, values) statements as somebody with a hand on the file would.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN")
        for sql, values in statements:
            db.execute(sql, values)
        db.execute("COMMIT")


def rows_of(path: Path):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"{SELECT} ORDER BY sequence").fetchall()


@contextmanager
def locked(path: Path):
    """
    Another program's connection that holds SQLite's write lock until it rolls back.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db
