"""
Calls of the client's tools, from a worker that may say anything to a client that may say anything.

The worker is the fake one, whose cell is Python that sends frames; the client speaks the wire. Each
lie costs its own session: a neighbour goes on after it. That the guests' own half does it right is
tests/e2e/test_tools_end_to_end.py.
"""

import asyncio
import os
import signal

import grpc
import pytest

from codecage import values
from codecage.v1 import codecage_pb2 as pb
from executor.audit.record import Answer, Event
from tests.executor.fakes.harness import ended, policy, reason
from tests.executor.test_service import OK, refused, serving

TOOLS = "tools: [{name: echo, max_calls: 1000}, {name: bound, arguments: {n: {max: 10}}}]\n"
ECHO = pb.Tool(
    name="echo",
    parameters=[pb.Parameter(name="value", kind=pb.Parameter.POSITIONAL_OR_KEYWORD)],
)
BOUND = pb.Tool(
    name="bound",
    parameters=[
        pb.Parameter(name="n", kind=pb.Parameter.KEYWORD_ONLY, default_value=values.encode(1)),
        pb.Parameter(name="other", kind=pb.Parameter.KEYWORD_ONLY, default_text="<Path>"),
    ],
)
# The cell's own words for a call, and for its result.
WORDS = (
    "from codecage import values\n"
    "def doc(*args, **named): return values.encode((args, named))\n"
    "def call(name, *args, begin=False, **named):\n"
    "    data = doc(*args, **named)\n"
    "    return ask(call=wire.CallAsk(name=name, arguments=data, begin=begin))\n"
)


def given(tmp_path, scenario, text=TOOLS):
    serving(tmp_path, scenario, [policy(text)])


async def create(server, *tools, **more):
    request = pb.CreateSessionRequest(policy="test", tools=tools or (ECHO, BOUND), **more)
    return (await server.stub.CreateSession(request)).id


class Client:
    """
    One cell, and the stream it runs on.
    """

    def __init__(self, server, session, code, *, answers=True, **options):
        start = pb.StartCell(
            session_id=session, code=WORDS + code, answers_tools=answers, **options
        )
        self.stream = server.stub.Execute(timeout=30)
        self.first = pb.ExecuteRequest(start=start)

    async def begin(self):
        await self.stream.write(self.first)
        return self

    async def until(self, wanted):
        while (event := await self.stream.read()) is not grpc.aio.EOF:
            for one in (event, *event.more):
                if one.WhichOneof("event") == wanted:
                    return getattr(one, wanted)
        raise AssertionError(f"the stream ended without {wanted}")

    async def answer(self, call, value=None, data=None, **more):
        data = values.encode(value) if data is None else data
        result = pb.ToolResult(call=call, data=data, **more)
        await self.stream.write(pb.ExecuteRequest(tool_result=result))


async def cell(server, session, code, **options):
    return await Client(server, session, code, **options).begin()


def seen(server, session, event):
    return [one for one in server.records(session) if one.event is event]


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
        code = "a = call('echo', 1)\nprint(a.called.errno, a.called.reason, call('echo', 2).errno)"
        client = await cell(server, await create(server), code)
        await client.until("tool_call")
        await client.stream.done_writing()
        said = (await client.until("output")).data
        assert said.startswith(b"104 the client that performs the session's tools has gone")
        assert said.endswith(b"111\n")

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
        async with asyncio.timeout(2):
            await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))

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


ENDS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.INTERNAL,
}


async def flooded(client):
    for _ in range(1024):
        await client.answer(1, data=bytes(2**20), more=True)


async def twice(client):
    await client.answer(1)
    await client.answer(1)


async def endlessly(client):
    for _ in range(5000):
        await client.answer(1, data=b"", more=True)


async def many_at_once(client):
    await client.stream.write(pb.ExecuteRequest(tool_result=pb.ToolResult(call=1, more=True)))
    await client.answer(2, more=True)


async def too_large_a_message(client):
    await client.answer(1, data=bytes(5 * 2**20))


async def another_start(client):
    await client.stream.write(client.first)


