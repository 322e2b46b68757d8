"""
A capture beside its record: what the disk refused is missing, and accuses nobody.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from executor.audit.errors import AuditUnavailable
from executor.audit.record import Answer, Draft, Event
from executor.audit.store import AuditStore
from executor.capture.errors import CaptureTooLarge
from executor.capture.events import Kind
from executor.capture.recording import Capture
from executor.capture.vault import Vault
from executor.capture.watching import WatchedStore
from executor.replay.reading import open_session
from tests.executor.full_disk import no_longer_than

SESSION = "ab" * 16


@pytest.fixture
def audit(tmp_path):
    return tmp_path / "audit.sqlite3"


def recorded(audit, act):
    """
    A session of two cells; `act` is done in the second one. What is read of it then.
    """

    async def run(store, threads):
        vault = Vault(audit)
        capture = Capture(vault.create(SESSION), threads)
        watched = WatchedStore(store, capture)
        capture.add(Kind.HEADER, b"{}")
        await watched.append(Draft(event=Event.SESSION_CREATE, session=SESSION))
        await watched.append(Draft(event=Event.CELL_END, session=SESSION, cell=1))
        await act(watched, capture)
        await watched.append(Draft(event=Event.SESSION_END, session=SESSION))

    with AuditStore.open(audit) as store, ThreadPoolExecutor(1) as threads:
        asyncio.run(run(store, threads))
    return open_session(audit, Vault(audit), SESSION)


async def end_second(watched):
    await watched.append(Draft(event=Event.CELL_END, session=SESSION, cell=2))


def test_a_session_that_was_captured_agrees_with_its_record(audit):
    async def act(watched, capture):
        capture.add(Kind.TO_WORKER, os.urandom(1000))
        await end_second(watched)

    found = recorded(audit, act)
    assert (found.lost, found.disagreement) == ("", "")


@pytest.mark.parametrize("size", [1000, 100_000])
def test_what_a_full_disk_refused_is_incomplete_and_no_difference(audit, size):
    async def act(watched, capture):
        capture.add(Kind.TO_WORKER, os.urandom(size))
        # The record's own files are longer already and are not written to meanwhile.
        with no_longer_than(500):
            capture.seal()
            capture._threads.submit(bool).result()
        await end_second(watched)

    found = recorded(audit, act)
    assert found.lost == "it cannot be written: File too large"
    assert found.disagreement == ""
    assert [event.kind for _, event in found.events].count(Kind.TO_WORKER) == 0


def test_a_record_that_could_not_be_written_is_incomplete_and_no_difference(audit):
    decision = Draft(
        event=Event.DECISION, session=SESSION, request="read /data/a", answer=Answer.ALLOW
    )

    async def act(watched, capture):
        capture.add(Kind.TO_WORKER, b"run")
        with no_longer_than(1), pytest.raises(AuditUnavailable):
            await watched.append(decision, durable=True)
        await end_second(watched)

    found = recorded(audit, act)
    assert (found.lost, found.disagreement) == ("a record could not be written", "")


def test_a_record_that_nobody_waited_for_and_was_lost_is_incomplete_and_no_difference(audit):
    async def act(watched, capture):
        capture.add(Kind.TO_WORKER, b"run")
        with no_longer_than(1):
            watched.append_nowait(Draft(event=Event.OUTCOME, session=SESSION, outcome="ok"))
            with pytest.raises(AuditUnavailable):
                await watched._store.append(Draft(event=Event.SERVER_STOP), durable=True)
        await end_second(watched)

    found = recorded(audit, act)
    assert (found.lost, found.disagreement) == ("a record could not be written", "")


def test_what_is_more_than_its_reader_wants_is_told(audit):
    async def act(watched, capture):
        for _ in range(100):
            capture.add(Kind.TO_WORKER, bytes(50_000))
        await end_second(watched)

    assert recorded(audit, act).disagreement == ""
    assert (audit.with_name(f"{audit.name}.captures") / f"{SESSION}.capture").stat().st_size < 9000
    with pytest.raises(CaptureTooLarge, match="1,000,000"):
        open_session(audit, Vault(audit), SESSION, 1_000_000)
