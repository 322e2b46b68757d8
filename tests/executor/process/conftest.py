import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

# The machine that judges filters stands beside the filters' own tests.
sys.path.append(str(Path(__file__).resolve().parents[1] / "linux"))

from box_range import SLOT, Host, Range

from executor.process.plan import identity_of

TESTER = 65533


@pytest.fixture(scope="session")
def canary_process():
    """
    A process of the same host user as the boxes: what only another namespace keeps apart.
    """
    identity = identity_of(SLOT)
    as_user = {"user": identity.uid, "group": identity.gid} if os.geteuid() == 0 else {}
    started = subprocess.Popen(["/usr/bin/sleep", "infinity"], cwd="/", **as_user)
    yield started
    assert started.poll() is None, "an attack ended a process of the host"
    started.send_signal(signal.SIGKILL)
    started.wait()


@pytest.fixture(scope="session")
def host(tmp_path_factory, canary_process):
    # Not below pytest's own directory, which only its user may enter.
    directory = Path("/tmp", f"codecage-range-{os.getpid()}")
    directory.mkdir(mode=0o755)
    canary = directory / "canary"
    canary.write_text("tweet")
    canary.chmod(0o666)
    shared = Path("/dev/shm", f"codecage-range-{os.getpid()}")
    shared.write_text("shared")
    abstract = f"codecage-range-{os.getpid()}"
    listeners = [_listener(socket.AF_INET, ("127.0.0.1", 0))]
    port = listeners[0].getsockname()[1]
    listeners.append(_listener(socket.AF_UNIX, str(directory / "stream")))
    listeners.append(_listener(socket.AF_UNIX, f"\0{abstract}"))
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagrams.bind(str(directory / "datagram"))
    for path in (directory / "stream", directory / "datagram"):
        path.chmod(0o777)
    yield Host(
        directory=str(directory),
        canary=str(canary),
        process=canary_process.pid,
        port=port,
        stream=str(directory / "stream"),
        datagram=str(directory / "datagram"),
        abstract=abstract,
        shared_memory=str(shared),
    )
    for listener in (*listeners, datagrams):
        listener.close()
    shared.unlink()
    subprocess.run(["/usr/bin/rm", "-rf", str(directory)], check=True)


def _listener(family, address):
    made = socket.socket(family)
    made.bind(address)
    made.listen()
    return made


@pytest.fixture(scope="session")
def as_root(host):
    if os.geteuid() != 0:
        pytest.skip("only root gives each box a host user of its own")
    yield from _started(host, None)


@pytest.fixture(scope="session")
def unprivileged(host):
    if os.geteuid() == 0 and not Path("/usr/bin/python3").exists():
        pytest.skip("no Python here that another user can run")
    yield from _started(host, TESTER if os.geteuid() == 0 else None)


def _started(host, user):
    started = Range(user=user)
    started.ask(hold=host.canary)
    yield started
    started.close()
