"""
How a broker begins and ends: with its server, by whichever rope holds, and without a rest.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from network_world import NOBODY, PATIENCE, PYTHON, ROOT, echo, listening, running, until

from codecage.network.v1 import network_pb2 as wire
from executor.children.launcher import import_paths, launch, program
from executor.kernel.frames import encode
from executor.linux.descriptors import send_regular_file, send_stream


def test_it_ends_when_its_servers_socket_closes_and_its_connections_with_it():
    closed = threading.Event()

    def wait_for_the_end(connection):
        connection.recv(1)
        closed.set()

    with listening(wait_for_the_end) as server, running() as broker:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        broker.channel.close()
        assert broker.process.wait(PATIENCE) == 0
        assert guest.rest() == b""
        assert closed.wait(PATIENCE)


def test_it_ends_when_the_server_goes_before_it_has_said_anything():
    with running(ready=False) as broker:
        broker.channel.close()
        assert broker.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_whole_service_do_not_end_it(number):
    with running() as broker, listening(echo) as server:
        broker.process.send_signal(number)
        assert broker.connect("127.0.0.1", server.port).made()


def _children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_the_launcher_starts_it_and_its_death_ends_it():
    user = ("--uid", str(NOBODY), "--gid", str(NOBODY)) if ROOT else ()
    launcher = launch([program("executor.network.broker", *user)])
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(PATIENCE)
        with theirs:
            launcher.start_zygote(1, 0, theirs)
        ours.sendall(encode(wire.ToBroker(setup=wire.Setup()).SerializeToString()))
        assert ours.recv(2**16)
        (broker,) = _children(launcher.process.pid)
        launcher.process.kill()
        # Its end of our socket is open until it has ended; nothing else would close it.
        assert ours.recv(2**16) == b""
        launcher.process.wait()
        launcher.channel.close()
        until(lambda: not _alive(broker))


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


GARBAGE = {
    "a frame that is no message": encode(b"\xff\xff\xff"),
    "a frame that holds nothing": encode(b""),
    "a frame that is too long": b"\xff\xff\xff\x7f",
    "a second setup": encode(wire.ToBroker(setup=wire.Setup()).SerializeToString()),
    "an open without a stream": encode(
        wire.ToBroker(open=wire.Open(connection=1, host="a.test", port=1)).SerializeToString()
    ),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_a_server_that_breaks_the_protocol_is_no_server(what):
    with running() as broker:
        broker.channel.sendall(GARBAGE[what])
        assert broker.frame() is None
        assert broker.process.wait(PATIENCE) == 1


def test_a_first_frame_that_is_no_setup_ends_it():
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = subprocess.Popen(
                [*program("executor.network.broker"), "--socket", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stderr=subprocess.PIPE,
            )
        ours.sendall(encode(wire.ToBroker(drop=1).SerializeToString()))
        _, said = process.communicate(timeout=PATIENCE)
        assert (process.returncode, said) == (1, b"network broker: the first frame is no Setup\n")


def test_an_answer_to_what_was_not_asked_ends_it():
    with running() as broker, listening(echo) as server:
        guest = broker.open("127.0.0.1", server.port)
        broker.resolved(guest)
        broker.send(judgement={"connection": guest.number, "allowed": True})
        assert broker.process.wait(PATIENCE) == 1


@pytest.mark.parametrize("address", ["127.0.0.2", "nonsense", ""])
def test_an_address_that_was_not_found_is_not_dialled_and_ends_it(address):
    with running() as broker, listening(echo) as server:
        guest = broker.open("127.0.0.1", server.port)
        broker.resolved(guest)
        broker.send(dial={"connection": guest.number, "addresses": [address]})
        assert broker.process.wait(PATIENCE) == 1
        assert server.came == 0


def test_a_number_that_is_open_is_not_opened_again():
    with running() as broker, listening(echo) as server:
        assert broker.connect("127.0.0.1", server.port).made()
        broker.numbers = 0
        broker.open("127.0.0.1", server.port)
        assert broker.process.wait(PATIENCE) == 1


def test_a_file_in_place_of_a_stream_ends_it(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    opened = wire.Open(connection=1, host="127.0.0.1", port=1, raw=True)
    data = encode(wire.ToBroker(open=opened).SerializeToString())
    with running() as broker:
        held = os.open(tmp_path / "file", os.O_RDONLY)
        send_regular_file(broker.channel, data, held)
        os.close(held)
        assert broker.process.wait(PATIENCE) == 1


def test_a_datagram_socket_in_place_of_a_stream_ends_it():
    import array

    opened = wire.Open(connection=1, host="127.0.0.1", port=1, raw=True)
    data = encode(wire.ToBroker(open=opened).SerializeToString())
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with running() as broker, left, right:
        passed = array.array("i", [right.fileno()])
        broker.channel.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        assert broker.process.wait(PATIENCE) == 1


def test_frames_that_come_in_pieces_are_put_together():
    with running() as broker, listening(echo) as server:
        broker.numbers += 1
        opened = wire.Open(
            connection=1, account=1, budget=9, host="127.0.0.1", port=server.port, raw=True
        )
        data = encode(wire.ToBroker(open=opened).SerializeToString())
        ours, theirs = socket.socketpair()
        with ours, theirs:
            send_stream(broker.channel, data[:1], theirs.fileno())
            for index in range(1, len(data)):
                broker.channel.sendall(data[index : index + 1])
            assert broker.next("resolved", 1).addresses[0].text == "127.0.0.1"


@pytest.mark.skipif(not ROOT, reason="a normal user is already not root")
def test_it_does_not_serve_as_root():
    command = program("executor.network.broker")
    with running(command=command, ready=False, stderr=subprocess.PIPE) as broker:
        assert broker.frame() is None
        assert broker.process.wait(PATIENCE) == 2
        assert b"give a user that is not root" in broker.process.stderr.read()


def test_it_imports_neither_grpc_nor_what_reads_policies():
    code = "import executor.network.broker, sys; print(*{m.split('.')[0] for m in sys.modules})"
    paths = os.pathsep.join(import_paths())
    loaded = subprocess.run(
        [PYTHON, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": paths}
    ).stdout.split()
    assert "dns" in loaded
    assert not {*loaded} & {"grpc", "pydantic", "ruamel", "wasmtime", "sqlite3"}
    assert sys.platform == "linux"
