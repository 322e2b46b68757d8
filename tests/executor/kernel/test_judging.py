"""
What stands between a gate's answer and what is done: the same list, the same files, a live session.
"""

import asyncio
import errno
from contextlib import AsyncExitStack
from hashlib import sha256

import pytest

from executor.audit import read
from executor.audit.session import SessionLog
from executor.audit.store import AuditStore
from executor.kernel.errors import GuestError
from executor.kernel.gate import Gate
from executor.kernel.paths import HostTrees
from executor.kernel.peers import Peers
from executor.kernel.pool import FilePool
from executor.kernel.standing import Standing
from executor.kernel.transactions import Verb
from executor.transactions import judged
from executor.transactions.commits import Outcome
from executor.transactions.places import STAGING
from executor.transactions.verdicts import Judgement, Verdict
from policy.decide import compile_policy
from policy.requests import CommitRequest
from tests.executor.fakes.harness import policy
from tests.executor.kernel.ledger_world import One

GATE = f"program: /etc/one.py, sha256: {'a' * 64}, image: core, protected: [rules]"


class Judge:
    """
    Says what it is told to, after it has looked; `meanwhile` is what happens while it does.
    """

    def __init__(self, judgement=Judgement.PASSED, meanwhile=lambda: None):
        self.judgement, self.meanwhile, self.seen = judgement, meanwhile, []

    async def judge(self, case):
        trees = [
            {
                str(path.relative_to(case.where / name)): path.read_bytes()
                for path in files(case, name)
            }
            for name in ("after", "before")
        ]
        self.seen.append((*trees, tuple(one.path for one in case.changes), case.asker))
        assert len(case.digest) == 64
        self.where = case.where
        self.meanwhile()
        digest = sha256(b"said").hexdigest()
        return Verdict(case.gate.name, self.judgement, "said", session="s", output_digest=digest)


def files(case, name):
    return [path for path in (case.where / name).rglob("*") if path.is_file()]


class Slow(Judge):
    """
    One that never comes to an end, and says by `looks` that it has begun.
    """

    def __init__(self):
        super().__init__()
        self.looks = asyncio.Event()

    async def judge(self, case):
        self.where = case.where
        self.looks.set()
        await asyncio.Event().wait()


class World:
    def __init__(self, ledger, state, audit, one):
        self.ledger, self.state, self.audit, self.one = ledger, state, audit, one

    async def commit(self, verb=Verb.COMMIT):
        return await self.one.gate.transactions.do(verb, CommitRequest("/ledger", by_client=True))

    def tree(self):
        found = sorted(path for path in self.ledger.rglob("*") if path.is_file())
        return {str(path.relative_to(self.ledger)): path.read_bytes() for path in found}

    def shown(self):
        return [*self.state.glob("session-*/layer-*/gate-*")]

    async def records(self):
        await self.one.log.end("over")
        rows = read.records(self.audit, session="s0", limit=1000)
        (decision,) = [row for row in rows if row.request == "commit /ledger"]
        return decision, next(row for row in rows if row.refers == decision.sequence)


def judging(tmp_path, judge, scenario, on='"**"'):
    ledger, state = tmp_path / "ledger", tmp_path / "state"
    (ledger / "private").mkdir(parents=True)
    (ledger / "private" / "key").write_bytes(b"secret")
    (ledger / "main").write_bytes(b"1\n")
    (ledger / "other").write_bytes(b"o")
    (ledger / "rules").write_bytes(b"r")
    (ledger / "link").symlink_to("/etc/passwd")
    rules = policy(
        f"gates: {{one: {{{GATE}, on: [{on}]}}}}\n"
        f"filesystem:\n  - {{mount: /ledger, source: {ledger}, "
        "access: transaction, deny: [private], gate: one}\n"
    )

    async def main():
        audit, pool = tmp_path / "record" / "audit.sqlite3", FilePool()
        async with AsyncExitStack() as stack:
            store = stack.enter_context(AuditStore.open(audit))
            stack.callback(pool.close)
            log = SessionLog(store, "s0", rules.digest, rules.limits.requests)
            await log.create(rules.name)
            trees = HostTrees(rules.filesystem, str(state))
            standing = Standing(compile_policy(rules))
            gate = Gate(standing, trees, log, pool.share("test"), peers=Peers(judges=judge))
            stack.callback(gate.close)
            one = One(gate, log, trees, standing)
            await one.write("/ledger/main", b"2\n")
            await scenario(World(ledger, state, audit, one))

    asyncio.run(main())


