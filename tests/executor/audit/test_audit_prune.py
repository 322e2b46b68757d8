"""
Old files of the record go only when they are whole and vouched for, and the record says so.

What green does not prove: that somebody who may remove files uses this command. A file that was
removed by other hands is missing without a statement, and `verify` says that it is not there.
"""

import json
import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from audit_world import append_all, draft, tamper
from review_world import run
from test_audit_rotation import DAY, START, Days, days_of

from executor.audit import prune as prune_module
from executor.audit.checkpoint import make_key, read_key, sign
from executor.audit.errors import AuditDamaged, AuditInUse, AuditUnavailable
from executor.audit.prune import old_files, prune
from executor.audit.read import records
from executor.audit.record import Event
from executor.audit.segments import closed_files
from executor.audit.store import AuditStore
from executor.audit.verify import extends, verify

COUNTS = [10, 30, 3, 60, 5]
LASTS = [12, 44, 49, 111]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("old") / "state" / "audit.sqlite3"
    return path, days_of(path, COUNTS)


@pytest.fixture
def rotated(original, path):
    shutil.copytree(original[0].parent, path.parent)
    return path, original[1]


def names(path):
    return [one.last for one in closed_files(path)]


def statements(path):
    return [one for one in records(path, after_sequence=111) if one.event is Event.PRUNED]


def after(days):
    """
    A moment, so many days after the first file's: the files of the days before are older.
    """
    return START + days * DAY - 1


def test_files_older_than_the_moment_go_and_the_record_says_which(rotated):
    path, heads = rotated
    gone = prune(path, after(2), heads)
    assert [one.closed.last for one in gone] == LASTS[:2]
    assert names(path) == LASTS[2:]
    first, second = statements(path)
    assert dict(second.detail) == {
        "file": "audit.000000000013-000000000044.sqlite3",
        "first": 13,
        "last": 44,
        "head": str(heads[1]),
        "last_wall_ns": START + DAY,
    }
    assert dict(first.detail)["last"] == 12
    assert (second.session, second.origin.value) == (None, "server")


def test_what_is_left_is_whole_and_tells_by_which_record_the_rest_was_removed(rotated, capsys):
    path, heads = rotated
    prune(path, after(2), heads)
    verdict = verify(path, heads=heads)
    assert verdict.whole
    assert (verdict.first, verdict.pruned_by) == (45, statements(path)[-1].sequence)
    assert run("verify", "--audit", path) == 0
    assert f"removed on purpose, as record {verdict.pruned_by} says" in capsys.readouterr().out
    proof = extends(path, heads[-1])
    assert proof.head.sequence == verdict.head.sequence
    with AuditStore.open(path) as store:
        append_all(store, [draft(Event.SESSION_CREATE), draft(Event.SESSION_END)])
    assert verify(path, heads=heads).whole


def test_a_file_that_other_hands_removed_is_told_apart_from_one_that_was_pruned(rotated, capsys):
    path, heads = rotated
    for one in closed_files(path)[:2]:
        one.path.unlink()
    assert verify(path, heads=heads).pruned_by is None
    run("verify", "--audit", path)
    assert "are in files that are not here" in capsys.readouterr().out
    # A statement about other records does not speak for these.
    prune(path, after(3), heads)
    closed_files(path)[0].path.unlink()
    assert verify(path, heads=heads).pruned_by is None


def test_pruning_again_removes_what_is_older_by_then(rotated):
    path, heads = rotated
    for days, left in ((0, LASTS), (1, LASTS[1:]), (1, LASTS[1:]), (100, []), (100, [])):
        prune(path, after(days), heads)
        assert names(path) == left
        assert verify(path, heads=heads).whole
    assert path.is_file(), "the file that is written to stays, however old"
    assert len(statements(path)) == len(LASTS)


def test_files_that_are_no_part_of_what_was_verified_stay(rotated):
    """
    An older copy in place of the file that is written to: it knows nothing of the files after it.
    """
    path, heads = rotated
    closed_files(path)[1].path.rename(path)
    path.chmod(0o600)
    left = names(path)
    with pytest.raises(AuditDamaged, match=r"45-000000000049.* not looked at"):
        prune(path, after(100), heads[:2])
    assert names(path) == left


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        (0, "UPDATE record SET cell = 99 WHERE sequence = 5"),
        (3, "DELETE FROM record WHERE sequence = 80"),
        (None, "UPDATE record SET event = 'outcome' WHERE sequence = 113"),
    ],
)
def test_nothing_goes_where_any_part_of_the_record_is_not_whole(rotated, file, statement):
    path, heads = rotated
    place = path if file is None else closed_files(path)[file].path
    place.chmod(0o600)
    tamper(place, (statement, ()))
    with pytest.raises(AuditDamaged, match="a record that is not whole|the record is not whole"):
        prune(path, after(2), heads)
    assert names(path) == LASTS
    assert not statements(path)


