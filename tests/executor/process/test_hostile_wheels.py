"""
What a hostile package can do when a native zygote imports it, with the lock and without.

Green does not prove that it can do no harm: it reads what the zygote's user may read, and every
box of its image is a copy of what it has made of the zygote.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from executor.children.launcher import program
from executor.process.slots import BLOCK
from tests.executor.process.test_zygote_native import CORE, started

PATIENCE = 60
ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class Host:
    """
    What is attacked, and an empty directory for the package.
    """

    site: Path
    directory: Path
    port: int
    path: str
    pid: int


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    site, directory = tmp_path / "site", tmp_path / "data"
    site.mkdir()
    directory.mkdir()
    (directory / "there").write_text("there")
    path = f"/tmp/codecage-lock-{os.getpid()}"
    victim = subprocess.Popen(["/usr/bin/sleep", "infinity"])
    with (
        socket.create_server(("127.0.0.1", 0)) as network,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        for listener, address in ((named, path), (abstract, f"\0{path}")):
            listener.bind(address)
            listener.listen()
        yield Host(site, directory, network.getsockname()[1], path, victim.pid)
    Path(path).unlink()
    victim.send_signal(signal.SIGKILL)
    victim.wait()


def imported(host: Host, how: str) -> dict[str, str]:
    command = program(
        "tests.executor.process.hostile_zygote",
        how,
        str(host.site),
        str(host.directory),
        str(host.port),
        host.path,
        str(host.pid),
    )
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr.decode()
    if how == "locked" and "apart" not in done.stderr.decode():
        pytest.skip("this host gives no namespaces to a process without rights")
    said: dict[str, str] = json.loads(done.stdout)
    return said


REFUSED = {
    "write a file of the host": "EROFS",
    "change rights of a file of the host": "EROFS",
    "remove a file of the host": "EROFS",
    "write through the root of another process": "EACCES",
    "undo what makes it read-only": "EPERM",
    "set the kernel": "EROFS",
    "open the disk": "EACCES",
    "connect to the network": "ENETUNREACH",
    "connect to a socket of the host": "EPERM",
    "connect to an abstract socket": "EPERM",
    "trace a process": "EPERM",
    "read the memory of a process": "EACCES",
    "be another user": "EINVAL",
    "enter the namespace of a process": "EACCES",
    "name the host": "EPERM",
    "make a device": "EROFS",
    "call unseen": "ENOSYS",
    "talk to the machine below": "EPERM",
    "have packets": "EPERM",
    "change the root": "EPERM",
}


def test_a_package_that_turns_against_the_host_is_refused_everything(host: Host) -> None:
    assert imported(host, "locked") == REFUSED
    assert sorted(path.name for path in host.directory.iterdir()) == ["there"]


@pytest.mark.skipif(not ROOT, reason="what only root may do is tried")
def test_without_the_lock_the_same_package_has_the_host(host: Host) -> None:
    said = imported(host, "unlocked")
    # What this machine is without, nobody can have.
    absent = {"talk to the machine below", "open the disk", "call unseen"}
    assert {name for name, end in said.items() if end != "it succeeded"} <= absent
    assert said.keys() == REFUSED.keys()


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_a_zygote_that_serves_has_few_rights_in_namespaces_of_its_own() -> None:
    with started(CORE.name, CORE.key) as zygote:
        pid = zygote._process.pid
        found = status(pid)
        rights = "00000000000000c2" if ROOT else "0000000000000000"
        assert found["CapPrm"] == found["CapEff"] == rights
        assert {found[name] for name in ("CapInh", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
        for kind in ("user", "mnt", "net", "ipc"):
            there = Path(f"/proc/{pid}/ns/{kind}").readlink()
            assert there != Path(f"/proc/self/ns/{kind}").readlink()
        mapped = [line.split() for line in Path(f"/proc/{pid}/uid_map").read_text().splitlines()]
        assert mapped[0] == [str(os.geteuid()), str(os.geteuid()), "1"]
        assert [row[2] for row in mapped[1:]] == ([str(BLOCK)] if ROOT else [])


def test_a_descriptor_of_the_host_that_is_left_open_is_refused(tmp_path: Path) -> None:
    code = "from executor.process import zygote_lock, slots; zygote_lock.lock(slots.claim())"
    with (tmp_path / "left").open("w") as left:
        done = subprocess.run(
            [sys.executable, "-c", code],
            pass_fds=[left.fileno()],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.returncode == 1
    assert b"close everything but sockets" in done.stderr


WHERE_IT_IS = """
import json, os
from executor.linux.libc import call
from executor.process import slots, zygote_lock
locked = zygote_lock.lock(slots.claim())
try:
    call("ptrace", 16, os.getppid(), 0, 0)
    said = "traced"
except OSError as error:
    said = error.strerror
fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
held = {name: fields[name].strip() for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")}
print(json.dumps([locked.hold.value, bool(locked.reason), said, held]))
"""


def test_where_there_are_no_namespaces_it_keeps_what_boxes_need_there_and_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.without_namespaces", sys.executable, "-c", WHERE_IT_IS],
        capture_output=True,
        timeout=PATIENCE,
        check=True,
    )
    hold, explained, said, held = json.loads(done.stdout)
    assert (hold, explained, said) == ("where it is", True, "Operation not permitted")
    # CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, SETPCAP, SYS_PTRACE, SYS_ADMIN.
    wanted = 0x2801EB if ROOT else 0
    assert int(held["CapEff"], 16) == wanted & int(status(os.getpid())["CapPrm"], 16)
    assert (held["NoNewPrivs"], int(held["Seccomp"])) == ("1", 2)
    assert not ROOT or int(held["CapBnd"], 16) == 0
