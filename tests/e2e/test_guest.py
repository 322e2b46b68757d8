"""
Real guest code under real policies: what it is given, what it is refused, how it is stopped.
"""

import os
import pwd
import signal

import grpc
import pytest

from codecage.v1 import codecage_pb2 as pb
from executor.audit.read import records
from executor.audit.record import Answer, Event
from tests.e2e.serving import ACCOUNT, needs_image, private_directory, serving
from tests.executor.fakes.harness import ended, output

pytestmark = [pytest.mark.image, needs_image]

POLICY = """\
version: 1
name: desk
description: Reads one directory, writes another.
filesystem:
  - {{mount: /data, source: {data}, access: read, deny: ["**/*.key"]}}
  - {{mount: /out, source: {out}, access: read-write, quota: 64Ki, max_files: 10}}
limits: {{wall_time: 20s, cpu_time: 10s, output: 64Ki, memory: 256Mi}}
"""


@pytest.fixture(scope="module")
def desk():
    with private_directory() as top:
        top.chmod(0o755)
        data, out, policies = top / "data", top / "out", top / "policies"
        for directory in (data, out, policies):
            directory.mkdir()
        if ACCOUNT:
            os.chown(out, pwd.getpwnam(ACCOUNT).pw_uid, -1)
        (data / "a.csv").write_text("1,2\n3,4\n")
        (data / "x.key").write_text("canary")
        (data / "alias").symlink_to("x.key")
        (data / "up").symlink_to("../policies/desk.yaml")
        (data / "root.txt").write_text("root's alone")
        (data / "root.txt").chmod(0o600)
        (policies / "desk.yaml").write_text(POLICY.format(data=data, out=out))
        with serving(top / "server", ["--policies", str(policies)]) as server:
            yield server, data, out


@pytest.fixture
def session(desk):
    server, _, _ = desk
    made = server.create("desk")
    yield made
    server.stub.CloseSession(pb.CloseSessionRequest(session_id=made))


def text(events) -> str:
    end = ended(events)
    assert end.status == pb.CELL_STATUS_OK, end
    return output(events)


def failure(events) -> str:
    end = ended(events)
    assert end.status == pb.CELL_STATUS_ERROR, end
    return end.error.name


def decisions(server, session) -> list[tuple[str, bool]]:
    return [
        (record.request, record.answer is Answer.ALLOW)
        for record in records(server.audit, session=session, limit=1000)
        if record.event is Event.DECISION
    ]


def test_a_granted_file_is_read_and_the_record_says_so(desk, session):
    server, _, _ = desk
    assert text(server.run(session, "print(open('/data/a.csv').read(), end='')")) == "1,2\n3,4\n"
    assert decisions(server, session) == [("read /data/a.csv", True)]


def test_a_denied_file_is_not_found_and_the_record_says_so(desk, session):
    server, _, _ = desk
    assert failure(server.run(session, "open('/data/x.key')")) == "FileNotFoundError"
    assert ("read /data/x.key", False) in decisions(server, session)


@pytest.mark.parametrize("path", ["/data/alias", "/data/up", "/data/../etc/passwd", "/etc/shadow"])
def test_no_other_name_leads_to_what_is_not_granted(desk, session, path):
    server, _, _ = desk
    assert failure(server.run(session, f"open({path!r})")) == "FileNotFoundError"


def test_what_the_account_may_not_read_is_refused_by_the_host(desk, session):
    server, _, _ = desk
    if ACCOUNT is None:
        pytest.skip("the file belongs to whoever runs this")
    assert failure(server.run(session, "open('/data/root.txt')")) == "PermissionError"


def test_a_listing_leaves_denied_names_out(desk, session):
    server, _, _ = desk
    code = "import os; print(sorted(os.listdir('/data')))"
    assert text(server.run(session, code)) == "['a.csv', 'alias', 'root.txt', 'up']\n"


def test_a_granted_directory_is_written(desk, session):
    server, _, out = desk
    code = (
        "with open('/out/r.txt', 'w') as f: f.write('x' * 1000)\n"
        "print(open('/out/r.txt').read()[:3])"
    )
    assert text(server.run(session, code)) == "xxx\n"
    assert (out / "r.txt").read_text() == "x" * 1000
    assert decisions(server, session)[0] == ("write /out/r.txt", True)
    assert failure(server.run(session, "open('/data/r.txt', 'w')")) == "OSError"
    assert not (desk[1] / "r.txt").exists()


def test_changes_of_every_kind_reach_a_granted_directory(desk, session):
    server, _, out = desk
    code = (
        "import os\n"
        "os.mkdir('/out/d'); open('/out/d/a', 'w').close(); os.rename('/out/d/a', '/out/d/b')\n"
        "os.utime('/out/d/b', (5, 5))\n"
        "print(os.listdir('/out/d'), int(os.stat('/out/d/b').st_mtime))\n"
        "os.remove('/out/d/b'); os.rmdir('/out/d')\n"
    )
    assert text(server.run(session, code)) == "['b'] 5\n"
    assert not (out / "d").exists()


def test_a_quota_stops_a_guest_that_writes_too_much(desk, session):
    server, _, out = desk
    code = "with open('/out/big', 'wb') as f:\n  f.write(bytes(100_000))"
    assert failure(server.run(session, code)) == "OSError"
    assert (out / "big").stat().st_size <= 64 * 2**10
    (out / "big").unlink()


def test_a_clients_file_goes_through_the_same_gate(desk, session):
    server, _, out = desk

    def put(path):
        yield pb.PutFileRequest(start=pb.PutFileStart(session_id=session, path=path))
        yield pb.PutFileRequest(data=b"abc")

    server.stub.PutFile(put("/out/c.txt"))
    assert (out / "c.txt").read_bytes() == b"abc"
    with pytest.raises(grpc.RpcError) as caught:
        server.stub.PutFile(put("/data/c.txt"))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.RpcError) as caught:
        [*server.stub.GetFile(pb.GetFileRequest(session_id=session, path="/data/x.key"))]
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert not (desk[1] / "c.txt").exists()


