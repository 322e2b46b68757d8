import array
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from executor.linux import descriptors
from executor.linux.descriptors import RegularFile
from executor.linux.errors import DescriptorRefused

ROOT = Path(__file__).resolve().parents[3]
PRELUDE = """
import os
from executor.linux import descriptors
from executor.linux.errors import MechanismError
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PRELUDE + script],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    with left, right:
        yield left, right


@pytest.fixture
def opened(tmp_path):
    """
    Opens by name below a temporary directory, and closes at the end.
    """
    held = []

    def open_file(name: str = "file", flags: int = os.O_RDONLY) -> int:
        (tmp_path / name).write_bytes(b"0123456789")
        held.append(os.open(tmp_path / name, flags))
        return held[-1]

    yield open_file
    for descriptor in held:
        os.close(descriptor)


def test_only_what_is_kept_stays_open():
    said = run("""
for number in (10, 11, 12, 200):
    os.dup2(1, number)
descriptors.keep_only({1, 11})
print(sorted(descriptors.own()))
print(os.readlink("/proc/self/fd/0"), os.readlink("/proc/self/fd/2"))
""")
    assert said.split("\n") == ["[0, 1, 2, 11]", "/dev/null /dev/null"]


def test_a_standard_stream_that_was_closed_becomes_the_null_device_too():
    said = run("""
os.close(0)
descriptors.keep_only({1})
print(sorted(descriptors.own()), os.readlink("/proc/self/fd/0"))
""")
    assert said == "[0, 1, 2] /dev/null"


def test_kept_descriptors_may_stand_side_by_side_and_the_null_device_be_open_already():
    said = run("""
for number in (3, 4, 10, 11, 12):
    os.dup2(1, number)
descriptors.keep_only({1, 3, 10, 11}, descriptors.open_null())
print(sorted(descriptors.own()), os.readlink("/proc/self/fd/0"))
""")
    assert said == "[0, 1, 2, 3, 10, 11] /dev/null"


def test_nothing_is_closed_when_a_kept_descriptor_is_not_open():
    said = run("""
os.dup2(1, 10)
try:
    descriptors.keep_only({1, 99})
except MechanismError as error:
    print(error)