def test_a_gate_sees_the_merged_tree_and_what_changes_and_nothing_hidden(tmp_path):
    judge = Judge()

    async def scenario(world):
        await world.one.write("/ledger/new", b"n")
        report = await world.commit()
        assert report.outcome is Outcome.COMMITTED
        assert [one.gate for one in report.gates] == ["one"]
        assert judge.seen == [
            (
                {"main": b"2\n", "new": b"n", "other": b"o", "rules": b"r"},
                {"main": b"1\n"},
                ("main", "new"),
                "s0",
            )
        ]
        assert not judge.where.exists()
        decision, outcome = await world.records()
        assert "gate one passed, session s, output sha256 " in dict(decision.detail)["reason"]
        assert outcome.outcome == "ok"

    judging(tmp_path, judge, scenario)


def test_a_gate_that_says_no_leaves_everything_as_it_is(tmp_path):
    async def scenario(world):
        before = world.tree()
        report = await world.commit()
        assert report.outcome is Outcome.GATE_FAILED
        assert (world.tree(), (world.ledger / STAGING).exists()) == (before, False)
        decision, outcome = await world.records()
        assert "gate one failed" in dict(decision.detail)["reason"]
        assert (outcome.outcome, dict(outcome.detail)["gate.one"]) == ("gate failed", "said")

    judging(tmp_path, Judge(Judgement.FAILED), scenario)


@pytest.mark.parametrize("copied_first", [True, False])
def test_an_interrupt_ends_the_wait_for_a_gate_and_nothing_is_committed(tmp_path, copied_first):
    """
    No signal reaches a guest that waits, so without this its cell is killed for its wall time, and
    the session with it; or is committed although it was interrupted.
    """

    slow = Slow()

    async def scenario(world):
        before = world.tree()
        ended = asyncio.get_running_loop().create_task(world.commit())
        if copied_first:
            await slow.looks.wait()
        else:
            while not world.shown():  # noqa: ASYNC110 - a thread makes it
                await asyncio.sleep(0)
        world.one.gate.transactions.interrupt()
        with pytest.raises(GuestError) as caught:
            await ended
        assert caught.value.errno == errno.EINTR
        assert (world.tree(), world.shown(), slow.looks.is_set()) == (before, [], copied_first)

    judging(tmp_path, slow, scenario)


def test_the_end_of_a_session_waits_for_the_end_of_what_its_client_commits(tmp_path):
    """
    Its records come before the session's last one, which seals their number.
    """

    slow = Slow()

    async def scenario(world):
        ended = asyncio.get_running_loop().create_task(world.commit())
        await slow.looks.wait()
        world.one.gate.transactions.end()
        await world.one.gate.hang_up()
        assert ended.done()
        with pytest.raises(GuestError, match="the session ended while its commit was judged"):
            await ended

    judging(tmp_path, slow, scenario)


@pytest.mark.parametrize("judgement", [Judgement.REFUSED, Judgement.BROKEN])
def test_only_a_yes_is_a_yes(tmp_path, judgement):
    async def scenario(world):
        assert (await world.commit()).outcome is Outcome.GATE_FAILED
        assert (world.ledger / "main").read_bytes() == b"1\n"

    judging(tmp_path, Judge(judgement), scenario)


def test_a_dry_run_is_judged_too_and_rests_on_nothing_that_only_the_gate_read(tmp_path):
    judge = Judge(Judgement.FAILED)

    async def scenario(world):
        report = await world.commit(Verb.DRY_RUN)
        assert report.outcome is Outcome.PREVIEW
        assert [one.judgement for one in report.gates] == [Judgement.FAILED]
        (world.ledger / "other").write_bytes(b"later")
        judge.judgement = Judgement.PASSED
        assert (await world.commit()).outcome is Outcome.COMMITTED

    judging(tmp_path, judge, scenario)


