"""
Creating a session and running cells, through gRPC; and the memory of idle sessions.

Floors, in the same run: a bare fork and end of a process with the same guest booted, and an
empty gRPC call (the standard health check) on the same channel.
"""

import os
import re
import statistics
import subprocess
import time
from pathlib import Path

import grpc
from fresh import PAUSE, each
from measure import Row, alternating_ms

import agent_client


def rows():
    with agent_client.connect() as cage:
        pairs = [(created, fork) for _, created, fork in each(cage, "core", 60)]
        create, fork = (statistics.median(side) for side in zip(*pairs, strict=True))
        yield Row("create a session to its first result", create, 5, "ms", fork, "bare fork")
        alone = statistics.median(create_alone(cage) for _ in range(40))
        yield Row("create a session to its first result, no worker parked",
                  alone, 8, "ms", fork, "bare fork")  # fmt: skip
        empty = health_check(cage.address)
        busy, call = alternating_ms(lambda: create_and_close(cage), empty, 60)
        yield Row("sessions one after another: create, a cell, close",
                  busy, 20, "ms", call, "empty gRPC call")  # fmt: skip
        with cage.session() as session:
            cell, call = alternating_ms(lambda: session.run("1 + 1"), empty, 500)
        yield Row("a one-line cell in a live session", cell, 1.2, "ms", call, "empty gRPC call")
        yield Row("memory of one more idle session, PSS", idle_memory(cage), 4, "MB")


def create_alone(cage):
    """
    Just after another session has taken the worker that was parked.
    """
    with cage.session():
        started = time.perf_counter()
        with cage.session() as session:
            assert session.run("1 + 1").value == "2"
            took = time.perf_counter() - started
    time.sleep(PAUSE)
    return took * 1000


def create_and_close(cage):
    with cage.session() as session:
        assert session.run("1 + 1").value == "2"


def health_check(address):
    channel = grpc.insecure_channel(address)
    call = channel.unary_unary("/grpc.health.v1.Health/Check")
    return lambda: call(b"")


def idle_memory(cage, image="core", code="x = 1", count=20):
    """
    What one more session that has run `code` adds to the PSS of everything below this, in MB.

    The server's tree is summed with `count` sessions and with twice as many: pages that they
    share with their zygote are then counted once, however many there are.
    """
    sessions = []
    sums = []
    for _ in range(2):
        sessions += [cage.session(image=image) for _ in range(count)]
        for session in sessions[-count:]:
            assert session.run(code).ok
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