print(10 in descriptors.own(), os.readlink("/proc/self/fd/2") != "/dev/null")
""")
    assert said.split("\n") == [
        (
            "descriptors: keeping descriptor 99 answered EBADF (Bad file descriptor); name open"
            " descriptors"
        ),
        "True True",
    ]


def test_a_regular_file_arrives_with_its_size_and_close_on_exec(pair, opened):
    left, right = pair
    sent = opened()
    assert descriptors.send_regular_file(left, b"frame", sent) == 5
    data, file = descriptors.receive_regular_file(right, 100)
    assert file is not None
    assert (data, file.size, os.pread(file.descriptor, 10, 0)) == (b"frame", 10, b"0123456789")
    assert file.descriptor != sent
    assert fcntl.fcntl(file.descriptor, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
    os.close(file.descriptor)


def test_a_frame_without_a_descriptor_arrives_alone(pair):
    left, right = pair
    left.send(b"frame")
    assert descriptors.receive_regular_file(right, 100) == (b"frame", None)


def test_the_end_of_the_channel_is_no_data_and_no_descriptor(pair):
    left, right = pair
    left.close()
    assert descriptors.receive_regular_file(right, 100) == (b"", None)


def test_a_descriptor_is_not_sent_without_data(pair, opened):
    with pytest.raises(ValueError, match="at least one byte"):
        descriptors.send_regular_file(pair[0], b"", opened())


def _kinds(tmp_path: Path, opened):
    reader, writer = os.pipe()
    directory = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    null = os.open("/dev/null", os.O_RDONLY)
    sock = socket.socket(socket.AF_UNIX).detach()
    return {
        "a pipe": (reader, "is prw"),
        "a pipe's other end": (writer, "is prw"),
        "a directory": (directory, "is drwx"),
        "a device": (null, "is crw"),
        "a socket": (sock, "is srwx"),
        "a file open for writing": (os.dup(opened("w", os.O_WRONLY)), "has flags"),
        "a file open for both": (os.dup(opened("rw", os.O_RDWR)), "has flags"),
        "a place without rights": (os.dup(opened("path", os.O_PATH)), "has flags"),
    }


KINDS = [
    "a pipe",
    "a pipe's other end",
    "a directory",
    "a device",
    "a socket",
    "a file open for writing",
    "a file open for both",
    "a place without rights",
]


@pytest.fixture
def kinds(tmp_path, opened):
    made = _kinds(tmp_path, opened)
    assert list(made) == KINDS
    yield made
    for descriptor, _ in made.values():
        os.close(descriptor)


@pytest.mark.parametrize("kind", KINDS)
def test_anything_else_is_not_sent(kind, kinds, pair):
    descriptor, said = kinds[kind]
    with pytest.raises(DescriptorRefused, match=said):
        descriptors.send_regular_file(pair[0], b"x", descriptor)
    pair[0].close()
    assert pair[1].recv(1) == b""


@pytest.mark.parametrize("kind", KINDS)
def test_anything_else_is_not_received_and_is_closed(kind, kinds, pair):
    descriptor, said = kinds[kind]
    passed = array.array("i", [descriptor])
    pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
    before = descriptors.own()
    with pytest.raises(DescriptorRefused, match=said):
        descriptors.receive_regular_file(pair[1], 1)
    assert descriptors.own() == before


@pytest.mark.parametrize("count", [2, 3, 100])
def test_several_descriptors_at_once_are_refused_and_all_closed(count, pair, opened):
    passed = array.array("i", [opened()] * count)
    pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
    before = descriptors.own()
    with pytest.raises(DescriptorRefused, match="several came at once"):
        descriptors.receive_regular_file(pair[1], 1)
    assert descriptors.own() == before


def test_a_closed_descriptor_is_an_error_of_the_caller():
    with pytest.raises(OSError, match="Bad file descriptor"):
        descriptors.require_regular_file(9999)


def test_an_empty_file_is_a_regular_file(tmp_path):
    (tmp_path / "empty").touch()
    descriptor = os.open(tmp_path / "empty", os.O_RDONLY)
    assert descriptors.require_regular_file(descriptor) == RegularFile(descriptor, 0)
    os.close(descriptor)


def test_a_size_above_four_gigabytes_is_told_whole(tmp_path):
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 5 * 2**32 + 1)
    descriptor = os.open(tmp_path / "sparse", os.O_RDONLY)
    assert descriptors.require_regular_file(descriptor).size == 5 * 2**32 + 1
    os.close(descriptor)


def test_an_end_of_a_pair_arrives_and_speaks_with_the_other(pair):
    left, right = pair
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            assert descriptors.send_stream(left, b"frame", theirs.fileno()) == 5
        data, passed = descriptors.receive_passed(right, 100)
        assert isinstance(passed, descriptors.PassedStream)
        assert data == b"frame"
        assert fcntl.fcntl(passed.descriptor, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
        with socket.socket(fileno=passed.descriptor) as received:
            received.send(b"hello")
            assert ours.recv(10) == b"hello"
        assert ours.recv(10) == b""


def test_a_file_arrives_where_streams_may_come_too(pair, opened):
    descriptors.send_regular_file(pair[0], b"x", opened())
    _, passed = descriptors.receive_passed(pair[1], 1)
    assert isinstance(passed, RegularFile)
    os.close(passed.descriptor)


def test_a_stream_is_refused_where_only_files_come(pair):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        descriptors.send_stream(pair[0], b"x", theirs.fileno())
        before = descriptors.own()
        with pytest.raises(DescriptorRefused, match="only a regular file"):
            descriptors.receive_regular_file(pair[1], 1)
        assert descriptors.own() == before


def test_frames_without_descriptors_and_the_end_arrive_where_streams_may_come(pair):
    pair[0].send(b"frame")
    assert descriptors.receive_passed(pair[1], 100) == (b"frame", None)
    pair[0].close()
    assert descriptors.receive_passed(pair[1], 100) == (b"", None)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a socket"])
def test_what_is_neither_is_not_received_as_a_stream_and_is_closed(kind, kinds, pair):
    descriptor, _ = kinds[kind]
    passed = array.array("i", [descriptor])
    pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
    before = descriptors.own()
    with pytest.raises(DescriptorRefused):
        descriptors.receive_passed(pair[1], 1)
    assert descriptors.own() == before


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_a_connected_stream_is_sent_as_one(kind, kinds, pair):
    before = descriptors.own()
    with pytest.raises(DescriptorRefused):
        descriptors.send_stream(pair[0], b"x", kinds[kind][0])
    assert descriptors.own() == before
    pair[0].close()
    assert pair[1].recv(1) == b""


def test_sockets_of_another_kind_are_not_sent(pair):
    datagrams = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as internet,
    ):
        for one in (datagrams[0], packets[0], internet, server):
            with pytest.raises(DescriptorRefused, match="only a unix stream"):
                descriptors.send_stream(pair[0], b"x", one.fileno())
    for one in (*datagrams, *packets):
        one.close()


def test_a_stream_is_not_sent_without_data(pair):
    with pytest.raises(ValueError, match="at least one byte"):
        descriptors.send_stream(pair[0], b"", pair[1].fileno())


def test_all_three_standard_streams_become_the_null_device():
    said = run("""
import sys
kept = os.dup(1)
descriptors.silence()
names = [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)]
os.write(kept, repr(names).encode())
""")
    assert said == "['/dev/null', '/dev/null', '/dev/null']"