def test_what_the_gate_is_not_about_is_not_judged(tmp_path):
    judge = Judge(Judgement.FAILED)

    async def scenario(world):
        report = await world.commit()
        assert (report.outcome, report.gates, judge.seen) == (Outcome.COMMITTED, (), [])

    judging(tmp_path, judge, scenario, on='"*.bean"')


def test_a_gate_sees_what_it_goes_by_beside_what_it_judges(tmp_path):
    judge = Judge()

    async def scenario(world):
        assert (await world.commit()).outcome is Outcome.COMMITTED
        assert [seen[0] for seen in judge.seen] == [{"main": b"2\n", "rules": b"r"}]

    judging(tmp_path, judge, scenario, on="main")


def test_what_a_gate_goes_by_is_in_no_commit(tmp_path):
    judge = Judge()

    async def scenario(world):
        await world.one.write("/ledger/rules", b"none")
        report = await world.commit()
        assert report.outcome is Outcome.GATE_FAILED
        assert [one.judgement for one in report.gates] == [Judgement.REFUSED]
        assert "may not change what the gate one goes by: rules" in report.gates[0].message
        assert judge.seen == []
        assert (world.ledger / "rules").read_bytes() == b"r"

    judging(tmp_path, judge, scenario)


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (lambda ledger: (ledger / "main").write_bytes(b"host"), ("main",)),
        (lambda ledger: (ledger / "other").write_bytes(b"host"), ("other",)),
        (lambda ledger: (ledger / "other").unlink(), ("other",)),
        (lambda ledger: (ledger / "added").write_bytes(b"host"), ("added",)),
        (
            lambda ledger: (ledger / "sub").mkdir() or (ledger / "sub/x").write_bytes(b""),
            ("sub/x",),
        ),
    ],
)
def test_what_the_gate_has_seen_is_what_the_commit_rests_on(tmp_path, change, paths):
    async def scenario(world):
        report = await world.commit()
        assert (report.outcome, report.conflicts) == (Outcome.CONFLICT, paths)
        assert (world.ledger / STAGING).exists() is False
        assert (world.ledger / "main").read_bytes() != b"2\n"

    judging(tmp_path, Judge(meanwhile=lambda: change(tmp_path / "ledger")), scenario)


def test_what_the_gate_may_not_see_may_change_meanwhile(tmp_path):
    def change():
        (tmp_path / "ledger" / "private" / "key").write_bytes(b"another")

    async def scenario(world):
        assert (await world.commit()).outcome is Outcome.COMMITTED

    judging(tmp_path, Judge(meanwhile=change), scenario)


def test_what_the_session_itself_changes_meanwhile_is_not_committed(tmp_path):
    def change():
        (upper,) = (tmp_path / "state").glob("session-*/layer-*/upper-*")
        (upper / "main").write_bytes(b"forged\n")

    async def scenario(world):
        with pytest.raises(GuestError) as caught:
            await world.commit()
        assert caught.value.errno == errno.EBUSY
        assert "while its commit was judged" in caught.value.message
        assert (world.ledger / "main").read_bytes() == b"1\n"
        assert not (world.ledger / STAGING).exists()

    judging(tmp_path, Judge(meanwhile=change), scenario)


def test_a_session_that_ended_meanwhile_commits_nothing(tmp_path):
    judge = Judge()

    async def scenario(world):
        judge.meanwhile = world.one.gate.transactions.end
        with pytest.raises(GuestError) as caught:
            await world.commit()
        assert caught.value.errno == errno.ECANCELED
        assert (world.ledger / "main").read_bytes() == b"1\n"

    judging(tmp_path, judge, scenario)


def test_without_anybody_who_runs_gates_nothing_is_committed(tmp_path):
    async def scenario(world):
        with pytest.raises(GuestError) as caught:
            await world.commit()
        assert caught.value.errno == errno.ENOSYS
        assert (world.ledger / "main").read_bytes() == b"1\n"

    judging(tmp_path, None, scenario)


def test_a_gate_is_shown_so_much_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(judged, "MOST_FILES", 2)

    async def scenario(world):
        with pytest.raises(GuestError) as caught:
            await world.commit()
        assert caught.value.errno == errno.EFBIG
        assert (world.ledger / "main").read_bytes() == b"1\n"
        assert world.shown() == []

    judging(tmp_path, Judge(), scenario)
