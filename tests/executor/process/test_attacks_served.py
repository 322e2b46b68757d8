"""
What a guest in native Python does to its server, and what is done to both: over gRPC, with a real
server, real boxes and the kernel of this machine.

A name that ends in a number says which of the numbered attacks it is for
(`tests/security/test_process_rows.py`). Green does not prove that no other frame or moment would do
harm: the frames of `tests/executor/test_hostile_worker.py` are tried there, without a box.
"""

import os
import re
import signal
from collections.abc import Iterator

import grpc
import psutil
import pytest

from codecage.v1 import codecage_pb2 as pb
from codecage.worker.v1 import worker_pb2 as wire
from executor.audit.read import records
from executor.audit.record import Answer, Event, Origin
from executor.children.probing import NotHeld, probe
from tests.e2e.serving import Server, needs_image
from tests.executor.fakes.harness import ended, output
from tests.executor.process.attacked_server import (
    PATIENCE,
    SECRET,
    attacked,
    box_of,
    boxes,
    close,
    comes_to,
    frame,
    gone,
    held,
    holds,
    session,
    settled,
    value,
)
from tests.executor.process.box_spin import is_shared

HELD = probe()
pytestmark = [
    pytest.mark.image,
    needs_image,
    pytest.mark.skipif(isinstance(HELD, NotHeld), reason=f"no box can be made here: {HELD}"),
]
IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with attacked() as made:
        yield made


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


ASKS = {
    "a file": wire.Ask(open=wire.OpenAsk(path="/etc/shadow")),
    "a file beside a grant": wire.Ask(open=wire.OpenAsk(path="/data/../../etc/shadow")),
    "a change of what is granted": wire.Ask(open=wire.OpenAsk(path="/data/a.txt", write=True)),
    "a connection": wire.Ask(connect=wire.ConnectAsk(host="evil.test", port=443)),
    "a program": wire.Ask(run="/bin/sh"),
    "a child": wire.Ask(run="fork"),
}


@pytest.mark.parametrize("name", ASKS)
def test_an_ask_beside_the_guests_own_half_gets_no_more_p16(name: str, server: Server) -> None:
    """
    It is denied and recorded, or ends the session where no worker in a box would ask for it.
    """
    code = (
        f"import socket\n{CHANNEL}"
        f"os.write(channel, {frame(ask=ASKS[name])!r})\n"
        "end = socket.socket(fileno=os.dup(channel))\n"
        "data, rights, *_ = end.recvmsg(65536, 1024)\n"
        "(len(data) > 4, rights)"
    )
    with session(server, "granted") as made:
        events = server.run(made, code)
        answered = [event.value.text for event in events if event.HasField("value")]
        last = ended(events)
        assert answered == ["(True, [])"] or last.session_lost
        # A guest can do it at will: it is never told, nor the log, of a fault in the server.
        assert bool(answered) or last.reason.startswith("its worker broke the protocol")
    told = [*records(server.audit, session=made, limit=1000)]
    allowed = [str(one.request) for one in told if one.answer is Answer.ALLOW]
    assert allowed == ["read /data"]
    assert bool(answered) is any(one.answer is Answer.DENY for one in told)


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
        assert psutil.Process(server.process.pid).num_fds() < before + 200


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


SPIN = """
import threading, time, zlib
def spin(chunk=bytes(1 << 20)):
    while not over.is_set(): zlib.crc32(chunk)
over, started, used = threading.Event(), time.monotonic(), time.process_time()
threads = [threading.Thread(target=spin) for _ in range(16)]
for one in threads: one.start()
over.wait(1)
over.set()
for one in threads: one.join()
(time.process_time() - used) / (time.monotonic() - started)
"""


@pytest.mark.skipif(not is_shared(), reason="no controller cpu of ours on this host")
def test_threads_have_the_share_that_the_policy_gives_and_not_more_p19(server: Server) -> None:
    with session(server, "shared") as made:
        answer = float(value(server, made, SPIN))
    # One share in a tenth of a second, and one at the beginning of the measurement.
    assert 0 < answer <= 0.2


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

    def give_up() -> None:
        calls = [server.stub.CreateSession.future(request, timeout=PATIENCE) for _ in range(8)]
        for number, call in enumerate(calls):
            if number % 4:
                call.cancel()
        for call in calls:
            if not call.cancelled():
                call.exception()

    give_up()  # the first time, threads and boxes are made that stay
    # What is left behind is so each time; a box that was still being made while it was counted,
    # by a process that tells nobody, is not.
    seen = []
    for _ in range(3):
        before = settled(server)
        for _ in range(3):
            give_up()
        nothing_is_left = comes_to(server, before)
        if nothing_is_left:
            break
        seen.append((before, held(server)))
    assert nothing_is_left, seen


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
        # What a link leads to is looked up in the box, which has a list of users of its own.
        assert got("/work/link") == b"agent:x:1000:1000:agent:/home/agent:/bin/false\n"
        request = pb.ListFilesRequest(session_id=made, path="/work")
        listed = sorted(one.path for one in server.stub.ListFiles(request).files)
        assert listed == ["/work/deep", "/work/link", "/work/round", "/work/up"]
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
