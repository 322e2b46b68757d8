"""
Appending: order, grades, what waits for whom, and the end.
"""

import asyncio
import math
import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from audit_world import SESSION, allow, append_all, draft, locked

from executor.audit import writer
from executor.audit.errors import AuditUnavailable
from executor.audit.ledger import stamp
from executor.audit.read import records
from executor.audit.record import Clocks, Draft, Event, Head
from executor.audit.store import MAX_WAITING, AuditStore
from executor.audit.verify import verify
from executor.audit.writer import MAX_BATCH, Entry


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
    async def run(store):
        with store._writer._owned:  # so that the writer cannot have dealt with it
            store._writer.put(Entry(stamp(allow("first"), Clocks()), durable=False, waiter=None))
            assert store.append_at_once(allow("second")) is None
        await store.append(allow("third"))

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
    assert [r.request for r in records(path)] == ["first", "third"]


def test_a_record_that_nobody_waits_for_is_taken_along_by_the_next_commit(path):
    async def run(store):
        before = store._durability._commits
        store.append_nowait(allow("an outcome"))
        store.append_nowait(allow("another"))
        head = store.append_at_once(allow("a decision"))
        assert (head, store._durability._commits) == (store.head(), before + 1)
        assert store._writer.waiting == 0

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
    assert [r.request for r in records(path)] == ["an outcome", "another", "a decision"]
    assert verify(path).whole


def test_a_record_that_nobody_waits_for_and_nobody_follows_is_written_soon(path):
    async def run(store):
        store.append_nowait(allow("alone"))
        while store.head().sequence == 0:
            await store._writer.next_batch()
            await asyncio.sleep(0)

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
        assert [r.request for r in records(path)] == ["alone"]


def test_records_that_linger_outlive_a_commit_that_took_them_along_and_failed(path):
    async def run(store):
        store._ledger.connection.execute("PRAGMA max_page_count = 1")
        store.append_nowait(allow("an outcome"))
        with pytest.raises(AuditUnavailable):
            store.append_at_once(allow("x" * 8000))
        store._ledger.connection.execute("PRAGMA max_page_count = 1000000")
        await store.append(allow("after"))

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
    assert [r.request for r in records(path)] == ["an outcome", "after"]


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


@pytest.fixture
def close_behind(monkeypatch):
    """
    Every record comes close behind another, and no commit takes too long for the caller's thread.
    """
    monkeypatch.setattr(writer, "_CLOSE_BEHIND", math.inf)
    monkeypatch.setattr(writer, "_SLOW", math.inf)


@pytest.mark.usefixtures("close_behind")
def test_records_close_behind_another_share_a_commit_at_the_end_of_the_turn(path):
    async def run(store):
        await store.append(allow("first"))
        before = store._durability._commits
        store.append_nowait(allow("an outcome"))
        heads = await asyncio.gather(*(store.append(allow(f"{n}")) for n in range(3)))
        assert store._durability._commits == before + 1
        assert [head.sequence for head in heads] == [3, 4, 5]
        assert heads[-1] == store.head()

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
    assert [r.request for r in records(path)] == ["first", "an outcome", "0", "1", "2"]
    assert verify(path).whole


@pytest.mark.usefixtures("close_behind")
def test_records_that_cannot_be_committed_in_turn_are_refused_to_all_who_wait(path):
    async def run(store):
        await store.append(allow("first"))
        store._ledger.connection.execute("PRAGMA max_page_count = 1")
        both = (store.append(allow("x" * 4000)) for _ in range(20))
        results = await asyncio.gather(*both, return_exceptions=True)
        assert any(isinstance(result, AuditUnavailable) for result in results)
        store._ledger.connection.execute("PRAGMA max_page_count = 1000000")
        return [result for result in results if not isinstance(result, BaseException)]

    with AuditStore.open(path) as store:
        written = asyncio.run(run(store))
        assert store.head().sequence == 1 + len(written)
    assert verify(path).whole


@pytest.mark.usefixtures("close_behind")
def test_a_record_that_waits_for_the_turn_to_end_is_not_overtaken(path):
    async def run(store):
        await store.append(allow("first"))
        await asyncio.gather(
            store.append(allow("second")), store.append(allow("third"), durable=True)
        )

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
    assert [r.request for r in records(path)] == ["first", "second", "third"]
