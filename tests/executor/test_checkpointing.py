"""
The signer: it signs what extends what it has signed, holds its key alone, and stops nobody.

What green does not prove: that a host's administrator has given the server and the signer
different accounts; the tests look at the signer's own locks.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from executor.audit.checkpoint import make_key, read
from executor.audit.read import records
from executor.audit.record import Draft, Event, Head
from executor.audit.store import AuditStore
from executor.audit.verify import extends, last_head, verify
from executor.children import checkpointing, launcher
from executor.children.checkpointing import (
    CheckpointOptions,
    Checkpoints,
    SignerGone,
    SignerProcess,
)
from executor.errors import CannotStart


@pytest.fixture
def options(tmp_path):
    key = tmp_path / "key"
    make_key(key, "log.example")
    return CheckpointOptions(key, tmp_path / "checkpoints", every=86_400, records=1_000_000)


@pytest.fixture
def public(options):
    from executor.audit.checkpoint import read_key

    return read_key(options.key).public


@pytest.fixture
def signer(options):
    made = SignerProcess.start(options)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path):
    with AuditStore.open(tmp_path / "state" / "audit.sqlite3") as made:
        yield made


def add(store, count=5):
    async def run():
        for _ in range(count):
            await store.append(Draft(event=Event.SERVER_START))

    asyncio.run(run())
    return store.head()


def signed_in(options, public):
    return [one.head for one in read(options.to, public)]


def test_heads_that_extend_one_another_are_signed_and_the_file_says_so(
    signer, store, options, public
):
    assert signer.last is None
    first = add(store)
    signer.sign(first, ())
    second = add(store)
    signer.sign(second, extends(store.path, first).path)
    assert signer.last == second
    assert signed_in(options, public) == [first, second]
    assert verify(store.path, heads=signed_in(options, public)).whole


def test_a_head_that_does_not_extend_the_last_one_is_not_signed(
    signer, store, options, public, tmp_path
):
    first = add(store)
    signer.sign(first, ())
    with AuditStore.open(tmp_path / "other" / "audit.sqlite3") as other:
        forged = add(other, 9)
        for proof in ((), extends(other.path, Head(5, records(other.path)[4].root)).path):
            with pytest.raises(SignerGone, match="is not shown to extend"):
                signer.sign(forged, proof)
    with pytest.raises(SignerGone, match="is not shown to extend"):
        signer.sign(Head(2, records(store.path)[1].root), ())
    later = add(store)
    signer.sign(later, extends(store.path, first).path)
    assert signed_in(options, public) == [first, later]


def test_a_signer_goes_on_after_the_one_before_it(options, store, public):
    one = SignerProcess.start(options)
    first = add(store)
    one.sign(first, ())
    one.close()
    two = SignerProcess.start(options)
    assert two.last == first
    two.close()


def test_words_that_are_none_are_answered_and_the_signer_goes_on(signer, store):
    process = signer._process
    for line in (
        b"{}\n",
        b"[]\n",
        b'{"head": 5, "proof": []}\n',
        b"\xff\n",
        b'{"head": "1:00", "proof": []}\n',
        b"[" * 9000 + b"\n",
    ):
        process.stdin.write(line)
        process.stdin.flush()
        assert "no head with a proof" in json.loads(process.stdout.readline())["error"]
    signer.sign(add(store), ())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda options: options.key.write_text("x"), "no signing key"),
        (lambda options: options.key.chmod(0o644), "others may read this key"),
        (lambda options: options.key.unlink(), "No such file"),
        (lambda options: options.to.write_text("x"), "what follows the first 0 checkpoints"),
        (lambda options: options.to.symlink_to("/dev/null"), "Too many levels of symbolic links"),
    ],
)
def test_a_signer_that_cannot_begin_stops_the_start_with_the_reason(options, spoil, message):
    spoil(options)
    with pytest.raises(CannotStart, match=message):
        SignerProcess.start(options)


@pytest.mark.parametrize("numbers", [{"every": 0.5}, {"every": 90_000}, {"records": 0}])
def test_numbers_out_of_range_stop_the_start(options, numbers):
    options.check()
    with pytest.raises(CannotStart, match="are possible"):
        CheckpointOptions(options.key, options.to, **numbers).check()


def test_the_signer_is_locked_and_nobody_of_its_user_looks_into_it(signer):
    """
    A process of the same user without rights reads neither its memory nor its descriptors.
    """
    pid = signer._process.pid
    status = Path(f"/proc/{pid}/status").read_text()
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    # Not dumpable: what is in /proc is root's, whoever the process is.
    assert Path(f"/proc/{pid}/environ").stat().st_uid == 0
    assert int(re.search(r"^CapPrm:\t(\w+)$", status, re.MULTILINE)[1], 16) == 0
    if os.geteuid() == 0:
        names = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
        assert sum(name.startswith("/") and name != "/dev/null" for name in names) <= 2


LOCKED = """
import os, socket, subprocess, sys
from executor.children import signer
signer._lock(1)
def refused(call):
    try:
        call()
    except OSError:
        return True
    return False
