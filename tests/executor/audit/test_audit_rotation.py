"""
A16: one record over several files, of one tree, of which none can be left out or exchanged.

What green does not prove: that closed files are kept. Without one the others are still whole, and
`verify` says which records it could not look at.
"""

import asyncio
import json
import secrets
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest
from audit_world import POLICY, allow, append_all, draft, filled, session_drafts, tamper
from review_world import run

from executor.audit import merkle, rotation, start, tiles
from executor.audit.chain import Fault
from executor.audit.checkpoint import make_key, read, read_key, sign
from executor.audit.errors import AuditDamaged, AuditUnavailable
from executor.audit.ledger import stamp
from executor.audit.merkle import proves_consistency, proves_inclusion
from executor.audit.read import records
from executor.audit.record import Clocks, Event, Head
from executor.audit.review.search import sessions
from executor.audit.rotation import MIN_BYTES, Rotation
from executor.audit.segments import closed_files, closed_name
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.audit.verify import extends, prove, verify
from executor.audit.writer import Entry

DAY = 86_400 * 10**9
START = 1_766_000_000 * 10**9


class Days:
    """
    A clock that stands still until it is told to go on to the next day.
    """

    def __init__(self):
        self.now = START

    def clocks(self):
        return Clocks(lambda: self.now, lambda: 5)

    def next(self):
        self.now += DAY


async def session(store, name, count=3):
    log = SessionLog(store, name, POLICY, 1000)
    await log.create("p")
    for number in range(count):
        await store.append(allow(f"read /{name}/{number}", session=name))
    return await log.end("closed")


def days_of(path, counts, **options):
    """
    A session of so many decisions on each of so many days; the head at the end of each.
    """
    days = Days()

    async def write(store):
        heads = []
        for number, count in enumerate(counts):
            heads.append(await session(store, f"s{number}", count))
            days.next()
        return heads

    when = Rotation(daily=True)
    with AuditStore.open(path, clocks=days.clocks(), rotation=when, **options) as store:
        return asyncio.run(write(store))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("rotated") / "state" / "audit.sqlite3"
    # The second file begins amid a tile, the third at the end of one, the fifth has two of them.
    heads = days_of(path, [10, 241, 3, 600, 5])
    return path, heads


@pytest.fixture
def rotated(original, path):
    shutil.copytree(original[0].parent, path.parent)
    return path, original[1]


def test_each_day_has_a_file_and_all_of_them_are_one_record(rotated):
    path, heads = rotated
    assert [head.sequence for head in heads] == [12, 255, 260, 862, 869]
    assert [(one.first, one.last) for one in closed_files(path)] == [
        (1, 12),
        (13, 255),
        (256, 260),
        (261, 862),
    ]
    verdict = verify(path, heads=heads)
    assert (verdict.records, verdict.whole, verdict.unanchored_since) == (869, True, None)
    assert verdict.head == heads[-1]


def test_the_tree_is_the_one_that_an_unrotated_record_would_have(path, tmp_path, monkeypatch):
    """
    Same identity, same keys, same records, same roots: rotation is not in the tree.
    """
    monkeypatch.setattr(secrets, "token_bytes", bytes([7]).__mul__)
    drafts = session_drafts(300)
    filled(path, drafts[:1])
    copy = tmp_path / "copy" / "audit.sqlite3"
    shutil.copytree(path.parent, copy.parent)
    days = Days()

    async def write(store):
        for one in drafts[1:]:
            await store.append(one)
        days.next()
        return await session(store, "late")

    heads = []
    for place, when in ((path, None), (copy, Rotation(daily=True))):
        days.now = 2 * START
        with AuditStore.open(place, clocks=days.clocks(), rotation=when) as store:
            heads.append(asyncio.run(write(store)))
    assert heads[0] == heads[1]
    assert len(closed_files(copy)) == 1
    assert not closed_files(path)


@pytest.mark.parametrize("sequence", [1, 12, 13, 255, 256, 300, 862, 863, 869])
def test_a_record_of_any_file_is_proved_under_the_last_head(rotated, sequence):
    path, heads = rotated
    proof = prove(path, sequence)
    size = heads[-1].sequence + 1
    assert proves_inclusion(proof.path, proof.leaf, sequence, size, heads[-1].hash)


