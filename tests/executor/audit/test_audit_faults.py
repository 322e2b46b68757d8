"""
A06, R02, R03, R04, R05: a full disk, a held lock, a cut file and a killed server.

What green does not prove: that the disk keeps what it said it had synced.
"""

import asyncio
import ctypes
import itertools
import math
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from audit_world import allow, append_all, draft, filled, locked, session_drafts

from executor.audit import durability, writer
from executor.audit.errors import AuditDamaged, AuditUnavailable
from executor.audit.ledger import stamp
from executor.audit.read import records
from executor.audit.record import Clocks, Event, Head
from executor.audit.store import AuditStore
from executor.audit.verify import verify
from executor.audit.writer import MOST_LINGERING, Entry

ROOT = Path(__file__).parents[3]
_LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def small_disk(tmp_path):
    """
    A tmpfs of 1 MiB, as root may mount it.
    """
    place = tmp_path / "disk"
    place.mkdir()
    if _LIBC.mount(b"none", os.fsencode(place), b"tmpfs", 0, b"size=1m,mode=700") != 0:
        pytest.skip("mounting a tmpfs needs root; the size limit below is tested without")
    yield place
    _LIBC.umount2(os.fsencode(place), 2)


async def fill(store, text="x" * 4000):
    """
    Append until the store refuses; how many were acknowledged, and the last head.
    """
    count, head = 0, store.head()
    while True:
        try:
            head = await store.append(allow(text))
        except AuditUnavailable:
            return count, head
        count += 1


def test_r04_a06_a_full_disk_refuses_and_heals_without_a_gap(small_disk):
    path = small_disk / "audit.sqlite3"
    ballast = small_disk / "ballast"

    async def run(store):
        await store.append(draft(Event.SESSION_CREATE))
        ballast.write_bytes(bytes(400_000))
        count, head = await fill(store)
        assert count > 5
        for _ in range(100):
            with pytest.raises(AuditUnavailable, match="could not be written"):
                await store.append(allow("x" * 4000))
        assert store.head() == head
        assert verify(path, head=head).whole
        ballast.unlink()
        after = [await store.append(allow(f"after {n}"), durable=True) for n in range(20)]
        assert [h.sequence for h in after] == list(range(head.sequence + 1, head.sequence + 21))
        return after[-1]

    with AuditStore.open(path) as store:
        head = asyncio.run(run(store))
    verdict = verify(path, head=head)
    assert verdict.whole
    assert verdict.unanchored_since is None


def test_records_lost_to_a_full_disk_that_nobody_waited_for_are_told(small_disk):
    path = small_disk / "audit.sqlite3"
    ballast = small_disk / "ballast"

    async def run(store):
        ballast.write_bytes(bytes(400_000))
        await fill(store)
        for _ in range(MOST_LINGERING):  # so many are handed to the writer at once
            store.append_nowait(draft(Event.WORKER_NOTE, request="x" * 4000))
        with pytest.raises(AuditUnavailable):
            await store.append(allow("x" * 4000))
        ballast.unlink()
        return await store.append(allow("after"))

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
    told, last = records(path)[-2:]
    assert (told.event, told.outcome, told.detail) == (
        Event.DROPPED,
        "unavailable",
        (("worker.note", MOST_LINGERING),),
    )
    assert last.request == "after"
    assert verify(path).whole


def test_a_store_that_may_not_grow_refuses_and_heals_without_a_gap(path):
    """
    The same as a full disk without root: SQLite's own limit on the size of the file.
    """

    def allow_pages(store, count):
        store._ledger.connection.execute(f"PRAGMA max_page_count = {count}")

    with AuditStore.open(path) as store:
        allow_pages(store, 30)
        count, head = asyncio.run(fill(store))
        assert count > 5
        assert asyncio.run(fill(store)) == (0, head)
        allow_pages(store, 1_000_000)
        assert append_all(store, [allow("after")])[0].sequence == head.sequence + 1
    assert verify(path, head=head).whole


