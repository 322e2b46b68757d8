"""
The verdict beside the pages: what it says, that it is asked again, and that nothing of it stays.
"""

import asyncio
import os
import resource
import sqlite3
from contextlib import closing, suppress

import psutil
import pytest
from pages_world import POLICY_TEXT, SESSION, fill

from executor.audit.record import Draft, Event
from executor.audit.store import AuditStore
from executor.audit.verify import last_head
from executor.review import verification
from executor.review.gathering import Badge, replayable, verified
from executor.review.verification import Verification, Verified
from tests.executor import waiting


@pytest.fixture
def audit(tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "_SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(verification, "_PAUSE_PER_RUN", 0.0)
    (tmp_path / "books.yaml").write_text(POLICY_TEXT)
    path = tmp_path / "state" / "audit.sqlite3"
    fill(path, tmp_path / "books.yaml")
    return path


async def ran_until(judging, condition):
    """
    Let it run until the condition holds; it is gone afterwards, and so is its child.
    """
    task = asyncio.create_task(judging.run())
    try:
        await asyncio.to_thread(waiting.until, condition)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert verifying() == []


def verifying():
    """
    The children that verify; this process has those of other tests, too.
    """
    found = []
    for one in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it ends while it is looked at
            if "verify" in one.cmdline():
                found.append(one)
    return found


def test_what_is_added_is_verified_too_and_what_is_rewritten_is_found(audit):
    judging = Verification(audit)
    asyncio.run(ran_until(judging, lambda: judging.last is not None))
    assert (judging.last.whole, judging.last.reached) == (True, 58)

    assert "No head that was kept outside" in judging.last.lines[1]
    anchored = Verification(audit, ("--head", str(last_head(audit))))
    asyncio.run(ran_until(anchored, lambda: anchored.last is not None))
    assert anchored.last.lines == ("The record is whole up to record 58.",)

    with AuditStore.open(audit) as store:
        last = asyncio.run(store.append(Draft(event=Event.SERVER_STOP))).sequence
    asyncio.run(ran_until(judging, lambda: judging.last.reached == last))
    assert judging.last.whole

    # Cut, as somebody could who can write the file: without a head from outside it looks whole.
    with closing(sqlite3.connect(audit)) as db, db:
        db.execute("DELETE FROM record WHERE sequence = ?", (last,))
    asyncio.run(ran_until(judging, lambda: not judging.last.whole))
    assert judging.last.bad == last
    assert "NOT WHOLE" in judging.last.lines[0]


def test_a_record_that_cannot_be_verified_is_said(audit):
    judging = Verification(audit, ("--checkpoints", str(audit.parent / "none"), "--key", "x"))
    asyncio.run(ran_until(judging, lambda: judging.trouble))
    assert judging.last is None
    assert "codecage audit:" in judging.trouble


def test_where_no_process_can_be_made_that_is_said_and_it_is_tried_again(audit):
    """
    Else a verdict of long ago would stand on every page for good.
    """
    judging = Verification(audit)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def again():
        if judging.trouble:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        return judging.last is not None

    async def scenario():
        await asyncio.to_thread(int)  # whose module is a file, too
        # Numbers below are held by what the loop and the tests have open.
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
        try:
            await ran_until(judging, again)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    asyncio.run(scenario())
    assert (judging.last.whole, judging.trouble) == (True, "")


def test_a_verification_that_is_stopped_leaves_no_process(audit):
    judging = Verification(audit)
    seen = []

    def begun():
        seen.extend(verifying())
        return seen

    asyncio.run(ran_until(judging, begun))
    assert seen
    assert not any(one.is_running() for one in seen)


def said(reached, bad=None):
    return Verified(reached=reached, first=1, bad=bad, lines=(), at_ns=0)


@pytest.mark.parametrize(
    ("verdict", "badge", "words"),
    [
        (None, Badge.OPEN, "not verified yet"),
        (said(20), Badge.GOOD, "verified to record 12"),
        (said(12), Badge.GOOD, "verified to record 12"),
        (said(11), Badge.OPEN, "verified to record 11 of 12"),
        (said(4, bad=5), Badge.BAD, "not whole from record 5"),
        (said(0, bad=0), Badge.BAD, "not whole from record 0"),
        (said(14, bad=15), Badge.GOOD, "verified to record 12"),
    ],
)
def test_a_session_is_judged_by_its_own_records(verdict, badge, words):
    stand = verified(12, verdict)
    assert (stand.badge, stand.words) == (badge, words)


@pytest.mark.parametrize(
    ("capture", "badge"),
    [(None, Badge.OPEN), ("complete", Badge.GOOD), ("incomplete (native code)", Badge.OPEN)],
)
def test_a_session_is_replayable_only_where_its_end_says_that_all_was_captured(capture, badge):
    from executor.audit.record import Record

    detail = () if capture is None else (("capture", capture),)
    placed = {"sequence": 1, "wall_ns": 0, "monotonic_ns": 0, "ordinal": None}
    hashes = dict.fromkeys(("previous", "hash", "root"), bytes(32))
    end = Record(event=Event.SESSION_END, session=SESSION, detail=detail, **placed, **hashes)
    stand = replayable(end, ended=True)
    assert stand.badge is badge
    assert replayable(None, ended=False).words == "it goes on"
