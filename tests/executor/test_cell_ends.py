"""
Cells over a real channel: one at a time, and however each ends, by itself, by a limit, by an
interrupt, with its worker or without its client.
"""

import asyncio
import os
import signal
from dataclasses import replace

import grpc
import pytest

from codecage.v1 import codecage_pb2 as pb
from executor.audit.record import Event
from policy.types import Mode
from tests.executor.fakes.harness import ended, policy, reason
from tests.executor.fakes.served import FOREVER, OK, refused, serving, until

# Takes the signals itself, so that no interrupt is ever raised.
STUBBORN = (
    "import signal\nboth = {signal.SIGRTMIN, signal.SIGRTMIN + 1}\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, both)\nprint('up')\n"
    "while True: signal.sigwait(both); print('no')"
)


def test_a_second_cell_is_refused_while_one_runs(tmp_path):
    async def scenario(server):
        session = await server.create()
        running_cell = server.execute(session, FOREVER)
        await until(running_cell, "output")
        second = server.execute(session, "1").read()
        assert await refused(second) == (grpc.StatusCode.FAILED_PRECONDITION, "CELL_RUNNING")
        put = server.stub.ListFiles(pb.ListFilesRequest(session_id=session, path="/work"))
        assert await refused(put) == (grpc.StatusCode.FAILED_PRECONDITION, "CELL_RUNNING")
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        assert ended(await until(running_cell, "ended")).status == pb.CELL_STATUS_INTERRUPTED
        assert ended(await server.run(session, "1")).status == OK

    serving(tmp_path, scenario)


def test_of_many_cells_at_once_one_wins(tmp_path):
    async def scenario(server):
        session = await server.create()
        calls = [server.execute(session, FOREVER) for _ in range(20)]
        reads = await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)
        errors = [reason(one) for one in reads if isinstance(one, grpc.aio.AioRpcError)]
        assert errors == ["CELL_RUNNING"] * 19
        assert len([one for one in reads if isinstance(one, pb.Event)]) == 1

    serving(tmp_path, scenario)


def test_an_interrupt_without_a_cell_says_so_and_hits_no_later_cell(tmp_path):
    async def scenario(server):
        session = await server.create()
        answer = await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        assert not answer.interrupted
        assert ended(await server.run(session, "1")).status == OK

    serving(tmp_path, scenario)


def test_a_cell_is_timed_out_and_keeps_its_session(tmp_path):
    async def scenario(server):
        session = await server.create()
        end = ended(await server.run(session, FOREVER, wall_time={"nanos": 100_000_000}))
        assert (end.status, end.session_lost) == (pb.CELL_STATUS_TIMED_OUT, False)
        assert ended(await server.run(session, "1")).status == OK

    serving(tmp_path, scenario)


