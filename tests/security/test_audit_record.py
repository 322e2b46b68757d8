"""
A01-A03 over the whole service: what a session did is in the record, and the record cannot lie.

What green does not prove: a record that was rewritten and recomputed to its end is found only by
a head that somebody kept.
"""

import sqlite3
from collections import Counter

import pytest

import agent_client
from agent_client.errors import ServerUnavailable
from executor.audit.record import Head
from executor.audit.verify import verify
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
