"""
Native Python in the process cage, over gRPC: a real server, real boxes, the kernel of this machine.

What these do not prove: that a box cannot be left. The attacks on it are in tests/executor/process.
"""

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from codecage.v1 import codecage_pb2 as pb
from executor.audit.read import records
from executor.audit.record import Answer, Event
from executor.children.probing import NotHeld, probe
from policy.cages import ISOLATION_ITEMS
from tests.e2e.serving import ACCOUNT, Server, needs_image, private_directory, serving
from tests.executor.fakes.harness import ended, metadata, output, reason
from tests.executor.waiting import PATIENCE

HELD = probe()
pytestmark = [
    pytest.mark.image,
    needs_image,
    pytest.mark.skipif(isinstance(HELD, NotHeld), reason=f"no box can be made here: {HELD}"),
]

HEAD = "version: 1\ndescription: a test's policy\ncage: {cage}\nimage: [{images}]\n"


@dataclass(slots=True)
class World:
    server: Server
    shown: Path

    def native(self, policy: str = "plain", image: str = "") -> pb.Session:
        request = pb.CreateSessionRequest(policy=policy, image=image)
        return self.server.stub.CreateSession(request, timeout=60)

    def run(self, session: pb.Session, code: str, **options: Any) -> list[pb.Event]:
        return self.server.run(session.id, code, **options)

    def close(self, session: pb.Session) -> None:
        self.server.stub.CloseSession(pb.CloseSessionRequest(session_id=session.id))

    def boxes(self) -> list[psutil.Process]:
        return [one for one in self.server.descendants() if is_boxed(one)]


def is_boxed(process: psutil.Process) -> bool:
    """
    Whether it is in another pid namespace than this process, and has neither rights nor its
    zygote's user any more: one that is being made has both, under the zygote's own filter.
    """
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
        outside = os.readlink("/proc/self/ns/pid")
        locked = "Seccomp:\t2" in status and f"CapEff:\t{0:016x}" in status
        return locked and os.readlink(f"/proc/{process.pid}/ns/pid") != outside
    except OSError:
        return False


