"""
Commits through the gate: counted, decided, recorded, done, recorded, and nobody looks meanwhile.
"""

import asyncio
import errno
import json
import os
import threading
from pathlib import Path

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.audit import read
from executor.kernel.approval import Ending, Verdict
from executor.kernel.committing import MountLocks
from executor.kernel.descriptors import open_root
from executor.kernel.errors import GuestError, InternalError, SourceUnavailable, WorkerFault
from executor.kernel.paths import HostTrees
from executor.kernel.transactions import Verb
from executor.transactions.commits import Outcome
from executor.transactions.errors import Unrecoverable
from executor.transactions.places import STAGING
from executor.transactions.staging import alone
from policy.requests import CommitRequest
from policy.types import CageKind
from tests.executor.fakes.harness import policy
from tests.executor.kernel.ledger_world import MAIN, Stricter, on_gates


def test_a_commit_of_the_guest_is_recorded_before_and_after_with_its_list(tmp_path):
    async def scenario(world, one):
        await one.write("/ledger/main", b"2 b\n")
        assert (world.ledger / "main").read_bytes() == MAIN
        told = json.loads((await one.transact()).report)
        assert told["outcome"] == "committed"
        assert [(row["kind"], row["path"]) for row in told["changes"]] == [("modified", "main")]
        assert (world.ledger / "main").read_bytes() == b"2 b\n"
        await one.log.end("over")
        assert world.rows() == [("decision", "allow", None), ("outcome", None, "ok")]
        records = read.records(world.audit, session="s0", limit=100)
        decision = next(row for row in records if row.request == "commit /ledger")
        assert told["digest"] in dict(decision.detail)["reason"]
        assert "1 modified" in dict(decision.detail)["reason"]

    on_gates(tmp_path, scenario)


class Keeps:
    """
    Keeps what it is given, as a capture does, and looks at what is on the disk meanwhile.
    """

    def __init__(self, looks):
        self.looks, self.kept = looks, []

    def keep(self, changes):
        self.kept.append([(one.path, one.diff, self.looks()) for one in changes])
        return (("diff", len(self.kept)),)


def test_what_a_commit_changes_is_kept_before_anything_is_changed_and_told_with_its_decision(
    tmp_path,
):
    main = tmp_path / "ledger" / "main"
    keeps = Keeps(main.read_bytes)

    async def scenario(world, one):
        await one.write("/ledger/main", b"2 b\n")
        assert (await one.commit()).outcome is Outcome.COMMITTED
        await one.write("/ledger/main", b"3 c\n")
        main.write_bytes(b"quicker")
        assert (await one.commit()).outcome is Outcome.CONFLICT
        await one.log.end("over")
        told = read.records(world.audit, session="s0", limit=100)
        details = [dict(row.detail) for row in told if row.request == "commit /ledger"]
        assert [detail["diff"] for detail in details] == [1, 2]

    on_gates(tmp_path, scenario, diffs=keeps)
    (first,), (second,) = keeps.kept
    assert first == ("main", "--- a/main\n+++ b/main\n@@ -1 +1 @@\n-1 a\n+2 b\n", MAIN)
    assert second[0] == "main"


def test_where_nothing_is_kept_the_record_of_a_commit_has_no_word_of_diffs(tmp_path):
    async def scenario(world, one):
        await one.write("/ledger/main", b"2 b\n")
        assert (await one.commit()).outcome is Outcome.COMMITTED
        await one.log.end("over")
        told = read.records(world.audit, session="s0", limit=100)
        (decision,) = (row for row in told if row.request == "commit /ledger")
        assert {key for key, _ in decision.detail} == {"reason"}

    on_gates(tmp_path, scenario)


def test_a_guest_that_may_not_commit_is_denied_and_the_host_stays_as_it_is(tmp_path):
    async def scenario(world, one):
        await one.write("/ledger/main", b"2 b\n")
        answer = await one.transact(mount="/ledger")
        assert answer.errno == errno.EACCES
        assert "the session's client does" in answer.reason
        assert (world.ledger / "main").read_bytes() == MAIN
        await one.log.end("over")
        assert world.rows() == [("decision", "deny", None)]

    on_gates(tmp_path, scenario, grant=", commit_by: client")


