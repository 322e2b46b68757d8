"""
A server with policies for guests that attack it, and what can be seen of both from outside.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from codecage.v1 import codecage_pb2 as pb
from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.frames import encode
from tests.e2e.serving import Server, private_directory, serving
from tests.executor.fakes.harness import ended

SECRET = "the-servers-own-secret-4711"
PATIENCE = 20
HEAD = "version: 1\nname: {0}\ndescription: a test's\ncage: process\nimage: native-core\n"
POLICIES = {
    "plain": "",
    "small": "limits: {memory: 64Mi, cpu_time: 1s, wall_time: 60s, scratch: 32Mi, requests: 10}\n",
    "brief": "limits: {wall_time: 1s}\n",
    "shared": "limits: {cpus: 0.1}\n",
    "forks": "process: {fork: true}\n",
    "granted": "filesystem:\n  - {mount: /data, source: {shown}, access: read}\n",
}


@contextlib.contextmanager
def attacked() -> Iterator[Server]:
    """
    A server that has a secret in its environment.
    """
    with private_directory() as directory, private_directory() as policies, _secret():
        policies.chmod(0o755)
        shown = policies / "shown"
        shown.mkdir()
        (shown / "a.txt").write_text("shown")
        for name, text in POLICIES.items():
            whole = HEAD.format(name) + text.replace("{shown}", str(shown))
            (policies / f"{name}.yaml").write_text(whole)
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
    for _ in range(100):
        found = held(server)
        if all(held(server) == found for _ in range(30)):
            return found
    raise AssertionError("what it holds changes all the time")


def comes_to(server: Server, wanted: tuple[int, int]) -> bool:
    """
    Whether that is held at last, while the server answers other calls.
    """
    end = time.monotonic() + PATIENCE
    while held(server) != wanted:
        if time.monotonic() > end:
            return False
    return True
