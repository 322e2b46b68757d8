"""
The diffs of commits: kept encrypted, sealed in the record, gone with the session's key.
"""

import os

import psutil
import pytest

from executor.audit.differences import LOST, PLACE, SEAL, Differences, FileDiff
from executor.audit.record import Answer, Event, Record
from executor.capture import diffs
from executor.capture.cipher import KEY_BYTES
from executor.capture.diffs import DiffKeeper, read
from executor.capture.errors import CaptureMissing
from executor.capture.vault import Vault
from executor.transactions.changes import Change, ChangeKind
from executor.transactions.diffs import DiffBudget, Undiffed, unified
from policy.redaction import NO_REDACTION, Redaction
from tests.executor.full_disk import no_longer_than

SESSION = "0123456789abcdef" * 2
SECRET = b"the text of the books"
PLACED = {
    "wall_ns": 0,
    "monotonic_ns": 0,
    "ordinal": None,
    **dict.fromkeys(("previous", "hash", "root"), bytes(32)),
}


@pytest.fixture
def audit(tmp_path):
    return tmp_path / "audit.sqlite3"


def keeper(audit, *, redact=(), new_key=True, **options):
    redaction = Redaction(redact) if redact else NO_REDACTION
    return DiffKeeper(Vault(audit), SESSION, redaction, new_key=new_key, **options)


def changed(path="main.bean", old=b"", new=SECRET + b"\n"):
    made = unified(path, old, new, DiffBudget())
    fields = {"undiffed": made} if isinstance(made, Undiffed) else {"diff": made}
    return Change(path, ChangeKind.MODIFIED, directory=False, after="2" * 64, **fields)


def decided(detail, sequence=7):
    return Record(
        event=Event.DECISION,
        request="commit /ledger",
        answer=Answer.ALLOW,
        detail=detail,
        sequence=sequence,
        **PLACED,
    )


def seen(audit, detail):
    return read(audit, SESSION, [decided(detail)])[7]


def only(audit, detail):
    (file,) = seen(audit, detail).files
    return file


def files(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_was_kept_is_read_again_by_its_record(audit):
    keeps = keeper(audit)
    first = keeps.keep((changed(new=b"one\n"),))
    directory = Change("2026", ChangeKind.ADDED, directory=True)
    second = keeps.keep((directory, changed(old=b"one\n", new=b"two\n"), changed("x", new=b"\0")))
    assert dict(first)[PLACE] == 0
    assert dict(second)[PLACE] == 1
    assert seen(audit, first) == Differences((FileDiff("main.bean", "@@ -0,0 +1 @@\n+one\n"),))
    assert seen(audit, second) == Differences(
        (
            FileDiff("main.bean", "@@ -1 +1 @@\n-one\n+two\n"),
            FileDiff("x", "", "it is no text in UTF-8"),
        )
    )


def test_nothing_is_made_for_who_commits_nothing_or_directories_alone(audit, tmp_path):
    keeps = keeper(audit)
    assert keeps.keep(()) == ()
    assert keeps.keep((Change("2026", ChangeKind.ADDED, directory=True),)) == ()
    assert files(tmp_path) == []


def test_nothing_is_readable_by_others_in_the_clear_or_in_the_record(audit, tmp_path):
    detail = keeper(audit).keep((changed(),))
    assert len(files(tmp_path)) == 2
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert all(SECRET not in path.read_bytes() for path in files(tmp_path))
    assert {key for key, _ in detail} == {PLACE, SEAL}
    again = keeper(audit.with_name("other.sqlite3")).keep((changed(),))
    assert dict(again)[SEAL] != dict(detail)[SEAL]


@pytest.mark.parametrize("new_key", [True, False], ids=["alone", "beside a capture"])
def test_erasing_a_session_takes_its_diffs_along(audit, tmp_path, new_key):
    vault = Vault(audit)
    if not new_key:
        vault.create(SESSION).close()
    keeps = keeper(audit, new_key=new_key)
    detail = keeps.keep((changed(),))
    assert SECRET.decode() in only(audit, detail).diff
    copies = {path: path.read_bytes() for path in files(tmp_path) if path.suffix != ".key"}
    vault.erase(SESSION)
    assert files(tmp_path) == []
    assert "it was erased" in seen(audit, detail).why
    # A copy of the captures without the keys stays closed.
    for path, data in copies.items():
        path.write_bytes(data)
    assert "its key is gone" in seen(audit, detail).why
    vault.erase(SESSION)
    # Nor does the session go on to keep what its administrator has dropped.
    assert keeps.keep((changed(),)) == ((LOST, "the session's capture was erased"),)
    assert files(tmp_path) == []
    with pytest.raises(CaptureMissing):
        vault.erase(SESSION)


@pytest.mark.parametrize("key", [None, bytes(KEY_BYTES)], ids=["gone", "being overwritten"])
def test_a_session_whose_key_was_dropped_gets_no_other_one(audit, tmp_path, key):
    Vault(audit).create(SESSION).close()
    (kept,) = tmp_path.rglob("*.key")
    kept.unlink() if key is None else kept.write_bytes(key)
    assert keeper(audit, new_key=False).keep((changed(),)) == (
        (LOST, "the session's capture was erased"),
    )
    assert list(tmp_path.rglob("*.diffs")) == []


@pytest.mark.parametrize("at", [3, 20, -1])
def test_what_was_altered_is_not_shown(audit, tmp_path, at):
    detail = keeper(audit).keep((changed(),))
    (file,) = tmp_path.rglob("*.diffs")
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)
    found = seen(audit, detail)
    assert found.files == ()
    assert "is not what was written" in found.why or "is missing" in found.why