print(
    refused(lambda: open(sys.argv[1])),
    refused(lambda: open(sys.argv[1] + ".new", "w")),
    refused(lambda: socket.socket()),
    refused(lambda: subprocess.run(["/bin/true"])),
)
"""


def test_a_signer_that_was_taken_over_opens_nothing_starts_nothing_and_connects_nowhere(options):
    for code, expected in (
        (LOCKED, "True True True True"),
        (LOCKED.replace("signer._lock(1)\n", ""), "False False False False"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, str(options.key)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected, done.stderr


def test_a_server_signs_at_its_start_after_so_many_records_and_at_its_end(
    options, store, public, monkeypatch
):
    monkeypatch.setattr(checkpointing, "_POLL", 0.01)
    options = CheckpointOptions(options.key, options.to, every=86_400, records=3)

    async def run():
        checkpoints = Checkpoints(SignerProcess.start(options), store)
        await checkpoints.begin()
        before = checkpoints._signer.last
        for _ in range(3):
            await store.append(Draft(event=Event.SERVER_START))
        while checkpoints._signer.last == before:
            await asyncio.to_thread(last_head, store.path)
        await store.append(Draft(event=Event.SERVER_STOP))
        await checkpoints.finish()

    asyncio.run(run())
    assert [head.sequence for head in signed_in(options, public)] == [0, 3, 4]
    assert verify(store.path, heads=signed_in(options, public)).unanchored_since is None


def test_a_server_signs_when_the_last_head_is_old_and_only_what_is_new(
    options, store, public, monkeypatch
):
    monkeypatch.setattr(checkpointing, "_POLL", 0.01)

    async def run():
        checkpoints = Checkpoints(SignerProcess.start(options), store)
        await checkpoints.begin()
        assert not checkpoints._is_due()
        await store.append(Draft(event=Event.SERVER_START))
        assert not checkpoints._is_due()
        checkpoints._signed_at -= 86_401
        while not checkpoints._signer.last.sequence:
            await asyncio.to_thread(last_head, store.path)
        checkpoints._signed_at -= 86_401
        assert not checkpoints._is_due()
        await checkpoints.finish()

    asyncio.run(run())
    assert [head.sequence for head in signed_in(options, public)] == [0, 1]


def test_a_record_that_lost_what_was_signed_stops_the_start(options, store, tmp_path):
    add(store)

    async def run(one):
        checkpoints = Checkpoints(SignerProcess.start(options), one)
        try:
            await checkpoints.begin()
        finally:
            await checkpoints.finish()

    asyncio.run(run(store))
    with (
        AuditStore.open(tmp_path / "fresh" / "audit.sqlite3") as fresh,
        pytest.raises(CannotStart, match="name another file"),
    ):
        asyncio.run(run(fresh))


def test_a_signer_that_was_killed_is_logged_and_stops_nobody(options, store, caplog, monkeypatch):
    monkeypatch.setattr(checkpointing, "_POLL", 0.01)
    options = CheckpointOptions(options.key, options.to, every=86_400, records=1)

    async def run():
        checkpoints = Checkpoints(SignerProcess.start(options), store)
        await checkpoints.begin()
        os.kill(checkpoints._signer._process.pid, signal.SIGKILL)
        await store.append(Draft(event=Event.SERVER_START))
        await asyncio.wait([checkpoints._task])
        head = await store.append(Draft(event=Event.SERVER_STOP))
        await checkpoints.finish()
        return head

    assert asyncio.run(run()).sequence == 2
    assert "no head is signed from now on" in caplog.text


def test_a_signer_that_hangs_is_ended_with_the_server(options, store, caplog, monkeypatch):
    monkeypatch.setattr(checkpointing, "_LAST_SECONDS", 0.2)

    async def run():
        checkpoints = Checkpoints(SignerProcess.start(options), store)
        await checkpoints.begin()
        os.kill(checkpoints._signer._process.pid, signal.SIGSTOP)
        await store.append(Draft(event=Event.SERVER_STOP))
        await checkpoints.finish()
        return checkpoints._signer._process.returncode

    assert asyncio.run(run()) == -signal.SIGKILL
    assert "does not answer" in caplog.text


def test_a_signer_ends_with_the_server_that_wanted_it(options):
    """
    A parent that is not the one that was named: it was gone before the signer looked.
    """
    command = launcher.program(
        "executor.children.signer",
        "--key",
        str(options.key),
        "--to",
        str(options.to),
        "--parent",
        "1",
    )
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "parent 1 has ended; nobody needs this one" in done.stdout