async def told(client, lie):
    await LIES[lie](client)
    await client.until("never")


LIES = {
    "a call that was never made": lambda client: client.answer(77),
    "the call of another session": lambda client: client.answer(2**63),
    "call 0": lambda client: client.answer(0),
    "an answer that comes twice": twice,
    "1 GiB": flooded,
    "a result in endless parts": endlessly,
    "parts for a call that is not": many_at_once,
    "another start": another_start,
    "an empty message": lambda client: client.stream.write(pb.ExecuteRequest()),
    "a message of 5 MiB": too_large_a_message,
}


@pytest.mark.parametrize("lie", LIES)
def test_what_no_client_sends_ends_its_cell_and_nothing_else(tmp_path, lie):
    async def scenario(server):
        session, neighbour = await create(server), await create(server)
        client = await cell(server, session, "call('echo', 1)\nimport signal\nsignal.pause()")
        await client.until("tool_call")
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await told(client, lie)
        # gRPC itself resets a stream whose client goes on sending after its end.
        assert await client.stream.code() in ENDS
        assert "incident" not in str(await client.stream.details())
        await server.sessions.get(session).wait_for_cell()
        assert ended(await server.run(session, "1")).status == OK
        other = await cell(server, neighbour, "call('echo', 1)")
        await other.until("tool_call")
        await other.answer(1)
        assert (await other.until("ended")).status == OK

    given(tmp_path, scenario)


WORKERS = {
    "w47 the rest of nothing": "ask(rest=1)",
    "w47 the rest of a result before its beginning": "ask(rest=0)",
    "w47 arguments of more than 1 MiB": (
        "ask(call=wire.CallAsk(name='echo', arguments=bytes(2**20 + 1)))"
    ),
    "an answer that is not to be given": "ask(final=b'x')",
    "a call between the parts of a display": (
        "frame(display=wire.Display(data={'a/b': b'x'}, more=True)); call('echo', 1)"
    ),
}


@pytest.mark.parametrize("lie", WORKERS)
def test_what_no_worker_asks_of_tools_ends_its_session_alone(tmp_path, lie):
    async def scenario(server):
        session, neighbour = await create(server), await create(server)
        client = await cell(server, session, WORKERS[lie])
        end = await client.until("ended")
        assert end.session_lost
        assert "protocol" in end.reason
        assert ended(await server.run(neighbour, "1")).status == OK

    given(tmp_path, scenario)


def test_w47_a_guest_can_name_no_call_of_its_own_or_of_another_session(tmp_path):
    """
    Numbers are the server's: a worker that begins calls in two sessions collects its own alone.
    """

    async def scenario(server):
        one, other = await create(server), await create(server)
        waiting = await cell(server, other, "print(call('echo', 'other').called.call)")
        assert (await waiting.until("tool_call")).call == 1
        code = "print([ask(collect=n).errno for n in (0, 1, 2**31)])"
        client = await cell(server, one, code)
        assert (await client.until("output")).data == b"[125, 125, 125]\n"
        await waiting.answer(1)
        assert (await waiting.until("output")).data == b"1\n"

    given(tmp_path, scenario)


@pytest.mark.parametrize("depth", [100, 20_000])
def test_w47_arguments_of_any_depth_are_not_looked_into(tmp_path, depth):
    async def scenario(server):
        code = (
            f"data = b'N\\0'\nfor _ in range({depth}):\n"
            "    data = b'l' + values._varint(len(data)) + data\n"
            "    if len(data) > 2**19: break\n"
            "args = b't' + values._varint(len(data)) + data\n"
            "whole = args + b'd\\0'\n"
            "whole = b'\\x01t' + values._varint(len(whole)) + whole\n"
            "print(ask(call=wire.CallAsk(name='echo', arguments=whole)).errno)"
        )
        client = await cell(server, await create(server), code)
        call = await client.until("tool_call")
        with pytest.raises(values.Refused, match="nested deeper"):
            values.decode(call.arguments)
        await client.answer(1)
        assert (await client.until("output")).data == b"0\n"

    given(tmp_path, scenario)


