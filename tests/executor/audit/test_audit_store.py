"""
Appending: order, grades, files, one server at a time, and what an open finds.
"""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from audit_world import (
    SESSION,
    allow,
    append_all,
    draft,
    filled,
    locked,
    rows_of,
    session_drafts,
    tamper,
)

from executor.audit.encoding import MAX_ENCODED
from executor.audit.errors import AuditDamaged, AuditInUse, AuditUnavailable
from executor.audit.read import records
from executor.audit.record import OK, Answer, Draft, Event, Head, Origin
from executor.audit.schema import connect_reader, connect_writer
from executor.audit.store import MAX_WAITING, AuditStore
from executor.audit.verify import verify
from executor.audit.writer import MAX_BATCH

ROOT = Path(__file__).parents[3]


def words(path):
    return [(r.event.value, r.outcome) for r in records(path)]


def test_what_is_appended_is_what_is_read(path):
    one = allow(
        "read /work/\ud800\0\u202e.txt",
        cell=3,
        size=5,
        digest=bytes(32),
        outcome="ok",
        detail=(("b", "text"), ("a", 7)),
    )
    with AuditStore.open(path) as store:
        heads = append_all(store, [draft(Event.SESSION_CREATE), one])
    first, second = records(path)
    assert [first.head, second.head] == heads
    assert (second.sequence, second.ordinal, second.previous) == (2, 2, first.hash)
    assert replace(one, detail=(("a", 7), ("b", "text"))) == Draft(
        **{name: getattr(second, name) for name in Draft.__dataclass_fields__}
    )


def test_a_head_is_returned_once_the_record_can_be_read(path):
    async def run(store):
        for n in range(50):
            head = await store.append(allow(f"read /work/{n}"))
            assert records(path)[-1].head == head == store.head()

    with AuditStore.open(path) as store:
        asyncio.run(run(store))


def test_appends_in_flight_keep_the_order_of_the_calls(path):
    async def run(store):
        waiting = []
        for n in range(3000):
            if n % 3:
                store.append_nowait(allow(f"n {n}"))
            else:
                waiting.append(asyncio.ensure_future(store.append(allow(f"n {n}"))))
                # Appending begins when the task runs; let it, so that calls are in order.
                await asyncio.sleep(0)
        return await asyncio.gather(*waiting)

    with AuditStore.open(path) as store:
        heads = asyncio.run(run(store))
    assert [r.request for r in records(path, limit=3000)] == [f"n {n}" for n in range(3000)]
    assert [h.sequence for h in heads] == list(range(1, 3001, 3))


def test_many_appends_share_commits(path):
    async def run(store):
        await asyncio.gather(*(store.append(allow(f"n {n}")) for n in range(1000)))

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
        assert store._durability._commits < 500
        assert store.head().sequence == 1000
    assert verify(path).whole


def test_an_awaited_record_is_behind_those_that_nobody_waits_for(path):
    async def run(store):
        for n in range(500):
            store.append_nowait(allow(f"n {n}"))
        return await store.append(allow("last"))

    with AuditStore.open(path) as store:
        head = asyncio.run(run(store))
        assert head.sequence == 501
        assert len(records(path)) == 501


def test_durable_appends_are_synced_and_written_ones_do_not_wait(path):
    async def run(store):
        durable = [store.append(allow(f"d {n}"), durable=True) for n in range(20)]
        written = [store.append(allow(f"w {n}")) for n in range(20)]
        return await asyncio.gather(*durable, *written)

    with AuditStore.open(path) as store:
        heads = asyncio.run(run(store))
    assert sorted(h.sequence for h in heads) == list(range(1, 41))


def test_a06_a_failed_sync_refuses_durable_records_for_good_and_written_ones_never(path):
    async def run(store):
        await store.append(allow("before"), durable=True)
        reader, writer = os.pipe()
        os.dup2(reader, store._durability._wal)  # fdatasync(2) of a pipe: EINVAL
        os.close(reader)
        os.close(writer)
        for _ in range(2):
            with pytest.raises(AuditUnavailable, match="could not be synced"):
                await store.append(allow("durable"), durable=True)
        wal = os.open(path.with_name(path.name + "-wal"), os.O_RDWR)
        os.dup2(wal, store._durability._wal)
        os.close(wal)
        with pytest.raises(AuditUnavailable, match="started again"):
            await store.append(allow("the disk says it is fine"), durable=True)
        return await store.append(allow("written"))

    with AuditStore.open(path) as store:
        assert asyncio.run(run(store)).sequence == 5
    assert verify(path).whole
    with AuditStore.open(path) as store:
        assert append_all(store, [allow("again")], durable=True)[0].sequence == 6


def test_a_cancelled_append_is_written_all_the_same(path):
    async def run(store):
        task = asyncio.ensure_future(store.append(allow("cancelled"), durable=True))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.append(allow("next"))

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
    assert [r.request for r in records(path)] == ["cancelled", "next"]


def test_a_lone_record_is_written_when_the_call_returns(path):
    with AuditStore.open(path) as store:
        head = store.append_at_once(allow("now"))
        assert head == store.head()
        assert [r.request for r in records(path)] == ["now"]