@pytest.mark.parametrize("number", range(5))
def test_the_record_extends_the_head_of_every_day(rotated, number):
    path, heads = rotated
    proof, since = extends(path, heads[number]), heads[number]
    sizes = since.sequence + 1, heads[-1].sequence + 1
    assert proves_consistency(proof.path, sizes[0], since.hash, sizes[1], heads[-1].hash)


def test_a20_checkpoints_go_on_over_files_and_over_keys(path, tmp_path):
    """
    A key that was given up, and is known to everybody since, vouches for nothing later.
    """
    days, to = Days(), [tmp_path / "heads1", tmp_path / "heads2"]
    keys = []
    for name in ("one", "two"):
        make_key(tmp_path / name, "log.example")
        keys.append(read_key(tmp_path / name))
    with AuditStore.open(path, clocks=days.clocks(), rotation=Rotation(daily=True)) as store:
        for number in (0, 0, 1, 1):
            asyncio.run(session(store, f"s{days.now}"))
            sign(path, keys[number], to[number])
            days.next()
    assert len(closed_files(path)) == 3
    old, new = (read(place, key.public) for place, key in zip(to, keys, strict=True))
    assert [one.head.sequence for one in (*old, *new)] == [5, 10, 15, 20]
    assert verify(path, heads=[one.head for one in (*old, *new)]).unanchored_since is None
    forged = tmp_path / "forged"
    filled(tmp_path / "x" / "audit.sqlite3", session_drafts(50))
    sign(tmp_path / "x" / "audit.sqlite3", keys[0], forged)
    with pytest.raises(Exception, match="no signature of"):
        read(forged, keys[1].public)


def test_a_file_is_closed_when_it_is_large_and_not_before(path):
    async def write(store):
        for number in range(40):
            await session(store, f"s{number}", 200)
            if closed_files(path):
                return number
        return None

    with AuditStore.open(path, rotation=Rotation(max_bytes=2 * MIN_BYTES)) as store:
        assert asyncio.run(write(store)) is not None
    (closed,) = closed_files(path)
    assert closed.path.stat().st_size >= 2 * MIN_BYTES
    assert closed.path.stat().st_mode & 0o777 == 0o400
    assert verify(path).whole


def test_a_size_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="65536 or more"):
        Rotation(max_bytes=MIN_BYTES - 1)


def test_no_file_is_closed_while_the_beginning_of_a_session_is_in_the_writer_s_hands(path):
    days = Days()
    with AuditStore.open(path, clocks=days.clocks(), rotation=Rotation(daily=True)) as store:
        append_all(store, [allow()])
        days.next()
        writer = store._writer
        late = [draft(Event.SESSION_CREATE, session="late")]
        creating = threading.Thread(target=append_all, args=(store, late))
        with writer._owned:
            first = draft(Event.SESSION_CREATE, session="first")
            writer.put(Entry(stamp(first, Clocks()), durable=False, waiter=None))
            while writer.waiting:
                continue
            creating.start()
            while not writer.waiting and creating.is_alive():
                # It waits for the writer's end, which is queued.
                continue
        creating.join()
        assert not closed_files(path)
    assert [one.session for one in sessions(path)] == ["first", "late"]


def test_no_file_is_closed_while_a_session_is_open(path):
    days = Days()

    async def write(store):
        await store.append(draft(Event.SESSION_CREATE, session="long"))
        days.next()
        await session(store, "short")
        assert not closed_files(path)
        await store.append(draft(Event.SESSION_END, session="long", outcome="closed"))
        await session(store, "next")
        assert len(closed_files(path)) == 1

    with AuditStore.open(path, clocks=days.clocks(), rotation=Rotation(daily=True)) as store:
        asyncio.run(write(store))
    assert verify(path).whole
    assert [one.session for one in sessions(path)] == ["next"]


def test_a_file_that_somebody_is_reading_is_closed_another_time(path):
    days = Days()

    async def write(store):
        await session(store, "first")
        days.next()
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM record").fetchone()
            await session(store, "second")
            assert not closed_files(path)
        await session(store, "third")
        assert len(closed_files(path)) == 1

    with AuditStore.open(
        path, clocks=days.clocks(), rotation=Rotation(daily=True), patience=0.1
    ) as store:
        asyncio.run(write(store))
    assert verify(path).whole