def test_a_request_cannot_lengthen_the_policys_wall_time(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        end = ended(await server.run(session, FOREVER, wall_time={"seconds": 10**12}))
        assert end.status == pb.CELL_STATUS_TIMED_OUT

    serving(tmp_path, scenario, [policy("limits: {wall_time: 200ms}\n")])


def test_a_cell_is_stopped_when_its_cpu_time_is_used(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        end = ended(await server.run(session, "while True: pass"))
        assert end.status == pb.CELL_STATUS_CPU_LIMIT
        assert end.usage.cpu_time.ToMilliseconds() >= 200
        assert ended(await server.run(session, "1")).status == OK

    serving(tmp_path, scenario, [policy("limits: {cpu_time: 200ms, wall_time: 20s}\n")])


def test_a_cell_that_ignores_its_limit_is_killed_and_says_why(tmp_path):
    async def scenario(server):
        session = await server.create()
        end = ended(await server.run(session, STUBBORN, wall_time={"nanos": 100_000_000}))
        assert (end.status, end.session_lost) == (pb.CELL_STATUS_WORKER_LOST, True)
        assert "its wall time was over" in end.reason
        found = await server.stub.GetSession(pb.GetSessionRequest(session_id=session))
        assert (found.state, found.lost_reason) == (pb.SESSION_STATE_LOST, end.reason)

    serving(tmp_path, scenario)


@pytest.mark.parametrize("mode", Mode)
def test_a_cell_tells_of_its_policys_mode_however_it_ends(tmp_path, mode):
    async def scenario(server):
        session = await server.create("test")
        for code, lost in (("1", False), ("1/0", False), ("import os; os._exit(1)", True)):
            end = ended(await server.run(session, code))
            assert (end.audit_mode, end.session_lost) == (mode is Mode.AUDIT, lost)

    serving(tmp_path, scenario, [replace(policy(""), mode=mode)])


def test_a_stopped_worker_is_killed_after_its_limit(tmp_path):
    async def scenario(server):
        session = await server.create()
        code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
        end = ended(await server.run(session, code, wall_time={"nanos": 100_000_000}))
        assert end.status == pb.CELL_STATUS_WORKER_LOST

    serving(tmp_path, scenario)


def test_an_interrupt_by_the_client_kills_nobody(tmp_path):
    async def scenario(server):
        session = await server.create()
        cell = server.execute(session, STUBBORN)
        await until(cell, "output")
        for _ in range(3):
            await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
            await until(cell, "output")
        found = await server.stub.GetSession(pb.GetSessionRequest(session_id=session))
        assert found.state == pb.SESSION_STATE_RUNNING

    serving(tmp_path, scenario)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_killed_worker_ends_its_cell_and_leaves_its_neighbours_alone(tmp_path, number):
    async def scenario(server):
        session, neighbour = await server.create(), await server.create()
        await server.run(neighbour, "x = 7")
        cell = server.execute(session, FOREVER)
        await until(cell, "output")
        os.kill(server.worker_pid(session), number)
        end = ended(await until(cell, "ended"))
        assert (end.status, end.session_lost) == (pb.CELL_STATUS_WORKER_LOST, True)
        assert number.name in end.reason
        after = server.execute(session, "1").read()
        assert await refused(after) == (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_LOST")
        assert (await server.run(neighbour, "x"))[1].value.text == "7"
        events = [record.event for record in server.records(session)]
        assert events.count(Event.WORKER_LOST) == 1
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))

    serving(tmp_path, scenario)


def test_a_worker_killed_between_cells_loses_its_session(tmp_path):
    async def scenario(server):
        session = await server.create()
        lost = server.sessions.get(session)
        os.kill(server.worker_pid(session), signal.SIGKILL)
        await lost._reading
        call = server.execute(session, "1").read()
        assert await refused(call) == (grpc.StatusCode.FAILED_PRECONDITION, "SESSION_LOST")

    serving(tmp_path, scenario)


def test_a_guest_that_exits_its_process_loses_its_session(tmp_path):
    async def scenario(server):
        session = await server.create()
        end = ended(await server.run(session, "import os; os._exit(7)"))
        assert (end.status, end.session_lost) == (pb.CELL_STATUS_WORKER_LOST, True)
        assert "status 7" in end.reason

    serving(tmp_path, scenario)


def test_a_client_that_goes_cancels_its_cell(tmp_path):
    async def scenario(server):
        session = await server.create()
        cell = server.execute(session, FOREVER)
        await until(cell, "output")
        cell.cancel()
        await server.sessions.get(session).wait_for_cell()
        assert server.records(session)[-1].outcome == "interrupted"
        assert ended(await server.run(session, "1")).status == OK

    serving(tmp_path, scenario)


def test_a_client_that_goes_from_a_stubborn_cell_loses_the_session(tmp_path):
    async def scenario(server):
        session = await server.create()
        cell = server.execute(session, STUBBORN)
        await until(cell, "output")
        cell.cancel()
        await server.sessions.get(session)._reading
        assert "its client had gone" in server.sessions.get(session).lost_reason

    serving(tmp_path, scenario)


def test_a_deadline_of_the_call_interrupts_the_cell(tmp_path):
    async def scenario(server):
        session = await server.create()
        cell = server.execute(session, FOREVER, timeout=0.3)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await until(cell, "ended")
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await server.sessions.get(session).wait_for_cell()
        assert ended(await server.run(session, "1")).status == OK

    serving(tmp_path, scenario)


def test_a_kept_cell_goes_on_and_attach_comes_back_to_it(tmp_path):
    async def scenario(server):
        session = await server.create()
        cell = server.execute(session, FOREVER, keep={"duration": {"seconds": 60}})
        await until(cell, "output")
        cell.cancel()
        again = server.stub.Attach(pb.AttachRequest(session_id=session, cell=1, after_sequence=1))
        (first,) = await until(again, "output")
        assert (first.sequence, first.output.data) == (2, b"up\n")
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        assert ended(await until(again, "ended")).status == pb.CELL_STATUS_INTERRUPTED

    serving(tmp_path, scenario)


def test_a_kept_cell_that_nobody_comes_back_to_is_stopped(tmp_path):
    async def scenario(server):
        session = await server.create()
        cell = server.execute(session, FOREVER, keep={"duration": {"nanos": 200_000_000}})
        await until(cell, "output")
        cell.cancel()
        await server.sessions.get(session).wait_for_cell()
        assert server.records(session)[-1].outcome == "interrupted"

    serving(tmp_path, scenario)


def test_a_cell_that_is_over_can_be_read_until_the_next(tmp_path):
    async def scenario(server):
        session = await server.create()
        first = await server.run(session, "print('one')")
        again = server.stub.Attach(pb.AttachRequest(session_id=session, cell=1))
        assert [event async for event in again] == first
        await server.run(session, "print('two')")
        gone = server.stub.Attach(pb.AttachRequest(session_id=session, cell=1)).read()
        assert await refused(gone) == (grpc.StatusCode.NOT_FOUND, "CELL_NOT_FOUND")

    serving(tmp_path, scenario)