def test_a_batch_that_does_not_fit_is_refused_whole_and_leaves_no_part(path):
    async def together(store):
        return await asyncio.gather(
            *(store.append(allow("x" * 4000)) for _ in range(200)), return_exceptions=True
        )

    with AuditStore.open(path) as store:
        append_all(store, [draft(Event.SESSION_CREATE)])
        store._ledger.connection.execute("PRAGMA max_page_count = 60")
        results = asyncio.run(together(store))
        # The first was alone, those that queued up meanwhile were one batch.
        assert sum(isinstance(result, AuditUnavailable) for result in results) >= 150
        written = [result for result in results if isinstance(result, Head)]
        assert store.head().sequence == 1 + len(written) == len(records(path))
        store._ledger.connection.execute("PRAGMA max_page_count = 1000000")
        heads = asyncio.run(together(store))
        assert [h.sequence for h in heads] == [2 + len(written) + n for n in range(200)]
    assert verify(path).whole


def test_losses_that_no_later_record_could_tell_are_told_at_the_end(path):
    async def lose(store):
        store.append_nowait(draft(Event.WORKER_NOTE))
        with pytest.raises(AuditUnavailable):
            await store.append(allow())

    with AuditStore.open(path, patience=0.1) as store, locked(path):
        asyncio.run(lose(store))
    assert [(r.event, r.detail) for r in records(path)] == [(Event.DROPPED, (("worker.note", 1),))]


@pytest.fixture
def unhurried(monkeypatch):
    """
    The caller's thread may commit however long a commit took, and however close behind another.
    """
    monkeypatch.setattr(writer, "_SLOW", math.inf)
    monkeypatch.setattr(writer, "_CLOSE_BEHIND", 0.0)


@pytest.mark.usefixtures("unhurried")
def test_a_writer_that_is_asked_for_help_copies_the_wal_into_the_main_file(path):
    with AuditStore.open(path) as store:
        append_all(store, [allow("x" * 4000) for _ in range(50)])
        before = path.stat().st_size
        assert store.append_at_once(allow()) is not None
        store._durability.wants_help = True
        assert store.append_at_once(allow()) is None
        append_all(store, [allow()])
        append_all(store, [allow()])
        assert not store._durability.wants_help
        assert path.stat().st_size > before + 200_000


@pytest.mark.usefixtures("unhurried")
def test_lone_records_too_lead_to_a_checkpoint(path, monkeypatch):
    monkeypatch.setattr(durability, "_COMMITS_PER_CHECKPOINT", 8)
    with AuditStore.open(path) as store:
        before = path.stat().st_size
        for _ in range(8):
            assert store.append_at_once(allow("x" * 4000)) is not None
        # What is durable was waited for behind the checkpoint, or with it: the second was behind.
        append_all(store, [allow(), allow()], durable=True)
        assert path.stat().st_size > before + 30_000


class UnsyncedDisk:
    """
    A connection whose writes fail as SQLite says it when its own fsync(2) has failed.
    """

    in_transaction = False

    def __init__(self, connection):
        self._connection = connection

    def execute(self, sql, *values):
        if sql.startswith(("INSERT", "BEGIN")):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return self._connection.execute(sql, *values)


@pytest.mark.parametrize("durable", [False, True], ids=["by the caller", "by the writer"])
def test_a06_a_sync_that_failed_inside_sqlite_refuses_durable_records_for_good(path, durable):
    with AuditStore.open(path) as store:
        good = store._ledger.connection
        store._ledger.connection = UnsyncedDisk(good)
        with pytest.raises(AuditUnavailable, match="could not be written: disk I/O error"):
            append_all(store, [allow()], durable=durable)
        store._ledger.connection = good
        append_all(store, [allow()])
        with pytest.raises(AuditUnavailable, match="could not be synced"):
            append_all(store, [allow()], durable=True)


def test_r05_a_lock_held_by_another_program_fails_closed_and_then_heals(path):
    async def refused(store):
        results = await asyncio.gather(
            *(store.append(allow(f"n {n}")) for n in range(600)), return_exceptions=True
        )
        assert {type(result) for result in results} == {AuditUnavailable}
        assert "locked" in str(results[0])

    with AuditStore.open(path, patience=0.2) as store:
        append_all(store, [allow("before")])
        threads = threading.active_count()
        with locked(path):
            for _ in range(3):
                asyncio.run(refused(store))
                assert threading.active_count() <= threads
            assert store.head().sequence == 1
        assert append_all(store, [allow("after")])[0].sequence == 2
    assert [r.request for r in records(path)] == ["before", "after"]


