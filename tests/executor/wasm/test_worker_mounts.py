"""
Granted mounts and a client's files, as the worker sees them: asked of the gate, one at a time.

The gate here is a function of the test. What it says is believed, and what comes with it is
checked: only a regular file, open for reading.
"""

import array
import os
import socket

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import frames
from tests.executor.wasm.world import WorkerGoneError, regular_file

pytestmark = pytest.mark.image

MOUNT = wire.MountPoint(path="/data")
FILE = wire.FileStatus(kind=wire.KIND_FILE, size=5, mode=0o644, modified_ns=10**18)
DIRECTORY = wire.FileStatus(kind=wire.KIND_DIRECTORY, mode=0o755)


@pytest.fixture
def mounted(zygote):
    with zygote.session(mounts=[MOUNT]) as worker:
        yield worker


def asked(cell):
    return [(str(ask.WhichOneof("ask")), ask) for ask in cell.asks]


def test_a_granted_file_is_read_through_the_descriptor_that_was_passed(mounted, tmp_path):
    (tmp_path / "f").write_bytes(b"host bytes")
    mounted.gate = lambda ask: (
        regular_file(tmp_path / "f") if ask.HasField("open") else wire.Answer(status=FILE)
    )
    code = "f = open('/data/sub/../f', 'rb')\n(f.read(4), f.seek(0, 2), f.seek(1), f.read())"
    cell = mounted.run(code).ok()
    assert cell.text == "(b'host', 10, 1, b'ost bytes')"
    opened = [ask.open.path for kind, ask in asked(cell) if kind == "open"]
    assert opened == ["/data/f"]
    assert not cell.asks[0].open.write


def test_the_passed_descriptor_is_the_only_one_and_goes_with_the_file(mounted, tmp_path):
    """
    W52: a worker holds its three silenced streams, its socket and the pair by which its watchdog
    wakes it, and what was passed.
    """
    (tmp_path / "f").write_bytes(b"x")
    mounted.gate = lambda _: regular_file(tmp_path / "f")
    before = mounted.process.num_fds()
    mounted.run("files = [open('/data/f', 'rb') for _ in range(5)]").ok()
    assert mounted.process.num_fds() == before + 5
    mounted.run("[f.close() for f in files]").ok()
    assert mounted.process.num_fds() == before == 6


@pytest.mark.parametrize("errno", [1, 2, 13, 17, 20, 21, 30, 39, 122])
def test_the_gates_refusal_is_the_guests_error_by_name(mounted, errno):
    mounted.gate = lambda _: wire.Answer(errno=errno, reason="because of the rule")
    code = (
        "import errno\ntry: open('/data/f')\n"
        "except OSError as e: r = errno.errorcode[e.errno], e.strerror\nr"
    )
    assert mounted.run(code).ok().text == repr(
        (__import__("errno").errorcode[errno], "because of the rule")
    )


def test_an_error_number_that_the_guest_has_not_becomes_eio(mounted):
    mounted.gate = lambda _: wire.Answer(errno=511, reason="strange")
    cell = mounted.run("open('/data/f')").raised("OSError")
    assert "[Errno 29] strange" in cell.error


def pass_raw(worker, opened, descriptors):
    """
    An answer with these descriptors, whatever they are: what a correct server never sends.
    """
    answer = wire.Answer(opened=wire.Opened(passed=True, status=FILE))
    data = frames.encode(wire.ToWorker(answer=answer).SerializeToString())
    packed = array.array("i", descriptors)
    worker._socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)])


@pytest.mark.parametrize("kind", ["directory", "writable", "pipe", "path", "two", "none"])
def test_a_descriptor_that_is_not_a_file_open_for_reading_ends_the_worker(zygote, tmp_path, kind):
    """
    Requirement 1: sender and receiver both check. The twin is the test of reading above.
    """
    (tmp_path / "f").write_bytes(b"x")
    worker = zygote.spawn().begin(mounts=[MOUNT])
    file = os.open(tmp_path / "f", os.O_RDWR)
    reader, writer = os.pipe()
    held = {
        "directory": [os.open(tmp_path, os.O_RDONLY)],
        "writable": [file],
        "pipe": [reader],
        "path": [os.open(tmp_path / "f", os.O_PATH)],
        "two": [os.open(tmp_path / "f", os.O_RDONLY) for _ in range(2)],
        "none": [],
    }[kind]
    answers = []

    def answer(ask):
        answers.append(ask)
        pass_raw(worker, ask, held)

    worker._answer = answer
    try:
        cell = worker.run("open('/data/f', 'rb').read()")
        assert cell.done.status == cell.done.GUEST_ENDED
    except WorkerGoneError:
        pass
    finally:
        for descriptor in {*held, file, reader, writer}:
            os.close(descriptor)
        worker.close()
    assert answers