@pytest.mark.parametrize("mount", ["/elsewhere", "/ledger/main", "ledger", "/ledger/.."])
def test_what_is_no_transaction_is_not_committed(tmp_path, mount):
    async def scenario(world, one):
        for verb in ("commit", "dry_run", "rollback"):
            answer = await one.transact(verb, mount)
            assert answer.errno in {errno.ENOENT, errno.EINVAL, errno.EACCES}
        assert not (await one.transact("dry_run")).errno

    on_gates(tmp_path, scenario)


def test_a_verb_that_no_worker_has_ends_the_session(tmp_path):
    async def scenario(_, one):
        with pytest.raises(WorkerFault):
            await one.transact("destroy")

    on_gates(tmp_path, scenario)


def test_a_worker_in_a_box_commits_too(tmp_path):
    async def scenario(world, one):
        answer = await one.transact("commit")
        assert json.loads(answer.report)["outcome"] == "unchanged"

    on_gates(tmp_path, scenario, cage=CageKind.PROCESS)


def test_a_conflict_is_recorded_as_such(tmp_path):
    async def scenario(world, one):
        await one.write("/ledger/main", b"2 b\n")
        (world.ledger / "main").write_bytes(b"quicker")
        report = await one.commit()
        assert (report.outcome, report.conflicts) == (Outcome.CONFLICT, ("main",))
        assert (world.ledger / "main").read_bytes() == b"quicker"
        await one.log.end("over")
        assert world.rows() == [("decision", "allow", None), ("outcome", None, "conflict")]

    on_gates(tmp_path, scenario)


def test_a_commit_that_cannot_be_recorded_does_not_happen(tmp_path):
    """
    The first request is the open of the file; the record has no room for that of the commit.
    """

    async def scenario(world, one):
        await one.write("/ledger/main", b"2 b\n")
        answer = await one.transact()
        assert answer.errno == errno.EDQUOT
        assert (world.ledger / "main").read_bytes() == MAIN
        assert not (world.ledger / STAGING).exists()

    on_gates(tmp_path, scenario, limits="limits: {requests: 1}\n")


def test_a_commit_that_is_not_recorded_once_it_is_prepared_leaves_nothing_behind(tmp_path):
    async def scenario(world, one):
        await one.write("/ledger/main", b"2 b\n")
        world.store.close()
        assert (await one.transact()).errno == errno.EIO
        assert (world.ledger / "main").read_bytes() == MAIN
        assert not (world.ledger / STAGING).exists()
        with open_root(str(world.ledger)) as root, alone(root):  # and other servers may commit
            pass

    on_gates(tmp_path, scenario)


def test_a_commit_is_decided_for_each_path_as_if_it_were_written_now(tmp_path):
    async def scenario(world, one):
        await one.write("/ledger/main", b"2 b\n")
        one.standing.over = True
        assert (await one.transact()).errno == errno.EACCES
        assert (world.ledger / "main").read_bytes() == MAIN
        assert not (world.ledger / STAGING).exists()
        one.standing.over = False
        assert (await one.commit()).outcome is Outcome.COMMITTED
        await one.log.end("over")
        records = read.records(world.audit, session="s0", limit=100)
        assert [row.request for row in records if row.answer] == [
            *("write /ledger/main", "write /ledger/main", "commit /ledger"),
        ]
        assert [row.answer.value for row in records if row.answer] == ["allow", "deny", "allow"]

    on_gates(tmp_path, scenario, stands=Stricter)


def test_a_file_open_to_be_written_holds_a_commit_and_a_rollback_up(tmp_path):
    async def scenario(_, one):
        handle = await one.write("/ledger/new", b"n", keep=True)
        for verb in ("commit", "dry_run", "rollback"):
            answer = await one.transact(verb)
            assert answer.errno == errno.EBUSY
            assert "/ledger/new is open" in answer.reason
        await one.ask(close=handle)
        assert not (await one.transact()).errno

    on_gates(tmp_path, scenario)


