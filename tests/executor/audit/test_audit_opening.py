"""
Opening a store: whose files they are, one server at a time, and what is found in them.
"""

import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from audit_world import allow, append_all, draft, filled, rows_of, session_drafts, tamper

from executor.audit.encoding import MAX_ENCODED
from executor.audit.errors import AuditDamaged, AuditInUse
from executor.audit.read import records
from executor.audit.record import OK, Answer, Event, Origin
from executor.audit.schema import connect_reader, connect_writer
from executor.audit.store import AuditStore
from executor.audit.verify import verify
from executor.linux import descriptors

ROOT = Path(__file__).parents[3]


def test_files_are_the_owners_alone(path):
    with AuditStore.open(path) as store:
        append_all(store, [allow()])
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert modes == {f"audit.sqlite3{end}": 0o600 for end in ("", "-wal", "-shm", ".lock")}


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_directory_that_others_can_reach_is_refused(path, mode):
    path.parent.mkdir()
    path.parent.chmod(mode)
    with pytest.raises(AuditDamaged, match="chmod go-rwx"):
        AuditStore.open(path)
    assert list(path.parent.iterdir()) == []
    path.parent.chmod(0o700)
    AuditStore.open(path).close()


def test_a_file_that_others_can_read_or_that_is_a_link_is_refused(path, tmp_path):
    AuditStore.open(path).close()
    path.chmod(0o640)
    with pytest.raises(AuditDamaged, match="chmod go-rwx"):
        AuditStore.open(path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditDamaged, match="cannot be opened"):
        AuditStore.open(path)


SECOND_SERVER = """
import sys
from pathlib import Path
from executor.audit.errors import AuditInUse
from executor.audit.store import AuditStore
try:
    AuditStore.open(Path(sys.argv[1])).close()
except AuditInUse as error:
    print(error)
    sys.exit(7)
"""


