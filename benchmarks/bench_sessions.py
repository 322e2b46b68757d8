"""
Creating a session and running cells, through gRPC; and the memory of idle sessions.

Floors, in the same run: a bare fork and end of a process with the same guest booted, and an
empty gRPC call (the standard health check) on the same channel.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import grpc
from measure import Row, alternating_ms

import agent_client

_FORKS = """
import gc, os, sys, time
from executor.images import catalog
from executor.images.bootable import parts
from executor.wasm.boot import boot
guest = boot(parts(catalog.find("core")))
gc.collect(); gc.freeze()
for line in sys.stdin:
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    print(time.perf_counter() - started, flush=True)
"""


class Forker:
    """A process with the guest booted, which forks and reaps one child when it is asked."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", _FORKS],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.fork()

    def fork(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def rows():
    forker = Forker()
    with agent_client.connect() as cage:

        def create_and_run():
            with cage.session() as session:
                assert session.run("1 + 1").value == "2"

        create, fork = alternating_ms(create_and_run, forker.fork, 100)
        forker.close()
        yield Row("create a session and run its first cell", create, 12, "ms", fork, "bare fork")
        with cage.session() as session:
            empty = health_check(cage.address)
            cell, call = alternating_ms(lambda: session.run("1 + 1"), empty, 500)
        yield Row("a one-line cell in a live session", cell, 1.2, "ms", call, "empty gRPC call")
        yield Row("memory of one more idle session, PSS", idle_memory(cage), 5, "MB")


def health_check(address):
    channel = grpc.insecure_channel(address)
    call = channel.unary_unary("/grpc.health.v1.Health/Check")
    return lambda: call(b"")


def idle_memory(cage, count=20):
    """
    What one more session adds to the PSS of everything below this process, in MB.

    The server's tree is summed with `count` sessions and with twice as many: pages that they
    share with their zygote are then counted once, however many there are.
    """
    sessions = []
    sums = []
    for _ in range(2):
        sessions += [cage.session() for _ in range(count)]
        for session in sessions[-count:]:
            session.run("x = 1")
        sums.append(sum(pss(pid) for pid in tree(os.getpid())))
    for session in sessions:
        session.close()
    return (sums[1] - sums[0]) / count


def tree(top):
    """The processes below `top`, itself left out."""
    table = subprocess.run(
        ["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    parents = {int(p): int(q) for p, q in (line.split() for line in table.stdout.splitlines())}
    found, new = set(), {top}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new}
        found |= new
    return sorted(pid for pid in found if Path(f"/proc/{pid}/smaps_rollup").exists())


def pss(pid):
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0  # it has ended: ps itself, for one
    return int(re.search(r"Pss:\s+(\d+)", text).group(1)) / 1000


if __name__ == "__main__":
    for row in rows():
        print(row.data())