def test_a_commit_waits_a_moment_for_a_file_that_is_being_closed(tmp_path):
    async def scenario(_, one):
        handle = await one.write("/ledger/new", b"n", keep=True)
        committing = asyncio.ensure_future(one.commit())
        await asyncio.sleep(0)  # it has looked
        await one.ask(close=handle)
        assert (await committing).outcome is Outcome.COMMITTED

    on_gates(tmp_path, scenario)


def test_times_and_names_change_in_the_session_alone_and_a_directory_keeps_its_name(tmp_path):
    async def scenario(world, one):
        before = (world.ledger / "main").stat().st_mtime_ns
        times = wire.SetTimesAsk(path="/ledger/main", modified_ns=1)
        assert not (await one.ask(set_times=times)).errno
        assert (await one.ask(stat=wire.PathAsk(path="/ledger/main"))).status.modified_ns == 1
        assert (world.ledger / "main").stat().st_mtime_ns == before
        # Programs that move a directory copy it where the answer is EXDEV.
        await one.ask(make_directory="/ledger/made")
        renamed = await one.ask(rename=wire.RenameAsk(old="/ledger/made", new="/ledger/new"))
        assert renamed.errno == errno.EXDEV
        moved = await one.ask(rename=wire.RenameAsk(old="/ledger/other", new="/ledger/moved"))
        assert not moved.errno
        assert sorted(os.listdir(world.ledger)) == ["main", "other", "private"]

    on_gates(tmp_path, scenario)


def test_of_several_transactions_the_guest_names_one(tmp_path):
    (tmp_path / "second").mkdir()

    async def scenario(_, one):
        assert (await one.transact("dry_run")).errno == errno.EINVAL
        assert not (await one.transact("dry_run", "/second")).errno

    second = f"}}\n  - {{mount: /second, source: {tmp_path / 'second'}, access: transaction"
    on_gates(tmp_path, scenario, grant=second)


def test_other_sessions_wait_while_a_commit_is_applied(tmp_path):
    async def scenario(world, one, two):
        (source,) = one.trees.sources
        async with world.locks.alone(source):
            looking = asyncio.ensure_future(two.ask(stat=wire.PathAsk(path="/ledger/main")))
            committing = asyncio.ensure_future(two.commit())
            done, _ = await asyncio.wait({looking, committing}, timeout=0.2)
            assert not done
        assert (await looking).status.size == len(MAIN)
        await committing

    on_gates(tmp_path, scenario, count=2)


def test_two_sessions_that_commit_at_once_do_it_one_after_the_other(tmp_path):
    async def scenario(world, *sessions):
        for number, one in enumerate(sessions):
            await one.write(f"/ledger/file{number}", b"x")
            await one.write("/ledger/main", b"%d" % number)
        reports = await asyncio.gather(*(one.commit() for one in sessions))
        outcomes = sorted(report.outcome.value for report in reports)
        assert outcomes == ["committed", *["conflict"] * (len(sessions) - 1)]
        assert len(list(world.ledger.iterdir())) == 4

    on_gates(tmp_path, scenario, count=4)


@pytest.mark.parametrize("other", ["/srv/books", "/srv", "/srv/books/2026"])
def test_what_lies_in_or_around_a_source_is_held_with_it(other):
    async def scenario():
        locks = MountLocks()
        async with locks.alone("/srv/books"):
            waiting = asyncio.ensure_future(locks.free((other,)))
            await locks.free(("/srv/books-of-others", "/data"))
            assert not (await asyncio.wait({waiting}, timeout=0.05))[0]
        await waiting

    asyncio.run(scenario())


def test_what_a_session_leaves_is_removed_with_it(tmp_path):
    async def scenario(_, one):
        await one.write("/ledger/new", b"n")
        (directory,) = (tmp_path / "state").iterdir()
        assert [path.name for path in directory.rglob("new")] == ["new"]
        one.gate.close()
        for thread in threading.enumerate():  # the one that removes it, while the server goes on
            if thread.name == "changes":
                await asyncio.to_thread(thread.join)
        assert not directory.exists()

    on_gates(tmp_path, scenario)


