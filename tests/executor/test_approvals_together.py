"""
Questions to approvers beside each other: each is decided by itself, and there are so many at most.
"""

import asyncio

import pytest

from codecage import values
from codecage.v1 import codecage_pb2 as pb
from executor.errors import LimitReached
from executor.sessions.approving import MOST_OF_SESSION, Asked, Desk, Over
from tests.executor.fakes.approver import ASKED, DENY, approvals, asked, decision, waiting
from tests.executor.fakes.tool_client import cell, create


def test_calls_that_are_begun_wait_beside_each_other_and_beside_the_guest(tmp_path):
    async def scenario(server, stub):
        session = await create(server)
        code = (
            "for n in range(2): call('echo', n, begin=True)\n"
            "call('bound')\n"
            "ends = []\n"
            "while len(ends) < 2:\n"
            "    one = ask(collect=60000).called\n"
            "    if one.done: ends.append((one.call, one.errno, bool(one.data)))\n"
            "print(sorted(ends))"
        )
        client = await cell(server, session, code)
        first, second = await waiting(stub, 2)
        call = await client.until("tool_call")
        assert call.name == "bound"  # nobody has decided yet, and the guest has gone on
        await client.answer(call.call)
        await stub.DecideApproval(decision(second))
        call = await client.until("tool_call")
        assert (call.name, call.beside, values.decode(call.arguments)) == ("echo", True, ((1,), {}))
        await client.answer(call.call)
        await stub.DecideApproval(decision(first, DENY))
        assert (await client.until("output")).data == b"[(1, 13, False), (2, 0, True)]\n"
        assert (await client.until("ended")).usage.tool_calls == 2

    asked(tmp_path, scenario, ASKED + "limits: {wall_time: 20s}\n")


def test_who_is_asked_in_vain_is_asked_as_often_as_the_tool_may_be_called(tmp_path):
    async def scenario(server, stub):
        client = await cell(
            server, await create(server), "call('echo', 1)\nprint(call('echo', 1).reason)"
        )
        (one,) = await waiting(stub)
        await stub.DecideApproval(decision(one, DENY))
        assert b"has called echo 1 times" in (await client.until("output")).data
        await client.until("ended")

    asked(tmp_path, scenario, ASKED.replace("max_calls: 100", "max_calls: 1"))


def test_one_session_asks_so_many_questions_at_a_time_and_no_more(tmp_path):
    async def scenario(server, stub):
        session = await create(server)
        code = (
            f"for n in range({MOST_OF_SESSION}): call('echo', n, begin=True)\n"
            "print(call('echo', 0, begin=True).reason)\n"
            "while not ask(collect=60000).errno: pass"
        )
        client = await cell(server, session, code)
        assert b"32 calls are under way" in (await client.until("output")).data
        assert len({one.id for one in await waiting(stub, MOST_OF_SESSION)}) == MOST_OF_SESSION
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        await client.until("ended")
        endings = [outcome for outcome, _ in approvals(server, session)]
        assert (endings.count("asked"), endings.count("void")) == (MOST_OF_SESSION, MOST_OF_SESSION)
        assert server.desk.open() == []

    asked(tmp_path, scenario)


def test_what_one_session_asks_keeps_no_other_from_asking(tmp_path, monkeypatch):
    """
    The server's room is full, and a session that waits for nothing has its question all the same.
    """
    monkeypatch.setattr("executor.sessions.approving.MOST_OPEN", 2)
    code = (
        "for at in range(4): call('echo', at, begin=True)\nwhile not ask(collect=60000).errno: pass"
    )

    async def scenario(server, stub):
        greedy, other = await create(server), await create(server)
        client = await cell(server, greedy, code)
        assert len(await waiting(stub, 2)) == 2
        second = await cell(server, other, "print(call('echo', 20).called.errno)")
        *_, third = await waiting(stub, 3)
        assert (third.session_id, len(server.desk.open())) == (other, 3)
        await stub.DecideApproval(decision(third, DENY))
        assert (await second.until("output")).data == b"13\n"
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=greedy))
        await client.until("ended")
        assert server.desk._asked == 0

    asked(tmp_path, scenario)


def test_the_questions_of_a_session_have_a_bound_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("executor.sessions.approving.MOST_OF_SESSION", 2)
    code = (
        "for n in range(3): call('echo', n, begin=True)\n"
        "while not (one := ask(collect=60000).called).done: pass\n"
        "print(one.call, one.reason)"
    )

    async def scenario(server, stub):
        client = await cell(server, await create(server), code)
        said = (await client.until("output")).data
        assert said.startswith(b"3 ")
        assert b"the session waits for 2 approvals already" in said
        await client.until("ended")
        assert server.desk.open() == []

    asked(tmp_path, scenario)


def test_so_many_may_watch_and_no_more(monkeypatch):
    monkeypatch.setattr("executor.sessions.approving._MOST_WATCHERS", 1)

    async def watching(desk):
        task = asyncio.ensure_future(anext(desk.watch()))
        await asyncio.sleep(0)
        return task

    async def run():
        desk = Desk()
        first = await watching(desk)
        with pytest.raises(LimitReached, match="watchers of approvals: 1 are allowed"):
            await anext(desk.watch())
        first.cancel()
        await asyncio.wait({first})
        second = await watching(desk)
        assert not second.done()
        second.cancel()

    asyncio.run(run())


def test_who_does_not_keep_up_with_what_is_asked_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr("executor.sessions.approving._MOST_UNSEEN", 2)

    async def scenario(server, stub):
        slow = server.desk.watch()
        client = await cell(server, await create(server), "call('echo', 1)\ncall('echo', 2)")
        for first in (True, False):
            (one,) = await waiting(stub)
            if first:
                assert (await anext(slow)).name == one.id
            await stub.DecideApproval(decision(one, DENY))
        await client.until("ended")
        assert [type(await anext(slow)) for _ in range(2)] == [Over, Asked]
        with pytest.raises(LimitReached, match="watch again"):
            await anext(slow)

    asked(tmp_path, scenario)
