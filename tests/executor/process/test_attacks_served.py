"""
What a guest in native Python does to its server, and what is done to both: over gRPC, with a real
server, real boxes and the kernel of this machine.

A name that ends in a number says which of the numbered attacks it is for
(`tests/security/test_process_rows.py`). Green does not prove that no other frame or moment would do
harm: the frames of `tests/executor/test_hostile_worker.py` are tried there, without a box.
"""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from codecage.v1 import codecage_pb2 as pb
from codecage.worker.v1 import worker_pb2 as wire
from executor.audit.read import records
from executor.audit.record import Answer, Event, Origin
from executor.kernel.frames import encode
from executor.probing import NotHeld, probe
from tests.e2e.serving import Server, needs_image, private_directory, serving
from tests.executor.fakes.harness import ended, output

HELD = probe()
pytestmark = [
    pytest.mark.image,
    needs_image,
    pytest.mark.skipif(isinstance(HELD, NotHeld), reason=f"no box can be made here: {HELD}"),
]
SECRET = "the-servers-own-secret-4711"
PATIENCE = 20
IS_ROOT = os.geteuid() == 0
HEAD = "version: 1\nname: {0}\ndescription: a test's\ncage: process\nimage: native-core\n"
POLICIES = {
    "plain": "",
    "small": "limits: {memory: 64Mi, cpu_time: 1s, wall_time: 60s, scratch: 32Mi, requests: 10}\n",
    "brief": "limits: {wall_time: 1s}\n",
    "forks": "process: {fork: true}\n",
    "granted": "filesystem:\n  - {mount: /data, source: {shown}, access: read}\n",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with private_directory() as directory, private_directory() as policies, _secret():
        policies.chmod(0o755)
        shown = policies / "shown"
        shown.mkdir()
        (shown / "a.txt").write_text("shown")
        for name, text in POLICIES.items():
            (policies / f"{name}.yaml").write_text(
                HEAD.format(name) + text.replace("{shown}", str(shown))
            )
        with serving(directory, ["--policies", str(policies)]) as made:
            yield made


@contextlib.contextmanager
def _secret() -> Iterator[None]:
    os.environ["API_TOKEN"] = SECRET
    try:
        yield
    finally:
        del os.environ["API_TOKEN"]


@contextlib.contextmanager
def session(server: Server, policy: str = "plain") -> Iterator[str]:
    made = server.create(policy)
    try:
        yield made
    finally:
        close(server, made)


def close(server: Server, made: str) -> None:
    server.stub.CloseSession(pb.CloseSessionRequest(session_id=made), timeout=PATIENCE)


def value(server: Server, made: str, code: str) -> str:
    events = server.run(made, code)
    found = [event.value.text for event in events if event.HasField("value")]
    assert len(found) == 1, ended(events)
    return found[0]


def boxes(server: Server) -> set[psutil.Process]:
    """
    The processes of the server that are in a pid namespace of their own.
    """
    return {one for one in server.descendants() if _is_boxed(one.pid)}


def _is_boxed(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    except OSError:
        return False


def box_of(server: Server, made: str) -> psutil.Process:
    """
    The process of a session, found by a name that its guest gives it.
    """
    name = f"x{made[-12:]}".encode()
    server.run(made, f"import ctypes; ctypes.CDLL(None).prctl(15, {name!r})")
    for one in boxes(server):
        if Path(f"/proc/{one.pid}/comm").read_text().strip() == name.decode():
            return one
    raise AssertionError("the session has no process")


def gone(processes: set[psutil.Process]) -> bool:
    """
    Whether all of them end.
    """
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    return not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def frame(**content: Any) -> bytes:
    return encode(wire.FromWorker(**content).SerializeToString())


# ---- frames that no worker sends -----------------------------------------------------------------

# The one socket that a guest without network finds among its descriptors.
CHANNEL = """
import os, stat
def is_socket(number):
    try: return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError: return False
(channel,) = filter(is_socket, range(256))
"""


def hostile(made: str, server: Server, code: str) -> pb.CellEnded:
    """
    How a cell ends that knows the channel.
    """
    return ended(server.run(made, CHANNEL + code))


NOTE = frame(note=wire.Note(what="approved by admin"))
FRAMES = {
    "four gigabytes": b"\xff\xff\xff\xff" + b"x" * 100,
    "a frame that is cut": (50).to_bytes(4, "little") + b"x",
    "no protobuf": b"\4\0\0\0\xff\xff\xff\xff",
    "no text": b"\5\0\0\0\x1a\3\x0a\1\xff",
    "nothing": b"\0\0\0\0",
    "readiness again": frame(ready=wire.Ready(isolation="P4")),
    "a reply to nobody": frame(file=wire.FileReply(data=b"x")),
    "an end that is not one": frame(done=wire.CellDone()),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_that_no_worker_sends_ends_its_session_alone_e184_p15(
    name: str, server: Server
) -> None:
    with session(server) as made, session(server) as neighbour:
        box = box_of(server, made)
        last = hostile(made, server, f"os.write(channel, {FRAMES[name]!r}); os.close(channel)")
        assert (last.status, last.session_lost) == (pb.CELL_STATUS_WORKER_LOST, True)
        assert gone({box})
        assert value(server, neighbour, "6 * 7") == "42"


def test_a_closed_channel_ends_the_session_e187(server: Server) -> None:
    with session(server) as made:
        box = box_of(server, made)
        last = hostile(made, server, "os.close(channel)\nwhile True: pass")
        assert last.status == pb.CELL_STATUS_WORKER_LOST
        assert gone({box})


def test_a_flood_of_frames_is_bounded_and_held_by_nobody_else_e184_p17(server: Server) -> None:
    with session(server, "small") as made, session(server) as neighbour:
        flood = f"{CHANNEL}for _ in range(100): os.write(channel, {NOTE!r} * 100)"
        cell = server.start(made, flood)
        assert value(server, neighbour, "6 * 7") == "42"
        assert ended([*cell]).status != pb.CELL_STATUS_UNSPECIFIED
        told = [*records(server.audit, session=made, limit=1000)]
        notes = [one for one in told if one.event is Event.WORKER_NOTE]
        assert 0 < len(notes) <= 11
        assert {one.origin for one in notes} == {Origin.WORKER}


def test_words_in_the_channel_make_no_decision_of_the_record_e188_p17(server: Server) -> None:
    with session(server) as made:
        forged = NOTE + frame(note=wire.Note(what="decision: allow read /etc/shadow"))
        last = hostile(made, server, f"os.write(channel, {forged!r})")
        assert last.status == pb.CELL_STATUS_OK
    told = [*records(server.audit, session=made, limit=1000)]
    assert [one for one in told if "approved" in str(one.detail)]
    assert {one.origin for one in told if "approved" in str(one.detail)} == {Origin.WORKER}
    assert not [one for one in told if one.answer is Answer.ALLOW and "shadow" in str(one.request)]


def test_an_ask_beside_the_guests_own_half_is_decided_like_any_other_p16(server: Server) -> None:
    asks = {
        "/etc/shadow": wire.Ask(open=wire.OpenAsk(path="/etc/shadow")),
        "/data/../../etc/shadow": wire.Ask(open=wire.OpenAsk(path="/data/../../etc/shadow")),
        "/data/a.txt": wire.Ask(open=wire.OpenAsk(path="/data/a.txt", write=True)),
    }
    for path, ask in asks.items():
        with session(server, "granted") as made:
            code = (
                f"import socket\n{CHANNEL}"
                f"os.write(channel, {frame(ask=ask)!r})\n"
                "end = socket.socket(fileno=os.dup(channel))\n"
                "data, rights, *_ = end.recvmsg(65536, 1024)\n"
                "(len(data) > 4, rights)"
            )
            assert value(server, made, code) == "(True, [])", path
        told = [*records(server.audit, session=made, limit=1000)]
        allowed = [str(one.request) for one in told if one.answer is Answer.ALLOW]
        denied = [str(one.request) for one in told if one.answer is Answer.DENY]
        assert (allowed, len(denied)) == (["read /data"], 1), path


def test_descriptors_that_a_guest_sends_are_nobodys_e151_e185(server: Server) -> None:
    code = (
        f"import array, socket\n{CHANNEL}"
        f"note, end = {NOTE!r}, socket.socket(fileno=os.dup(channel))\n"
        "rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0] * 253))]\n"
        "for _ in range(20):\n"
        "    try: end.sendmsg([note], rights)\n"
        "    except OSError as error: assert error.errno == 109\n"
        "end.detach()"
    )
    with session(server) as made:
        server.run(made, "1")
        before = psutil.Process(server.process.pid).num_fds()
        assert hostile(made, server, code).status == pb.CELL_STATUS_OK
        assert psutil.Process(server.process.pid).num_fds() <= before + 8


def test_a_flood_of_output_is_cut_and_counted_e186(server: Server) -> None:
    with session(server) as made:
        events = server.run(made, "import os\nfor _ in range(1024): os.write(1, b'x' * 65536)")
        last = ended(events)
        assert last.usage.stdout_bytes == 64 << 20
        assert len(output(events)) < 16 << 20
        assert value(server, made, "6 * 7") == "42"


# ---- time, memory, processors --------------------------------------------------------------------


def test_a_sleep_ends_with_the_wall_time_e189(server: Server) -> None:
    with session(server, "brief") as made:
        last = ended(server.run(made, "import time; time.sleep(10**9)"))
        assert last.status == pb.CELL_STATUS_TIMED_OUT


HOGS = {
    "a number": "x = 10**10**9",
    "an expression": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
    "a text": "'a' * 2**40",
    "threads": "import threading; threading.stack_size(2**18)\ndef spin():\n    while True: pass\nfrom threading import Thread\nfor _ in range(16): Thread(target=spin, daemon=True).start()\nwhile True: pass",
}


@pytest.mark.parametrize("name", HOGS)
def test_work_without_end_ends_and_the_server_goes_on_e191_p19(name: str, server: Server) -> None:
    with session(server, "small") as made, session(server) as neighbour:
        cell = server.start(made, HOGS[name])
        assert value(server, neighbour, "6 * 7") == "42"
        last = ended([*cell])
        assert last.error.name == "MemoryError" or last.status in {
            pb.CELL_STATUS_CPU_LIMIT,
            pb.CELL_STATUS_WORKER_LOST,
        }


# ---- ends ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not IS_ROOT, reason="only root may stop a process of another user")
def test_a_stopped_box_ends_with_its_session_e196(server: Server) -> None:
    for policy in ("plain", "forks"):
        made = server.create(policy)
        box = box_of(server, made)
        for one in {box, *box.children()}:
            one.send_signal(signal.SIGSTOP)
        close(server, made)
        assert gone({box})


def test_creations_that_are_given_up_leave_no_box_and_no_descriptor_e197(server: Server) -> None:
    """
    Given up at once, so that the end finds each at another step; some are there nevertheless.
    """
    request = pb.CreateSessionRequest(policy="granted")
    close(server, server.stub.CreateSession(request, timeout=PATIENCE).id)
    before = settled(server)
    for _ in range(3):
        calls = [server.stub.CreateSession.future(request, timeout=PATIENCE) for _ in range(8)]
        for number, call in enumerate(calls):
            if number % 4:
                call.cancel()
        for call in calls:
            call.exception() if not call.cancelled() else None
    assert comes_to(server, before), (before, held(server))


def held(server: Server) -> tuple[int, int]:
    """
    The descriptors and the boxes of a server without sessions.
    """
    for one in server.stub.ListSessions(pb.ListSessionsRequest()).sessions:
        close(server, one.id)
    return psutil.Process(server.process.pid).num_fds(), len(boxes(server))


def settled(server: Server) -> tuple[int, int]:
    """
    What is held when the boxes for the next sessions have been made.
    """
    found = held(server)
    while not all(held(server) == found for _ in range(30)):
        found = held(server)
    return found


def comes_to(server: Server, wanted: tuple[int, int]) -> bool:
    """
    Whether that is held soon, while the server answers other calls.
    """
    return any(held(server) == wanted for _ in range(300))


GENERATION = (
    "import ctypes, sys\n(ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value, hash('x'))"
)


@pytest.mark.skipif(not IS_ROOT, reason="only root may end a process of another user")
def test_a_killed_zygote_takes_its_boxes_and_the_next_has_other_addresses_e161_e162_e200(
    server: Server,
) -> None:
    made = server.create("plain")
    before = value(server, made, GENERATION)
    with session(server) as sibling:
        # Within one generation all boxes have the layout of their zygote.
        assert value(server, sibling, GENERATION) == before
    box = box_of(server, made)
    zygote = box.parent()
    assert zygote is not None
    all_boxes = {one for one in boxes(server) if one.parent() == zygote}
    zygote.kill()
    assert gone(all_boxes)
    with pytest.raises(grpc.RpcError):
        server.run(made, "1")
    close(server, made)
    with session(server) as later:
        after = value(server, later, GENERATION)
        assert value(server, later, "6 * 7") == "42"
    assert before.split(",")[0] != after.split(",")[0]
    assert before.split(",")[1] != after.split(",")[1]


# ---- secrets, and what another session left ------------------------------------------------------


def holds(pid: int, wanted: bytes) -> bool:
    """
    Whether any readable page of a process holds some bytes.
    """
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if "r" not in line.split()[1] or line.rstrip().endswith(("[vvar]", "[vsyscall]")):
                continue
            with contextlib.suppress(OSError):
                memory.seek(first)
                if wanted in memory.read(last - first):
                    return True
    return False


@pytest.mark.skipif(not IS_ROOT, reason="only root may read the memory of another user's process")
def test_no_secret_of_the_server_is_in_a_zygote_or_a_box_e157_e159_e202(server: Server) -> None:
    with session(server) as made:
        server.run(made, "marker = 'seen-in-' + 'the-box'")
        box = box_of(server, made)
        zygote = box.parent()
        assert zygote is not None
        assert holds(box.pid, b"seen-in-the-box")
        assert holds(server.process.pid, SECRET.encode())
        for pid in (box.pid, zygote.pid):
            assert not holds(pid, SECRET.encode())
        look = "import gc\nword = '-'.join(['own', 'secret', '4711'])\nlen([one for one in gc.get_objects() if word in repr(one)])"
        assert value(server, made, look) == "0"


LOTS = "import random, uuid, tempfile, secrets\n(random.random(), uuid.uuid4(), secrets.token_hex(8), tempfile.mktemp())"


def test_two_sessions_share_no_chance_and_no_files_e160_e201_e203(server: Server) -> None:
    with session(server, "forks") as one, session(server, "forks") as other:
        places = "['/work', '/tmp', '/home/agent', '/dev/shm']"
        server.run(one, f"for place in {places}: open(place + '/left', 'w').write('x')")
        assert (
            value(server, one, f"import os; [os.listdir(p) for p in {places}]").count("left") == 4
        )
        assert (
            value(server, other, f"import os; [os.listdir(p) for p in {places}]").count("left") == 0
        )
        lots = {value(server, made, LOTS) for made in (one, other)}
        assert len(lots) == 2


# ---- files of the session ------------------------------------------------------------------------

PREPARE = """
import os
os.symlink('/etc/passwd', '/work/link')
os.symlink('/work', '/work/round')
os.symlink('/../../../etc/shadow', '/work/up')
path = '/work/deep'
os.mkdir(path)
os.chdir(path)
for _ in range(2000):
    os.mkdir('d')
    os.chdir('d')
os.chdir('/work')
"""


def test_the_clients_files_are_the_guests_and_nothing_else_e204(server: Server) -> None:
    with session(server) as made:
        assert ended(server.run(made, PREPARE)).status == pb.CELL_STATUS_OK

        def got(path: str) -> bytes:
            request = pb.GetFileRequest(session_id=made, path=path)
            return b"".join(part.data for part in server.stub.GetFile(request, timeout=PATIENCE))

        refused = ["/work/up", "/work/../etc/shadow", "/work/a\0b", "/dev/zero", "/work/round"]
        for path in [*refused, "/work/deep" + "/d" * 3000, "work/link", "", "/proc/self/mem"]:
            with pytest.raises(grpc.RpcError):
                got(path)
        # What a link leads to is the box's own list of users, if it is followed at all.
        with contextlib.suppress(grpc.RpcError):
            assert b"root" not in got("/work/link") or b"agent" in got("/work/link")
        listing = pb.ListFilesRequest(session_id=made, path="/work")
        assert {one.path for one in server.stub.ListFiles(listing).files} >= set()
        assert value(server, made, "6 * 7") == "42"


# ---- what a guest starts with --------------------------------------------------------------------

STARTED = """
import os, resource, signal, sys
seen = {
    "environment": sorted(os.environ),
    "arguments": (sys.argv, sys.orig_argv, sys.executable),
    "isolated": (sys.flags.isolated, sys.flags.no_user_site, sys.flags.dont_write_bytecode),
    "customised": sorted({'sitecustomize', 'usercustomize'} & set(sys.modules)),
    "path": [one for one in sys.path if one.startswith(('/work', '/tmp', '/home')) or not one],
    "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
    "umask": os.umask(0o022),
    "core": resource.getrlimit(resource.RLIMIT_CORE),
    "terminal": [n for n in range(3) if os.isatty(n)],
    "groups": os.getgroups(),
}
"""


def test_a_guest_starts_with_what_is_declared_and_nothing_of_the_servers_p08_p10_p11(
    server: Server,
) -> None:
    hooks = "for name in ('sitecustomize.py', 'usercustomize.py', 'x.pth'): open('/work/' + name, 'w').write('import os; os._exit(9)')"
    with session(server, "forks") as made:
        server.run(made, hooks)
        assert ended(server.run(made, STARTED)).status == pb.CELL_STATUS_OK
        assert SECRET not in value(server, made, "import os; dict(os.environ)")
        assert not {"LD_PRELOAD", "PYTHONPATH", "PYTHONSTARTUP", "PATH"} & set(
            re.findall(r"\w+", value(server, made, "seen['environment']"))
        ) - {"PATH"}
        told = value(
            server, made, "[seen[k] for k in ('customised', 'path', 'terminal', 'groups')]"
        )
        assert told == "[[], [], [], []]"
        assert value(server, made, "seen['isolated'][:2]") == "(1, 1)"
        assert value(server, made, "seen['core'], oct(seen['umask'])") == "((0, 0), '0o22')"
        # Those two by which the worker around it is told of interrupts.
        assert set(re.findall(r"\d+", value(server, made, "seen['blocked']"))) <= {"34", "35"}


def test_the_shared_library_of_all_sessions_is_not_written_p18(server: Server) -> None:
    code = (
        "import os\n"
        "said = []\n"
        "for place in {os.path.dirname(os.__file__), '/usr/lib', '/etc'}:\n"
        "    for act in (lambda: open(place + '/x.pth', 'w'), lambda: os.mkdir(place + '/__pycache__/x')):\n"
        "        try: act(); said.append('an answer')\n"
        "        except OSError as error: said.append(error.errno)\n"
        "sorted(set(said))"
    )
    with session(server) as made:
        found = value(server, made, code)
        assert set(re.findall(r"\w+", found)) <= {"30", "13", "2", "1"}, found