def test_a_session_finds_no_half_commit_in_a_source_that_came_later(tmp_path):
    ledger, state = tmp_path / "ledger", tmp_path / "state"
    (ledger / STAGING).mkdir(parents=True, mode=0o700)
    (ledger / STAGING / "0").write_bytes(b"staged")
    grants = policy(
        f"filesystem: [{{mount: /ledger, source: {ledger}, access: transaction}}]\n"
    ).filesystem
    HostTrees(grants, str(state)).close()
    assert not (ledger / STAGING).exists()
    (ledger / STAGING).mkdir(mode=0o755)
    with pytest.raises(Unrecoverable):
        HostTrees(grants, str(state))


def test_a_server_that_cannot_keep_changes_says_so_when_the_session_is_made(tmp_path):
    grants = policy(
        f"filesystem: [{{mount: /ledger, source: {tmp_path}, access: transaction}}]\n"
    ).filesystem
    (tmp_path / "file").touch()
    with pytest.raises(SourceUnavailable) as caught:
        HostTrees(grants, str(tmp_path / "file" / "state"))
    assert "cannot make a directory" in caught.value.detail


def test_without_a_directory_of_its_own_a_server_has_no_transactions(tmp_path):
    rules = policy(f"filesystem: [{{mount: /ledger, source: {tmp_path}, access: transaction}}]\n")
    with pytest.raises(SourceUnavailable) as caught:
        HostTrees(rules.filesystem)
    assert "transactions keep what changes" in caught.value.detail


def test_a_session_that_has_ended_commits_nothing(tmp_path):
    async def scenario(_, one):
        one.gate.close()
        with pytest.raises(InternalError):
            await one.commit()

    on_gates(tmp_path, scenario)


def test_the_layer_is_not_reached_by_another_name(tmp_path):
    """
    What a session has written is there by its guest path alone, and by no path of the host.
    """

    async def scenario(world, one):
        await one.write("/ledger/main", b"2 b\n")
        listing = (await one.ask(list=wire.PathAsk(path="/ledger"))).listing
        assert [entry.name for entry in listing.entries] == ["main", "other"]
        denied = await one.ask(open=wire.OpenAsk(path="/ledger/private/a", write=True, create=True))
        assert denied.errno == errno.ENOENT
        with pytest.raises(GuestError):
            await one.gate.transactions.do(
                Verb.DRY_RUN, CommitRequest(str(Path("/ledger/private")))
            )

    on_gates(tmp_path, scenario)


class Approving:
    """
    Somebody who agrees to everything, and a cell that says what is asked of it.
    """

    def __init__(self):
        self.shown, self.clock = [], []

    async def ask(self, question):
        self.shown.append([one.path for one in question.shows.changes])
        return Verdict(Ending.APPROVED, "somebody has approved it")

    def void(self, why):
        pass

    def hold(self):
        self.clock.append("held")

    def go_on(self):
        self.clock.append("goes on")


def test_a_commit_is_asked_about_while_the_clock_of_its_cell_stands_still(tmp_path):
    approving = Approving()

    async def scenario(world, one):
        one.gate.tools.begin_cell(approving, answers=False)
        await one.write("/ledger/main", b"2 b\n")
        assert json.loads((await one.transact()).report)["outcome"] == "committed"
        assert (approving.shown, approving.clock) == ([["main"]], ["held", "goes on"])
        assert (world.ledger / "main").read_bytes() == b"2 b\n"

    on_gates(tmp_path, scenario, grant=", approval: required", approvals=approving)


def test_a_cell_that_was_interrupted_asks_nobody_and_commits_nothing(tmp_path):
    approving = Approving()

    async def scenario(world, one):
        one.gate.tools.begin_cell(approving, answers=False)
        await one.write("/ledger/main", b"2 b\n")
        one.gate.tools.stop()
        assert (await one.transact()).errno == errno.EINTR
        assert (approving.shown, approving.clock) == ([], [])
        assert (world.ledger / "main").read_bytes() == MAIN

    on_gates(tmp_path, scenario, grant=", approval: required", approvals=approving)
