"""
Stores of the format before, in which texts could not be erased: read and verified as they are, and
taken on by the first server that writes to them.
"""

import hashlib
import shutil
import sqlite3
from contextlib import closing

import pytest
from audit_world import append_all, draft, tamper
from erase_world import MINE, OTHERS, SECRET, a_session, add, former, found_in, keys_of, mine
from review_world import run

from executor.audit.chain import Fault
from executor.audit.erase import erase
from executor.audit.errors import AuditDamaged, NotErasable
from executor.audit.read import records
from executor.audit.record import Event
from executor.audit.review.filters import Filter
from executor.audit.review.search import find
from executor.audit.rotation import MIN_BYTES, Rotation
from executor.audit.schema import TABLES, connect_reader
from executor.audit.segments import closed_files
from executor.audit.store import AuditStore
from executor.audit.verify import extends, prove, verify

LATER = "c3" * 16


@pytest.fixture
def old(path):
    """
    Two whole sessions and one that was open when its server was killed.
    """
    drafts = [*mine(), *a_session(OTHERS, "weather"), draft(Event.SESSION_CREATE, session=LATER)]
    return path, former(path, drafts)


def test_it_is_read_searched_and_verified_without_being_touched(old, capsys):
    path, head = old
    before = hashlib.sha256(path.read_bytes()).digest()
    verdict = verify(path, head=head)
    assert (verdict.finding, verdict.records, verdict.unanchored_since) == (None, 16, None)
    assert prove(path, 3).head == extends(path, head).head == head
    found = find(path, Filter(path="/data/weather.csv")).steps
    assert [step.record.request for step in found] == ["read /data/weather.csv"] * 2
    for command in (("list",), ("show", MINE), ("report", OTHERS), ("export",), ("why", MINE, "3")):
        assert run(*command, "--audit", path) == 0
    assert SECRET in capsys.readouterr().out
    assert not any(one.erased for one in records(path))
    assert hashlib.sha256(path.read_bytes()).digest() == before


@pytest.mark.parametrize("sequence", [1, 3, 15])
def test_a_changed_record_of_it_is_found(old, sequence):
    path, head = old
    change = "UPDATE record SET body = CAST(body || x'00' AS BLOB) WHERE sequence = ?"
    tamper(path, (change, (sequence,)))
    assert verify(path, head=head).finding.fault is Fault.CHANGED


def test_a_server_takes_it_on_and_what_it_held_stays_what_it_is(old):
    path, head = old
    before = records(path)
    with AuditStore.open(path) as store:
        append_all(store, a_session("d4" * 16, "rain"))
    assert records(path)[:16] == before
    closing_up = records(path, after_sequence=16, limit=2)
    assert [one.event for one in closing_up] == [Event.SERVER_RECOVERED, Event.SESSION_END]
    verdict = verify(path, head=head)
    assert (verdict.finding, verdict.records) == (None, 16 + 2 + 7)
    assert {*keys_of(path)} == {LATER, "d4" * 16}
    with closing(connect_reader(path)) as db:
        schema = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema") if sql}
    assert schema == set(TABLES)
    add(path, a_session("e5" * 16, "snow"))
    assert verify(path, head=head).whole


def test_its_sessions_are_not_erasable_and_later_ones_are(old):
    path, _ = old
    add(path, a_session("d4" * 16, "umbrella"))
    head = verify(path).head
    for session in (MINE, LATER):
        with pytest.raises(NotErasable, match="an earlier version wrote"):
            erase(path, session)
    assert verify(path).head == head
    erase(path, "d4" * 16)
    assert found_in(path, b"umbrella", SECRET.encode()) == {SECRET.encode()}
    assert verify(path, head=head).whole


def test_one_that_is_not_whole_is_not_taken_on(old):
    path, _ = old
    tamper(path, ("UPDATE record SET body = zeroblob(90) WHERE sequence = 4", ()))
    with pytest.raises(AuditDamaged):
        AuditStore.open(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() == (b"2",)
    assert verify(path).finding.fault is Fault.CHANGED


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = x'33' WHERE key = 'format'",
        "CREATE TABLE session_key (number INTEGER PRIMARY KEY, name TEXT, key BLOB)",
        "CREATE VIEW other AS SELECT * FROM record",
        "ALTER TABLE record ADD COLUMN texts BLOB",
    ],
)
def test_a_file_that_is_neither_format_is_none(old, statement):
    path, _ = old
    tamper(path, (statement, ()))
    assert verify(path).finding.fault is Fault.SCHEMA
    with pytest.raises(AuditDamaged):
        AuditStore.open(path)


def test_a_closed_file_of_it_stays_one_and_the_record_goes_on(path, tmp_path):
    head = former(path, a_session(MINE, SECRET, [draft(session=MINE, request="x" * 4000)] * 30))
    with AuditStore.open(path, rotation=Rotation(max_bytes=MIN_BYTES)) as store:
        append_all(store, a_session(OTHERS, "weather"))
    (closed,) = closed_files(path)
    assert closed.last == head.sequence
    verdict = verify(path, head=head)
    assert (verdict.finding, verdict.records) == (None, head.sequence + 7)
    with pytest.raises(NotErasable, match=closed.path.name):
        erase(path, MINE)
    erase(path, OTHERS)
    assert verify(path, head=head).whole
    shutil.copytree(path.parent, tmp_path / "copy")
    closed_files(tmp_path / "copy" / path.name)[0].path.unlink()
    assert verify(tmp_path / "copy" / path.name).whole
