"""
The service over a real channel, with workers that run a test's own code in place of a guest.
"""

import asyncio
import os
import signal

import grpc
import pytest

from codecage.v1 import codecage_pb2 as pb
from executor.audit.record import Event
from executor.audit.verify import verify
from executor.linux.descriptors import own
from tests.executor.fakes.harness import ended, output, policy, reason, running

OK = pb.CELL_STATUS_OK
UNKNOWN = "0" * 32
# The worker sleeps in the kernel until a signal comes.
FOREVER = "import signal\nprint('up')\nwhile True: signal.pause()"
# Takes the signals itself, so that no interrupt is ever raised.
STUBBORN = (
    "import signal\nboth = {signal.SIGRTMIN, signal.SIGRTMIN + 1}\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, both)\nprint('up')\n"
    "while True: signal.sigwait(both); print('no')"
)


def serving(tmp_path, scenario, *args, **options):
    async def main():
        async with running(tmp_path / "server", *args, **options) as server:
            await scenario(server)

    asyncio.run(main())


async def refused(awaitable) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value.code(), reason(caught.value)


async def until(events, wanted: str) -> list[pb.Event]:
    seen = []
    async for event in events:
        seen.append(event)
        if event.WhichOneof("event") == wanted:
            return seen
    raise AssertionError(f"the stream ended without {wanted}: {seen}")


def test_a_session_is_created_runs_cells_and_is_closed(tmp_path):
    async def scenario(server):
        created = await server.stub.CreateSession(pb.CreateSessionRequest(labels={"who": "me"}))
        assert (created.policy, created.state) == ("calculator", pb.SESSION_STATE_IDLE)
        assert created.policy_info.mounts[0].path == "/work"
        first = await server.run(created.id, "x = 20; print(x)")
        assert [event.WhichOneof("event") for event in first] == ["started", "output", "ended"]
        assert [event.sequence for event in first] == [1, 2, 3]
        second = await server.run(created.id, "x + 22")
        assert second[1].value == pb.Value(text="42", full_length=2)
        assert (ended(second).status, second[0].started.cell) == (OK, 2)
        found = await server.stub.GetSession(pb.GetSessionRequest(session_id=created.id))
        assert (found.cells, dict(found.labels)) == (2, {"who": "me"})
        closed = await server.stub.CloseSession(pb.CloseSessionRequest(session_id=created.id))
        assert closed.audit_head.sequence == server.records(created.id)[-1].sequence
        gone = server.stub.GetSession(pb.GetSessionRequest(session_id=created.id))
        assert await refused(gone) == (grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")

    serving(tmp_path, scenario)


def test_the_last_event_carries_the_head_of_its_own_record(tmp_path):
    async def scenario(server):
        session = await server.create()
        end = ended(await server.run(session, "1"))
        record = server.records(session)[-1]
        assert record.event is Event.CELL_END
        assert (end.audit_head.sequence, end.audit_head.hash) == (record.sequence, record.root)

    serving(tmp_path, scenario)


def test_what_code_does_wrong_is_an_event_and_no_status(tmp_path):
    async def scenario(server):
        session = await server.create()
        error = ended(await server.run(session, "1/0"))
        assert (error.status, error.error.name) == (pb.CELL_STATUS_ERROR, "ZeroDivisionError")
        left = ended(await server.run(session, "import sys; sys.exit(3)"))
        assert (left.status, left.exit_code) == (pb.CELL_STATUS_EXITED, 3)
        assert ended(await server.run(session, "5")).status == OK

    serving(tmp_path, scenario)


@pytest.mark.parametrize(
    "identity", ["", UNKNOWN, "../../etc", "x" * 10_000, "{0.__class__}", "%s"]
)
def test_every_unknown_identity_is_answered_alike(tmp_path, identity):
    async def scenario(server):
        stub, answers = server.stub, set()
        for call in (
            stub.GetSession(pb.GetSessionRequest(session_id=identity)),
            stub.CloseSession(pb.CloseSessionRequest(session_id=identity)),
            stub.Interrupt(pb.InterruptRequest(session_id=identity)),
            stub.ListFiles(pb.ListFilesRequest(session_id=identity, path="/work")),
            stub.RemoveFile(pb.RemoveFileRequest(session_id=identity, path="/work/a")),
            server.execute(identity, "1").read(),
            stub.Attach(pb.AttachRequest(session_id=identity, cell=1)).read(),
            stub.GetFile(pb.GetFileRequest(session_id=identity, path="/work/a")).read(),
            stub.ReadAudit(pb.ReadAuditRequest(session_id=identity)).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            answers.add((caught.value.code(), reason(caught.value), caught.value.details()))
        assert len(answers) == 1
        assert answers.pop()[:2] == (grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")

    serving(tmp_path, scenario)


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


@pytest.mark.parametrize("size", [2**20 + 1, 3 * 2**20])
def test_code_beyond_the_limit_is_refused_by_us(tmp_path, size):
    async def scenario(server):
        session = await server.create()
        code = server.execute(session, "#" * size).read()
        assert await refused(code) == (grpc.StatusCode.INVALID_ARGUMENT, "CODE_TOO_LONG")
        assert ended(await server.run(session, "#" * 2**20)).status == OK

    serving(tmp_path, scenario)


def test_code_of_100_mb_is_refused_by_the_transport(tmp_path):
    async def scenario(server):
        session = await server.create()
        code = server.execute(session, "#" * 100_000_000).read()
        assert (await refused(code))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ended(await server.run(session, "1")).status == OK

    serving(tmp_path, scenario)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"wall_time": {"seconds": 0}}, "WALL_TIME_INVALID"),
        ({"wall_time": {"seconds": -5}}, "WALL_TIME_INVALID"),
        ({"keep": {"duration": {"seconds": -1}}}, "KEEP_INVALID"),
        ({"code": "x" * (2**20 + 1)}, "CODE_TOO_LONG"),
    ],
)
def test_fields_out_of_range_are_refused(tmp_path, fields, wanted):
    async def scenario(server):
        start = {"session_id": await server.create(), "code": "1", **fields}
        call = server.stub.Execute(iter([pb.ExecuteRequest(start=start)]))
        assert await refused(call.read()) == (grpc.StatusCode.INVALID_ARGUMENT, wanted)

    serving(tmp_path, scenario)


