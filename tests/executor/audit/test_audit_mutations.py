"""
A02: each of 1,000 mutations of a single event is caught by `verify`, in the file, as a hand would.

Twenty mutations of each of 25 records: every field changed, the record deleted, another put
before it, it and the next exchanged, all from it on cut off. Each in two ways: as an editor of
the file would do it who mends the record's own hash and root, and as one who computes everything
behind it anew, which only a head that was kept outside can tell.
"""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from audit_world import POLICY, draft, filled, rows_of

from executor.audit.chain import End, columns_of, open_row, origin_leaf
from executor.audit.encoding import parts_of
from executor.audit.leaf import body_of, is_keyed
from executor.audit.merkle import Edge, leaf_hash
from executor.audit.record import OK, Answer, Cut, Event, Origin
from executor.audit.schema import INSERT, connect_reader, genesis
from executor.audit.verify import verify

LENGTH = 25
FIELDS = {
    "origin": lambda one: Origin.WORKER if one is Origin.SERVER else Origin.SERVER,
    "event": lambda one: Event.WORKER_NOTE if one is not Event.WORKER_NOTE else Event.OUTCOME,
    "session": lambda one: (one or "") + "x",
    "cell": lambda one: (one or 0) + 1,
    "refers": lambda one: (one or 0) + 1,
    "request": lambda one: Cut("x" * 4096, 5000, bytes(32)) if one is None else None,
    "answer": lambda one: Answer.DENY if one is Answer.ALLOW else Answer.ALLOW,
    "rule": lambda one: "" if one is None else None,
    "rule_place": lambda one: f"{one}0",
    "policy_digest": lambda one: (one or "") + "0",
    "outcome": lambda one: "EIO" if one == OK else OK,
    "size": lambda one: (one or 0) + 1,
    "digest": lambda one: b"\x01" + bytes(31) if one is None else None,
    "detail": lambda one: (*one, ("zz", 1)),
    "wall_ns": lambda one: one - 1,
    "monotonic_ns": lambda one: one + 1,
}
EACH = LENGTH * (len(FIELDS) + 4)
assert 2 * EACH == 1000


def events():
    middle = [
        draft(
            cell=n,
            request=f"read /work/{n}.txt",
            answer=Answer.ALLOW if n % 3 else Answer.DENY,
            rule="filesystem[0]",
            rule_place="policy.yaml:12",
            policy_digest=POLICY,
            detail=(("reason", f"because {n}"),),
        )
        if n % 2
        else draft(Event.OUTCOME, cell=n, outcome=OK, refers=n + 1, size=n, digest=bytes(32))
        for n in range(1, LENGTH - 1)
    ]
    return [draft(Event.SESSION_CREATE), *middle, draft(Event.SESSION_END, outcome="closed")]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("mutations") / "state" / "audit.sqlite3"
    head = filled(path, events())
    db = connect_reader(path)
    leaf = origin_leaf(genesis(db))
    db.close()
    rows = [row[:-1] for row in rows_of(path)]
    return path, head, rows, End(Edge().push(leaf)[0], leaf)


@pytest.fixture(scope="module")
def key(log):
    """
    That of the only session, as the hand finds it in the file.
    """
    with closing(sqlite3.connect(log[0])) as db:
        return db.execute("SELECT key FROM session_key").fetchone()[0]


def records_of(rows, key):
    return [open_row((*row, key)) for row in rows]


def mutations(records):
    """
    Each mutation's name, the records that it leaves, and the first place that differs.
    """
    for place, record in enumerate(records):
        for name, change in FIELDS.items():
            changed = replace(record, **{name: change(getattr(record, name))})
            yield name, [*records[:place], changed, *records[place + 1 :]], place
        before, after = records[:place], records[place + 1 :]
        following = after[0] if after else records[place - 1]
        yield "delete", [*before, *after], place
        yield "insert", [*before, replace(following), record, *after], place
        yield "exchange", [*before, following, record, *after[1:]], place
        yield "cut", before, place


def placed(records):
    return [replace(one, sequence=n) for n, one in enumerate(records, 1)]


def written(records, end, key):
    """
    The rows of these records as a store would write them behind `end`.
    """
    rows = []
    for record in records:
        parts = parts_of(record)
        body = body_of(end.leaf, record.sequence, parts, key if is_keyed(record) else None)
        end, _ = end.add(leaf_hash(body))
        columns = columns_of(record, record.sequence)
        rows.append((*columns, end.leaf, body, end.edge.root, parts.texts))
    return rows


def store(path, rows):
    """
    As `tamper` does it, without waiting for the disk two thousand times.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        db.execute("DELETE FROM record")
        db.executemany(INSERT, rows)
        db.execute("COMMIT")


@pytest.fixture(scope="module")
def altered(log, tmp_path_factory):
    path = tmp_path_factory.mktemp("altered") / "state" / "audit.sqlite3"
    shutil.copytree(log[0].parent, path.parent)
    return path


def test_the_records_written_anew_without_a_change_are_the_log(log, key, altered):
    _, head, rows, start = log
    assert written(records_of(rows, key), start, key) == rows
    store(altered, rows)
    assert verify(altered, head=head).unanchored_since is None


def test_a02_each_of_500_mutations_of_one_event_is_caught_where_it_is(log, key, altered):
    """
    The hand mends the hash and the root of the record that it touched; those behind it stay.
    """
    _, head, rows, start = log
    caught = 0
    for name, records, place in mutations(records_of(rows, key)):
        anew = written(placed(records), start, key)
        if name in FIELDS:
            store(altered, [*rows[:place], anew[place], *rows[place + 1 :]])
        else:
            touched = place + (name == "insert")
            store(altered, [*anew[: touched + 1], *_moved(rows, len(anew), touched)])
        verdict = verify(altered, head=head)
        assert verdict.finding is not None, (name, place + 1)
        # The record itself, or the one behind it, which no longer follows.
        first = place + 1
        assert first <= verdict.finding.sequence <= first + 2, (name, first, verdict.finding)
        caught += 1
    assert caught == EACH


def _moved(rows, length, touched):
    """
    The untouched rows behind the place, renumbered so that they stand without a gap.
    """
    behind = rows[len(rows) - (length - touched - 1) :] if length > touched + 1 else []
    return [(touched + 2 + n, *row[1:]) for n, row in enumerate(behind)]


def test_a02_each_of_500_mutations_computed_anew_to_the_end_is_caught_by_a_head(log, key, altered):
    """
    Without a head kept outside most of these are whole: that is what heads are for.
    """
    _, head, rows, start = log
    caught, without = 0, []
    for name, records, place in mutations(records_of(rows, key)):
        store(altered, written(placed(records), start, key))
        verdict = verify(altered, head=head)
        assert verdict.finding is not None, (name, place + 1)
        caught += 1
        if place % 10 == 0:
            without.append(verify(altered).whole)
    assert caught == EACH
    assert sum(without) > len(without) / 2, "something else than the head has found them"
