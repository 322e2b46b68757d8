"""
The whole server as it is started by hand: processes, sockets, signals, and what is left behind.
"""

import os
import pwd
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2

from codecage.v1 import codecage_pb2 as pb
from executor.audit.read import records
from executor.audit.record import Event
from executor.audit.verify import verify
from tests.e2e.serving import (
    ACCOUNT,
    RUN_AS,
    needs_image,
    private_directory,
    refusal,
    serving,
)
from tests.executor.fakes.harness import ended, output

pytestmark = [pytest.mark.image, needs_image]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def directory():
    with private_directory() as made:
        yield made


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def leaves(health: Any) -> bool:
    """
    Whether a server says that it serves no more, or is there no more; one that is only slow to
    answer does neither.
    """
    try:
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=20)
    except grpc.RpcError as error:
        return error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
    return answer.status != health_pb2.HealthCheckResponse.SERVING


def test_a_session_lives_from_creation_to_close(directory):
    with serving(directory) as server:
        created = server.stub.CreateSession(pb.CreateSessionRequest())
        assert created.isolation.startswith("W2")
        events = server.run(created.id, "x = 6 * 7\nprint('hello')\nx")
        assert output(events) == "hello\n"
        assert [e.value.text for e in events if e.HasField("value")] == ["42"]
        assert ended(events).status == pb.CELL_STATUS_OK
        assert ended(events).usage.peak_memory_bytes > 2**20
        head = server.stub.CloseSession(pb.CloseSessionRequest(session_id=created.id)).audit_head
        assert server.stop() == 0
        assert verify(server.audit).whole
        assert head.sequence < verify(server.audit).records
        assert not (directory / "sock").exists()


@as_root
def test_every_process_but_the_launcher_works_as_the_account(directory):
    with serving(directory) as server:
        session = server.create()
        server.run(session, "1")
        uid = pwd.getpwnam(ACCOUNT).pw_uid
        own = psutil.Process(server.process.pid)
        assert {*own.uids()} == {uid}
        launcher = own.children()[0]
        workers = [p for zygote in launcher.children() for p in zygote.children()]
        assert workers
        assert {uid for worker in workers for uid in worker.uids()} == {uid}
        assert server.stub.GetServerInfo(pb.GetServerInfoRequest()).user == ACCOUNT
        (directory / "secret").touch()  # the client is root and goes everywhere
        assert stat.S_IMODE((directory / "sock").stat().st_mode) & 0o077 == 0


def test_a_server_has_as_many_descriptors_as_it_may_and_its_processes_no_more_than_before(
    directory,
):
    def descriptors(pid):
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        (found,) = (line.split()[3:5] for line in lines if line.startswith("Max open files"))
        return [int(one) for one in found]

    with serving(directory, under=("prlimit", "--nofile=600:4000")) as server:
        assert descriptors(server.process.pid) == [4000, 4000]
        softs = [descriptors(one.pid)[0] for one in server.descendants()]
        assert max(softs) <= 600


def test_a_killed_server_leaves_nothing_running_and_a_record_that_verifies(directory):
    with serving(directory) as server:
        session = server.create()
        cell = server.start(session, "print('up', flush=True)\nwhile True: pass")
        next(event for event in cell if event.HasField("output"))
        below = server.descendants()
        assert len(below) >= 3
        server.process.kill()
        assert gone(below)
        assert verify(server.audit).whole
    with serving(directory) as server:
        closed = {(r.event, r.outcome) for r in records(server.audit, session=session)}
        assert (Event.CELL_END, "aborted_by_restart") in closed
        assert (Event.SESSION_END, "aborted_by_restart") in closed
        assert ended(server.run(server.create(), "1")).status == pb.CELL_STATUS_OK
        server.stop()
        assert verify(server.audit).whole
    assert all(path.name.startswith("audit.sqlite3") for path in directory.iterdir())


