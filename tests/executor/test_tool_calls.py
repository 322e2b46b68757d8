"""
Calls of the client's tools: what is granted reaches the client, and its result the guest, whatever
ends in between.

The worker is the fake one, whose cell is Python that sends frames; the client speaks the wire. What
neither of them may send is test_tool_lies.py. That the guests' own half does it right is
tests/e2e/test_tools_end_to_end.py.
"""

import os
import signal

import pytest

from codecage import values
from codecage.v1 import codecage_pb2 as pb
from executor.audit.record import Answer, Event
from tests.executor.fakes.harness import ended
from tests.executor.fakes.served import OK
from tests.executor.fakes.tool_client import TOOLS, WORDS, cell, create, given, seen


def test_a_call_reaches_the_client_and_its_result_the_worker(tmp_path):
    async def scenario(server):
        session = await create(server)
        client = await cell(server, session, "print(values.decode(call('echo', 20).called.data))")
        call = await client.until("tool_call")
        assert (call.call, call.name, call.beside) == (1, "echo", False)
        assert values.decode(call.arguments) == ((20,), {})
        await client.answer(1, {"twice": (40,)})
        assert (await client.until("output")).data == b"{'twice': (40,)}\n"
        end = await client.until("ended")
        assert (end.status, end.usage.tool_calls, end.usage.requests) == (OK, 1, 1)

    given(tmp_path, scenario)


def test_a_call_is_in_the_record_before_its_client_hears_of_it_and_its_outcome_after(tmp_path):
    async def scenario(server):
        session = await create(server)
        client = await cell(server, session, "call('echo', value='secret words')")
        await client.until("tool_call")
        (decision,) = seen(server, session, Event.DECISION)
        assert (decision.answer, decision.rule) == (Answer.ALLOW, "tools[0]")
        assert decision.request.startswith("call echo(value=<12 characters, sha256 ")
        assert not seen(server, session, Event.OUTCOME)
        await client.answer(1, 1)
        await client.until("ended")
        (outcome,) = seen(server, session, Event.OUTCOME)
        assert (outcome.refers, outcome.outcome, outcome.size) == (decision.sequence, "ok", 4)
        assert dict(outcome.detail)["call"] == 1

    given(tmp_path, scenario)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("call('other')", "the session has no tool of this name"),
        ("call('bound', n=11)", "its argument n is more"),
        ("call('bound', n=float('nan'))", "its argument n is not finite"),
        ("call('bound', n=True)", "its argument n is no number"),
        ("call('bound', n=[1])", "its argument n is no number"),
        ("call('bound', 1)", "too many positional arguments"),
        ("call('bound', m=1)", "an unexpected keyword argument"),
        ("call('echo')", "a required argument is missing"),
        ("call('echo', 1, value=2)", "multiple values for an argument"),
        ("ask(call=wire.CallAsk(name='echo', arguments=values.encode(7)))", "no sequence"),
        ("ask(call=wire.CallAsk(name='echo', arguments=values.encode([(), {}])))", "a tuple of"),
        ("ask(call=wire.CallAsk(name='echo', arguments=b'\\x01t\\x7f'))", "longer than what"),
        ("ask(call=wire.CallAsk(name='echo'))", "no document"),
    ],
)
def test_a_call_that_is_not_granted_is_refused_recorded_and_unheard(tmp_path, code, told):
    async def scenario(server):
        session = await create(server)
        client = await cell(server, session, f"answer = {code}\nprint(answer.errno, answer.reason)")
        said = (await client.until("output")).data.decode()
        assert said.startswith("13 [policy test, rule tools")
        assert told in said
        assert (await client.until("ended")).usage.tool_calls == 0
        (decision,) = seen(server, session, Event.DECISION)
        assert decision.answer is Answer.DENY

    given(tmp_path, scenario)


@pytest.mark.parametrize(
    "code", ["call('bound')", "call('bound', n=10)", "call('bound', other=[1])"]
)
def test_a_bound_that_holds_lets_the_call_through(tmp_path, code):
    async def scenario(server):
        client = await cell(server, await create(server), code)
        assert (await client.until("tool_call")).name == "bound"
        await client.answer(1)
        assert (await client.until("ended")).status == OK

    given(tmp_path, scenario)


def test_the_calls_of_a_tool_are_counted_over_the_cells_of_a_session(tmp_path):
    async def scenario(server):
        session = await create(server)
        for number in (1, 2):
            client = await cell(server, session, "call('echo', 1)")
            await client.until("tool_call")
            await client.answer(number)
            await client.until("ended")
        client = await cell(server, session, "print(call('echo', 1).reason)")
        assert b"has called echo 2 times" in (await client.until("output")).data

    given(tmp_path, scenario, "tools: [{name: echo, max_calls: 2}]\n")


