"""
Cells of a session that follow each other on one stream, with workers that run a test's own code.
"""

import asyncio

import grpc
import pytest

from codecage.v1 import codecage_pb2 as pb
from tests.executor.fakes.harness import ended, reason
from tests.executor.fakes.served import FOREVER, OK, serving, until

KINDS = ["started", "value", "ended"]


def start(session, code, **fields):
    return pb.ExecuteRequest(
        start=pb.StartCell(session_id=session, code=code, **{"another": True, **fields})
    )


async def ran(call, request):
    await call.write(request)
    return await events(call)


async def events(call):
    found = []
    while not found or found[-1].WhichOneof("event") != "ended":
        message = await call.read()
        assert message is not grpc.aio.EOF, found
        found += [message, *message.more]
    return found


async def over(call):
    """
    Whether the stream ends without an error, and without anything more.
    """
    return await call.read() is grpc.aio.EOF and await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("together", [False, True])
def test_cells_follow_each_other_until_the_client_closes_its_side(tmp_path, together):
    async def scenario(server):
        session = await server.create()
        call = server.stub.Execute()
        for number in (1, 2, 3):
            found = await ran(call, start(session, f"{number} * 10", together=together))
            assert [event.WhichOneof("event") for event in found] == KINDS
            assert [event.sequence for event in found] == [1, 2, 3]
            assert (found[0].started.cell, found[0].started.another) == (number, True)
            assert found[1].value.text == f"{number}0"
        await call.done_writing()
        assert await over(call)

    serving(tmp_path, scenario)


def test_what_code_does_wrong_leaves_the_stream_open(tmp_path):
    async def scenario(server):
        session = await server.create()
        call = server.stub.Execute()
        assert ended(await ran(call, start(session, "1/0"))).status == pb.CELL_STATUS_ERROR
        assert ended(await ran(call, start(session, "1"))).status == OK
        call.cancel()

    serving(tmp_path, scenario)


@pytest.mark.parametrize("fields", [{"another": False}, {"answers_tools": True}])
def test_a_stream_without_another_ends_with_its_cell(tmp_path, fields):
    """
    Also where the client's side stays open: clients of before wait for that end.
    """

    async def scenario(server):
        session = await server.create()
        call = server.stub.Execute()
        assert ended(await ran(call, start(session, "1", **fields))).status == OK
        assert await over(call)

    serving(tmp_path, scenario)


@pytest.mark.parametrize(
    ("following", "wanted"),
    [
        ({"start": {"session_id": "0" * 32, "code": "1"}}, "SESSION_INVALID"),
        ({"start": {"code": "1"}}, "SESSION_INVALID"),
        ({"start": {"code": "x" * (2**20 + 1)}}, "CODE_TOO_LONG"),
        ({"tool_result": {"call": 1}}, "START_MISSING"),
        ({}, "START_MISSING"),
    ],
)
def test_what_may_not_follow_is_refused_as_a_first_message_is(tmp_path, following, wanted):
    async def scenario(server):
        session = await server.create()
        call = server.stub.Execute()
        await ran(call, start(session, "1"))
        await call.write(pb.ExecuteRequest(**following))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason(caught.value) == wanted
        found = await server.run(session, "2")
        assert (found[0].started.cell, ended(found).status) == (2, OK)

    serving(tmp_path, scenario)


def test_a_start_beside_a_running_cell_is_refused_on_a_stream_that_waited(tmp_path):
    async def scenario(server):
        session = await server.create()
        call = server.stub.Execute()
        await ran(call, start(session, "1"))
        cell = server.execute(session, FOREVER)
        await until(cell, "output")
        await call.write(start(session, "2"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert reason(caught.value) == "CELL_RUNNING"
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        assert ended(await until(cell, "ended")).status == pb.CELL_STATUS_INTERRUPTED

    serving(tmp_path, scenario)


def test_a_stream_that_waits_ends_with_its_session(tmp_path):
    async def scenario(server):
        session = await server.create()
        call = server.stub.Execute()
        await ran(call, start(session, "1"))
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))
        assert await over(call)

    serving(tmp_path, scenario)


def test_a_stream_whose_cell_the_sessions_end_has_cut_off_ends_too(tmp_path):
    async def scenario(server):
        session = await server.create()
        call = server.stub.Execute()
        await call.write(start(session, FOREVER))
        assert (await call.read()).WhichOneof("event") == "started"
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))
        assert ended(await events(call)).status == pb.CELL_STATUS_WORKER_LOST
        assert await over(call)

    serving(tmp_path, scenario)


def test_draining_ends_a_stream_that_waits(tmp_path):
    async def scenario(server):
        session = await server.create()
        call = server.stub.Execute()
        await ran(call, start(session, "1"))
        await server.sessions.drain(20.0, asyncio.get_running_loop().create_future())
        assert await over(call)

    serving(tmp_path, scenario)


def test_of_two_streams_of_a_session_one_waits(tmp_path):
    async def scenario(server):
        session = await server.create()
        calls = [server.stub.Execute(), server.stub.Execute()]
        for call in calls:
            await ran(call, start(session, "1"))
        reading = {asyncio.ensure_future(call.read()): call for call in calls}
        (first,), (second,) = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        assert first.result() is grpc.aio.EOF
        assert await reading[first].code() is grpc.StatusCode.OK
        await reading[second].write(start(session, "2"))
        assert (await second).started.cell == 3
        assert ended(await events(reading[second])).status == OK
        reading[second].cancel()

    serving(tmp_path, scenario)


def test_leaving_interrupts_a_running_cell_and_nothing_between_two(tmp_path):
    async def scenario(server):
        session = await server.create()
        call = server.stub.Execute()
        await ran(call, start(session, "1"))
        call.cancel()
        assert ended(await server.run(session, "2")).status == OK
        call = server.stub.Execute()
        await ran(call, start(session, "3"))
        await call.write(start(session, FOREVER))
        assert (await call.read()).started.cell == 4
        assert (await call.read()).WhichOneof("event") == "output"
        call.cancel()
        await server.sessions.get(session).wait_for_cell()
        assert ended(await server.run(session, "5")).status == OK

    serving(tmp_path, scenario)
