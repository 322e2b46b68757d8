"""
A02, A03, A04: what a hand on the file did is named, from the file and against a head kept outside.
"""

import asyncio
import shutil
import sqlite3
from contextlib import closing

import pytest
from audit_world import allow, append_all, draft, filled, rows_of, session_drafts, tamper

from executor.audit.chain import Chain, Fault
from executor.audit.merkle import leaf_hash
from executor.audit.record import OK, Clocks, Event, Head
from executor.audit.start import end_of, start_of
from executor.audit.store import AuditStore
from executor.audit.verify import verify

LENGTH = 60
CHANGE = "UPDATE record SET body = CAST(body || x'00' AS BLOB) WHERE sequence = ?"
COPY = """INSERT INTO record SELECT ?, session, cell, event, answer, refers, hash, body, root, texts
FROM record WHERE sequence = ?"""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "state" / "audit.sqlite3"
    return path, filled(path, session_drafts(LENGTH))


@pytest.fixture
def log(original, path):
    """
    A fresh copy of the same log.
    """
    path.parent.mkdir(mode=0o700)
    shutil.copy(original[0], path)
    path.chmod(0o600)
    return path


@pytest.fixture
def head(original):
    return original[1]


def fault_of(path, head=None):
    finding = verify(path, head=head).finding
    return None if finding is None else (finding.sequence, finding.fault)


def test_an_untouched_log_is_whole_and_vouched_for_by_its_own_head(log, head):
    verdict = verify(log, head=head)
    assert verdict.whole
    assert (verdict.records, verdict.head, verdict.unanchored_since) == (LENGTH, head, None)


def test_without_a_head_everything_is_unanchored(log, head):
    verdict = verify(log)
    assert verdict.whole
    assert (verdict.head, verdict.unanchored_since) == (head, 1)


def test_records_after_the_head_are_unanchored(log):
    middle = Head(20, rows_of(log)[19][8])
    verdict = verify(log, head=middle)
    assert verdict.whole
    assert verdict.unanchored_since == 21


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
def test_a_changed_record_in_the_file_is_named(log, seq):
    tamper(log, (CHANGE, (seq,)))
    assert fault_of(log) == (seq, Fault.CHANGED)


@pytest.mark.parametrize("seq", range(1, LENGTH))
def test_a_deleted_record_in_the_file_is_named(log, seq):
    tamper(log, ("DELETE FROM record WHERE sequence = ?", (seq,)))
    assert fault_of(log) == (seq, Fault.MISSING)


def standing_before(log, rows):
    """
    A walk that has followed these rows, from the store's origin.
    """
    with closing(sqlite3.connect(log)) as db:
        chain = Chain(end_of(db, start_of(db)))
    for row in rows:
        chain.follow(row)
    return chain


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
def test_a_root_that_is_not_that_of_the_records_is_named(log, seq):
    tamper(log, ("UPDATE record SET root = zeroblob(32) WHERE sequence = ?", (seq,)))
    assert fault_of(log) == (seq, Fault.ROOT)


@pytest.mark.parametrize("seq", range(1, LENGTH))
def test_a_record_written_anew_in_the_file_is_named_by_the_one_after_it(log, seq):
    rows = rows_of(log)
    body = bytearray(rows[seq - 1][7])
    body[50] ^= 1
    leaf = leaf_hash(bytes(body))
    root = standing_before(log, rows[: seq - 1]).end.add(leaf)[0].edge.root
    anew = "UPDATE record SET body=?, hash=?, root=? WHERE sequence=?"
    tamper(log, (anew, (bytes(body), leaf, root, seq)))
    assert fault_of(log) == (seq, Fault.REPLACED)


@pytest.mark.parametrize("seq", range(2, LENGTH - 1))
def test_an_invented_record_that_follows_nothing_is_named_itself(log, seq):
    body = bytes(32) + rows_of(log)[seq - 1][7][32:]
    digest = leaf_hash(body)
    tamper(log, ("UPDATE record SET body = ?, hash = ? WHERE sequence = ?", (body, digest, seq)))
    assert fault_of(log) == (seq, Fault.UNLINKED)


@pytest.mark.parametrize("seq", range(1, LENGTH))
def test_two_exchanged_records_in_the_file_are_named(log, seq):
    move = "UPDATE record SET sequence = ? WHERE sequence = ?"
    tamper(log, (move, (-1, seq)), (move, (seq, seq + 1)), (move, (seq + 1, -1)))
    assert fault_of(log) == (seq, Fault.MOVED)


def insert_copy(log, seq, of):
    tamper(
        log,
        ("UPDATE record SET sequence = -sequence - 1 WHERE sequence >= ?", (seq,)),
        ("UPDATE record SET sequence = -sequence WHERE sequence < 0", ()),
        (COPY, (seq, of)),
    )


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
def test_an_inserted_record_in_the_file_is_named(log, seq):
    insert_copy(log, seq, of=LENGTH + 1 if seq < LENGTH else 1)
    assert fault_of(log) == (seq, Fault.MOVED)


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
def test_a_repeated_record_in_the_file_is_named(log, seq):
    insert_copy(log, seq, of=seq + 1)
    assert fault_of(log) == (seq + 1, Fault.MOVED)