def test_a_lock_held_while_the_server_starts_is_an_error_that_passes(path):
    filled(path, session_drafts(5)[:-1])
    with locked(path), pytest.raises(AuditUnavailable, match="database is locked"):
        AuditStore.open(path, patience=0.1)
    AuditStore.open(path).close()
    assert verify(path).whole


def test_a_record_written_by_another_program_stops_the_writer_for_good(path):
    with AuditStore.open(path, patience=0.1) as store:
        append_all(store, [allow("ours")])
        with locked(path) as other:
            other.execute(
                "INSERT INTO record SELECT 2, session, cell, event, answer, refers, hash, body, root, "
                "texts FROM record"
            )
            other.execute("COMMIT")
        for _ in range(3):
            with pytest.raises(AuditUnavailable):
                append_all(store, [allow("more")])
        with pytest.raises(AuditUnavailable, match="another program wrote to it"):
            append_all(store, [allow("more")])
    assert verify(path).finding.sequence == 2


def test_a_commit_that_failed_in_doubt_is_settled_from_the_file(path):
    with AuditStore.open(path) as store:
        append_all(store, [draft(Event.SESSION_CREATE)])
        ledger = store._ledger
        batch = [stamp(allow("one"), Clocks()), stamp(allow("two"), Clocks())]
        # As if COMMIT had reported an error after it had taken effect.
        placed = ledger._place(batch)
        ledger._doubt = placed.end
        ledger._insert(placed)
        assert append_all(store, [allow("three")])[0].sequence == 4
    assert verify(path).whole
    assert [r.ordinal for r in records(path)] == [1, 2, 3, 4]


def test_a_writer_that_dies_lets_nobody_wait(path):
    """
    The writer's thread ends by an error that no rule foresees; those queued and those who come
    later are refused.
    """
    deaths = []

    async def run(store):
        broken = Entry(
            stamped=None, durable=False, waiter=asyncio.get_running_loop().create_future()
        )
        store._writer.put(broken)
        with pytest.raises(AuditUnavailable, match="writer has ended"):
            await broken.waiter
        with pytest.raises(AuditUnavailable, match="writer has ended"):
            await store.append(allow("later"))

    kept = threading.excepthook
    threading.excepthook = deaths.append
    try:
        with AuditStore.open(path) as store:
            append_all(store, [allow("before")])
            asyncio.run(run(store))
    finally:
        threading.excepthook = kept
    assert [death.exc_type for death in deaths] == [AttributeError]
    assert verify(path).records == 1


def crash_copy(store_path, place):
    """
    The main file and WAL as they are now, without the index: what a power cut leaves.
    """
    place.mkdir(mode=0o700, exist_ok=True)
    copy = place / "audit.sqlite3"
    for end in ("", "-wal"):
        shutil.copy(store_path.with_name(store_path.name + end), place / (copy.name + end))
        (place / (copy.name + end)).chmod(0o600)
    (place / (copy.name + "-shm")).unlink(missing_ok=True)
    return copy


def test_r03_a_wal_cut_anywhere_leaves_a_prefix_and_the_head_says_what_is_missing(path, tmp_path):
    place = tmp_path / "crashed"
    with AuditStore.open(path) as store:
        heads = [Head(0, b"")]
        heads += append_all(store, session_drafts(40)[:-1])
        copy = crash_copy(path, place)
        wal = copy.with_name(copy.name + "-wal").read_bytes()
        main = copy.read_bytes()
    cuts = sorted({0, 1, 31, 32, len(wal) - 1, len(wal), *range(33, len(wal), 4999)})
    assert len(cuts) > 80
    lengths = []
    for cut in cuts:
        for left in place.iterdir():
            left.unlink()
        copy.write_bytes(main)
        copy.chmod(0o600)
        copy.with_name(copy.name + "-wal").write_bytes(wal[:cut])
        kept = verify(copy, head=heads[-1])
        AuditStore.open(copy).close()
        lengths.append(check_prefix(copy, kept, heads))
    assert lengths == sorted(lengths)
    assert lengths[-1] == 39
    assert len(set(lengths)) > 20