def test_a_file_open_for_writing_is_frames_alone(mounted):
    held = bytearray()

    def gate(ask):
        kind = ask.WhichOneof("ask")
        if kind == "open":
            return wire.Answer(opened=wire.Opened(handle=7, status=FILE))
        if kind == "write":
            held[ask.write.offset : ask.write.offset + len(ask.write.data)] = ask.write.data
            return wire.Answer(count=len(ask.write.data))
        if kind == "stat_handle":
            status = wire.FileStatus(kind=wire.KIND_FILE, size=len(held), mode=0o644)
            return wire.Answer(status=status)
        return wire.Answer()

    mounted.gate = gate
    code = (
        "with open('/data/f', 'wb') as f:\n    f.write(b'hello')\n    f.write(b' world' * 100_000)"
    )
    cell = mounted.run(code).ok()
    assert bytes(held) == b"hello" + b" world" * 100_000
    kinds = [kind for kind, _ in asked(cell)]
    assert (kinds[0], kinds[-1]) == ("open", "close")
    assert {ask.write.handle for kind, ask in asked(cell) if kind == "write"} == {7}
    assert max(len(ask.write.data) for kind, ask in asked(cell) if kind == "write") <= frames.CHUNK


def test_a_listing_is_the_gates_with_numbers_of_our_own(mounted):
    entries = [wire.Entry(name="a", kind=wire.KIND_FILE), wire.Entry(name="b", kind=wire.KIND_LINK)]

    def gate(ask):
        if ask.HasField("list"):
            return wire.Answer(listing=wire.Listing(entries=entries))
        return wire.Answer(status=DIRECTORY)

    mounted.gate = gate
    code = "import os\n[(e.name, e.is_dir(follow_symlinks=False)) for e in os.scandir('/data')]"
    assert mounted.run(code).ok().text == "[('a', False), ('b', False)]"


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("os.mkdir('/data/x')", "make_directory"),
        ("os.unlink('/data/x')", "remove_file"),
        ("os.rmdir('/data/x')", "remove_directory"),
        ("os.rename('/data/x', '/data/y')", "rename"),
        ("os.utime('/data/x', (1, 1))", "set_times"),
        ("os.stat('/data/x')", "stat"),
        ("os.readlink('/data/x')", "read_link"),
        ("os.truncate('/data/x', 0)", "open"),
    ],
)
def test_each_act_on_a_mount_is_one_question_and_a_refusal_its_end(mounted, call, kind):
    cell = mounted.run(f"import os\n{call}").raised("PermissionError")
    assert [kind_ for kind_, _ in asked(cell)] == [kind]


@pytest.mark.parametrize("call", ["os.symlink('x', '/data/l')", "os.chmod('/data/x', 0o777)"])
def test_links_and_permissions_are_not_made_on_a_mount(mounted, call):
    mounted.gate = lambda _: wire.Answer(status=FILE)
    assert mounted.run(f"import os\n{call}").raised("PermissionError")


def test_f07_nothing_is_renamed_between_memory_and_a_mount(mounted):
    cell = mounted.run("import os\nopen('f', 'w').close()\nos.rename('f', '/data/f')")
    assert (cell.raised("OSError").asks, "Errno 75" in cell.error) == ([], True)


# ---- a client's files ---------------------------------------------------------------------------


def put(worker, path, data, offset=0):
    return worker.file(put=wire.PutChunk(path=path, offset=offset, data=data))


def get(worker, path, offset=0, length=1000):
    return worker.file(get=wire.GetChunk(path=path, offset=offset, length=length))


def test_a_clients_file_is_the_guests(session):
    reply = put(session, "/work/deep/er/f", b"from outside")
    assert (reply.errno, reply.status.size) == (0, 12)
    assert session.run("open('deep/er/f').read()").ok().text == "'from outside'"
    session.run("open('g', 'w').write('from inside');").ok()
    reply = get(session, "/work/g")
    assert (reply.data, reply.end) == (b"from inside", True)
    assert (get(session, "/work/g", 5, 3).data, get(session, "/work/g", 5, 3).end) == (
        b"ins",
        False,
    )
    names = [entry.name for entry in session.file(list="/work").entries]
    assert names == ["deep", "g"]
    assert session.file(remove="/work/g").errno == 0
    assert get(session, "/work/g").errno == 2


def test_chunks_must_follow_on(session):
    assert put(session, "/work/f", b"abc").errno == 0
    assert put(session, "/work/f", b"def", 3).errno == 0
    assert put(session, "/work/f", b"gap", 9).errno == 22
    assert get(session, "/work/f").data == b"abcdef"


@pytest.mark.parametrize(
    ("path", "errno"),
    [("/lib/x", 30), ("/etc/x", 13), ("", 2), ("/work/a\0b", 22), ("/work/" + "x" * 256, 36)],
)
def test_a_client_may_put_no_more_than_the_guest(session, path, errno):
    assert put(session, path, b"x").errno == errno
    assert session.run("1").ok().text == "1"


def test_a_clients_file_has_the_sessions_quota(zygote):
    with zygote.session(scratch_bytes=100_000) as worker:
        assert put(worker, "/work/f", bytes(100_001)).errno in {27, 28}
        assert put(worker, "/work/g", bytes(50_000)).errno == 0
        assert put(worker, "/work/h", bytes(60_000)).errno == 28


def test_a_link_of_the_guests_leads_a_client_no_further_than_the_guest(session):
    session.run("import os\nos.symlink('/etc/passwd', 'l')\nos.symlink('/lib', 'd')").ok()
    assert get(session, "/work/l").errno == 13
    assert put(session, "/work/d/x", b"x").errno == 30


def test_frames_out_of_order_end_the_worker(zygote):
    worker = zygote.spawn()
    with pytest.raises((WorkerGoneError, ConnectionError)):
        worker.run("1")
    worker.close()
    assert zygote.exit_code(worker) != 0