def second_server(path):
    return subprocess.run(
        [sys.executable, "-c", SECOND_SERVER, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("connect", [connect_reader, partial(connect_writer, patience=0.0)])
def test_a_connection_believes_nothing_of_the_file_and_takes_no_large_value_from_it(path, connect):
    AuditStore.open(path).close()
    with closing(connect(path)) as db:
        assert db.execute("PRAGMA trusted_schema").fetchone() == (0,)
        assert db.execute("PRAGMA cell_size_check").fetchone() == (1,)
        assert db.execute("SELECT length(zeroblob(?))", (4 * MAX_ENCODED,)).fetchone()
        with pytest.raises(sqlite3.DataError, match="too big"):
            db.execute("SELECT length(zeroblob(?))", (4 * MAX_ENCODED + 1,)).fetchone()


def test_a05_a_second_server_refuses_while_the_first_lives(path):
    with AuditStore.open(path) as store:
        append_all(store, [allow()])
        second = second_server(path)
        assert second.returncode == 7
        assert "another codecage server has it open" in second.stdout
        append_all(store, [allow()])
        with pytest.raises(AuditInUse):
            AuditStore.open(path)
        append_all(store, [allow()])
    assert second_server(path).returncode == 0
    assert verify(path).records == 3


def test_reopening_continues_the_chain(path):
    heads = [filled(path, session_drafts(10)) for _ in range(5)]
    assert [h.sequence for h in heads] == [10, 20, 30, 40, 50]
    assert all(verify(path, head=h).whole for h in heads)


def test_an_altered_tail_stops_the_start_and_is_named(path):
    filled(path, session_drafts(30))
    tamper(path, ("UPDATE record SET event = 'dropped' WHERE sequence = 17", ()))
    before = rows_of(path)
    with pytest.raises(AuditDamaged, match="record 17: column: column event"):
        AuditStore.open(path)
    assert rows_of(path) == before


def test_only_the_tail_is_checked_at_the_start_and_the_rest_by_verify(path):
    filled(path, session_drafts(1200))
    tamper(path, ("UPDATE record SET event = 'dropped' WHERE sequence = 17", ()))
    AuditStore.open(path).close()
    assert verify(path).finding.sequence == 17


def test_a_log_whose_beginning_is_gone_does_not_start(path):
    filled(path, session_drafts(30))
    tamper(path, ("DELETE FROM record WHERE sequence < 30", ()))
    with pytest.raises(AuditDamaged, match="records 1 to 29 are not there"):
        AuditStore.open(path)


def test_a_main_file_that_is_cut_or_foreign_does_not_start(path):
    filled(path, session_drafts(100))
    whole = path.read_bytes()
    for place in (100, 4096, len(whole) // 2, len(whole) - 4096):
        path.write_bytes(whole[:place])
        with pytest.raises(AuditDamaged):
            AuditStore.open(path)
    path.write_bytes(whole)
    AuditStore.open(path).close()


def left_open(path):
    """
    A store as a killed server leaves it: one ended session, one in the middle of a cell.
    """
    store = AuditStore.open(path)
    append_all(
        store,
        [
            *session_drafts(4),
            draft(Event.SESSION_CREATE, session="other", policy_digest="cd"),
            draft(Event.CELL_START, session="other", cell=1),
            draft(Event.CELL_END, session="other", cell=1, outcome=OK),
            draft(Event.CELL_START, session="other", cell=2),
            allow("read /work/a", session="other", cell=2),
            draft(Event.OUTCOME, session="other", cell=2, refers=9, outcome=OK),
            allow("create /work/b", session="other", cell=2),
            allow("read /etc", session="other", cell=2, origin=Origin.BROKER),
            draft(session="other", cell=2, request="read /x", answer=Answer.DENY),
        ],
    )
    store.close()


def test_what_a_killed_server_left_open_is_closed_at_the_next_start(path):
    left_open(path)
    AuditStore.open(path).close()
    found = records(path, after_sequence=13)
    assert [(r.event.value, r.refers, r.cell, r.outcome) for r in found] == [
        ("server.recovered", None, None, None),
        ("outcome", 11, 2, "unknown"),
        ("outcome", 12, 2, "unknown"),
        ("cell.end", 8, 2, "aborted_by_restart"),
        ("session.end", 5, None, "aborted_by_restart"),
    ]
    assert found[0].detail == (("outcomes_unknown", 2), ("sessions", 1))
    assert {r.session for r in found[1:]} == {"other"}
    assert found[-1].ordinal == 13
    assert verify(path).whole


def test_a_start_after_an_orderly_end_recovers_nothing(path):
    left_open(path)
    AuditStore.open(path).close()
    count = verify(path).records
    AuditStore.open(path).close()
    assert verify(path).records == count


def threads():
    """
    Those of stores; what other tests have started may end at any time.
    """
    return sorted(one.name for one in threading.enumerate() if one.name.startswith("audit-"))


def test_open_and_close_leave_no_thread_and_no_descriptor(path):
    AuditStore.open(path).close()
    begun, before = threads(), descriptors.own()
    for _ in range(20):
        with AuditStore.open(path) as store:
            append_all(store, [allow()], durable=True)
            assert threads() == sorted([*begun, "audit-sync", "audit-write"])
    assert threads() == begun
    assert descriptors.own() <= before


def test_an_open_that_is_refused_leaves_no_thread_and_no_descriptor(path):
    AuditStore.open(path).close()
    whole = path.read_bytes()
    begun, before = threads(), descriptors.own()
    for damaged in (b"no database" * 1000, whole[:4096], whole[:5000]):
        path.write_bytes(damaged)
        with pytest.raises(AuditDamaged):
            AuditStore.open(path)
    path.write_bytes(whole)
    path.chmod(0o644)
    with pytest.raises(AuditDamaged):
        AuditStore.open(path)
    assert threads() == begun
    assert descriptors.own() <= before