def test_without_a_grant_a_tool_that_the_client_gives_is_refused(tmp_path):
    async def scenario(server):
        session = await create(server)
        client = await cell(server, session, "print(call('echo', 1).reason)")
        said = (await client.until("output")).data
        assert b"rule tools] calling echo is not granted" in said

    given(tmp_path, scenario, "")


def test_a_tool_that_needs_approval_waits_for_nobody(tmp_path):
    async def scenario(server):
        client = await cell(server, await create(server), "print(call('echo', 1).reason)")
        assert b"needs a person's approval" in (await client.until("output")).data

    given(tmp_path, scenario, "tools: [{name: echo, approval: required}]\n")


def test_a_client_that_does_not_say_that_it_answers_is_not_asked(tmp_path):
    async def scenario(server):
        session = await create(server)
        end = await server.run(session, WORDS + "print(call('echo', 1).reason)")
        assert b"performs no tools" in next(e.output.data for e in end if e.HasField("output"))

    given(tmp_path, scenario)


def test_a_client_that_closes_its_side_ends_the_waiting(tmp_path):
    async def scenario(server):
        code = (
            "a, b = call('echo', 1).called, call('echo', 2)\n"
            "print(f'{a.errno} {a.reason}\\n{b.errno} {b.reason}')"
        )
        client = await cell(server, await create(server), code)
        await client.until("tool_call")
        await client.stream.done_writing()
        said = (await client.until("output")).data
        first, second = said.decode().splitlines()
        gone = "the client that performs the session's tools has gone"
        assert first.startswith(f"104 {gone}")
        assert second.startswith(f"111 {gone}")

    given(tmp_path, scenario)


def test_a_call_of_a_cell_that_outlives_its_client_fails_and_the_next_client_gets_the_next(
    tmp_path,
):
    async def scenario(server):
        session = await create(server)
        code = "a = call('echo', 1)\nprint(a.called.errno)"
        client = await cell(server, session, code, keep={"duration": {"seconds": 20}})
        await client.until("tool_call")
        client.stream.cancel()
        back = server.stub.Attach(pb.AttachRequest(session_id=session, cell=1))
        kinds = [event.WhichOneof("event") async for event in back]
        assert kinds == ["started", "tool_call", "tool_cancelled", "output", "ended"]
        later = await cell(server, session, "call('echo', 2)")
        call = await later.until("tool_call")
        await later.answer(call.call)
        assert (await later.until("ended")).status == OK

    given(tmp_path, scenario)


def test_calls_that_are_begun_run_beside_each_other_and_are_collected_as_they_end(tmp_path):
    async def scenario(server):
        code = (
            "for n in (1, 2, 3): call('echo', n, begin=True)\n"
            "for _ in range(3):\n"
            "    called = ask(collect=1000).called\n"
            "    print(called.call, values.decode(called.data))\n"
            "print(ask(collect=0).errno)"
        )
        client = await cell(server, await create(server), code)
        for _ in range(3):
            assert (await client.until("tool_call")).beside
        printed = b""
        for number in (3, 1, 2):
            await client.answer(number, number * 10)
            printed += (await client.until("output")).data
            assert b"%d %d\n" % (number, number * 10) in printed
        if not printed.endswith(b"125\n"):  # what is printed at once may come in one event
            printed += (await client.until("output")).data
        assert printed == b"3 30\n1 10\n2 20\n125\n"

    given(tmp_path, scenario)


def test_there_may_be_32_calls_at_a_time(tmp_path):
    async def scenario(server):
        code = "print([call('echo', n, begin=True).errno for n in range(34)][-3:])"
        client = await cell(server, await create(server), code)
        assert (await client.until("output")).data == b"[0, 11, 11]\n"
        assert (await client.until("ended")).usage.tool_calls == 32

    given(tmp_path, scenario)


def test_calls_that_a_cell_has_left_are_cancelled_and_the_next_cell_is_told(tmp_path):
    async def scenario(server):
        session = await create(server)
        client = await cell(server, session, "call('echo', 1, begin=True)")
        assert (await client.until("tool_call")).call == 1
        assert (await client.until("tool_cancelled")).call == 1
        await client.until("ended")
        later = await cell(server, session, "c = ask(collect=0).called; print(c.call, c.errno)")
        assert (await later.until("output")).data == b"1 125\n"

    given(tmp_path, scenario)


