"""
A capture while its session goes on: nothing incomplete passes for complete.
"""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from executor.audit.record import Answer, Draft, Event
from executor.audit.store import AuditStore
from executor.capture import recording
from executor.capture.events import Kind, decode
from executor.capture.recording import COMPLETE, Capture, digest_of
from executor.capture.vault import Vault
from executor.capture.watching import Incomplete, WatchedStore

SESSION, OTHER = "ab" * 16, "cd" * 16


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def vault(tmp_path):
    return Vault(tmp_path / "audit.sqlite3")


def events(vault):
    cipher = vault.cipher(SESSION)
    seal, found = b"", []
    for place, data in enumerate(vault.batches(SESSION)):
        batch = cipher.decrypt(place, data)
        seal = cipher.seal(seal, batch)
        found += decode(batch)
    return found, seal.hex()


def test_all_that_was_added_is_sealed_and_on_the_disk(vault, threads):
    async def run():
        capture = Capture(vault.create(SESSION), threads)
        capture.add(Kind.TO_WORKER, b"cell")
        first = dict(capture.seal())
        capture.add(Kind.FROM_WORKER, b"done")
        return first, dict(await capture.finish())

    first, last = asyncio.run(run())
    found, seal = events(vault)
    assert [event.data for event in found] == [b"cell", b"done"]
    assert (first["captured"], last["captured"], last["capture"]) == (1, 2, COMPLETE)
    assert last["capture_seal"] == seal != first["capture_seal"]


def test_what_is_long_and_comes_again_is_kept_once(vault, threads, tmp_path):
    data = os.urandom(200_000)

    async def run():
        capture = Capture(vault.create(SESSION), threads)
        for _ in range(50):
            capture.add(Kind.TO_WORKER, data)
        capture.add(Kind.FROM_WORKER, data)
        await capture.finish()

    asyncio.run(run())
    found, _ = events(vault)
    assert [event.kind for event in found].count(Kind.RECALL) == 49
    path = tmp_path / "audit.sqlite3.captures" / f"{SESSION}.capture"
    assert path.stat().st_size < 2.2 * len(data)


def test_after_a_loss_nothing_is_kept_and_the_first_reason_stays(vault, threads):
    async def run():
        capture = Capture(vault.create(SESSION), threads)
        capture.add(Kind.TO_WORKER, b"before")
        capture.lose("it was interrupted")
        capture.lose("something else")
        capture.add(Kind.TO_WORKER, b"after")
        return dict(await capture.finish())

    said = asyncio.run(run())
    assert said["capture"] == "incomplete (it was interrupted)"
    assert [(one.kind, one.data) for one in events(vault)[0]] == [
        (Kind.TO_WORKER, b"before"),
        (Kind.LOST, b"it was interrupted"),
    ]


def test_what_has_not_ended_when_the_session_does_is_incomplete(vault, threads):
    async def run(*, ends):
        capture = Capture(vault.create(SESSION if ends else OTHER), threads)
        capture.begin("cell 1")
        if ends:
            capture.end()
        return dict(await capture.finish())["capture"]

    assert asyncio.run(run(ends=True)) == COMPLETE
    assert asyncio.run(run(ends=False)) == "incomplete (cell 1 did not end by itself)"


def test_a_capture_that_reaches_its_size_says_so(vault, threads):
    async def run():
        capture = Capture(vault.create(SESSION), threads, most=600_000)
        for _ in range(20):
            capture.add(Kind.TO_WORKER, os.urandom(100_000))
        return dict(await capture.finish())

    said = asyncio.run(run())
    assert said["capture"] == "incomplete (the capture has reached its size, 600,000 bytes)"
    assert events(vault)[0][-1].kind is Kind.LOST


def test_what_comes_again_and_again_counts_whole(vault, threads):
    async def run():
        capture = Capture(vault.create(SESSION), threads, most_whole=2_000_000)
        for _ in range(1000):
            capture.add(Kind.TO_WORKER, bytes(100_000))
        return dict(await capture.finish())

    said = asyncio.run(run())
    assert said["capture"] == "incomplete (the capture has reached 2,000,000 bytes when it is read)"
    assert [event.kind for event in events(vault)[0]].count(Kind.RECALL) == 19


