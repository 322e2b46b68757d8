"""
The service over a real channel, with workers that run a test's own code in place of a guest: its
sessions, requests, files and record. How cells end is test_cell_ends.py.
"""

import asyncio
import contextlib
import os

import grpc
import pytest

from codecage.v1 import codecage_pb2 as pb
from executor.audit.record import Event
from executor.audit.verify import verify
from executor.errors import SessionNotFound
from executor.linux.descriptors import own
from tests.executor.fakes.harness import ended, output, policy, reason
from tests.executor.fakes.served import FOREVER, OK, refused, serving, until

UNKNOWN = "0" * 32


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
        ({"narrow": ["files"]}, "NARROW_INVALID"),
        ({"narrow": ["tools.a b"]}, "NARROW_INVALID"),
        ({"narrow": ["network"] * 65}, "NARROW_INVALID"),
        ({"directory": "work"}, "DIRECTORY_INVALID"),
        ({"directory": "/work\0"}, "DIRECTORY_INVALID"),
        ({"directory": "/" + "x" * 4096}, "DIRECTORY_INVALID"),
    ],
)
def test_fields_out_of_range_are_refused(tmp_path, fields, wanted):
    async def scenario(server):
        start = {"session_id": await server.create(), "code": "1", **fields}
        call = server.stub.Execute(iter([pb.ExecuteRequest(start=start)]))
        assert await refused(call.read()) == (grpc.StatusCode.INVALID_ARGUMENT, wanted)

    serving(tmp_path, scenario)


def test_a_cell_may_do_without_64_rights(tmp_path):
    async def scenario(server):
        narrow = ["network", "tools", *(f"tools.t{number}" for number in range(62))]
        assert ended(await server.run(await server.create(), "1", narrow=narrow)).status == OK

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


def test_a_session_that_is_left_idle_is_closed(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        with contextlib.suppress(SessionNotFound):  # as it is where this comes late
            await asyncio.wait_for(server.sessions.get(session)._reading, 30)
        call = server.stub.GetSession(pb.GetSessionRequest(session_id=session))
        assert (await refused(call))[1] == "SESSION_NOT_FOUND"

    serving(tmp_path, scenario, [policy("limits: {idle_timeout: 1s}\n")])


def test_a_lost_session_that_nobody_closes_is_closed_after_its_idle_time(tmp_path):
    async def scenario(server):
        session = await server.create("test")
        lost, expired = server.sessions.get(session), asyncio.Event()
        lost._idle._over = expired.set
        assert ended(await server.run(session, "import os; os._exit(1)")).session_lost
        assert await asyncio.wait_for(expired.wait(), 30)

    serving(tmp_path, scenario, [policy("limits: {idle_timeout: 1s}\n")])


def test_a_running_cell_is_not_idle(tmp_path):
    async def scenario(server):
        session = await server.create()
        found = server.sessions.get(session)
        assert found._idle.passes
        cell = server.execute(session, FOREVER)
        await until(cell, "output")
        assert not found._idle.passes
        await server.stub.Interrupt(pb.InterruptRequest(session_id=session))
        await until(cell, "ended")
        await found.wait_for_cell()
        assert found._idle.passes

    serving(tmp_path, scenario)


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

        async def ends() -> None:
            zygote = server.zygotes._images[0].current
            await asyncio.gather(*(worker.ended for worker in zygote._workers.values()))
            await asyncio.sleep(0)  # the loop's turn, in which they are forgotten

        await one()
        await ends()
        before = len(own())
        tasks = len(asyncio.all_tasks())
        for _ in range(10):
            await asyncio.gather(*(one() for _ in range(10)))
        await ends()
        assert len(own()) == before
        assert len(asyncio.all_tasks()) <= tasks + 1
        assert verify(server.audit).whole

    serving(tmp_path, scenario)
