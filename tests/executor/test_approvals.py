"""
Calls that a person has to approve: nothing reaches the client before, and nothing without.

The worker is the fake one, the approver comes in by the real socket. What green does not prove: that
the account is another one than the session's, which tests/e2e/test_approvals_end_to_end.py does.
"""

import asyncio
import contextlib
import os
import socket

import grpc
import pytest

from codecage import values
from codecage.v1 import approvals_pb2 as wire
from codecage.v1 import approvals_pb2_grpc
from codecage.v1 import codecage_pb2 as pb
from executor.audit.record import Answer, Event
from executor.errors import AuditRefuses
from executor.sessions.approving import ApprovalOver, Choice
from tests.executor.fakes.approver import (
    APPROVER,
    ASKED,
    DENY,
    approvals,
    asked,
    decision,
    waiting,
)
from tests.executor.fakes.harness import policy, reason
from tests.executor.fakes.served import FOREVER, OK, refused
from tests.executor.fakes.tool_client import cell, create, seen

TOLD = "answer = call('echo', 20).called\nprint(answer.errno, answer.reason)"


def test_a_call_that_is_approved_reaches_the_client_as_it_was_shown(tmp_path):
    async def scenario(server, stub):
        session = await create(server, labels={"who": "Ann"})
        client = await cell(server, session, "print(values.decode(call('echo', 20).called.data))")
        (one,) = await waiting(stub)
        assert (one.session_id, one.policy, one.cell) == (session, "test", 1)
        assert (one.rule, one.rule_place) == ("tools[0]", "test.yaml:4")
        assert (dict(one.labels), one.call.tool) == ({"who": "Ann"}, "echo")
        assert [(a.name, values.decode(a.value)) for a in one.call.arguments] == [("value", 20)]
        assert one.expires_at.seconds - one.asked_at.seconds in {600, 601}
        assert not seen(server, session, Event.DECISION)
        await stub.DecideApproval(decision(one, reason="as agreed"))
        call = await client.until("tool_call")
        assert (call.name, values.decode(call.arguments)) == ("echo", ((20,), {}))
        await client.answer(call.call, "done")
        assert (await client.until("output")).data == b"done\n"
        assert (await client.until("ended")).status == OK

        (first, before), (second, after) = approvals(server, session)
        assert (first, second) == ("asked", "approved")
        assert before["digest"] == after["digest"] == one.digest
        assert after["approver"] == f"somebody (uid {os.geteuid()})"
        assert (after["reason"], after["approval"]) == ("as agreed", one.id)
        (allowed,) = seen(server, session, Event.DECISION)
        assert allowed.answer is Answer.ALLOW
        said = f"somebody (uid {os.geteuid()}) has approved it (approval {one.id})"
        assert dict(allowed.detail)["reason"] == f"calling echo is granted, and {said}"
        # In this order: who was asked, who decided, what was then allowed.
        numbers = [one.sequence for one in seen(server, session, Event.APPROVAL)]
        assert [*numbers, allowed.sequence] == sorted([*numbers, allowed.sequence])

    asked(tmp_path, scenario)


def test_a_decision_whose_approver_leaves_while_it_is_written_down_counts(tmp_path):
    """
    The record of it is written all the same, and a second decision would be one too many.
    """

    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, "print(values.decode(call('echo', 20).called.data))")
        (one,) = await waiting(stub)
        loop = asyncio.get_running_loop()
        deciding = loop.create_task(
            server.desk.decide(one.id, one.digest, Choice.APPROVE, APPROVER, "")
        )
        await asyncio.sleep(0)
        assert not deciding.done()
        deciding.cancel()
        call = await client.until("tool_call")
        await client.answer(call.call, "done")
        assert (await client.until("ended")).status == OK
        assert deciding.cancelled()
        assert [outcome for outcome, _ in approvals(server, session)] == ["asked", "approved"]

    asked(tmp_path, scenario)


def test_a_decision_that_is_written_down_after_its_question_is_void_approves_nothing(tmp_path):
    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, TOLD)
        (one,) = await waiting(stub)
        deciding = asyncio.get_running_loop().create_task(
            server.desk.decide(one.id, one.digest, Choice.APPROVE, APPROVER, "")
        )
        await asyncio.sleep(0)
        assert not deciding.done()
        server.desk.void_replaced({})
        with pytest.raises(ApprovalOver):
            await deciding
        assert b"the policy was replaced" in (await client.until("output")).data
        assert (await client.until("ended")).usage.tool_calls == 0
        (denied,) = seen(server, session, Event.DECISION)
        assert denied.answer is Answer.DENY

    asked(tmp_path, scenario)