@pytest.mark.parametrize("kept", range(LENGTH))
def test_a03_a_cut_tail_is_seen_with_a_head_and_only_with_one(log, head, kept):
    tamper(log, ("DELETE FROM record WHERE sequence > ?", (kept,)))
    assert fault_of(log, head) == (kept + 1, Fault.TRUNCATED)
    verdict = verify(log)
    assert verdict.whole
    assert verdict.unanchored_since == 1
    assert f"{LENGTH - kept} records are missing" in verify(log, head=head).finding.message


def test_a04_an_older_copy_in_place_of_the_log_is_seen_with_a_head(path, tmp_path):
    filled(path, session_drafts(10))
    older = tmp_path / "older"
    shutil.copy(path, older)
    head = filled(path, session_drafts(10))
    assert verify(path, head=head).whole
    shutil.copy(older, path)
    assert verify(path).whole
    assert fault_of(path, head) == (11, Fault.TRUNCATED)


def test_a04_another_whole_log_in_place_of_the_log_is_seen_with_a_head(log, tmp_path):
    other = tmp_path / "other" / "audit.sqlite3"
    head = filled(other, session_drafts(LENGTH))
    assert fault_of(log, head) == (LENGTH, Fault.REPLACED)
    assert fault_of(other, head) is None


def test_a_head_of_the_empty_log_names_the_store_it_came_from(path, tmp_path):
    with AuditStore.open(path) as store:
        empty = store.head()
    with AuditStore.open(tmp_path / "other" / "a") as store:
        foreign = store.head()
    filled(path, session_drafts(3))
    assert fault_of(path, empty) is None
    assert fault_of(path, foreign) == (0, Fault.REPLACED)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER hide AFTER INSERT ON record BEGIN DELETE FROM record; END",
        "CREATE VIEW shown AS SELECT * FROM record",
        "CREATE TABLE extra (a)",
        "DROP INDEX record_session",
        "UPDATE meta SET value = x'00' WHERE key = 'genesis'",
        "UPDATE meta SET value = x'31' WHERE key = 'format'",
        "INSERT INTO meta VALUES ('more', x'00')",
    ],
)
def test_a_schema_that_is_not_ours_is_refused(log, sql):
    tamper(log, (sql, ()))
    assert fault_of(log) == (0, Fault.SCHEMA)


def test_another_genesis_does_not_fit_the_first_record(log):
    tamper(log, ("UPDATE meta SET value = zeroblob(32) WHERE key = 'genesis'", ()))
    assert fault_of(log) == (1, Fault.UNLINKED)


def test_a_row_hidden_from_an_index_is_found(log):
    edit = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'record_session'"
    allowed = ("PRAGMA writable_schema = ON", ())
    tamper(log, allowed, (edit, ("answer)", "answer) WHERE 0")))
    tamper(log, ("DELETE FROM record WHERE sequence = ?", (LENGTH,)))
    tamper(log, allowed, (edit, ("answer) WHERE 0", "answer)")))
    assert fault_of(log) == (0, Fault.UNREADABLE)


def test_a_file_that_is_not_a_database_is_a_finding(path):
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 500)
    assert fault_of(path) == (0, Fault.UNREADABLE)


def test_no_file_is_an_error_not_an_empty_record(path):
    with pytest.raises(FileNotFoundError):
        verify(path)
    assert not path.exists()


def test_r03_a_cut_main_file_is_reported_at_every_one_of_a_hundred_places(log, head):
    whole = log.read_bytes()
    assert len(whole) > 8192
    for place in range(100):
        log.write_bytes(whole[: len(whole) * place // 100])
        verdict = verify(log, head=head)
        assert not verdict.whole
        assert verdict.records < LENGTH


def test_a_flipped_byte_anywhere_in_the_file_is_found_or_changes_nothing(log, head):
    whole = log.read_bytes()
    before = rows_of(log)
    found = 0
    for place in range(100, len(whole), 211):
        log.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        verdict = verify(log, head=head)
        found += not verdict.whole
        assert not verdict.whole or rows_of(log) == before
    assert found > 50


def test_a16_verify_sees_one_snapshot_while_the_server_writes(path):
    with AuditStore.open(path) as store:
        append_all(store, session_drafts(500))
        seen = []

        async def run():
            heads = [store.head()]
            for _ in range(5):
                checked = asyncio.create_task(asyncio.to_thread(verify, path, head=heads[-1]))
                while not checked.done():
                    heads.append(await store.append(allow(session=None)))
                seen.append((await checked, len(heads)))

        asyncio.run(run())
    assert len(seen) == 5
    assert all(verdict.whole for verdict, _ in seen)
    assert verify(path).records > seen[0][0].records


def test_a15_time_may_go_backwards_and_order_stays_with_the_sequence(path):
    times = iter(range(10**18, 0, -(10**16)))
    clocks = Clocks(lambda: next(times), lambda: 5)
    with AuditStore.open(path, clocks=clocks) as store:
        append_all(store, session_drafts(20))
    assert verify(path).whole


def test_progress_is_told_and_counts_of_open_sessions_are_checked(path):
    told = []
    with AuditStore.open(path) as store:

        async def run():
            for one in [draft(Event.SESSION_CREATE)] + [draft(Event.OUTCOME, outcome=OK)] * 20_001:
                store.append_nowait(one) if store._writer.waiting < 4000 else await store.append(
                    one
                )

        asyncio.run(run())
        store.close()
    assert verify(path, progress=told.append).whole
    assert told == [10_000, 20_000]