def test_a_stream_without_start_is_refused(tmp_path):
    async def scenario(server):
        for messages in ([], [pb.ExecuteRequest()]):
            call = server.stub.Execute(iter(messages))
            wanted = (grpc.StatusCode.INVALID_ARGUMENT, "START_MISSING")
            assert await refused(call.read()) == wanted

    serving(tmp_path, scenario)


@pytest.mark.parametrize(
    "labels", [{str(n): "" for n in range(17)}, {"": "x"}, {"k" * 65: ""}, {"k": "v" * 257}]
)
def test_labels_beyond_their_size_are_refused(tmp_path, labels):
    async def scenario(server):
        call = server.stub.CreateSession(pb.CreateSessionRequest(labels=labels))
        assert (await refused(call))[0] is grpc.StatusCode.INVALID_ARGUMENT
        longest = {"k" * 64: "v" * 256}
        await server.stub.CreateSession(pb.CreateSessionRequest(labels=longest))

    serving(tmp_path, scenario)


def test_labels_are_kept_as_they_are(tmp_path):
    async def scenario(server):
        labels = {"a": "{0.__class__}", "b": "{{7*7}}", "c": "%s%n"}
        created = await server.stub.CreateSession(pb.CreateSessionRequest(labels=labels))
        assert dict(created.labels) == labels

    serving(tmp_path, scenario)


def test_an_unknown_policy_is_not_found(tmp_path):
    async def scenario(server):
        call = server.stub.CreateSession(pb.CreateSessionRequest(policy="/etc/passwd"))
        assert await refused(call) == (grpc.StatusCode.NOT_FOUND, "POLICY_NOT_FOUND")

    serving(tmp_path, scenario)


def test_policies_are_listed_without_host_paths(tmp_path):
    rules = policy(f"filesystem:\n  - {{mount: /data, source: {tmp_path}, access: read}}\n")

    async def scenario(server):
        found = await server.stub.ListPolicies(pb.ListPoliciesRequest())
        assert [one.name for one in found.policies] == ["calculator", "test"]
        assert found.policies[1].mounts[0] == pb.Mount(path="/data")
        assert str(tmp_path) not in str(found)

    serving(tmp_path, scenario, [rules])


def test_a_policy_bounds_its_sessions_and_closing_one_makes_room(tmp_path):
    rules = policy("limits: {sessions: 2}\n")

    async def scenario(server):
        first = await server.create("test")
        await server.create("test")
        third = server.stub.CreateSession(pb.CreateSessionRequest(policy="test"))
        assert await refused(third) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=first))
        await server.create("test")

    serving(tmp_path, scenario, [rules])