def test_of_two_decisions_at_once_the_first_counts_and_is_the_only_one_recorded(tmp_path):
    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, TOLD)
        (one,) = await waiting(stub)
        decisions = (
            server.desk.decide(one.id, one.digest, choice, APPROVER, "")
            for choice in (Choice.DENY, Choice.APPROVE)
        )
        _, second = await asyncio.gather(*decisions, return_exceptions=True)
        assert isinstance(second, ApprovalOver)
        assert (await client.until("ended")).usage.tool_calls == 0
        assert [outcome for outcome, _ in approvals(server, session)] == ["asked", "denied"]

    asked(tmp_path, scenario)


def test_a_decision_that_cannot_be_written_down_is_none_and_may_come_again(tmp_path):
    async def scenario(server, stub):
        client = await cell(server, await create(server), TOLD)
        (one,) = await waiting(stub)
        server.store.close()
        for _ in range(2):
            with pytest.raises(AuditRefuses):
                await server.desk.decide(one.id, one.digest, Choice.APPROVE, APPROVER, "")
        assert [asked.name for asked in server.desk.open()] == [one.id]
        client.stream.cancel()

    asked(tmp_path, scenario)


def test_a_call_that_is_denied_does_not_and_the_agent_is_told_why(tmp_path):
    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, TOLD)
        (one,) = await waiting(stub)
        await stub.DecideApproval(decision(one, DENY, reason="no budget"))
        said = (await client.until("output")).data.decode()
        why = "calling echo was not done: an approver denied it: no budget"
        assert said == f"13 [policy test, rule tools[0]] {why}\n"
        assert (await client.until("ended")).usage.tool_calls == 0
        (denied,) = seen(server, session, Event.DECISION)
        assert (denied.answer, dict(denied.detail)["reason"]) == (Answer.DENY, why)
        assert [outcome for outcome, _ in approvals(server, session)] == ["asked", "denied"]

    asked(tmp_path, scenario)


def test_time_for_a_decision_ends_and_is_none_of_the_cells(tmp_path):
    """
    The cell may take less than the second that it waits. The record tells what was asked: who
    watches for it could come too late.
    """

    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, TOLD)
        assert b"nobody approved it in time" in (await client.until("output")).data
        assert (await client.until("ended")).status == OK
        (first, one), (ending, _) = approvals(server, session)
        assert (first, ending) == ("asked", "expired")
        late = wire.DecideApprovalRequest(
            id=one["approval"], digest=one["digest"], choice=wire.APPROVAL_CHOICE_APPROVE
        )
        over = (grpc.StatusCode.NOT_FOUND, "APPROVAL_NOT_FOUND")
        assert await refused(stub.DecideApproval(late)) == over

    soon = ASKED.replace("required", "{required: true, expires: 1s}")
    asked(tmp_path, scenario, soon + "limits: {wall_time: 900ms}\n")


def test_a_cell_that_does_not_wait_for_a_person_has_no_more_time_than_before(tmp_path):
    async def scenario(server, _):
        session = await create(server)
        code = f"call('echo', 1, begin=True)\n{FOREVER}"
        client = await cell(server, session, code)
        assert (await client.until("ended")).status == pb.CELL_STATUS_TIMED_OUT

    asked(tmp_path, scenario, ASKED + "limits: {wall_time: 500ms}\n")


def test_an_approval_is_for_one_call(tmp_path):
    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, "call('echo', 1)\ncall('echo', 1)")
        (one,) = await waiting(stub)
        await stub.DecideApproval(decision(one))
        assert (await refused(stub.DecideApproval(decision(one))))[1] == "APPROVAL_NOT_FOUND"
        await client.answer((await client.until("tool_call")).call)
        (other,) = await waiting(stub)
        assert other.id != one.id
        assert other.digest != one.digest
        assert (await refused(stub.DecideApproval(decision(one))))[1] == "APPROVAL_NOT_FOUND"
        await stub.DecideApproval(decision(other, DENY))
        assert (await client.until("ended")).usage.tool_calls == 1

    asked(tmp_path, scenario)


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({"digest": "0" * 64}, "FAILED_PRECONDITION", "APPROVAL_CHANGED"),
        ({"digest": ""}, "FAILED_PRECONDITION", "APPROVAL_CHANGED"),
        ({"id": "0" * 32}, "NOT_FOUND", "APPROVAL_NOT_FOUND"),
        ({"id": "0" * 65}, "INVALID_ARGUMENT", "APPROVAL_NOT_FOUND"),
        ({"choice": 0}, "INVALID_ARGUMENT", "CHOICE_MISSING"),
        ({"reason": "x" * 301}, "INVALID_ARGUMENT", "REASON_TOO_LONG"),
        ({"reason": "a\x1bb"}, "INVALID_ARGUMENT", "REASON_TOO_LONG"),
    ],
)
def test_what_decides_about_nothing_decides_nothing(tmp_path, change, code, word):
    async def scenario(server, stub):
        client = await cell(server, await create(server), "call('echo', 1)")
        (one,) = await waiting(stub)
        given = {"id": one.id, "digest": one.digest, "choice": wire.APPROVAL_CHOICE_APPROVE}
        request = wire.DecideApprovalRequest(**(given | change))
        assert await refused(stub.DecideApproval(request)) == (grpc.StatusCode[code], word)
        listed = [found async for found in stub.ListApprovals(wire.ListApprovalsRequest())]
        assert [found.id for found in listed] == [one.id]
        await stub.DecideApproval(decision(one))
        assert (await client.until("tool_call")).name == "echo"
        await client.answer(1)
        await client.until("ended")

    asked(tmp_path, scenario)


