"""
Signed heads: what they are, what they refuse, and what they find that the store alone hides.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from audit_world import append_all, filled, rows_of, session_drafts

from executor.audit.checkpoint import Checkpoint, Signer, make_key, read, read_key, sign
from executor.audit.errors import AuditDamaged, NoteInvalid
from executor.audit.note import PublicKey, SecretKey, opened
from executor.audit.record import Head
from executor.audit.store import AuditStore
from executor.audit.verify import extends, verify
from executor.cli import main
from tests.executor.full_disk import no_longer_than

NAME = "audit.example/codecage"
# The pair, the text and the note of the documentation of golang.org/x/mod/sumdb/note.
VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
)


@pytest.fixture
def key(tmp_path):
    make_key(tmp_path / "key", NAME)
    return read_key(tmp_path / "key")


def signed_log(path, to, key, count=4):
    """
    A store that was signed after each of `count` sessions of 20 records.
    """
    for _ in range(count):
        filled(path, session_drafts(20))
        assert sign(path, key, to) is not None


def test_a_note_of_another_program_is_opened_and_a_changed_one_is_not():
    text = opened(NOTE, PublicKey.parse(VERIFIER))
    assert text.startswith("If you think")
    with pytest.raises(NoteInvalid, match="not that of this text"):
        opened(NOTE.replace("think", "thank"), PublicKey.parse(VERIFIER))


def test_checkpoints_are_not_added_to_what_a_link_leads_to(path, tmp_path, key):
    filled(path, session_drafts(20))
    (tmp_path / "elsewhere").touch()
    (tmp_path / "signed").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        sign(path, key, tmp_path / "signed")
    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_keys_are_written_as_they_are_read(key):
    assert SecretKey.parse(str(key)) == key
    assert PublicKey.parse(str(key.public)) == key.public
    assert repr(key) == f"SecretKey(name={NAME!r})"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "x" * 201])
def test_a_name_that_could_not_stand_in_a_note_is_refused(name):
    with pytest.raises(NoteInvalid, match="key name"):
        SecretKey.generate(name)


@pytest.mark.parametrize(
    "text", ["", "x", "a+b", "a+b+c", VERIFIER[:-4], VERIFIER.replace("c74f20a3", "c74f20a4")]
)
def test_a_verifier_key_that_is_none_is_refused(text):
    with pytest.raises(NoteInvalid):
        PublicKey.parse(text)


def test_a_damaged_signing_key_is_refused_without_telling_it(key):
    text = str(key)
    for damaged in (text[:-6], text.replace("PRIVATE+KEY+", ""), text.replace("+", "-")):
        with pytest.raises(NoteInvalid) as caught:
            SecretKey.parse(damaged)
        assert text[-30:-8] not in str(caught.value)


def test_a_key_is_never_written_over_and_none_that_others_may_read_is_used(tmp_path, key):
    with pytest.raises(FileExistsError):
        make_key(tmp_path / "key", NAME)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(NoteInvalid, match="others may read"):
        read_key(tmp_path / "key")


def test_each_signing_appends_the_head_and_an_unchanged_record_is_not_signed_again(
    path, tmp_path, key
):
    to = tmp_path / "checkpoints"
    head = filled(path, session_drafts(5))
    assert sign(path, key, to) == Checkpoint(NAME, head)
    assert sign(path, key, to) is None
    later = filled(path, session_drafts(5))
    assert sign(path, key, to).head == later
    assert [one.head for one in read(to, key.public)] == [head, later]


@pytest.mark.parametrize("size", ["0", "05", "-1", "x", "", "1" * 19])
def test_a_size_that_no_record_has_is_no_checkpoint(size):
    text = str(Checkpoint("log", Head(4, bytes(32))))
    assert Checkpoint.parse(text).head.sequence == 4
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text.replace("\n5\n", f"\n{size}\n"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_root_of_another_length_is_no_checkpoint(length):
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(str(Checkpoint("log", Head(4, bytes(length)))))


def test_an_empty_store_can_be_signed(path, tmp_path, key):
    with AuditStore.open(path) as store:
        head = store.head()
    assert sign(path, key, tmp_path / "c").head == head == Head(0, head.hash)


def test_a_record_that_lost_what_was_signed_is_not_signed_again(path, tmp_path, key):
    filled(path, session_drafts(5))
    shutil.copy(path, tmp_path / "older")
    filled(path, session_drafts(5))
    sign(path, key, tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    shutil.copy(tmp_path / "older", path)
    with pytest.raises(AuditDamaged, match="cut or changed"):
        sign(path, key, tmp_path / "c")
    filled(path, session_drafts(50))
    with pytest.raises(AuditDamaged, match="cut or changed"):
        sign(path, key, tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == before


def test_checkpoints_of_another_key_or_another_log_are_refused(path, tmp_path, key):
    signed_log(path, tmp_path / "c", key, 1)
    with pytest.raises(NoteInvalid, match=r"checkpoint 1: .* no signature"):
        read(tmp_path / "c", SecretKey.generate(NAME).public)
    foreign = key.sign(str(Checkpoint("another", Head(5, bytes(32)))))
    (tmp_path / "c").write_text(foreign)
    with pytest.raises(NoteInvalid, match="of the log another"):
        read(tmp_path / "c", key.public)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("\n21\n", "\n22\n"), "not that of this text"),
        (lambda text: text[: len(text) * 2 // 3], "is none"),
        (lambda text: text + "\nx\n", "is none"),
        (lambda text: "\n".join(reversed(text.split("\n\n"))), "is none"),
    ],
)
def test_a_changed_file_of_checkpoints_is_refused(path, tmp_path, key, change, message):
    signed_log(path, tmp_path / "c", key, 2)
    whole = (tmp_path / "c").read_text()
    assert len(read(tmp_path / "c", key.public)) == 2
    (tmp_path / "c").write_text(change(whole))
    with pytest.raises(NoteInvalid, match=message):
        read(tmp_path / "c", key.public)


def test_checkpoints_that_go_back_are_refused(path, tmp_path, key):
    signed_log(path, tmp_path / "c", key, 2)
    first, second = (tmp_path / "c").read_text().split("\n\n" + NAME)
    (tmp_path / "c").write_text(f"{NAME}{second}\n{first}\n")
    with pytest.raises(NoteInvalid, match="fewer records"):
        read(tmp_path / "c", key.public)


def test_a_record_computed_anew_is_found_between_two_checkpoints(path, tmp_path, key):
    to = tmp_path / "c"
    signed_log(path, to, key)
    heads = [one.head for one in read(to, key.public)]
    assert verify(path, heads=heads).unanchored_since is None
    forge(path, tmp_path / "forged", keep=45)
    # Alone the forged record is perfect, and the first two checkpoints fit it.
    assert verify(path).whole
    assert verify(path, heads=heads[:2]).whole
    finding = verify(path, heads=heads).finding
    assert finding.sequence == 60
    assert "one of the records 41 to 60 was written anew" in finding.message


def forge(path, place, keep):
    """
    Put a store in its place that has the same first records and others after them.
    """
    import sqlite3

    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM record WHERE sequence > ?", (keep,))
        db.execute("UPDATE record SET event = event")
    db.close()
    with AuditStore.open(path) as store:
        append_all(store, session_drafts(80 - store.head().sequence))
    assert len(rows_of(path)) == 80


def test_the_commands_sign_and_verify(path, tmp_path, capsys):
    filled(path, session_drafts(5))
    secret, to, audit = str(tmp_path / "k"), str(tmp_path / "c"), ["--audit", str(path)]
    assert main(["audit", "key", secret, "--name", NAME]) == 0
    public = capsys.readouterr().out.strip()
    assert main(["audit", "sign", "--key", secret, "--to", to, *audit]) == 0
    assert re.fullmatch("5:[0-9a-f]{64}\n", capsys.readouterr().out)
    check = ["audit", "verify", "--checkpoints", to, *audit]
    assert main([*check, "--key", public]) == 0
    assert "unanchored" not in capsys.readouterr().out
    assert main([*check, "--key", str(SecretKey.generate(NAME).public)]) == 1
    assert "no signature of" in capsys.readouterr().err
    assert main(check) == 1
    assert "go together" in capsys.readouterr().err
    assert main(["audit", "key", secret, "--name", NAME]) == 1


def test_the_commands_give_json_too(path, tmp_path, capsys):
    head = filled(path, session_drafts(5))
    secret, to = str(tmp_path / "k"), str(tmp_path / "c")
    assert main(["audit", "key", secret, "--name", NAME, "--json"]) == 0
    public = json.loads(capsys.readouterr().out)["verifier_key"]
    assert main(["audit", "sign", "--key", secret, "--to", to, "--json", "--audit", str(path)]) == 0
    assert json.loads(capsys.readouterr().out) == {"head": str(head)}
    assert [one.head for one in read(tmp_path / "c", PublicKey.parse(public))] == [head]


def test_a_checkpoint_that_could_not_be_written_whole_leaves_nothing(path, tmp_path, key):
    filled(path, session_drafts(5))
    to = tmp_path / "checkpoints"
    sign(path, key, to)
    before = to.read_bytes()
    filled(path, session_drafts(5))
    signer = Signer.open(key, to)
    try:
        grown = extends(path, signer.last)
        with (
            no_longer_than(len(before) + 20),
            pytest.raises(AuditDamaged, match="not written whole"),
        ):
            signer.sign(grown.head, grown.path)
    finally:
        os.close(signer.descriptor)
    assert to.read_bytes() == before
    assert sign(path, key, to).head == grown.head


def test_a_signer_that_goes_on_signs_what_is_added(path, tmp_path):
    filled(path, session_drafts(5))
    make_key(tmp_path / "k", NAME)
    command = [sys.executable, "-m", "executor.cli", "audit", "sign", "--audit", str(path)]
    command += ["--key", str(tmp_path / "k"), "--to", str(tmp_path / "c"), "--every", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as signer:
        assert signer.stdout is not None
        assert signer.stdout.readline().startswith("5:")
        filled(path, session_drafts(5))
        assert signer.stdout.readline().startswith("10:")
        signer.terminate()