def write(folder: Path, name: str, text: str, *, cage: str = "process", images: str) -> None:
    head = HEAD.format(cage=cage, images=images)
    (folder / f"{name}.yaml").write_text(f"name: {name}\n{head}{text}")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with private_directory() as directory, private_directory() as policies:
        policies.chmod(0o755)
        shown = policies / "shown"
        (shown / "below").mkdir(parents=True)
        (shown / "a.txt").write_text("from the host\n")
        private = policies / "private"
        private.mkdir(0o700)
        (private / "b.txt").write_text("for the account alone\n")
        if ACCOUNT is not None:
            owner = pwd.getpwnam(ACCOUNT)
            for path in (private, private / "b.txt"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        core = "native-core"
        small = "limits: {memory: 64Mi, cpu_time: 1s, wall_time: 60s, scratch: 32Mi, files: 64}\n"
        write(policies, "plain", "", images=core)
        write(policies, "small", small, images=core)
        write(
            policies,
            "files",
            "filesystem:\n"
            f"  - {{mount: /data, source: {shown}, access: read}}\n"
            f"  - {{mount: /own, source: {private}, access: read}}\n",
            images=core,
        )
        write(
            policies,
            "starting",
            "process: {fork: true, programs: [/usr/bin/env]}\n",
            images=core,
        )
        write(policies, "seeded", "random: {seed: 7}\n", cage="any", images="core, native-core")
        either = "limits: {cpus: 0.5}\n"
        write(policies, "half", either, cage="any", images="core, native-core")
        write(policies, "strict", "isolation: {min: P2, require: [files]}\n", images=core)
        with serving(directory, ["--policies", str(policies)]) as server:
            yield World(server, shown)


def values(events: list[pb.Event]) -> list[str]:
    return [event.value.text for event in events if event.HasField("value")]


def test_a_session_in_native_python_lives_from_creation_to_close(world: World) -> None:
    session = world.native()
    assert session.cage == pb.CAGE_KIND_PROCESS
    assert session.isolation.startswith(f"{HELD.level} (")
    assert [part.name for part in session.isolation_parts] == list(ISOLATION_ITEMS)
    events = world.run(session, "import sys\nx = 6 * 7\nprint(sys.platform)\nx")
    assert output(events) == "linux\n"
    assert values(events) == ["42"]
    assert ended(events).status == pb.CELL_STATUS_OK
    assert ended(events).usage.peak_memory_bytes > 2**16
    assert values(world.run(session, "x")) == ["42"]
    world.close(session)


def test_a_session_of_the_other_cage_says_so_and_has_no_parts(world: World) -> None:
    session = world.native("calculator")
    assert session.cage == pb.CAGE_KIND_WASM
    assert not session.isolation_parts
    world.close(session)


def test_the_server_says_how_boxes_are_held(world: World) -> None:
    world.close(world.native())
    info = world.server.stub.GetServerInfo(pb.GetServerInfoRequest())
    images = {image.name: image for image in info.images}
    assert images["native-core"].isolation_level == HELD.level
    assert images["native-core"].cage == pb.CAGE_KIND_PROCESS
    assert (images["core"].cage, images["core"].isolation_level) == (pb.CAGE_KIND_WASM, "")


def test_a_guest_is_nobody_of_the_host(world: World) -> None:
    session = world.native()
    world.run(session, "1")
    users = {uid for box in world.boxes() for uid in box.uids()}
    assert users
    if os.geteuid() == 0:
        assert min(users) >= 2**30
    else:
        assert users == {os.geteuid()}
    world.close(session)


def test_an_interrupt_keeps_the_state(world: World) -> None:
    session = world.native()
    world.run(session, "x = 5")
    cell = world.server.start(session.id, "print('up', flush=True)\nwhile True: pass")
    next(event for event in cell if event.HasField("output"))
    request = pb.InterruptRequest(session_id=session.id)
    assert world.server.stub.Interrupt(request).interrupted
    assert ended([*cell]).status == pb.CELL_STATUS_INTERRUPTED
    assert values(world.run(session, "x")) == ["5"]
    world.close(session)


def test_cpu_time_is_limited_and_reported(world: World) -> None:
    session = world.native("small")
    last = ended(world.run(session, "while True: pass"))
    assert last.status == pb.CELL_STATUS_CPU_LIMIT
    assert last.usage.cpu_time.ToNanoseconds() >= 10**9
    assert values(world.run(session, "'alive'")) == ["'alive'"]
    world.close(session)


def test_a_cell_that_ignores_its_interrupts_is_killed(world: World) -> None:
    session = world.native("small")
    code = (
        "import signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "while True: pass"
    )
    last = ended(world.run(session, code))
    assert last.session_lost
    assert "its CPU time was used" in last.reason
    with pytest.raises(grpc.RpcError) as refused:
        world.run(session, "1")
    assert reason(refused.value) == "SESSION_LOST"
    world.close(session)


def test_an_allocation_beyond_the_limit_is_a_memory_error(world: World) -> None:
    session = world.native("small")
    last = ended(world.run(session, "bytearray(2**28)"))
    assert last.error.name == "MemoryError"
    assert ended(world.run(session, "bytearray(2**23)[:1]")).status == pb.CELL_STATUS_OK
    world.close(session)


@pytest.mark.skipif(getattr(HELD, "level", "") != "P4", reason="no control groups here")
def test_memory_in_files_counts_and_who_holds_too_much_is_told_why(world: World) -> None:
    session = world.native("small")
    code = (
        "kept = []\n"
        "for name in ('/work/a', '/tmp/a'):\n"
        "    with open(name, 'wb') as file: file.write(bytes(30 * 2**20))\n"
        "for _ in range(40): kept.append(b'x' * 2**20)"
    )
    last = ended(world.run(session, code))
    assert last.session_lost
    assert "limits.memory" in last.reason
    assert last.usage.peak_memory_bytes >= 2**25 or not last.usage.peak_memory_bytes
    world.close(session)


def test_scratch_is_bounded_in_bytes_and_files(world: World) -> None:
    session = world.native("small")
    code = "for name in 'ab': open(f'/work/{name}', 'wb').write(bytes(17 * 2**20))"
    assert "No space left" in ended(world.run(session, code)).error.message
    large = (
        "import os\nfor name in 'ab': os.remove(f'/work/{name}')\n"
        "with open('/work/a', 'w') as file: file.truncate(2**26)"
    )
    assert "File too large" in ended(world.run(session, large)).error.message
    many = "for n in range(80): open(f'/work/{n}', 'w').close()"
    assert "No space left" in ended(world.run(session, many)).error.message
    world.close(session)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os._exit(3)", "exit code 3"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        (
            "import ctypes, mmap\nctypes.CDLL(None).syscall(0x40000000 + 39)",
            "foreign to this machine's programs (SIGSYS)",
        ),
    ],
)
def test_a_box_that_ends_says_how(world: World, code: str, said: str) -> None:
    session = world.native()
    last = ended(world.run(session, code))
    assert last.status == pb.CELL_STATUS_WORKER_LOST
    assert said in last.reason
    world.close(session)