def test_a_clients_file_lies_in_the_sessions_memory(desk, session):
    server, _, _ = desk
    data = os.urandom(600_000)

    def put():
        start = pb.PutFileStart(session_id=session, path="/work/sub/a.bin")
        yield pb.PutFileRequest(start=start)
        yield pb.PutFileRequest(data=data)

    assert server.stub.PutFile(put()).size == len(data)
    code = "import hashlib; print(hashlib.sha256(open('/work/sub/a.bin','rb').read()).hexdigest())"
    import hashlib

    assert text(server.run(session, code)).strip() == hashlib.sha256(data).hexdigest()
    parts = server.stub.GetFile(pb.GetFileRequest(session_id=session, path="/work/sub/a.bin"))
    assert b"".join(part.data for part in parts) == data
    listed = server.stub.ListFiles(pb.ListFilesRequest(session_id=session, path="/work/sub"))
    assert [(one.path, one.size) for one in listed.files] == [("/work/sub/a.bin", len(data))]


@pytest.mark.parametrize(
    "code",
    ["while True: pass", "import time; time.sleep(100)", "x = [0]\nfor x[0] in iter(int, 1): pass"],
)
def test_a_cell_over_its_wall_time_is_stopped_and_variables_are_kept(desk, session, code):
    server, _, _ = desk
    server.run(session, "kept = 5")
    events = server.run(
        session, f"print('up', flush=True)\n{code}", wall_time={"nanos": 500_000_000}
    )
    assert (ended(events).status, output(events)) == (pb.CELL_STATUS_TIMED_OUT, "up\n")
    assert text(server.run(session, "print(kept)")) == "5\n"


def test_an_interrupt_is_a_keyboard_interrupt(desk, session):
    server, _, _ = desk
    code = (
        "print('up', flush=True)\ntry:\n  while True: pass\n"
        "except KeyboardInterrupt: print('caught')"
    )
    cell = server.start(session, code)
    next(event for event in cell if event.HasField("output"))
    assert server.stub.Interrupt(pb.InterruptRequest(session_id=session)).interrupted
    assert text([*cell]) == "caught\n"


SWALLOWING = "while True:\n  try:\n    while True: pass\n  except BaseException: pass"


# The second is one call of C, in which CPython looks at no signal.
@pytest.mark.parametrize("code", [SWALLOWING, "sum(range(10**12))"])
def test_a_guest_that_does_not_stop_at_its_limit_is_killed(desk, session, code):
    server, _, _ = desk
    end = ended(server.run(session, code, wall_time={"nanos": 300_000_000}))
    assert (end.status, end.session_lost) == (pb.CELL_STATUS_WORKER_LOST, True)


@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(3)",
        "import os; os.abort()",
        "import ctypes; ctypes.string_at(2**32 - 64, 32)",
    ],
)
def test_a_guest_that_ends_itself_loses_its_session_or_its_cell_alone(desk, session, code):
    server, _, _ = desk
    end = ended(server.run(session, code))
    assert end.status in {pb.CELL_STATUS_WORKER_LOST, pb.CELL_STATUS_ERROR}
    assert text(server.run(server.create("desk"), "print(1)")) == "1\n"


def test_too_much_output_is_cut_and_said(desk, session):
    server, _, _ = desk
    events = server.run(session, "for _ in range(100): print('x' * 10_000)")
    usage = ended(events).usage
    assert usage.output_truncated
    assert usage.stdout_bytes == 100 * 10_001
    assert len(output(events)) <= 1.2 * 64 * 2**10


def test_too_much_memory_is_a_memory_error(desk, session):
    server, _, _ = desk
    end = ended(server.run(session, "x = bytearray(10**9)"))
    assert (end.status, end.error.name) == (pb.CELL_STATUS_ERROR, "MemoryError")
    assert text(server.run(session, "print(1)")) == "1\n"


def test_sockets_and_programs_are_refused_with_the_policys_words(desk, session):
    server, _, _ = desk
    code = "import socket; socket.create_connection(('evil.example', 80))"
    ended(server.run(session, code))
    code = "import subprocess; subprocess.run(['sh'])"
    ended(server.run(session, code))
    assert all(not allowed for _, allowed in decisions(server, session))


def test_a_killed_worker_is_one_lost_session(desk, session):
    import psutil

    server, _, _ = desk
    neighbour = server.create("desk")
    assert text(server.run(neighbour, "x = 1; print(x)")) == "1\n"
    cell = server.start(session, "print('up', flush=True)\nwhile True: pass")
    next(event for event in cell if event.HasField("output"))
    (record,) = [
        r for r in records(server.audit, session=session) if r.event is Event.SESSION_CREATE
    ]
    psutil.Process(dict(record.detail)["worker"]).send_signal(signal.SIGKILL)
    end = ended([*cell])
    assert (end.status, "SIGKILL" in end.reason) == (pb.CELL_STATUS_WORKER_LOST, True)
    assert text(server.run(neighbour, "print(x)")) == "1\n"


def test_two_sessions_have_different_random_numbers_and_none_of_each_others_state(desk):
    server, _, _ = desk
    seen = set()
    for _ in range(3):
        session = server.create("desk")
        seen.add(
            text(server.run(session, "import random, uuid; print(random.random(), uuid.uuid4())"))
        )
        assert failure(server.run(session, "marker")) == "NameError"
        server.run(session, "marker = 1; open('/work/marker', 'w').close()")
    assert len(seen) == 3