def test_records_in_flight_are_not_lost_between_two_files(path):
    days = Days()

    async def write(store):
        await session(store, "first")
        days.next()
        for number in range(50):
            store.append_nowait(draft(Event.WORKER_NOTE, session=None, size=number))
        await asyncio.gather(*(session(store, f"s{number}") for number in range(10)))

    with AuditStore.open(path, clocks=days.clocks(), rotation=Rotation(daily=True)) as store:
        asyncio.run(write(store))
    verdict = verify(path)
    assert (verdict.whole, verdict.records) == (True, 11 * 5 + 50)


def test_a_closed_file_is_read_by_itself(rotated, capsys):
    path, _ = rotated
    closed = closed_files(path)[1].path
    assert [one.session for one in sessions(closed)] == ["s1"]
    assert records(closed)[0].sequence == 13
    assert run("show", "none", "--audit", path) == 1
    assert run("list", "--json", "--audit", closed) == 0
    assert json.loads(capsys.readouterr().out)["session"] == "s1"
    verdict = verify(closed)
    assert (verdict.whole, verdict.first, verdict.records) == (True, 13, 243)


def test_a_carried_tile_that_no_root_is_computed_from_is_compared_with_the_file_before(
    path, monkeypatch
):
    """
    A tile below another one: with tiles of two leaves there are some in a short record.
    """
    for module in (merkle, tiles):
        monkeypatch.setattr(module, "TILE_LEVELS", 1)
    for module in (rotation, start):
        monkeypatch.setattr(module, "TILE_LEAVES", 2)
    days_of(path, [10, 10])
    assert verify(path).whole
    tamper(path, ("UPDATE tile SET hash = zeroblob(32) WHERE level = 1 AND number = 0", ()))
    finding = verify(path).finding
    assert (finding.fault, finding.sequence) == (Fault.REPLACED, 13)


def test_a_carried_leaf_that_is_not_that_of_its_record_is_found(rotated):
    path, _ = rotated
    anew = "CAST(substr(value, 1, length(value) - 32) || zeroblob(32) AS BLOB)"
    tamper(path, (f"UPDATE meta SET value = {anew} WHERE key = 'start'", ()))
    assert verify(path).finding.fault is Fault.SCHEMA


CARRIED = start.Start(Head(4, bytes(32)), bytes(32), (bytes(32),) * 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        CARRIED.encode()[:-1],
        CARRIED.encode()[:-32],
        CARRIED.encode() + bytes(32),
        bytes(8 + 3 * 32),
        (2**62).to_bytes(8, "big") + bytes(3 * 32),
    ],
)
def test_a_start_that_no_file_carries_is_damage(data):
    assert start.Start.parse(CARRIED.encode()) == CARRIED
    with pytest.raises(AuditDamaged, match="is not one"):
        start.Start.parse(data)


def test_without_the_first_files_the_rest_is_whole_and_says_what_is_missing(rotated, capsys):
    path, heads = rotated
    for one in closed_files(path)[:2]:
        one.path.unlink()
    verdict = verify(path, heads=heads)
    assert (verdict.whole, verdict.first, verdict.records) == (True, 256, 614)
    assert verdict.unanchored_since is None
    assert run("verify", "--audit", path) == 0
    assert "records 1 to 255 are in files that are not here" in capsys.readouterr().out
    with pytest.raises(AuditDamaged):
        prove(path, 13)
    assert prove(path, 256).leaf == records(closed_files(path)[0].path)[0].hash


def test_a_file_that_gets_its_closed_name_while_it_is_verified_is_looked_at_once(rotated):
    """
    Whoever had opened it before sees what it was then, beside its own closed name.
    """
    path, heads = rotated
    path.unlink()
    shutil.copy(closed_files(path)[1].path, path)
    verdict = verify(path, head=heads[1])
    assert (verdict.whole, verdict.records, verdict.unanchored_since) == (True, 255, None)


def test_a_file_missing_in_the_middle_is_named(rotated):
    path, _ = rotated
    closed_files(path)[1].path.unlink()
    finding = verify(path).finding
    assert (finding.fault, finding.sequence) == (Fault.MISSING, 13)
    assert "records 13 to 255" in finding.message