def test_a_readable_directory_is_shown_and_recorded_once(world: World) -> None:
    session = world.native("files")
    assert values(world.run(session, "open('/data/a.txt').read()")) == ["'from the host\\n'"]
    last = ended(world.run(session, "open('/data/a.txt', 'a')"))
    assert last.error.name == "OSError"
    assert "writing /data/a.txt is not granted: /data is granted for" in last.error.message
    asked = [
        r for r in records(world.server.audit, session=session.id) if r.event is Event.DECISION
    ]
    about = [(str(r.request), r.answer, str(r.rule)) for r in asked if "/data" in str(r.request)]
    assert about == [
        ("read /data", Answer.ALLOW, "filesystem[0]"),
        ("write /data/a.txt", Answer.DENY, "filesystem[0]"),
    ]
    world.close(session)


ON_THE_CHANNEL = r"""
import os, socket, stat, struct
def sockets():
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode): yield number
        except OSError: pass
path = b'/data/a.txt'
opened = b'\x0a' + bytes([len(path)]) + path
ask = b'\x22' + bytes([len(opened)]) + opened
frame = b'\x22' + bytes([len(ask)]) + ask
with socket.socket(fileno=os.dup(next(sockets()))) as channel:
    channel.sendall(struct.pack('<I', len(frame)) + frame)
    _, passed, _, _ = channel.recvmsg(65536, socket.CMSG_SPACE(64))
print('passed', bool(passed), flush=True)
"""


def test_a_guest_that_speaks_for_its_worker_is_given_no_file_of_the_host(world: World) -> None:
    """
    A descriptor of the host's is held by no mount of the box: chmod, locks, code of one's own.
    """
    session = world.native("files")
    events = world.run(session, ON_THE_CHANNEL)
    assert "passed True" not in output(events)
    assert ended(events).session_lost
    world.close(session)