def test_nothing_goes_that_was_written_anew_from_the_start(rotated, tmp_path):
    """
    A record that is whole in itself, and not the one that the heads are of.
    """
    _, heads = rotated
    other = tmp_path / "other" / "audit.sqlite3"
    days_of(other, COUNTS)
    with pytest.raises(AuditDamaged, match="not whole"):
        prune(other, after(2), heads)
    assert names(other) == LASTS


def test_nothing_goes_that_no_head_vouches_for(rotated):
    path, heads = rotated
    with pytest.raises(AuditDamaged, match="no head vouches for records 45 to 111"):
        prune(path, after(100), heads[:2])
    assert names(path) == LASTS
    assert len(prune(path, after(2), heads[:2])) == 2


def test_a_file_that_does_not_hold_the_records_of_its_name_stops_it(rotated):
    path, heads = rotated
    one = closed_files(path)[1]
    one.path.rename(one.path.with_name("audit.000000000013-000000000043.sqlite3"))
    with pytest.raises(AuditDamaged, match="not those of its name"):
        old_files(path, after(3))
    with pytest.raises(AuditDamaged):
        prune(path, after(3), heads)
    assert len(names(path)) == len(LASTS)


def test_no_store_is_made_where_none_is(path):
    with pytest.raises(FileNotFoundError):
        prune(path, after(2), ())
    assert not path.parent.exists()


def test_a_server_that_has_the_store_is_not_disturbed(rotated):
    path, heads = rotated
    with AuditStore.open(path), pytest.raises(AuditInUse):
        prune(path, after(2), heads)
    assert names(path) == LASTS


def test_nothing_goes_whose_statement_could_not_be_written(rotated):
    path, heads = rotated
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AuditUnavailable):
            prune(path, after(2), heads)
    assert names(path) == LASTS


def test_a_stop_between_the_statement_and_the_removal_is_made_good_by_the_next_call(
    rotated, monkeypatch
):
    path, heads = rotated

    def stop(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(type(path), "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            prune(path, after(2), heads)
    assert names(path) == LASTS
    verdict = verify(path, heads=heads)
    assert (verdict.whole, verdict.first, verdict.pruned_by) == (True, 1, None)
    prune(path, after(2), heads)
    assert names(path) == LASTS[2:]
    assert verify(path, heads=heads).pruned_by == statements(path)[-1].sequence


def test_a_statement_is_on_the_disk_before_its_file_goes(rotated, monkeypatch):
    path, heads = rotated
    seen = []

    def sync(place):
        seen.append((len(statements(path)), len(names(path))))

    monkeypatch.setattr(prune_module, "sync_directory", sync)
    prune(path, after(2), heads)
    assert seen == [(1, 3), (2, 2)]


def test_the_command_needs_heads_checks_first_and_tells(rotated, tmp_path, capsys):
    path, heads = rotated
    assert run("prune", "--keep", "90d", "--audit", path) == 1
    assert "give --checkpoints and --key, or --head" in capsys.readouterr().err
    key, signed = tmp_path / "key", tmp_path / "heads"
    public = make_key(key, "audit.example/log")
    sign(path, read_key(key), signed)
    args = ("--checkpoints", signed, "--key", public, "--audit", path)
    before = os.listdir(path.parent)
    assert run("prune", "--keep", "1d", "--dry-run", *args) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in out] == [
        f"would remove {one.path.name}" for one in closed_files(path)
    ]
    assert sorted(os.listdir(path.parent)) == sorted(before)
    assert not statements(path)
    assert run("prune", "--keep", "9999w", *args) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "no closed file is older" in err
    assert run("prune", "--keep", "1d", "--json", *args) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["last_sequence"] for one in told] == LASTS
    assert told[0]["head"] == str(heads[0])
    assert run("verify", *args) == 0


@pytest.mark.parametrize("keep", ["0d", "90", "-1d", "1h", "90days", ""])
def test_what_is_no_time_to_keep_is_usage(path, keep, capsys):
    with pytest.raises(SystemExit) as stop:
        run("prune", "--keep", keep, "--audit", path)
    assert stop.value.code == 2
    assert capsys.readouterr().err


def test_looking_for_a_session_that_was_removed_says_so(rotated, capsys):
    path, heads = rotated
    assert run("show", "s1", "--audit", path) == 1
    err = capsys.readouterr().err
    assert "records 1 to 111 are not in this file: look in" in err
    assert "were removed" not in err
    prune(path, after(2), heads)
    assert run("show", "s1", "--audit", path) == 1
    err = capsys.readouterr().err
    assert f"1 to 44 were removed, as record {statements(path)[-1].sequence} says" in err
    assert run("show", "gone", "--audit", path) == 1


def test_a_file_of_a_store_that_was_never_rotated_says_nothing_of_others(path, capsys):
    with AuditStore.open(path, clocks=Days().clocks()) as store:
        append_all(store, [draft(Event.SESSION_CREATE), draft(Event.SESSION_END)])
    assert run("show", "gone", "--audit", path) == 1
    assert capsys.readouterr().err == "codecage audit: no record of session gone\n"
