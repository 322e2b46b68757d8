"""
R09, A14: what one session can put into the record is bounded, and nothing allowed goes unrecorded.
"""

import asyncio

import pytest
from audit_world import POLICY, SESSION, append_all, draft, locked

from executor.audit.errors import AuditBudgetSpent, AuditUnavailable
from executor.audit.read import records
from executor.audit.record import Answer, Event, Head, Origin
from executor.audit.review.search import sessions
from executor.audit.session import SessionLog
from executor.audit.store import MAX_NOTES_WAITING, AuditStore
from executor.audit.verify import verify
from policy.requests import FileAction, FileRequest, NetworkRequest, ProcessRequest
from policy.types import Decision, Rule

RULE = Rule("filesystem[0]", "policy.yaml", 12, 3)
ALLOW = Decision(allowed=True, rule=RULE, reason="the policy grants it")
DENY = Decision(allowed=False, rule=RULE, reason="the policy denies it")
READ = FileRequest(FileAction.READ, "/work/a.txt")
CREATE = FileRequest(FileAction.CREATE, "/etc/passwd")


def session_of(store, budget=100):
    return SessionLog(store, SESSION, POLICY, budget)


def run_with(path, budget, scenario):
    async def run(store):
        log = session_of(store, budget)
        await log.create("notebook")
        await log.cell_start(1, bytes(32), 10)
        result = await scenario(log)
        await log.cell_end("ok")
        await log.end("closed")
        return result

    with AuditStore.open(path) as store:
        result = asyncio.run(run(store))
    assert verify(path).whole
    return result, records(path, limit=10_000)


def test_a_session_is_recorded_from_its_creation_to_its_end(path):
    async def scenario(log):
        head = await log.decision(READ, ALLOW)
        await log.outcome(head, "ok", size=5, digest=bytes(32))
        assert await log.decision(CREATE, DENY, durable=True) is not None
        log.outcome_nowait(head, "EIO")
        log.note((("exit", 0),))
        await log.file_rpc("put /work/a.txt", "ok", size=3)
        await log.worker_lost("SIGKILL")

    _, found = run_with(path, 100, scenario)
    assert [(r.event.value, r.origin, r.cell, r.refers, r.outcome) for r in found] == [
        ("session.create", Origin.SERVER, None, None, None),
        ("cell.start", Origin.SERVER, 1, None, None),
        ("decision", Origin.BROKER, 1, None, None),
        ("outcome", Origin.BROKER, 1, 3, "ok"),
        ("decision", Origin.BROKER, 1, None, None),
        ("outcome", Origin.BROKER, 1, 3, "EIO"),
        ("worker.note", Origin.WORKER, 1, None, None),
        ("file.rpc", Origin.SERVER, 1, None, "ok"),
        ("worker.lost", Origin.SERVER, 1, None, "SIGKILL"),
        ("cell.end", Origin.SERVER, 1, 2, "ok"),
        ("session.end", Origin.SERVER, None, 1, "closed"),
    ]
    assert {r.policy_digest for r in found} == {POLICY}
    assert [r.ordinal for r in found] == list(range(1, 12))


@pytest.mark.parametrize(("decision", "answer"), [(ALLOW, Answer.ALLOW), (DENY, Answer.DENY)])
def test_a_decision_is_recorded_with_its_rule_and_reason(path, decision, answer):
    _, found = run_with(path, 1, lambda log: log.decision(READ, decision))
    one = found[2]
    assert (one.request, one.answer, one.rule, one.rule_place, one.detail) == (
        "read /work/a.txt",
        answer,
        "filesystem[0]",
        "policy.yaml:12",
        (("reason", decision.reason),),
    )


def test_r09_denials_beyond_the_budget_are_counted_and_told_in_one_record(path):
    async def scenario(log):
        heads = [await log.decision(CREATE, DENY) for _ in range(10_000)]
        await log.decision(NetworkRequest("example.org", 80), DENY)
        await log.decision(ProcessRequest("sh"), DENY)
        log.note((("n", 1),))
        return heads, log.left

    (heads, left), found = run_with(path, 20, scenario)
    assert [head is None for head in heads] == [False] * 20 + [True] * 9_980
    assert left == 0
    assert len(found) == 20 + 5
    assert found[-3].event is Event.DROPPED
    assert found[-3].detail == (
        ("deny connect", 1),
        ("deny create", 9_980),
        ("deny run", 1),
        ("worker.note", 1),
    )
    assert found[-2].event is Event.CELL_END
    assert sessions(path)[0].dropped == 9_983


def test_an_allowed_act_beyond_the_budget_is_refused_and_told(path):
    async def scenario(log):
        head = await log.decision(READ, ALLOW)
        await log.outcome(head, "ok")
        with pytest.raises(AuditBudgetSpent, match="nothing happens unrecorded"):
            await log.decision(CREATE, ALLOW)
        assert await log.decision(CREATE, DENY) is None

    _, found = run_with(path, 1, scenario)
    assert [r.event.value for r in found[2:]] == [
        "decision",
        "outcome",
        "dropped",
        "cell.end",
        "session.end",
    ]
    assert found[4].detail == (("deny create", 1), ("refused create", 1))