def test_no_record_is_written_at_once_while_one_is_queued_before_it(path):
    with AuditStore.open(path) as store:
        with store._writer._owned:  # so that the writer cannot have dealt with it
            store.append_nowait(allow("first"))
            assert store.append_at_once(allow("second")) is None
        asyncio.run(store.append(allow("third")))
    assert [r.request for r in records(path)] == ["first", "third"]


def test_a_foreign_lock_is_not_waited_for_on_the_caller_s_thread(path):
    with AuditStore.open(path) as store:
        with closing(sqlite3.connect(path)) as foreign:
            foreign.execute("BEGIN IMMEDIATE")
            assert store.append_at_once(allow("refused")) is None
            foreign.rollback()
        asyncio.run(store.append(allow("written")))
    assert [r.request for r in records(path)] == ["written"]


def test_a_foreign_lock_is_waited_for_by_the_writer(path):
    async def run(store, foreign):
        task = asyncio.ensure_future(store.append(allow("patient")))
        await asyncio.sleep(0)
        assert not task.done()
        foreign.rollback()
        await task

    with AuditStore.open(path) as store, closing(sqlite3.connect(path)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        asyncio.run(run(store, foreign))
    assert [r.request for r in records(path)] == ["patient"]


def test_a_loop_that_is_gone_does_not_stop_the_writer(path):
    async def leave(store):
        store.append_nowait(allow("one"))
        waiter = asyncio.ensure_future(store.append(allow("nobody waits")))
        await asyncio.sleep(0)
        waiter.cancel()

    with AuditStore.open(path) as store:
        for _ in range(20):
            asyncio.run(leave(store))
        assert append_all(store, [allow("after")])[0].sequence == 41


@pytest.mark.parametrize(
    "wrong", [allow(size=1.5), allow(session="s" * 300), allow(detail=((1, 2),))]
)
def test_a_draft_that_cannot_be_encoded_is_the_callers_error_and_stops_nobody(path, wrong):
    async def run(store):
        with pytest.raises((ValueError, TypeError)):
            await store.append(wrong)
        with pytest.raises((ValueError, TypeError)):
            store.append_nowait(wrong)
        return await store.append(allow("right"))

    with AuditStore.open(path) as store:
        assert asyncio.run(run(store)).sequence == 1


def flood(store, count):
    for _ in range(count):
        store.append_nowait(allow())


def test_a_full_queue_refuses_at_once_and_an_awaited_append_waits_for_room(path):
    async def run(store, other):
        # While another program holds the lock, the writer has at most one batch in its hands.
        with pytest.raises(AuditUnavailable, match="4096 audit records wait already"):
            flood(store, MAX_WAITING + MAX_BATCH + 1)
        awaited = [asyncio.ensure_future(store.append(allow("awaited"))) for _ in range(10)]
        await asyncio.sleep(0)
        assert store._writer.waiting >= MAX_WAITING
        other.execute("ROLLBACK")
        return await asyncio.gather(*awaited)

    with AuditStore.open(path) as store, locked(path) as other:
        heads = asyncio.run(run(store, other))
        first = heads[0].sequence
        assert [head.sequence for head in heads] == list(range(first, first + 10))
        assert first > MAX_WAITING
    assert verify(path).whole


def test_a_closed_store_refuses_and_a_second_close_does_nothing(path):
    store = AuditStore.open(path)
    store.close()
    store.close()
    with pytest.raises(AuditUnavailable, match="closed"):
        append_all(store, [allow()])
    with pytest.raises(AuditUnavailable, match="closed"):
        store.append_nowait(allow())


def test_closing_writes_what_is_queued(path):
    async def run(store):
        for n in range(2000):
            store.append_nowait(allow(f"n {n}"))

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
    assert verify(path).records == 2000


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


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_open_and_close_leave_no_thread_and_no_descriptor(path):
    AuditStore.open(path).close()
    threads, before = threading.active_count(), descriptors()
    for _ in range(20):
        with AuditStore.open(path) as store:
            append_all(store, [allow()], durable=True)
            assert threading.active_count() == threads + 2
    assert (threading.active_count(), descriptors()) == (threads, before)


def test_an_open_that_is_refused_leaves_no_thread_and_no_descriptor(path):
    AuditStore.open(path).close()
    whole = path.read_bytes()
    threads, before = threading.active_count(), descriptors()
    for damaged in (b"no database" * 1000, whole[:4096], whole[:5000]):
        path.write_bytes(damaged)
        with pytest.raises(AuditDamaged):
            AuditStore.open(path)
    path.write_bytes(whole)
    path.chmod(0o644)
    with pytest.raises(AuditDamaged):
        AuditStore.open(path)
    assert (threading.active_count(), descriptors()) == (threads, before)


def test_no_path_of_the_host_and_no_clock_decide_the_order(path):
    with AuditStore.open(path) as store:
        heads = append_all(store, [Draft(event=Event.SERVER_START), allow(session=SESSION)])
    assert [h.sequence for h in heads] == [1, 2]
    assert str(path) not in str(records(path))


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":ab", "1:zz", "-1:" + "0" * 64, "٣:" + "0" * 64, "1:" + "0" * 63]
)
def test_a_head_that_is_not_one_is_refused(text):
    with pytest.raises(ValueError, match="write SEQUENCE:HASH"):
        Head.parse(text)


def test_a_head_can_be_written_down_and_read_back():
    head = Head(7, bytes(range(32)))
    assert Head.parse(str(head)) == head
