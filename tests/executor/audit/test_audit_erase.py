"""
A session's texts are erased from the record, which stays whole; nothing else can be taken for that.

What green does not prove: that the disk, a file system that writes elsewhere, or a copy does not
keep what was overwritten.
"""

import hashlib
import hmac
import json
import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
from audit_world import append_all, draft, tamper
from erase_world import CODE, MINE, OTHERS, SECRET, a_session, add, both, found_in, keys_of, mine
from review_world import run
from test_audit_rotation import Days

from executor.audit import erase as erase_module
from executor.audit.chain import Fault
from executor.audit.erase import erase
from executor.audit.errors import AuditDamaged, AuditInUse, AuditUnavailable
from executor.audit.read import records
from executor.audit.record import Event
from executor.audit.rotation import Rotation
from executor.audit.schema import connect_reader, connect_writer
from executor.audit.segments import closed_files
from executor.audit.store import AuditStore
from executor.audit.verify import extends, prove, verify

SAID = SECRET.encode()
TEXTS = "UPDATE record SET texts = zeroblob(length(texts)) WHERE "
KEY = "UPDATE session_key SET key = zeroblob(32) WHERE name = ?"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("erase") / "state" / "audit.sqlite3"
    return path, both(path)


@pytest.fixture
def log(original, path):
    shutil.copytree(original[0].parent, path.parent)
    return path, original[1]