def test_the_sessions_client_cannot_answer_before_somebody_has_approved(tmp_path):
    """
    It knows which number the call will have.
    """

    async def scenario(server, stub):
        client = await cell(server, await create(server), "call('echo', 1)")
        await waiting(stub)
        await client.answer(1, "mine")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.until("ended")
        assert reason(caught.value) == "TOOL_RESULT_UNEXPECTED"

    asked(tmp_path, scenario)


def test_the_sessions_socket_approves_nothing(tmp_path):
    async def scenario(server, stub):
        client = await cell(server, await create(server), "call('echo', 1)")
        (one,) = await waiting(stub)
        own = approvals_pb2_grpc.ApprovalsStub(server.channel)
        code, _ = await refused(own.DecideApproval(decision(one)))
        assert code is grpc.StatusCode.UNIMPLEMENTED
        await stub.DecideApproval(decision(one, DENY))
        await client.until("ended")

    asked(tmp_path, scenario)


@pytest.mark.parametrize("name", [None, b"\0codecage-" + b"0" * 32, b"\0another"])
def test_who_goes_round_the_door_to_the_socket_behind_it_approves_nothing(tmp_path, name):
    """
    The kernel has not said who that is: whatever name the connection is bound to, none is known.
    """

    async def scenario(server, stub):
        client = await cell(server, await create(server), "call('echo', 1)")
        (one,) = await waiting(stub)
        inner = str(tmp_path / "server" / "inner")
        relay = await bound_relay(tmp_path / "relay", inner, name)
        async with relay, grpc.aio.insecure_channel(f"unix:{tmp_path / 'relay'}") as channel:
            round_it = approvals_pb2_grpc.ApprovalsStub(channel)
            refusal = await refused(round_it.DecideApproval(decision(one)))
            assert refusal == (grpc.StatusCode.PERMISSION_DENIED, "NO_APPROVER")
            with pytest.raises(grpc.aio.AioRpcError):
                await waiting(round_it)
        await stub.DecideApproval(decision(one, DENY))
        await client.until("ended")

    asked(tmp_path, scenario)


async def bound_relay(path, to, name):
    """
    A socket at `path` whose connections are passed on to another, from sockets of that name.
    """

    async def copy(reader, writer):
        # However it ends: an end that nobody closed is told in the midst of another test.
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()

    async def passed_on(reader, writer):
        with contextlib.closing(writer), socket.socket(socket.AF_UNIX) as out:
            if name is not None:
                out.bind(name)
            out.connect(to)
            out.setblocking(False)
            inward, outward = await asyncio.open_unix_connection(sock=out.dup())
            await asyncio.gather(copy(reader, outward), copy(inward, writer))

    return await asyncio.start_unix_server(passed_on, path)


@pytest.mark.parametrize("begin", [False, True])
def test_an_interrupt_ends_the_waiting_and_the_question(tmp_path, begin):
    async def scenario(server, stub):
        session = await create(server)
        collect = "\nask(collect=60000)" if begin else ""
        client = await cell(server, session, f"print(call('echo', 1, begin={begin})){collect}")
        (one,) = await waiting(stub)
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        await client.until("ended")
        assert (await refused(stub.DecideApproval(decision(one))))[1] == "APPROVAL_NOT_FOUND"
        (_, (ending, how)) = approvals(server, session)
        assert (ending, how["reason"]) == ("void", "the cell was interrupted")

    asked(tmp_path, scenario)


def test_the_end_of_a_session_ends_its_questions_before_its_record(tmp_path):
    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, "call('echo', 1)")
        (one,) = await waiting(stub)
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))
        await client.until("ended")
        assert (await refused(stub.DecideApproval(decision(one))))[1] == "APPROVAL_NOT_FOUND"
        *_, void, _, end = server.records(session)
        assert (void.event, void.outcome) == (Event.APPROVAL, "void")
        assert (end.event, end.ordinal) == (Event.SESSION_END, len(server.records(session)))

    asked(tmp_path, scenario)