@pytest.mark.parametrize(
    "name", ["__class__", "echo.__globals__", "os", "", "e" * 500, "\0", "écho"]
)
def test_w48_a_guest_calls_by_the_names_that_were_given_and_no_other(tmp_path, name):
    async def scenario(server):
        client = await cell(server, await create(server), f"print(call({name!r}, 1).errno)")
        assert (await client.until("output")).data == b"13\n"

    given(tmp_path, scenario)


def test_a_final_answer_is_told_once_and_within_the_output_limit(tmp_path):
    async def scenario(server):
        session = await create(server, final_answer=True)
        code = "print([ask(final=b).errno for b in (bytes(2**19), b'x', b'y')])"
        client = await cell(server, session, code)
        assert (await client.until("final")).value == b"x"
        assert (await client.until("output")).data == b"[122, 0, 114]\n"

    given(tmp_path, scenario, TOOLS + "limits: {output: 100Ki}\n")


BAD = {
    "two tools of one name": {"tools": [ECHO, ECHO]},
    "a tool called as a word of Python": {"tools": [pb.Tool(name="class")]},
    "a tool without a name": {"tools": [pb.Tool()]},
    "a tool called __import__": {"tools": [pb.Tool(name="__import__")]},
    "65 tools": {"tools": [pb.Tool(name=f"t{n}") for n in range(65)]},
    "a document of 20 kB": {"tools": [pb.Tool(name="t", doc="x" * 20_000)]},
    "a parameter of no kind": {"tools": [pb.Tool(name="t", parameters=[pb.Parameter(name="x")])]},
    "a default that is no document": {
        "tools": [
            pb.Tool(
                name="t",
                parameters=[pb.Parameter(name="x", kind=2, default_value=b"\x80\x04K\x01.")],
            )
        ]
    },
    "parameters out of order": {
        "tools": [
            pb.Tool(
                name="t",
                parameters=[pb.Parameter(name="x", kind=4), pb.Parameter(name="y", kind=2)],
            )
        ]
    },
    "a variable called as a tool": {"tools": [ECHO], "variables": {"echo": b"x"}},
    "a variable with a blank in its name": {"variables": {"a b": b"x"}},
    "2 MiB of variables": {"variables": {"a": bytes(2**21)}},
}


@pytest.mark.parametrize("bad", BAD)
def test_what_can_be_no_tool_or_variable_makes_no_session(tmp_path, bad):
    async def scenario(server):
        request = pb.CreateSessionRequest(policy="test", **BAD[bad])
        code, why = await refused(server.stub.CreateSession(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert why
        assert not server.sessions.list()

    given(tmp_path, scenario)


def test_what_a_session_was_given_is_in_the_record_by_name_and_digest(tmp_path):
    async def scenario(server):
        session = await create(server, variables={"secret": values.encode("very secret")})
        (created,) = seen(server, session, Event.SESSION_CREATE)
        detail = dict(created.detail)
        assert (detail["tools"], detail["variables_size"]) == ("echo bound", 27)
        assert len(detail["given"]) == 64
        assert "very secret" not in str(created)

    given(tmp_path, scenario)


def test_unfinished_results_of_many_calls_are_bounded_together(tmp_path):
    async def scenario(server):
        session = await create(server)
        code = "[call('echo', n, begin=True) for n in range(8)]\nimport signal\nsignal.pause()"
        client = await cell(server, session, code)
        for _ in range(8):
            await client.until("tool_call")
        with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
            await three_mebibytes_each(client)
        assert await client.stream.code() in ENDS

    given(tmp_path, scenario)


async def three_mebibytes_each(client):
    for number in range(1, 9):
        await client.answer(number, data=bytes(3 * 2**20), more=True)
    await client.until("never")


def test_a_status_tells_which_result_was_not_expected(tmp_path):
    async def scenario(server):
        client = await cell(server, await create(server), "call('echo', 1)")
        await client.until("tool_call")
        await client.answer(5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.until("never")
        assert reason(caught.value) == "TOOL_RESULT_UNEXPECTED"

    given(tmp_path, scenario)