def test_a_server_told_to_stop_interrupts_what_runs_and_exits_in_order(directory):
    with serving(directory) as server:
        session = server.create()
        # Less than the grace: a server that waits for its end sees the cell time out.
        limit = Duration(seconds=8)
        cell = server.start(session, "print('up', flush=True)\nwhile True: pass", wall_time=limit)
        next(event for event in cell if event.HasField("output"))
        below = server.descendants()
        server.process.send_signal(signal.SIGTERM)
        while not leaves(server.health):
            pass  # two signals at once would be one
        server.process.send_signal(signal.SIGTERM)  # a second one: do not wait for the grace
        assert ended([*cell]).status == pb.CELL_STATUS_INTERRUPTED
        assert server.process.wait(20) == 0
        assert gone(below)
        events = [r.event for r in records(server.audit, limit=1000)]
        assert events[-2:] == [Event.SESSION_END, Event.SERVER_STOP]


def test_a_server_ends_with_its_lifeline_and_an_ephemeral_one_removes_its_directory(directory):
    held, lifeline = os.pipe()
    options = ["--lifeline", str(held), "--ephemeral"]
    with serving(directory, options, pass_fds=(held,)) as server:
        os.close(held)
        server.create()
        os.close(lifeline)
        assert server.process.wait(20) == 0
    assert not directory.exists()


def test_a_directory_with_other_files_is_not_removed(directory):
    held, lifeline = os.pipe()
    options = ["--lifeline", str(held), "--ephemeral"]
    with serving(directory, options, pass_fds=(held,)) as server:
        os.close(held)
        (directory / "precious").touch()
        os.close(lifeline)
        assert server.process.wait(20) == 0
    assert [p.name for p in directory.iterdir()] == ["precious"]


def test_a_second_server_on_the_same_socket_is_refused_and_the_first_goes_on(directory):
    with serving(directory) as server:
        said = refusal(directory, *RUN_AS)
        assert "listens on" in said
        assert ended(server.run(server.create(), "1")).status == pb.CELL_STATUS_OK


@as_root
def test_root_has_to_name_an_account(directory):
    assert "--run-as" in refusal(directory)
    assert [*directory.iterdir()] == []


def test_an_unknown_account_is_refused(directory):
    assert "no such account" in refusal(directory, "--run-as", "nobody-of-this-name")


@pytest.mark.parametrize("listen", ["127.0.0.1:50051", "tcp:1", "0.0.0.0:1", "unix-abstract:x"])
def test_only_unix_sockets_are_listened_on(directory, listen):
    assert "only unix:PATH" in refusal(directory, *RUN_AS, "--listen", listen)


def test_there_are_as_many_sessions_at_a_time_as_the_server_was_told(directory):
    with serving(directory, ["--sessions", "1"]) as server:
        first = server.stub.CreateSession(pb.CreateSessionRequest())
        with pytest.raises(grpc.RpcError) as caught:
            server.stub.CreateSession(pb.CreateSessionRequest())
        assert "sessions of the server: 1 are allowed" in caught.value.details()
        server.stub.CloseSession(pb.CloseSessionRequest(session_id=first.id))
        server.stub.CreateSession(pb.CreateSessionRequest())


@pytest.mark.parametrize("count", ["0", "4097"])
def test_a_number_of_sessions_has_bounds(directory, count):
    assert "1 to 4096 sessions" in refusal(directory, *RUN_AS, "--sessions", count)


def test_a_directory_that_others_may_enter_is_refused(directory):
    directory.chmod(0o755)
    assert "chmod 700" in refusal(directory, *RUN_AS)


@as_root
def test_a_directory_of_roots_that_holds_something_is_not_handed_over(directory):
    (directory / "precious").touch()
    assert "belongs to another account" in refusal(directory, *RUN_AS)
    assert directory.stat().st_uid == 0


def test_a_wrong_policy_stops_the_start(directory):
    policies = directory / "policies"
    policies.mkdir()
    (policies / "bad.yaml").write_text("version: 1\nname: bad\nallow_netwrok: yes\n")
    from tests.e2e.serving import start

    process = start(directory / "run", *RUN_AS, "--policies", str(policies))
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "bad.yaml:3" in said) == (1, True)
    assert not (directory / "run").exists()