def test_another_commits_diff_does_not_pass_for_this_one(audit):
    keeps = keeper(audit)
    first, second = (keeps.keep((changed(new=text),)) for text in (b"one\n", b"two\n"))
    forged = ((PLACE, dict(second)[PLACE]), (SEAL, dict(first)[SEAL]))
    assert "not the one that the record has sealed" in seen(audit, forged).why
    assert only(audit, second).diff.endswith("+two\n")


def test_a_torn_end_leaves_what_is_before_it(audit, tmp_path):
    keeps = keeper(audit)
    first, second = (keeps.keep((changed(new=text),)) for text in (b"one\n", b"two\n"))
    (file,) = tmp_path.rglob("*.diffs")
    os.truncate(file, file.stat().st_size - 5)
    assert only(audit, first).diff.endswith("+one\n")
    assert "is missing from its capture" in seen(audit, second).why


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("AKIAABCDEFGHIJKLMNOP", "[redacted]"),
        ("key: ghp_" + "a" * 36, "key: [redacted]"),
        ("url https://me:hunter2@example.com/", "url https://[redacted]@example.com/"),
        ("api_token = 'abc def'", "api_token = '[redacted]'"),
        ("API_TOKEN: abc def", "API_TOKEN: [redacted]"),
        ("kept = 1", "kept = 1"),
    ],
)
def test_what_the_policy_withholds_and_what_looks_like_a_credential_is_left_out(audit, line, shown):
    """
    In lines that are removed, too, whose mark could be a letter of the token.
    """
    keeps = keeper(audit, redact=("*token*",))
    added = only(audit, keeps.keep((changed(new=f"{line}\n".encode()),))).diff
    removed = only(audit, keeps.keep((changed(old=f"{line}\n".encode(), new=b""),))).diff
    assert added == f"@@ -0,0 +1 @@\n+{shown}\n"
    assert removed == f"@@ -1 +0,0 @@\n-{shown}\n"


def test_a_private_key_of_many_lines_is_left_out_whole(audit):
    body = "\n".join("b64" * 20 for _ in range(30))
    text = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n".encode()
    keeps = keeper(audit)
    for change in (changed(new=text), changed(old=text, new=b"")):
        assert "b64" not in only(audit, keeps.keep((change,))).diff


def test_a_file_whose_name_is_withheld_has_no_diff(audit):
    keeps = keeper(audit, redact=("*token*",))
    shown = seen(audit, keeps.keep((changed("a/MyTokens/x"), changed("plain"))))
    assert (shown.files[0].diff, "withholds" in shown.files[0].why) == ("", True)
    assert SECRET.decode() in shown.files[1].diff


def test_more_files_than_a_commit_has_diffs_are_counted(audit):
    shown = seen(audit, keeper(audit).keep(tuple(changed(f"f{n}") for n in range(60))))
    assert (len(shown.files), shown.more) == (50, 10)


def test_a_session_keeps_so_much_and_then_says_so(audit, tmp_path):
    keeps = keeper(audit, most=300)
    assert dict(keeps.keep((changed(),))).get(LOST) is None
    details = [keeps.keep((changed(),)) for _ in range(3)]
    assert dict(details[-1]) == {LOST: "the session's diffs have reached their size, 300 bytes"}
    (file,) = tmp_path.rglob("*.diffs")
    assert file.stat().st_size < 600
    assert "was not kept: the session's diffs have reached" in seen(audit, details[-1]).why


def test_a_full_disk_stops_no_commit_and_nothing_is_written_in_its_place(audit, tmp_path):
    keeps = keeper(audit)
    first = keeps.keep((changed(),))
    (file,) = tmp_path.rglob("*.diffs")
    size = file.stat().st_size
    with no_longer_than(size + 10):
        refused = keeps.keep((changed(new=os.urandom(500).hex().encode()),))
    assert dict(refused)[LOST].startswith("they cannot be written")
    assert file.stat().st_size == size
    assert dict(keeps.keep((changed(),)))[LOST] == dict(refused)[LOST]
    assert SECRET.decode() in only(audit, first).diff


def test_one_reading_gives_so_much_and_says_that_there_is_more(audit, monkeypatch):
    keeps = keeper(audit)
    details = [keeps.keep((changed(),)) for _ in range(3)]
    monkeypatch.setattr(diffs, "MOST_READ", 30)
    decisions = [decided(detail, place) for place, detail in enumerate(details)]
    found = read(audit, SESSION, decisions)
    assert [bool(found[place].files) for place in range(3)] == [True, False, False]
    assert found[2].why == "there are more diffs than fit here"


@pytest.mark.parametrize("place", [-1, 2**64, 2**40])
def test_a_record_that_names_no_place_has_no_diff(audit, place):
    """
    A record that somebody has altered may say anything; that is `verify`'s to find.
    """
    detail = keeper(audit).keep((changed(),))
    assert read(audit, SESSION, [decided(((PLACE, place), (SEAL, dict(detail)[SEAL])))]) == {}


def test_diffs_that_cannot_be_read_are_said(audit, tmp_path):
    detail = keeper(audit).keep((changed(),))
    (key,) = tmp_path.rglob("*.key")
    key.unlink()
    key.mkdir()
    assert "cannot be read" in seen(audit, detail).why


def test_records_without_diffs_are_not_looked_for(audit):
    assert read(audit, SESSION, [decided(())]) == {}


def test_nothing_stays_open(audit):
    keeps, process = keeper(audit), psutil.Process()
    before = process.num_fds()
    details = [keeps.keep((changed(),)) for _ in range(20)]
    assert all(seen(audit, detail).files for detail in details)
    assert process.num_fds() == before