def test_a_disk_that_does_not_keep_up_makes_it_incomplete(vault, threads, monkeypatch):
    monkeypatch.setattr(recording, "_MOST_WAITING", 2**20)
    ready = threading.Event()

    async def run():
        capture = Capture(vault.create(SESSION), threads)
        threads.submit(ready.wait)
        for _ in range(8):
            capture.add(Kind.TO_WORKER, os.urandom(300_000))
        assert capture.status != COMPLETE
        ready.set()
        return dict(await capture.finish())

    assert asyncio.run(run())["capture"] == "incomplete (the disk does not keep up)"
    found = [event.kind for event in events(vault)[0]]
    assert found == [*[Kind.TO_WORKER] * 4, Kind.LOST]


def test_a_disk_that_refuses_makes_it_incomplete(vault, threads):
    async def run():
        writer = vault.create(SESSION)
        capture = Capture(writer, threads)
        reading, closed = os.pipe()
        os.close(reading)
        os.dup2(closed, writer._descriptor)
        os.close(closed)
        capture.add(Kind.TO_WORKER, b"cell")
        return dict(await capture.finish())

    assert asyncio.run(run())["capture"] == "incomplete (it cannot be written: Broken pipe)"


def test_a_file_that_is_not_closed_well_makes_it_incomplete(vault, threads):
    async def run():
        writer = vault.create(SESSION)
        capture = Capture(writer, threads)
        capture.add(Kind.TO_WORKER, b"cell")
        capture.seal()
        os.close(writer._descriptor)
        return dict(await capture.finish())

    said = asyncio.run(run())
    assert said["capture"] == "incomplete (it cannot be written: Bad file descriptor)"


def test_the_record_of_a_cell_and_of_the_session_carry_the_seal(vault, threads, tmp_path):
    kept = Draft(event=Event.CELL_END, session=SESSION, cell=1)

    async def run(store):
        capture = Capture(vault.create(SESSION), threads)
        watched = WatchedStore(store, capture)
        await watched.append(Draft(event=Event.SESSION_CREATE, session=SESSION))
        await watched.append(kept)
        await watched.append(Draft(event=Event.SESSION_END, session=SESSION))

    with AuditStore.open(tmp_path / "audit.sqlite3") as store:
        asyncio.run(run(store))
    found, _ = events(vault)
    assert [event.kind for event in found] == [Kind.RECORD] * 2
    assert found[0].data == digest_of(Draft(event=Event.SESSION_CREATE, session=SESSION))
    # With the seal in it: what was written.
    assert found[1].data != digest_of(kept)


def watched(vault, threads, tmp_path, draft):
    """
    The capture of a session of which the record says this alone.
    """

    async def run(store):
        capture = Capture(vault.create(SESSION), threads)
        await WatchedStore(store, capture).append(draft)
        await capture.finish()
        return capture

    with AuditStore.open(tmp_path / "audit.sqlite3") as store:
        return asyncio.run(run(store))


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("call price(token=[redacted])", "incomplete (redacted)"),
        ("read /data/ghp_" + "a" * 30, "incomplete (redacted)"),
        # Behind what is stored of it.
        (f"call price({'a' * 5000}=1, token=[redacted])", "incomplete (redacted)"),
        ("read /data/table.csv", COMPLETE),
    ],
)
def test_what_the_record_withholds_ends_the_capture(
    vault, threads, tmp_path, request_text, status
):  # fmt: skip
    draft = Draft(
        event=Event.DECISION, session=SESSION, request=request_text, answer=Answer.ALLOW
    )  # fmt: skip

    assert watched(vault, threads, tmp_path, draft).status == status


@pytest.mark.parametrize(
    ("answer", "request_text", "tells"),
    [
        (Answer.ALLOW, "call price()", True),
        (Answer.DENY, "call price(name=1)", True),
        # One that fits no tool: its arguments are in no record.
        (Answer.DENY, "call price()", False),
    ],
)
def test_a_decision_tells_of_arguments_or_not(
    vault, threads, tmp_path, answer, request_text, tells
):
    draft = Draft(event=Event.DECISION, session=SESSION, request=request_text, answer=answer)

    assert watched(vault, threads, tmp_path, draft).decisions == tells


def test_a_session_that_is_not_captured_says_why():
    none = Incomplete("native code")
    assert asyncio.run(none.finish()) == (("capture", "incomplete (native code)"),)
    assert none.seal() == ()