def test_an_interrupt_ends_a_call_and_no_further_one_is_made_in_the_cell(tmp_path):
    async def scenario(server):
        session = await create(server)
        code = (
            "import signal\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN, signal.SIGRTMIN + 1})\n"
            "print(call('echo', 1).called.errno, call('echo', 2).errno)"
        )
        client = await cell(server, session, code)
        await client.until("tool_call")
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        assert (await client.until("tool_cancelled")).call == 1
        # What the function returns all the same is dropped.
        await client.answer(1)
        assert (await client.until("output")).data == b"4 4\n"

    given(tmp_path, scenario)


def test_a_tool_that_hangs_costs_the_cell_its_wall_time_and_no_more(tmp_path):
    async def scenario(server):
        session = await create(server)
        client = await cell(server, session, "call('echo', 1)", wall_time={"seconds": 3})
        await client.until("tool_call")
        end = await client.until("ended")
        assert (end.status, end.session_lost) == (pb.CELL_STATUS_TIMED_OUT, False)
        assert ended(await server.run(session, "1")).status == OK

    given(tmp_path, scenario)


def test_a_session_is_closed_while_a_tool_hangs(tmp_path):
    async def scenario(server):
        session = await create(server)
        client = await cell(server, session, "call('echo', 1)")
        await client.until("tool_call")
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))
        assert (await client.until("tool_cancelled")).call == 1
        assert (await client.until("ended")).reason == "closed by the client"
        (outcome,) = seen(server, session, Event.OUTCOME)
        assert outcome.outcome == "ECANCELED"

    given(tmp_path, scenario)


def test_a_worker_that_dies_while_a_tool_hangs_is_noticed(tmp_path):
    async def scenario(server):
        session = await create(server)
        client = await cell(server, session, "call('echo', 1)")
        await client.until("tool_call")
        os.kill(server.worker_pid(session), signal.SIGKILL)
        assert (await client.until("ended")).session_lost

    given(tmp_path, scenario)


def test_a_large_result_comes_in_parts_both_ways(tmp_path):
    async def scenario(server):
        code = (
            "a = call('echo', 1).called\n"
            "data = a.data\n"
            "while len(data) < a.size: data += ask(rest=len(data)).called.data\n"
            "print(len(values.decode(data, values.RESULT)), len(a.data))"
        )
        client = await cell(server, await create(server), code)
        await client.until("tool_call")
        whole = values.encode(bytes(8 * 2**20 - 100), values.RESULT)
        for at in range(0, len(whole), 2**20):
            part = whole[at : at + 2**20]
            await client.answer(1, data=part, more=at + 2**20 < len(whole))
        assert (await client.until("output")).data == b"8388508 1048576\n"

    given(tmp_path, scenario)


def test_a_final_answer_is_told_once_and_within_the_output_limit(tmp_path):
    async def scenario(server):
        session = await create(server, final_answer=True)
        code = "print([ask(final=b).errno for b in (bytes(2**19), b'x', b'y')])"
        client = await cell(server, session, code)
        assert (await client.until("final")).value == b"x"
        assert (await client.until("output")).data == b"[122, 0, 114]\n"

    given(tmp_path, scenario, TOOLS + "limits: {output: 100Ki}\n")


def test_an_argument_that_the_policy_hides_is_nowhere_in_the_record_and_reaches_the_client(
    tmp_path,
):
    async def scenario(server):
        session = await create(server, labels={"the-token": "hunter2", "who": "Ann"})
        client = await cell(server, session, "call('echo', value=1234); call('bound', n=7)")
        call = await client.until("tool_call")
        assert values.decode(call.arguments) == ((), {"value": 1234})
        await client.answer(1)
        await client.answer((await client.until("tool_call")).call)
        await client.until("ended")
        hidden, shown = seen(server, session, Event.DECISION)
        assert (hidden.request, shown.request) == (
            "call echo(value=[redacted])",
            "call bound(n=7, other=<Composite>)",
        )
        first, second = (dict(one.detail) for one in seen(server, session, Event.OUTCOME))
        assert (first["arguments"], len(second["arguments"])) == ("[redacted]", 64)
        (created,) = seen(server, session, Event.SESSION_CREATE)
        assert dict(created.detail)["labels"] == '{"the-token": "[redacted]", "who": "Ann"}'

    given(tmp_path, scenario, TOOLS + 'audit: {redact: [value, "*token"]}\n')