def test_a_socket_path_that_is_a_file_is_left_alone(directory):
    if RUN_AS:
        os.chown(directory, pwd.getpwnam(ACCOUNT).pw_uid, -1)
    (directory / "sock").write_text("precious")
    assert "is no socket" in refusal(directory, *RUN_AS)
    assert (directory / "sock").read_text() == "precious"


def test_garbage_and_half_open_connections_do_not_disturb_others(directory):
    with serving(directory) as server:
        held = []
        for data in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0" * 1000,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(directory / "sock"))
            connection.send(data)
            held.append(connection)
        assert ended(server.run(server.create(), "1")).status == pb.CELL_STATUS_OK
        for connection in held:
            connection.close()


def test_metadata_beyond_its_size_is_refused(directory):
    with serving(directory) as server:
        with pytest.raises(grpc.RpcError) as caught:
            server.stub.GetServerInfo(
                pb.GetServerInfoRequest(), metadata=[("x-flood", "y" * 200_000)], timeout=20
            )
        assert caught.value.code() in {
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.UNAVAILABLE,
        }
        assert server.create()


def test_statuses_and_events_name_no_path_of_the_host(directory):
    with serving(directory) as server:
        session = server.create()
        seen = str(server.stub.GetServerInfo(pb.GetServerInfoRequest()))
        for code in ("open('/etc/shadow')", "import nothing", "1/0", "import os; os.listdir('/')"):
            seen += str(server.run(session, code))
        for part in (str(directory), str(Path(__file__).parents[2]), "site-packages/grpc"):
            assert part not in seen


def may_limit_others() -> bool:
    """
    CAP_SYS_RESOURCE, bit 24 of capabilities(7), which containers take even from root.
    """
    (held,) = [
        line.split()[1]
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapEff:")
    ]
    return bool(int(held, 16) >> 24 & 1)


@as_root
@pytest.mark.skipif(may_limit_others(), reason="here root may limit another user's process")
def test_a_root_server_that_cannot_limit_memory_serves_nobody(directory):
    with serving(directory, run_as=["--run-as", "root"]) as server:
        with pytest.raises(grpc.RpcError) as refused:
            server.create()
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@as_root
@pytest.mark.skipif(not may_limit_others(), reason="root lacks CAP_SYS_RESOURCE here")
def test_guests_are_never_roots_even_where_files_are_opened_as_root(directory):
    with private_directory() as top:
        data, policies = top / "data", top / "policies"
        data.mkdir(0o700)
        policies.mkdir()
        (data / "secret").write_text("of root's")
        grants = f"filesystem:\n  - {{mount: /data, source: {data}, access: read}}\n"
        (policies / "all.yaml").write_text(f"version: 1\nname: all\ndescription: x\n{grants}")
        options = ["--policies", str(policies)]
        with serving(directory, options, run_as=["--run-as", "root"]) as server:
            session = server.create("all")
            (record,) = [
                r for r in records(server.audit, session=session) if r.event is Event.SESSION_CREATE
            ]
            worker = psutil.Process(dict(record.detail)["worker"])
            assert 0 not in worker.uids()
            assert (
                output(server.run(session, "print(open('/data/secret').read())")) == "of root's\n"
            )
            (start,) = [r for r in records(server.audit) if r.event is Event.SERVER_START]
            assert dict(start.detail)["root"] == "yes"


def test_the_kernel_bounds_a_workers_memory_by_its_policy(directory):
    with serving(directory) as server:
        session = server.create()
        (record,) = [
            r for r in records(server.audit, session=session) if r.event is Event.SESSION_CREATE
        ]
        limits = Path(f"/proc/{dict(record.detail)['worker']}/limits").read_text()
        (line,) = [one for one in limits.splitlines() if one.startswith("Max data size")]
        policies = server.stub.ListPolicies(pb.ListPoliciesRequest()).policies
        (memory,) = [one.limits.memory_bytes for one in policies if one.name == "calculator"]
        assert memory < int(line.split()[3]) <= memory + 512 * 2**20