@pytest.mark.parametrize(("number", "sequence"), [(0, 7), (1, 200), (3, 700)])
def test_a02_a_record_changed_in_a_closed_file_is_named(rotated, number, sequence):
    path, _ = rotated
    closed = closed_files(path)[number].path
    closed.chmod(0o600)
    tamper(closed, ("UPDATE record SET answer = 'deny' WHERE sequence = ?", (sequence,)))
    assert verify(path).finding.sequence == sequence


def test_a04_a_closed_file_of_another_record_does_not_fit(rotated, tmp_path):
    path, _ = rotated
    other = tmp_path / "other" / "audit.sqlite3"
    days_of(other, [10, 241, 3])
    victim = closed_files(path)[1].path
    victim.unlink()
    shutil.copy(closed_files(other)[1].path, victim)
    finding = verify(path).finding
    assert (finding.fault, finding.sequence) == (Fault.REPLACED, 13)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM record WHERE sequence = 255",
        "UPDATE meta SET value = zeroblob(32) WHERE key = 'genesis'",
    ],
)
def test_a03_a_closed_file_that_was_cut_or_renamed_from_another_does_not_fit(rotated, statement):
    path, _ = rotated
    closed = closed_files(path)[1].path
    closed.chmod(0o600)
    tamper(closed, (statement, ()))
    assert not verify(path).whole


@pytest.mark.parametrize(
    "value", [b"", b"\0" * 72, bytes(8) + b"\1" * 64, b"\xff" * 8 + b"\1" * 64]
)
def test_a_start_that_is_none_is_refused(rotated, value):
    path, _ = rotated
    tamper(path, ("UPDATE meta SET value = ? WHERE key = 'start'", (value,)))
    assert not verify(path).whole
    with pytest.raises(AuditDamaged):
        AuditStore.open(path)


def test_a_tile_that_was_carried_wrongly_is_found(rotated):
    path, _ = rotated
    tamper(path, ("UPDATE tile SET hash = zeroblob(32) WHERE number = 0 AND level = 8", ()))
    assert not verify(path).whole


def test_a_crash_between_the_two_names_is_mended_at_the_next_start(rotated):
    path, heads = rotated
    # What the moment between the two renames looks like: the fresh file waits under its own name.
    path.rename(path.with_name(path.name + ".new"))
    with AuditStore.open(path) as store:
        assert store.head() == heads[-1]
    assert verify(path, heads=heads).whole


def test_a_crash_before_the_names_leaves_the_file_as_it_was(path):
    days = Days()
    head = filled(path, session_drafts(5))
    path.with_name(path.name + ".new").write_bytes(b"half made")
    with AuditStore.open(path, clocks=days.clocks(), rotation=Rotation(daily=True)) as store:
        assert store.head() == head
        days.now = 2 * START
        asyncio.run(session(store, "later"))
    assert len(closed_files(path)) == 1
    assert verify(path, head=head).whole


def test_a_record_whose_last_file_is_gone_is_not_begun_again(rotated):
    path, _ = rotated
    path.unlink()
    with pytest.raises(AuditDamaged, match="closed files of it are there"):
        AuditStore.open(path)
    assert not path.exists()


def test_a_closed_name_that_is_taken_stops_the_rotation_and_loses_nothing(path):
    days = Days()

    async def write(store):
        head = await session(store, "first")
        closed_name(path, 1, head.sequence).write_text("taken")
        days.next()
        with pytest.raises(AuditUnavailable, match="move it aside"):
            await session(store, "second")
        closed_name(path, 1, head.sequence).unlink()
        await session(store, "third")

    with AuditStore.open(path, clocks=days.clocks(), rotation=Rotation(daily=True)) as store:
        asyncio.run(write(store))
    assert len(closed_files(path)) == 1
    assert verify(path).whole


def test_a_rotated_record_is_gone_on_with_after_a_restart(rotated):
    path, heads = rotated
    later = filled(path, session_drafts(300))
    assert later.sequence == 1169
    assert verify(path, heads=[*heads, later]).unanchored_since is None


def test_a_fresh_file_without_a_record_is_opened_and_has_the_head_before_it(rotated, tmp_path):
    path, heads = rotated
    tamper(path, ("DELETE FROM record", ()))
    assert verify(path).head == Head(heads[-2].sequence, heads[-2].hash)
    with AuditStore.open(path) as store:
        assert store.head() == heads[-2]
