"""
Calls of tools, from a worker that may say anything to a client that may say anything.

Each lie costs its own session: a neighbour goes on after it.
"""

import asyncio

import grpc
import pytest

from codecage import values
from codecage.v1 import codecage_pb2 as pb
from tests.executor.fakes.harness import ended, reason
from tests.executor.fakes.served import OK
from tests.executor.fakes.tool_client import cell, create, given

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
        client = await cell(server, session, "call('echo', 1)\npause()")
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


def test_unfinished_results_of_many_calls_are_bounded_together(tmp_path):
    async def scenario(server):
        session = await create(server)
        code = "[call('echo', n, begin=True) for n in range(8)]\npause()"
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