def test_requests_refused_undecided_are_counted_by_kind_and_told_at_the_cells_end(path):
    async def scenario(log):
        for _ in range(1000):
            log.refused(READ)
        log.refused(ProcessRequest("sh"))

    _, found = run_with(path, 5, scenario)
    assert [(r.event.value, r.detail) for r in found[2:3]] == [
        ("dropped", (("deny read", 1000), ("deny run", 1))),
    ]
    assert sessions(path)[0].dropped == 1001


def test_r09_notes_of_one_session_leave_room_in_the_queue_for_everybody_else(path):
    """
    While another program holds the lock, nothing leaves the queue but one batch.
    """

    async def run(store, other):
        loud = SessionLog(store, "loud", POLICY, 1_000_000)
        quiet = SessionLog(store, "quiet", POLICY, 10)
        for _ in range(10_000):
            loud.note((("what", "setitimer"),))
        assert store._writer.waiting <= MAX_NOTES_WAITING + 1
        for _ in range(1000):
            quiet.outcome_nowait(Head(1, bytes(32)), "ok")
        other.execute("ROLLBACK")
        await quiet.end("ok")
        await loud.end("ok")

    with AuditStore.open(path) as store, locked(path) as other:
        asyncio.run(run(store, other))
    assert len(records(path, session="quiet", limit=10_000)) == 1001
    loud_ones = records(path, session="loud", limit=10_000)
    notes = sum(record.event is Event.WORKER_NOTE for record in loud_ones)
    (dropped,) = [record for record in loud_ones if record.event is Event.DROPPED]
    assert dropped.detail == (("worker.note", 10_000 - notes),)
    assert verify(path).whole


def test_a_cell_that_could_not_begin_at_once_has_not_begun(path):
    async def begin(log, writer):
        await log.create("notebook")
        with writer._owned:
            assert log.cell_start_at_once(1, bytes(32), 1) is None
        log.note((("what", "setitimer"),))

    with AuditStore.open(path) as store:
        asyncio.run(begin(SessionLog(store, SESSION, POLICY, 10), store._writer))
    found = [(record.event, record.cell) for record in records(path)]
    assert found == [(Event.SESSION_CREATE, None), (Event.WORKER_NOTE, None)]


def test_within_the_budget_nothing_is_dropped(path):
    async def scenario(log):
        for _ in range(20):
            await log.decision(CREATE, DENY)

    _, found = run_with(path, 20, scenario)
    assert not [r for r in found if r.event is Event.DROPPED]


def test_a14_r09_a_flood_leaves_other_sessions_their_records(path):
    async def run(store):
        loud = SessionLog(store, "loud", POLICY, 10)
        quiet = SessionLog(store, "quiet", POLICY, 10)
        await loud.create("p")
        await quiet.create("p")
        for _ in range(1000):
            await loud.decision(CREATE, DENY)
        for _ in range(10):
            await quiet.decision(READ, ALLOW)
        await loud.end("ok")
        await quiet.end("ok")

    with AuditStore.open(path) as store:
        asyncio.run(run(store))
    assert [len(records(path, session=name)) for name in ("loud", "quiet")] == [13, 12]
    assert verify(path).whole


def test_a_summary_that_could_not_be_written_is_kept_for_the_next_time(path):
    async def run(store):
        log = session_of(store, 0)
        await log.create("p")
        await log.cell_start(1, bytes(32), 1)
        await log.decision(CREATE, DENY)
        with locked(path), pytest.raises(AuditUnavailable):
            await log.cell_end("ok")
        await log.cell_end("ok")
        await log.end("ok")

    with AuditStore.open(path, patience=0.1) as store:
        asyncio.run(run(store))
    dropped = [r for r in records(path) if r.event is Event.DROPPED]
    assert [r.detail for r in dropped] == [(("deny create", 1),)]


def test_a_decision_that_cannot_be_recorded_is_an_error_before_the_act(path):
    async def run(store):
        log = session_of(store)
        await log.create("p")
        with locked(path), pytest.raises(AuditUnavailable):
            await log.decision(READ, ALLOW)
        return await log.decision(READ, ALLOW)

    with AuditStore.open(path, patience=0.1) as store:
        assert asyncio.run(run(store)).sequence == 2


def test_a_list_of_sessions_says_how_each_went(path):
    async def scenario(log):
        await log.decision(CREATE, DENY)
        await log.decision(READ, ALLOW)
        await log.cell_end("ok")
        await log.cell_start(2, bytes(32), 1)

    run_with(path, 10, scenario)
    with AuditStore.open(path) as store:
        append_all(store, [draft(Event.SESSION_CREATE, session="open")])
        first, second = sessions(path)
        assert (first.session, first.policy, first.cells, first.denied) == (
            SESSION,
            "notebook",
            2,
            1,
        )
        assert first.outcome == "closed"
        assert first.ended_ns >= first.started_ns
        assert (second.session, second.ended_ns, second.outcome) == ("open", None, None)
        assert sessions(path, limit=1) == [first]
        assert sessions(path, after=first.sequence) == [second]


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_an_unbounded_read_is_refused(path, limit):
    AuditStore.open(path).close()
    for ask in (records, sessions):
        with pytest.raises(ValueError, match="allowed are 1 to 10000"):
            ask(path, limit=limit)
        assert ask(path, limit=10_000) == []
