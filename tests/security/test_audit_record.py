"""
A01-A03 over the whole service: what a session did is in the record, and the record cannot lie.

What green does not prove: a record that was rewritten and recomputed to its end is found only by
a head that somebody kept.
"""

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest

import agent_client
from agent_client import calls
from agent_client.errors import RecordChanged, ServerUnavailable, SessionNotFound
from agent_client.records import AuditHead
from executor.audit.record import Head
from executor.audit.verify import verify
from tests.executor.audit.collecting import attributes, grpc_collector
from tests.security.granted import field

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def world():
    with field() as made:
        yield made


@pytest.mark.parametrize(
    ("code", "request_text", "answer"),
    [
        ("open('/data/readme.txt')", "read /data/readme.txt", "allow"),
        ("open('/data/a.key')", "read /data/a.key", "deny"),
        ("open('/work/out/new1', 'w')", "write /work/out/new1", "allow"),
        ("open('/data/new1', 'w')", "write /data/new1", "deny"),
        ("os.mkdir('/work/out/d1')", "mkdir /work/out/d1", "allow"),
        ("os.mkdir('/data/d1')", "mkdir /data/d1", "deny"),
        ("os.unlink('/work/out/mine.txt')", "remove /work/out/mine.txt", "allow"),
        ("os.unlink('/data/readme.txt')", "remove /data/readme.txt", "deny"),
        ("os.stat('/etc/shadow')", "stat /etc/shadow", "deny"),
        ("socket.create_connection(('h.example', 80))", "resolve h.example", "deny"),
        ("socket.create_connection(('192.0.2.1', 80))", "socket tcp", "deny"),
        ("os.system('id')", "run id", "deny"),
    ],
)
def test_a01_each_decision_is_one_record(world, code, request_text, answer):
    value, decisions = world.attack(
        f"import os, socket\ntry:\n    x = {code}\nexcept OSError:\n    pass\n'ran'"
    )
    assert value == "'ran'"
    found = Counter((request, said) for request, said, _ in decisions)
    assert found[request_text, answer] == 1
    assert all(count == 1 for count in found.values())