def test_a_client_that_leaves_ends_its_questions(tmp_path):
    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, TOLD)
        (one,) = await waiting(stub)
        await client.stream.done_writing()
        assert b"has gone" in (await client.until("output")).data
        await client.until("ended")
        assert (await refused(stub.DecideApproval(decision(one))))[1] == "APPROVAL_NOT_FOUND"

    asked(tmp_path, scenario)


def test_another_policy_of_that_name_voids_what_waits_under_the_old_one_and_the_same_does_not(
    tmp_path,
):
    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, TOLD)
        (one,) = await waiting(stub)
        server.sessions.replace_policies({"test": policy(ASKED)})
        assert await waiting(stub) == [one]
        server.sessions.replace_policies({"test": policy(ASKED + "disclose: true\n")})
        assert b"the policy was replaced while it waited" in (await client.until("output")).data
        await client.until("ended")
        assert (await refused(stub.DecideApproval(decision(one))))[1] == "APPROVAL_NOT_FOUND"

    asked(tmp_path, scenario)


def test_a_right_that_goes_meanwhile_is_gone_although_somebody_approves(tmp_path):
    async def scenario(server, stub):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "a").write_text("x")
        session = await create(server)
        code = (
            "call('echo', 1, begin=True)\n"
            "ask(open=wire.OpenAsk(path='/data/a'))\nprint('read')\n"
            "while not (one := ask(collect=60000).called).done: pass\n"
            "print(one.errno, one.reason)"
        )
        client = await cell(server, session, code)
        (one,) = await waiting(stub)
        assert (await client.until("output")).data == b"read\n"
        await stub.DecideApproval(decision(one))
        assert b"13 [policy test, rule after[0]]" in (await client.until("output")).data
        await client.until("ended")

    text = (
        f"{ASKED}filesystem: [{{mount: /data, source: {tmp_path}/data, access: read}}]\n"
        "after: [{event: 'read /data/a', revoke: [tools.echo]}]\n"
    )
    asked(tmp_path, scenario, text)


def test_arguments_that_nobody_would_read_are_refused(tmp_path):
    async def scenario(server, _):
        client = await cell(server, await create(server), "print(call('echo', 'x' * 70000).reason)")
        assert b"65,536 bytes at most" in (await client.until("output")).data
        await client.until("ended")

    asked(tmp_path, scenario)


def test_who_watches_sees_what_comes_and_what_is_over(tmp_path):
    async def scenario(server, stub):
        watching = stub.WatchApprovals(wire.WatchApprovalsRequest())
        session = await create(server)
        client = await cell(server, session, "call('echo', 1)\ncall('echo', 2)")
        seen_so_far = []
        for choice in (wire.APPROVAL_CHOICE_DENY, wire.APPROVAL_CHOICE_APPROVE):
            one = (await watching.read()).asked
            await stub.DecideApproval(decision(one, choice))
            over = (await watching.read()).over
            seen_so_far.append((over.id == one.id, over.ending, over.by.startswith("somebody")))
        assert seen_so_far == [
            (True, wire.APPROVAL_ENDING_DENIED, True),
            (True, wire.APPROVAL_ENDING_APPROVED, True),
        ]
        await client.answer((await client.until("tool_call")).call)
        assert (await client.until("ended")).status == OK
        watching.cancel()

    asked(tmp_path, scenario)


def test_an_argument_that_the_policy_hides_is_shown_to_the_approver_and_in_no_record(tmp_path):
    async def scenario(server, stub):
        session = await create(server)
        client = await cell(server, session, "call('echo', value=918273)")
        (one,) = await waiting(stub)
        assert values.decode(one.call.arguments[0].value) == 918273
        await stub.DecideApproval(decision(one))
        await client.answer((await client.until("tool_call")).call)
        await client.until("ended")
        assert "918273" not in str(server.records(session))
        requests = [found.request for found in seen(server, session, Event.APPROVAL)]
        assert requests[0] == "call echo(value=[redacted])"

    asked(tmp_path, scenario, ASKED + "audit: {redact: [value]}\n")


def test_a_call_that_is_given_up_at_once_asks_nobody(tmp_path):
    """
    The cell ends in the same moment: nothing that could end the question would come any more.
    """

    async def scenario(server, _):
        session = await create(server)
        for _ in range(20):
            client = await cell(server, session, "call('echo', 1, begin=True)")
            assert (await client.until("ended")).status == OK
        assert server.desk.open() == []
        endings = [outcome for outcome, _ in approvals(server, session)]
        assert endings.count("asked") == endings.count("void")

    asked(tmp_path, scenario)