@pytest.fixture(scope="module")
def erased_one(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("erased") / "state" / "audit.sqlite3"
    shutil.copytree(original[0].parent, path.parent)
    erase(path, MINE)
    return path


@pytest.fixture
def erased(erased_one, original, path):
    shutil.copytree(erased_one.parent, path.parent)
    return path, original[1]


def fault_of(path, head=None):
    finding = verify(path, head=head).finding
    return None if finding is None else (finding.sequence, finding.fault)


def test_the_words_of_an_erased_session_are_in_no_file_and_its_key_is_in_none(log):
    path, _ = log
    key = keys_of(path)[MINE]
    assert found_in(path, SAID, CODE, key, b"weather") == {SAID, CODE, key, b"weather"}
    erasing = erase(path, MINE)
    assert (erasing.records, erasing.first, erasing.last) == (8, 1, 15)
    assert found_in(path, SAID, key, b"weather") == {b"weather"}
    assert keys_of(path) == {MINE: bytes(32), OTHERS: keys_of(path)[OTHERS]}


def test_what_was_erased_before_the_log_was_emptied_is_in_no_file_either(log):
    """
    The attack: a hand that only blanks the row leaves the words in the write-ahead log.
    """
    path, _ = log
    with AuditStore.open(path) as store:
        append_all(store, a_session("c3" * 16, "umbrella"))
        assert b"umbrella" in path.with_name(f"{path.name}-wal").read_bytes()
        kept = path.with_name(f"{path.name}-wal").read_bytes()
    assert kept
    erase(path, "c3" * 16)
    assert found_in(path, b"umbrella") == set()


def test_among_many_sessions_each_can_be_erased_without_a_trace_in_a_free_part_of_the_file(path):
    words = [f"word-{n:03}-{'y' * (n * 40)}" for n in range(60)]
    names = [f"{n:032x}" for n in range(60)]
    with AuditStore.open(path) as store:
        for name, word in zip(names, words, strict=True):
            append_all(store, a_session(name, word))
        head = store.head()
    with closing(connect_writer(path, 0.0)) as db:
        assert db.execute("PRAGMA secure_delete").fetchone() == (1,)
    keys = keys_of(path)
    short = [word[:9].encode() for word in words]
    gone = [0, 1, 2, 17, 18, 58, 59]
    for n in gone:
        erase(path, names[n])
    left = {word for n, word in enumerate(short) if n not in gone}
    assert found_in(path, *short) == left
    kept = {key for name, key in keys.items() if int(name, 16) not in gone}
    assert found_in(path, *keys.values()) == kept
    verdict = verify(path, head=head)
    assert verdict.whole
    assert [one.records for one in verdict.erased] == [7] * len(gone)


def test_the_record_is_whole_and_the_heads_and_proofs_from_before_hold(log):
    path, head = log
    leaves = {one.sequence: one.hash for one in records(path)}
    erase(path, MINE)
    verdict = verify(path, head=head)
    assert verdict.whole
    assert verdict.unanchored_since == head.sequence + 1
    (erased,) = verdict.erased
    assert (erased.session, erased.statement, erased.records) == (MINE, head.sequence + 1, 8)
    assert erased.finished
    assert extends(path, head).head == verdict.head
    for sequence, leaf in leaves.items():
        assert prove(path, sequence, head).leaf == leaf


def test_what_is_left_says_when_and_what_kind_and_others_are_as_they_were(log):
    path, _ = log
    before = records(path)
    erase(path, MINE)
    *after, statement = records(path)
    for old, new in zip(before, after, strict=True):
        if old.session != MINE:
            assert new == old
            continue
        assert new.erased
        frame = ("sequence", "wall_ns", "event", "session", "cell", "answer", "ordinal", "hash")
        assert all(getattr(new, name) == getattr(old, name) for name in frame)
        assert (new.request, new.outcome, new.rule, new.size, new.digest) == (None,) * 5
        assert new.detail == ()
    assert (statement.event, statement.session) == (Event.SESSION_ERASED, MINE)
    assert dict(statement.detail) == {"records": 8, "first": 1, "last": 15}


def test_a_text_cannot_be_found_out_by_trying(log):
    """
    The same text twice has two commitments, and without the key none of them is what it hashes to.
    """
    path, _ = log
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(
            "SELECT sequence, substr(body, -32), texts FROM record WHERE session = ?", (MINE,)
        ).fetchall()
    same = [row for row in rows if rows[2][2] == row[2]]
    assert len(same) == 2
    assert same[0][1] != same[1][1]
    for sequence, committed, texts in rows:
        said = sequence.to_bytes(8, "big") + texts
        guesses = [hashlib.sha256(said).digest(), hmac.digest(bytes(32), said, "sha256")]
        guesses += [hashlib.sha256(texts).digest(), hmac.digest(b"", texts, "sha256")]
        assert committed not in guesses
        assert committed == hmac.digest(keys_of(path)[MINE], said, "sha256")


def test_sessions_have_keys_of_their_own_and_the_file_is_its_owners_alone(log):
    keys = keys_of(log[0])
    assert {len(key) for key in keys.values()} == {32}
    assert len({*keys.values()}) == 2
    assert stat.S_IMODE(log[0].stat().st_mode) == 0o600


@pytest.mark.parametrize("keys", [False, True])
@pytest.mark.parametrize("which", ["sequence = 5", "session = 'S'"])
def test_texts_that_were_blanked_without_a_statement_are_a_fault(log, which, keys):
    path, head = log
    tamper(path, (TEXTS + which.replace("S", MINE), ()), *([(KEY, (MINE,))] if keys else []))
    wanted = {
        ("sequence = 5", False): (5, Fault.KEY),
        ("sequence = 5", True): (1, Fault.KEY),
        ("session = 'S'", False): (1, Fault.KEY),
        ("session = 'S'", True): (1, Fault.BLANKED),
    }
    assert fault_of(path, head) == wanted[which, keys]


def test_one_record_more_that_is_blanked_after_the_erasing_is_a_fault(erased):
    path, _ = erased
    tamper(path, (TEXTS + "sequence = 4", ()), (KEY, (OTHERS,)))
    assert fault_of(path) == (2, Fault.KEY)
    tamper(path, (TEXTS + "session = ?", (OTHERS,)))
    assert fault_of(path) == (2, Fault.BLANKED)


def test_what_cannot_be_erased_and_is_blanked_is_a_fault(erased):
    path, head = erased
    for sequence in (head.sequence, head.sequence + 1):
        assert fault_of(path) is None
        tamper(path, (TEXTS + "sequence = ?", (sequence,)))
        assert fault_of(path) == (sequence, Fault.KEY)
        tamper(path, ("DELETE FROM record WHERE sequence = ?", (sequence,)))
        break
    assert fault_of(path)[1] is Fault.MISSING


@pytest.mark.parametrize("value", ["NULL", "x''", "x'00'", "'text'", "zeroblob(70000)"])
def test_other_things_in_place_of_texts_are_a_fault(log, value):
    path, _ = log
    tamper(path, (f"UPDATE record SET texts = {value} WHERE sequence = 5", ()))
    assert fault_of(path)[0] == 5
    assert fault_of(path)[1] in {Fault.CHANGED, Fault.KEY}


def test_a_key_that_was_exchanged_cut_or_removed_is_a_fault_of_its_session(log):
    path, _ = log
    statements = {
        "UPDATE session_key SET key = randomblob(32) WHERE name = ?": Fault.CHANGED,
        "UPDATE session_key SET key = CAST(key || x'00' AS BLOB) WHERE name = ?": Fault.KEY,
        "UPDATE session_key SET key = substr(key, 1, 31) WHERE name = ?": Fault.KEY,
        KEY: Fault.KEY,
        "DELETE FROM session_key WHERE name = ?": Fault.KEY,
    }
    for statement, fault in statements.items():
        tamper(path, (statement, (OTHERS,)))
        assert fault_of(path) == (2, fault)


def test_without_its_statement_the_erasing_is_a_fault(erased):
    path, head = erased
    tamper(path, ("DELETE FROM record WHERE sequence > ?", (head.sequence,)))
    assert fault_of(path, head) == (1, Fault.BLANKED)


CHANGES = {
    "text": "UPDATE record SET texts = CAST(texts || x'00' AS BLOB) WHERE sequence = {0}",
    "other": "UPDATE record SET texts = x'2d2d2d2d2d2d6400000000' WHERE sequence = {0}",
    "frame": "UPDATE record SET body = CAST(body || x'00' AS BLOB) WHERE sequence = {0}",
    "answer": "UPDATE record SET answer = 'deny!' WHERE sequence = {0}",
    "event": "UPDATE record SET event = 'outcome' WHERE sequence = {0} AND event != 'outcome'",
    "delete": "DELETE FROM record WHERE sequence = {0}",
    "exchange": """UPDATE record SET (texts, body, hash) = (SELECT texts, body, hash FROM record
    AS other WHERE other.sequence = CASE {0} WHEN 1 THEN 2 ELSE {0} - 1 END)
    WHERE sequence = {0}""",
    "restore": "UPDATE record SET texts = randomblob(length(texts)) WHERE sequence = {0}",
}


def test_each_change_of_each_record_is_found_after_a_session_was_erased(erased):
    path, _ = erased
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA journal_mode = DELETE")
    whole, caught = path.read_bytes(), 0
    # Zeros more or fewer where the texts were say nothing and change nothing.
    gone = {one.sequence for one in records(path) if one.erased}
    last = verify(path).head.sequence
    for sequence in range(1, last + 1):
        for name, statement in CHANGES.items():
            path.write_bytes(whole)
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                db.execute("PRAGMA synchronous = OFF")
                touched = db.execute(statement.format(sequence)).rowcount
            if not touched or (name == "text" and sequence in gone):
                continue
            finding = verify(path).finding
            if name == "delete" and sequence == last:
                assert finding is not None
                assert finding.fault is Fault.BLANKED
            else:
                assert finding is not None, (name, sequence)
                assert finding.sequence in {sequence, sequence + 1, 0}, (name, sequence, finding)
            caught += 1
    assert caught > 120


def test_it_is_said_once_and_can_be_run_again(log):
    path, head = log
    first, second = erase(path, MINE), erase(path, MINE)
    assert (first.statement, second.statement) == (None, head.sequence + 1)
    assert verify(path).head.sequence == head.sequence + 1


def test_a_command_that_was_stopped_after_its_statement_is_told_of_and_run_again(
    log, monkeypatch, capsys
):
    path, head = log

    def stopped(*_, **__):
        raise AuditUnavailable("stopped")

    with monkeypatch.context() as patched:
        patched.setattr(erase_module, "_overwrite", stopped)
        with pytest.raises(AuditUnavailable):
            erase(path, MINE)
    assert not verify(path).erased[0].finished
    assert run("verify", "--audit", path) == 0
    assert (
        f"session {MINE} are to be gone, as record {head.sequence + 1} says, and are not all"
        in (capsys.readouterr().out)
    )
    erase(path, MINE)
    assert verify(path).erased[0].finished
    assert found_in(path, SAID) == set()


def test_while_a_server_has_the_store_nothing_is_erased(log):
    path, head = log
    with AuditStore.open(path), pytest.raises(AuditInUse):
        erase(path, MINE)
    assert verify(path).head == head


def test_while_somebody_reads_the_log_cannot_be_emptied_and_the_command_says_so(log, monkeypatch):
    path, _ = log
    monkeypatch.setattr(erase_module, "_PATIENCE", 0.0)
    with AuditStore.open(path) as store:
        append_all(store, a_session("c3" * 16, "umbrella"))
        with closing(connect_reader(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM record").fetchone()
            store.close()
            with pytest.raises(AuditUnavailable, match="somebody is reading it"):
                erase(path, "c3" * 16)
    erase(path, "c3" * 16)
    assert found_in(path, b"umbrella") == set()


def test_a_session_with_a_record_that_is_not_what_was_written_is_not_erased(log):
    path, head = log
    tamper(path, ("UPDATE record SET texts = ? WHERE sequence = 5", (b"------d" + bytes(4),)))
    with pytest.raises(AuditDamaged):
        erase(path, MINE)
    assert SAID in path.read_bytes()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT max(sequence) FROM record").fetchone() == (head.sequence,)


def test_a_session_that_is_not_there_is_not_erased(log):
    with pytest.raises(LookupError):
        erase(log[0], "c3" * 16)
    with pytest.raises(FileNotFoundError):
        erase(log[0].with_name("other.sqlite3"), MINE)


@pytest.fixture
def rotated(path):
    clocks = Days()
    with AuditStore.open(path, clocks=clocks.clocks(), rotation=Rotation(daily=True)) as store:
        append_all(store, mine())
        clocks.next()
        append_all(store, a_session(OTHERS, "weather"))
        return path, store.head()


def test_a_session_in_a_closed_file_is_erased_there(rotated):
    path, head = rotated
    (closed,) = closed_files(path)
    key = keys_of(closed.path)[MINE]
    assert found_in(path, SAID, key) == {SAID, key}
    erase(path, MINE)
    assert found_in(path, SAID, key, b"weather") == {b"weather"}
    assert stat.S_IMODE(closed.path.stat().st_mode) == 0o400
    assert not [*path.parent.glob("*sqlite3-journal"), *closed.path.parent.glob("*000*-wal")]
    verdict = verify(path, head=head)
    assert verdict.whole
    assert [(one.records, one.finished) for one in verdict.erased] == [(8, True)]
    alone = verify(closed.path).finding
    assert alone is not None
    assert (alone.sequence, alone.fault) == (1, Fault.BLANKED)
    assert "verify the file that is written to" in alone.message


def test_the_command_finds_a_session_in_a_closed_file_and_takes_no_other_for_it(rotated, capsys):
    path, _ = rotated
    add(path, a_session(MINE[:8] + "0" * 24, "rain"))
    assert run("erase", MINE[:8], "--audit", path) == 2
    assert "several sessions begin with" in capsys.readouterr().err
    assert run("erase", MINE[:3], "--audit", path) == 2
    assert run("erase", "ffff", "--audit", path) == 2
    assert found_in(path, SAID, b"rain") == {SAID, b"rain"}
    assert run("erase", MINE[:10], "--audit", path) == 0
    assert found_in(path, SAID, b"rain") == {b"rain"}


def test_a_blanked_closed_file_without_a_statement_is_a_fault(rotated):
    path, head = rotated
    (closed,) = closed_files(path)
    closed.path.chmod(0o600)
    tamper(closed.path, (TEXTS + "session = ?", (MINE,)), (KEY, (MINE,)))
    assert fault_of(path, head) == (1, Fault.BLANKED)


def test_where_the_closed_file_was_moved_away_the_statement_alone_is_no_fault(rotated):
    path, _ = rotated
    erase(path, MINE)
    closed_files(path)[0].path.unlink()
    verdict = verify(path)
    assert verdict.whole
    assert [(one.records, one.finished) for one in verdict.erased] == [(0, True)]


def test_the_server_goes_on_behind_an_erased_session(erased):
    path, head = erased
    add(path, a_session("c3" * 16, "umbrella"))
    assert verify(path, head=head).whole
    with AuditStore.open(path) as store, pytest.raises(AuditUnavailable, match="was erased"):
        append_all(store, [draft(session=MINE)])
    add(path, a_session("d4" * 16, "rain"))
    assert verify(path, head=head).whole


@pytest.mark.parametrize("value", ["'text'", "x'00'", "substr(key, 1, 31)"])
def test_a_record_that_comes_late_is_refused_where_its_key_was_altered(log, value):
    path, _ = log
    alter = f"UPDATE session_key SET key = {value} WHERE name = ?"
    with AuditStore.open(path, patience=0.1) as store:
        tamper(path, (alter, (OTHERS,)))
        with pytest.raises(AuditUnavailable, match="run `codecage audit verify`"):
            append_all(store, [draft(Event.WORKER_LOST, session=OTHERS)])
        append_all(store, [draft(Event.SERVER_START, session=None)])
    with pytest.raises(AuditDamaged, match="record 2"):
        AuditStore.open(path)


def test_commands_tell_what_was_erased(erased, capsys):
    path, head = erased
    assert run("verify", "--audit", path) == 0
    said = capsys.readouterr().out
    assert "8 records of 1 session were erased on 20" in said
    assert f"(record {head.sequence + 1}) and can no longer be read, only counted" in said
    assert run("verify", "--json", "--audit", path) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["erased_records"], told["erased_sessions"]) == (8, [MINE])
    assert (told["erased_by"], told["erasing_unfinished"]) == ([head.sequence + 1], [])
    assert run("show", MINE, "--audit", path) == 0
    said = capsys.readouterr().out
    assert "(erased)" in said
    assert "session.erased" in said
    assert run("show", MINE, "--json", "--audit", path) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("erased", False) for line in lines] == [True] * 8 + [False]
    assert run("why", MINE, "5", "--audit", path) == 0
    assert "Asked:   (erased), by" in capsys.readouterr().out
    commands = (("list",), ("why", MINE, "5"), ("report", MINE), ("tail",), ("export",))
    forms = (("export", "--format", "csv"), ("export", "--format", "ocsf"))
    for command in (*commands, *forms):
        assert run(*command, "--audit", path) == 0, command
    assert run("show", OTHERS, "--path", "/data/weather.csv", "--audit", path) == 0
    assert "/data/weather.csv" in capsys.readouterr().out


def test_the_command_erases_the_record_and_needs_no_capture(log, capsys):
    path, _ = log
    assert run("erase", MINE[:6], "--json", "--audit", path) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"session": MINE, "erased": True, "records": 8, "capture": False}
    assert found_in(path, SAID) == set()
    assert run("erase", OTHERS, "--capture-only", "--audit", path) == 2
    assert "nothing was captured" in capsys.readouterr().err
    assert found_in(path, b"weather") == {b"weather"}