def test_r05_while_the_record_cannot_be_written_nothing_happens_and_reads_go_on(world):
    """
    Another program holds the store's lock; when it lets go the same session works again.
    """
    late = world.folder / "out" / "late.txt"
    with world.session() as session:
        session.run("x = 40")
        held = len(session.audit())
        with closing(sqlite3.connect(world.audit, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ServerUnavailable):
                session.run("open('/work/out/late.txt', 'w').close()")
            assert not late.exists()
            assert world.cage.info().images
            assert len(session.audit()) == held
            assert any(one.id == session.id for one in world.cage.sessions())
            other.execute("ROLLBACK")
        observation = session.run("open('/work/out/late.txt', 'w').close(); x + 2")
        assert observation.value == "42"
        assert late.exists()
    assert verify(world.audit).whole


def test_a03_a_client_checks_for_itself_that_the_record_has_only_grown(world):
    with world.session() as session:
        held = session.run("open('/data/readme.txt').read()").audit_head
        later = session.run("2 + 2").audit_head
        now = world.cage.verify(held)
        assert now.sequence >= later.sequence
        assert world.cage.verify(now) == now
        assert session.verify(held).sequence >= now.sequence
        for forged in (
            AuditHead(held.sequence, bytes(32)),
            AuditHead(held.sequence + 1, held.hash),
            AuditHead(now.sequence + 1000, now.hash),
            AuditHead(0, held.hash),
        ):
            with pytest.raises(RecordChanged, match="--head"):
                world.cage.verify(forged)
    closed = session.verify(held)
    assert closed.sequence > now.sequence


def test_a03_a_client_learns_that_a_record_was_cut_and_written_anew(tmp_path):
    """
    Somebody with a hand on the file cuts it back behind the server's back, and adds to it.
    """
    with field() as made, made.session() as session:
        session.run("1")
        with closing(sqlite3.connect(made.audit)) as before:
            (last,) = before.execute("SELECT max(sequence) FROM record").fetchone()
        held = session.run("open('/data/readme.txt').read()").audit_head
        assert made.cage.verify(held)
        with closing(sqlite3.connect(made.audit)) as store:
            store.execute("DELETE FROM record WHERE sequence > ?", (last,))
            store.commit()
        with pytest.raises(RecordChanged):
            made.cage.verify(held)
        with pytest.raises(RecordChanged):
            session.verify(held)


def test_a_record_is_proved_to_the_client_of_its_session_alone(world):
    with world.session() as mine, world.session() as other:
        other.run("1")
        held = mine.run("2").audit_head
        (record, *_) = other.audit()
        with pytest.raises(SessionNotFound):
            world.cage.call(calls.inclusion(mine.id, record, held))
        world.cage.call(calls.inclusion(other.id, record, held))
        with pytest.raises(RecordChanged):
            world.cage.call(calls.inclusion(other.id, replace(record, leaf=bytes(32)), held))
        for session in ("", "none", "' OR 1=1 --"):
            with pytest.raises(SessionNotFound):
                world.cage.call(calls.inclusion(session, record, held))


def test_a18_a_guest_does_not_find_the_record(world):
    code = f"""
import os
found = []
for path in ({str(world.audit)!r}, {str(world.audit.parent)!r}):
    for act in (open, os.stat, os.listdir):
        try:
            found.append(act(path))
        except OSError as error:
            found.append(type(error).__name__)
set(found)
"""
    value, decisions = world.attack(code)
    assert value == "{'FileNotFoundError'}"
    assert all(said == "deny" for _, said, _ in decisions)


def test_a18_a_grant_of_a_directory_above_the_record_stops_the_start(tmp_path):
    (tmp_path / "policies").mkdir()
    grant = f"  - {{mount: /all, source: {tmp_path}/state, access: read}}"
    (tmp_path / "policies" / "wide.yaml").write_text(
        f"version: 1\nname: wide\nimage: core\nfilesystem:\n{grant}\n"
    )
    (tmp_path / "state" / "below").mkdir(parents=True)
    with pytest.raises(ServerUnavailable, match="wide.yaml:5"):
        agent_client.connect(
            policies=tmp_path / "policies", audit=tmp_path / "state" / "below" / "audit.sqlite3"
        )


def test_a19_a_servers_sessions_reach_a_collector_from_a_program_of_its_own(world):
    """
    The whole way: a server, a session under its client's trace, and `codecage audit trace`.
    """
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with world.cage.session(policy="attacker", labels={"traceparent": parent}) as session:
        session.run("open('/data/readme.txt').read()")
        session.run("open('/data/a.key')")
    with grpc_collector() as collector:
        command = [sys.executable, "-m", "executor.cli", "audit", "trace", "--to", collector.url]
        sent = subprocess.run(
            [*command, "--audit", world.audit], capture_output=True, text=True, check=False
        )
        assert sent.returncode == 0, sent.stdout + sent.stderr
        got = collector.got
    mine = [one for one in got.spans if attributes(one)["codecage.session"] == session.id]
    first, second, whole = mine
    assert {one.trace_id.hex() for one in mine} == {parent.split("-")[1]}
    assert whole.parent_span_id.hex() == parent.split("-")[2]
    assert first.parent_span_id == second.parent_span_id == whole.span_id
    assert [attributes(event)["codecage.request"] for event in second.events] == [
        "read /data/a.key"
    ]
    (denied,) = [
        event
        for event in got.events
        if event.span_id == second.span_id and attributes(event)["codecage.decision"] == "deny"
    ]
    assert denied.trace_id == second.trace_id
    assert attributes(first)["codecage.peak_memory"] > 2**20
    starts = got.metrics["codecage.session.start.duration"].histogram.data_points
    assert sum(point.count for point in starts) >= 1
    assert all(point.sum > 0 for point in starts)
    assert got.metrics["codecage.decisions"].sum.data_points


@pytest.fixture
def closed_record(tmp_path):
    with field() as made:
        with made.session() as session:
            for number in range(4):
                observation = session.run(f"open('/data/readme.txt').read(), {number}")
        head = observation.audit_head
        made.cage.close()
        copy = tmp_path / "audit.sqlite3"
        with sqlite3.connect(made.audit) as source, sqlite3.connect(copy) as target:
            source.backup(target)
        source.close()
        target.close()
    copy.chmod(0o600)
    return copy, Head(head.sequence, head.hash)


def change(path, statement):
    with sqlite3.connect(path) as store:
        store.execute(statement)
    store.close()


def test_a02_a_change_is_named(closed_record):
    path, head = closed_record
    assert verify(path, head=head).whole
    for statement, sequence in (
        ("DELETE FROM record WHERE sequence = 9", 9),
        ("UPDATE record SET session = 'x' WHERE sequence = 7", 7),
    ):
        change(path, statement)
        verdict = verify(path, head=head)
        assert not verdict.whole
        assert verdict.finding.sequence == sequence


def test_a03_a_cut_tail_is_found_by_the_head_that_a_result_carried(closed_record):
    path, head = closed_record
    change(path, f"DELETE FROM record WHERE sequence >= {head.sequence}")
    assert verify(path).whole, "without a head nobody can know"
    assert not verify(path, head=head).whole