def test_what_may_be_started_is_recorded_before_it_can_be(world: World) -> None:
    session = world.native("starting")
    world.close(session)
    asked = [
        r for r in records(world.server.audit, session=session.id) if r.event is Event.DECISION
    ]
    assert [(str(r.request), r.answer, str(r.rule)) for r in asked] == [
        ("run /usr/bin/env", Answer.ALLOW, "process.programs[0]"),
        ("run fork", Answer.ALLOW, "process.fork"),
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts something")
def test_what_is_mounted_below_a_granted_directory_is_no_part_of_it(world: World) -> None:
    below = world.shown / "below"
    subprocess.run(["mount", "-t", "tmpfs", "none", str(below)], check=True, timeout=20)
    try:
        (below / "other.txt").write_text("of another file system\n")
        session = world.native("files")
        code = "open('/data/a.txt').read()"
        assert values(world.run(session, code)) == ["'from the host\\n'"]
        last = ended(world.run(session, "open('/data/below/other.txt')"))
        assert last.error.name == "FileNotFoundError"
        world.close(session)
    finally:
        subprocess.run(["umount", str(below)], check=True, timeout=20)


@pytest.mark.skipif(os.geteuid() != 0, reason="a box of one's own user reads what one reads")
def test_what_only_the_account_may_read_is_served_instead(world: World) -> None:
    session = world.native("files")
    code = "open('/own/b.txt').read()"
    assert values(world.run(session, code)) == ["'for the account alone\\n'"]
    asked = [
        r for r in records(world.server.audit, session=session.id) if r.event is Event.DECISION
    ]
    assert ("read /own/b.txt", Answer.ALLOW) in [(str(r.request), r.answer) for r in asked]
    world.close(session)


def test_the_record_of_the_creation_says_how_the_session_is_held(world: World) -> None:
    session = world.native()
    world.close(session)
    (created,) = [
        r
        for r in records(world.server.audit, session=session.id)
        if r.event is Event.SESSION_CREATE
    ]
    told = {name: str(value) for name, value in created.detail}
    assert (told["cage"], told["image"]) == ("process", "native-core")
    assert told["isolation"] == session.isolation
    assert "files=enforced" in told["isolation_parts"].split()


def test_a_policy_that_the_cage_cannot_keep_has_no_session_there(world: World) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        world.native("seeded", "native-core")
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason(refused.value) == "CAGE_CANNOT_KEEP"
    assert "random" in refused.value.details()
    world.close(world.native("seeded", "core"))


def test_less_than_a_processor_has_no_session_in_the_other_cage(world: World) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        world.native("half", "core")
    assert reason(refused.value) == "CAGE_CANNOT_KEEP"
    assert "limits.cpus" in refused.value.details()
    session = world.native("half", "native-core")
    (share,) = (part for part in session.isolation_parts if part.name == "cpus")
    assert "0.5 processors" in share.how or share.hold is not pb.HOLD_ENFORCED
    world.close(session)


def test_a_part_that_has_to_hold_does_in_the_box_that_is_given(world: World) -> None:
    """
    Where it does not, there is no session: test_process_ordinary_user.py.
    """
    session = world.native("strict")
    held = {part.name for part in session.isolation_parts if part.hold == pb.HOLD_ENFORCED}
    world.close(session)
    assert "files" in held


def test_client_files_go_in_and_out_and_no_farther_than_the_guest(world: World) -> None:
    session, stub = world.native("small"), world.server.stub
    start = pb.PutFileRequest(start=pb.PutFileStart(session_id=session.id, path="/work/d/x"))
    chunks = [pb.PutFileRequest(data=b"abc" * 2**16) for _ in range(4)]
    assert stub.PutFile(iter([start, *chunks])).size == 4 * 3 * 2**16
    got = stub.GetFile(pb.GetFileRequest(session_id=session.id, path="/work/d/x"))
    assert b"".join(part.data for part in got) == b"abc" * 2**18
    listing = stub.ListFiles(pb.ListFilesRequest(session_id=session.id, path="/work/d"))
    assert [file.path for file in listing.files] == ["/work/d/x"]
    assert values(world.run(session, "import os; os.path.getsize('/work/d/x')")) == ["786432"]
    stub.RemoveFile(pb.RemoveFileRequest(session_id=session.id, path="/work/d/x"))
    for path, code in (
        ("/etc/shadow", grpc.StatusCode.NOT_FOUND),
        ("/dev/zero", grpc.StatusCode.PERMISSION_DENIED),
        ("/work/d/x", grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.GetFile(pb.GetFileRequest(session_id=session.id, path=path)))
        assert refused.value.code() is code
    too_much = [pb.PutFileRequest(data=bytes(2**20)) for _ in range(40)]
    with pytest.raises(grpc.RpcError) as refused:
        stub.PutFile(iter([start, *too_much]))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    world.close(session)


def held(world: World) -> tuple[int, int, int]:
    """
    The descriptors of the server, its boxes, and the control groups of its zygotes.
    """
    mine = {one.pid for one in world.server.descendants()}
    groups = {
        name
        for _, names, _ in os.walk("/sys/fs/cgroup")  # which may change meanwhile
        for name in names
        if name.startswith("codecage-") and int(name.split("-")[1]) in mine
    }
    return psutil.Process(world.server.process.pid).num_fds(), len(world.boxes()), len(groups)


def comes_to(world: World, holds: Callable[[tuple[int, int, int]], bool]) -> bool:
    """
    Whether that is so of what is held, at once or when the server has answered more calls.
    """
    end = time.monotonic() + PATIENCE
    while not holds(held(world)):
        if time.monotonic() > end:
            return False
        world.server.stub.GetServerInfo(pb.GetServerInfoRequest())
    return True


def settled(world: World) -> tuple[int, int, int]:
    """
    What is held when the boxes for the next sessions have been made, as far as can be seen.
    """
    before = held(world)
    while not all(held(world) == before for _ in range(20)):
        before = held(world)
    return before


def test_sessions_leave_no_process_descriptor_or_group_behind(world: World) -> None:
    def use(policy: str) -> None:
        session = world.native(policy)
        world.run(session, "1")
        world.close(session)

    for policy in ("plain", "files", "plain", "files"):
        use(policy)
    # What is left behind is so each time; a box that was still being made while it was counted,
    # by a process that tells nobody, is not.
    for _ in range(3):
        before = settled(world)
        for policy in ("plain", "files") * 4:
            use(policy)
        if same := comes_to(world, before.__eq__):
            break
    assert same, (before, held(world))
    open_one = world.native()
    # One for the session, and another that waits for the next one.
    assert comes_to(world, lambda now: now[1] == before[1] + 1 and now[0] > before[0])
    world.close(open_one)
    assert comes_to(world, before.__eq__), (before, held(world))


def test_a_killed_server_takes_its_boxes_with_it() -> None:
    with private_directory() as directory, private_directory() as policies:
        policies.chmod(0o755)
        write(policies, "plain", "", images="native-core")
        with serving(directory, ["--policies", str(policies)]) as server:
            own = World(server, policies)
            own.run(own.native(), "1")
            assert own.boxes()
            below = server.descendants()
            server.process.send_signal(signal.SIGKILL)
            _, alive = psutil.wait_procs(below, timeout=PATIENCE)
            assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_policy_without_the_process_cage_has_no_native_image(world: World) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        world.native("calculator", "native-core")
    assert refused.value.code() in {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
    assert metadata(refused.value)["policy"] == "calculator"