def test_a_wal_whose_main_file_is_gone_is_not_taken_into_a_new_store(path, tmp_path):
    place = tmp_path / "crashed"
    with AuditStore.open(path) as store:
        append_all(store, session_drafts(40))
        copy = crash_copy(path, place)
    copy.unlink()
    with pytest.raises(AuditDamaged, match="the main file is gone"):
        AuditStore.open(copy)
    assert not copy.exists()


@pytest.mark.parametrize("left", ["audit.sqlite3.new", "audit.sqlite3.new-journal"])
def test_a_store_that_was_never_finished_is_begun_again(path, left):
    path.parent.mkdir(mode=0o700)
    path.with_name(left).write_bytes(b"half of something" * 1000)
    with AuditStore.open(path) as store:
        append_all(store, [allow()])
    assert verify(path).records == 1


def test_an_emptied_main_file_is_refused_and_not_begun_again(path):
    filled(path, session_drafts(5))
    for size in (0, 100, 4096):
        os.truncate(path, size)
        with pytest.raises(AuditDamaged):
            AuditStore.open(path)
        assert path.stat().st_size <= 4096


def check_prefix(copy, before, heads):
    """
    The recovered log is whole, holds a prefix of the old one and, if that was open, its end.
    """
    after = verify(copy)
    assert after.whole
    old = [r for r in records(copy) if r.sequence < len(heads) and r.head == heads[r.sequence]]
    assert [r.sequence for r in old] == list(range(1, len(old) + 1))
    new = [r.event for r in records(copy, after_sequence=len(old))]
    assert new[:1] == ([Event.SERVER_RECOVERED] if old else [])
    assert new[-1:] == ([Event.SESSION_END] if old else [])
    missing = len(heads) - 1 - len(old)
    assert before.records == len(old)
    assert before.whole == (missing == 0)
    assert missing == 0 or f"{missing} records are missing" in before.finding.message
    return len(old)


APPENDER = """
import asyncio, sys
from pathlib import Path
from executor.audit.record import Draft, Event
from executor.audit.store import AuditStore

async def one(store, session):
    await store.append(Draft(event=Event.SESSION_CREATE, session=session))
    n = 0
    while True:
        n += 1
        head = await store.append(
            Draft(event=Event.CELL_START, session=session, cell=n), durable=n % 5 == 0)
        sys.stdout.write(f"{head}\\n")
        sys.stdout.flush()

async def main(store):
    await asyncio.gather(*(one(store, f"{sys.argv[2]}-{s}") for s in range(4)))

asyncio.run(main(AuditStore.open(Path(sys.argv[1]))))
"""


def test_a01_a_server_killed_anywhere_loses_no_acknowledged_record(path):
    chance = random.Random(20)
    acknowledged = []
    for turn in range(20):
        appender = subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(path), str(turn)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        with appender:
            acknowledged += itertools.islice(appender.stdout, chance.randint(1, 300))
            appender.kill()
            acknowledged += [line for line in appender.stdout if line.endswith("\n")]
        verdict = verify(path)
        assert verdict.whole
    heads = {str(r.head) for r in everything(path)}
    told = {line.strip() for line in acknowledged}
    assert len(told) > 1000
    assert told <= heads
    AuditStore.open(path).close()
    assert verify(path).whole
    ends = [r.outcome for r in everything(path) if r.event is Event.SESSION_END]
    assert ends == ["aborted_by_restart"] * 80


def everything(path):
    found = []
    while page := records(path, after_sequence=len(found), limit=10_000):
        found += page
    return found


def test_the_wal_does_not_grow_without_bound_under_steady_load(path):
    async def run(store):
        await asyncio.gather(*(lane(store) for _ in range(4)))

    async def lane(store):
        for _ in range(1500):
            await store.append(allow("x" * 2000))

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
        wal = path.with_name(path.name + "-wal").stat().st_size
        assert store._durability._commits > 1000
    assert wal < 80 * 2**20
    assert path.stat().st_size > 12_000_000