def test_the_server_bounds_all_sessions(tmp_path):
    async def scenario(server):
        await server.create()
        second = server.stub.CreateSession(pb.CreateSessionRequest())
        assert await refused(second) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")

    serving(tmp_path, scenario, most_sessions=1)


def test_a_granted_directory_that_is_missing_refuses_the_session_without_its_name(tmp_path):
    gone = tmp_path / "gone"
    rules = policy(
        f"filesystem:\n  - {{mount: /data, source: {gone}, access: read}}\n"
        "limits: {sessions: 1}\n"
    )

    async def scenario(server):
        for _ in range(2):  # a failed creation gives its place back
            call = server.stub.CreateSession(pb.CreateSessionRequest(policy="test"))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert reason(caught.value) == "SOURCE_UNAVAILABLE"
            assert str(gone) not in str(caught.value)
        gone.mkdir()
        await server.create("test")

    serving(tmp_path, scenario, [rules])


def test_a_policy_bounds_the_cells_of_a_session(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        await server.run(session, "1")
        second = server.execute(session, "1").read()
        assert await refused(second) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")

    serving(tmp_path, scenario, [policy("limits: {cells: 1}\n")])


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


def test_a_session_that_is_left_idle_is_closed(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        await asyncio.wait_for(server.sessions.get(session)._reading, 30)
        call = server.stub.GetSession(pb.GetSessionRequest(session_id=session))
        assert (await refused(call))[1] == "SESSION_NOT_FOUND"

    serving(tmp_path, scenario, [policy("limits: {idle_timeout: 1s}\n")])


def test_a_lost_session_that_nobody_closes_is_closed_after_its_idle_time(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        lost, expired = server.sessions.get(session), asyncio.Event()
        lost._on_idle_timeout = expired.set
        assert ended(await server.run(session, "import os; os._exit(1)")).session_lost
        assert await asyncio.wait_for(expired.wait(), 30)

    serving(tmp_path, scenario, [policy("limits: {idle_timeout: 1s}\n")])


def test_a_running_cell_is_not_idle(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        code = "import time; time.sleep(1.5)"
        assert ended(await server.run(session, code)).status == OK

    serving(tmp_path, scenario, [policy("limits: {idle_timeout: 1s}\n")])


def test_output_beyond_the_limit_is_cut_even_when_the_worker_does_not(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        code = "for _ in range(30): frame(output=wire.Output(stream=1, data=bytes(1000)))"
        events = await server.run(session, code)
        assert sum(len(event.output.data) for event in events) == 10 * 1024
        usage = ended(events).usage
        assert (usage.stdout_bytes, usage.output_truncated) == (30_000, True)

    serving(tmp_path, scenario, [policy("limits: {output: 10Ki}\n")])


def test_files_go_in_and_out_and_are_recorded(tmp_path):
    async def scenario(server):
        session, stub = await server.create(), server.stub
        data = os.urandom(700_000)

        def messages():
            start = pb.PutFileStart(session_id=session, path="/work/a.bin")
            yield pb.PutFileRequest(start=start)
            for offset in range(0, len(data), 300_000):
                yield pb.PutFileRequest(data=data[offset : offset + 300_000])

        put = await stub.PutFile(messages())
        assert (put.path, put.size) == ("/work/a.bin", 700_000)
        get = stub.GetFile(pb.GetFileRequest(session_id=session, path="/work/a.bin"))
        assert b"".join([part.data async for part in get]) == data
        listing = await stub.ListFiles(pb.ListFilesRequest(session_id=session, path="/work"))
        assert [(one.path, one.size) for one in listing.files] == [("/work/a.bin", 700_000)]
        await stub.RemoveFile(pb.RemoveFileRequest(session_id=session, path="/work/a.bin"))
        again = stub.RemoveFile(pb.RemoveFileRequest(session_id=session, path="/work/a.bin"))
        assert await refused(again) == (grpc.StatusCode.NOT_FOUND, "FILE_REFUSED")
        rows = [(r.request, r.outcome, r.size) for r in server.records(session)[1:]]
        assert rows == [
            ("put /work/a.bin", "ok", 700_000),
            ("get /work/a.bin", "started", None),
            ("get /work/a.bin", "ok", 700_000),
            ("list /work", "ok", None),
            ("remove /work/a.bin", "ok", None),
            ("remove /work/a.bin", "ENOENT", None),
        ]
        assert server.records(session)[1].digest == server.records(session)[3].digest

    serving(tmp_path, scenario)


@pytest.mark.parametrize("path", ["", "a", "/a/../b", "/a//b", "/a\0", "/" + "x" * 5000])
def test_file_paths_have_to_be_absolute_and_normalised(tmp_path, path):
    async def scenario(server):
        session = await server.create()
        call = server.stub.RemoveFile(pb.RemoveFileRequest(session_id=session, path=path))
        assert await refused(call) == (grpc.StatusCode.INVALID_ARGUMENT, "PATH_INVALID")

    serving(tmp_path, scenario)


def test_the_record_of_a_session_can_be_read_also_after_its_end(tmp_path):
    async def scenario(server):
        session = await server.create()
        await server.run(session, "1")
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))
        call = server.stub.ReadAudit(pb.ReadAuditRequest(session_id=session))
        found = [record async for record in call]
        assert [one.event for one in found] == [
            *("session.create", "cell.start", "cell.end", "session.end")
        ]
        after = pb.ReadAuditRequest(session_id=session, after_sequence=found[1].sequence)
        rest = [record async for record in server.stub.ReadAudit(after)]
        assert rest == found[2:]

    serving(tmp_path, scenario)


def test_closing_a_session_ends_its_running_cell(tmp_path):
    async def scenario(server):
        session = await server.create()
        cell = server.execute(session, FOREVER)
        await until(cell, "output")
        await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))
        end = ended(await until(cell, "ended"))
        assert (end.status, end.reason) == (pb.CELL_STATUS_WORKER_LOST, "closed by the client")
        events = [record.event for record in server.records(session)]
        assert (events[-1], Event.WORKER_LOST in events) == (Event.SESSION_END, False)

    serving(tmp_path, scenario)


def test_closing_twice_at_once_closes_once(tmp_path):
    async def scenario(server):
        session = await server.create()
        request = pb.CloseSessionRequest(session_id=session)
        calls = [server.stub.CloseSession(request) for _ in range(10)]
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert len([one for one in done if isinstance(one, pb.CloseSessionResponse)]) == 1

    serving(tmp_path, scenario)


def test_draining_lets_cells_finish_and_takes_no_new_ones(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    async def scenario(server):
        session = await server.create()
        cell = server.execute(session, f"print('up')\nopen({str(fifo)!r}).read()\nprint('done')")
        await until(cell, "output")
        hurry = asyncio.get_running_loop().create_future()
        draining = asyncio.ensure_future(server.sessions.drain(20.0, hurry))
        await asyncio.sleep(0)  # the loop's turn, in which it begins
        create = server.stub.CreateSession(pb.CreateSessionRequest())
        assert await refused(create) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        fifo.write_text("")
        events = await until(cell, "ended")
        assert (ended(events).status, output(events)) == (OK, "done\n")
        await draining
        assert server.sessions.list() == []

    serving(tmp_path, scenario)


def test_draining_in_a_hurry_interrupts_what_runs(tmp_path):
    async def scenario(server):
        session = await server.create()
        cell = server.execute(session, FOREVER)
        await until(cell, "output")
        hurry = asyncio.get_running_loop().create_future()
        hurry.set_result(None)
        await server.sessions.drain(20.0, hurry)
        assert ended(await until(cell, "ended")).status == pb.CELL_STATUS_INTERRUPTED

    serving(tmp_path, scenario)


def test_nothing_happens_when_the_record_cannot_be_written(tmp_path):
    async def scenario(server):
        session = await server.create()
        server.store.close()
        wanted = (grpc.StatusCode.UNAVAILABLE, "AUDIT_UNAVAILABLE")
        assert await refused(server.execute(session, "print(1)").read()) == wanted
        assert await refused(server.stub.CreateSession(pb.CreateSessionRequest())) == wanted
        found = await server.stub.GetSession(pb.GetSessionRequest(session_id=session))
        assert (found.cells, found.state) == (0, pb.SESSION_STATE_IDLE)

    serving(tmp_path, scenario)


def test_a_hundred_sessions_leave_no_process_descriptor_or_task(tmp_path):
    async def scenario(server):
        async def one() -> None:
            session = await server.create()
            await server.run(session, "1")
            await server.stub.CloseSession(pb.CloseSessionRequest(session_id=session))

        await one()
        before = len(own())
        tasks = len(asyncio.all_tasks())
        for _ in range(10):
            await asyncio.gather(*(one() for _ in range(10)))
        zygote = server.zygotes._images[0].current
        await asyncio.gather(*(worker.ended for worker in zygote._workers.values()))
        await asyncio.sleep(0)  # the loop's turn, in which they are forgotten
        assert len(own()) == before
        assert len(asyncio.all_tasks()) <= tasks + 1
        assert verify(server.audit).whole

    serving(tmp_path, scenario)
