"""
The process cage through gRPC: create to first result with and without a parked box, a one-line
cell, the private memory of an idle session, CPU against plain Python, the end of a fork bomb.

Floors, in the same run: an empty gRPC call, a bare fork and end of a Python that has imported what
the image has, the programs of bench_cpu.py on the Python that runs this file.
"""

import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_cpu import PROGRAMS, ROUNDS, TIMED
from bench_sessions import health_check, tree
from measure import Row, alternating_ms, timed_ms

import agent_client
from executor.process import images

IMAGE = "native-data"
POLICY = """\
version: 1
name: boxed
description: A benchmark's.
cage: process
image: [native-data, native-core]
filesystem:
  - {{mount: /work, source: scratch, access: read-write, quota: 8Mi, max_files: {files}}}
network: none
{process}
limits: {{memory: 1Gi, cpu_time: 1h, wall_time: 60s, output: 1Mi}}
"""
FORK = "process: {fork: true}"
BOMB = """
import os, time
print('on', flush=True)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""
# The bomb has as many processes as its policy lets it; a parked box has two or three.
BOMB_LEAST, PARKED_MOST = 30, 12
# A Python that forks and waits, which has imported what the image has.
FORKING = """
import os, sys, time
sys.path.append(sys.argv[1])
import numpy, pandas, scipy, PIL.Image, gc
gc.collect(); gc.freeze()
for line in sys.stdin:
    started = time.perf_counter()
    pid = os.fork()
    if not pid: os._exit(0)
    os.waitpid(pid, 0)
    print((time.perf_counter() - started) * 1000, flush=True)
"""


def rows():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "boxed.yaml").write_text(POLICY.format(files=50, process=""))
        # Each is a policy of its own, whose first session has no box parked for it.
        for number in range(ROUNDS):
            text = POLICY.format(files=60 + number, process="").replace("boxed", f"cold{number}")
            (folder / f"cold{number}.yaml").write_text(text)
        text = POLICY.format(files=50, process=FORK).replace("name: boxed", "name: bomb")
        (folder / "bomb.yaml").write_text(text)
        with agent_client.connect(policies=folder) as cage:
            yield from measured(cage)


def measured(cage):
    create(cage, "boxed")
    fork = statistics.median(forks(30))
    time.sleep(1.0)
    parked = statistics.median(spaced(cage, 20))
    yield Row(
        "process cage: create to first result, box parked", parked, 8, "ms", fork, "bare fork"
    )
    cold = statistics.median(timed_ms(lambda n=n: create(cage, f"cold{n}")) for n in range(ROUNDS))
    yield Row("process cage: create to first result, no box", cold, 40, "ms", fork, "bare fork")
    empty = health_check(cage.address)
    with cage.session("boxed", image=IMAGE) as session:
        cell, call = alternating_ms(lambda: session.run("1 + 1"), empty, 300)
    yield Row("process cage: a one-line cell", cell, 1.2, "ms", call, "empty gRPC call")
    yield Row("process cage: private memory of an idle session", private(cage), 4, "MiB")
    ratios = dict(speed(cage))
    detail = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    mean = math.prod(ratios.values()) ** (1 / len(ratios))
    yield Row(f"process cage: CPU, geometric mean ({detail})", mean, 1.02, "x plain Python")
    yield Row("process cage: a fork bomb is over after", bomb(cage), 1000, "ms")


def create(cage, policy):
    with cage.session(policy, image=IMAGE) as session:
        assert session.run("1 + 1").value == "2"


def spaced(cage, count):
    """One session after another, with time between them for the next box to be made."""
    for _ in range(count):
        time.sleep(0.3)
        started = time.perf_counter()
        session = first_result(cage)
        yield (time.perf_counter() - started) * 1000
        session.close()


def first_result(cage):
    session = cage.session("boxed", image=IMAGE)
    assert session.run("1 + 1").value == "2"
    return session


def forks(count):
    site = images.find(IMAGE).site_packages[0]
    command = [sys.executable, "-I", "-c", FORKING, site]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        for _ in range(count):
            process.stdin.write("\n")
            process.stdin.flush()
            yield float(process.stdout.readline())
        process.stdin.close()


def private(cage):
    """The median Private_Dirty of ten sessions that have run a cell, in MiB."""
    before = set(tree(os.getpid()))
    sessions = [cage.session("boxed", image=IMAGE) for _ in range(10)]
    for session in sessions:
        assert session.run("x = 1").ok
    found = [dirty(pid) for pid in set(tree(os.getpid())) - before]
    for session in sessions:
        session.close()
    return statistics.median(one for one in found if one)


def dirty(pid):
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(re.search(r"Private_Dirty: +(\d+)", text)[1]) / 1024


def speed(cage):
    """Each program's time in a box against the same Python's outside, the best of several."""
    with cage.session("boxed", image="native-core") as session:
        for name, program in PROGRAMS.items():
            session.run(program)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                ours.append(eval(eval(session.run(TIMED).value))[0])
                theirs.append(plain(program))
            yield name, min(ours) / min(theirs)


def plain(program):
    space = {}
    exec(program, space)
    started = time.perf_counter()
    space["work"]()
    return time.perf_counter() - started


def bomb(cage):
    """From the word to end a session until its fork bomb is gone; boxes that are parked stay."""
    before = set(tree(os.getpid()))
    session = cage.session("bomb", image="native-core")
    cell = iter(session.stream(BOMB))
    next(cell), next(cell)
    time.sleep(0.5)
    born = set(tree(os.getpid())) - before
    assert len(born) > BOMB_LEAST, "the bomb did not go off"
    started = time.perf_counter()
    session.close()
    while sum(alive(pid) for pid in born) > PARKED_MOST:
        time.sleep(0.002)
    return (time.perf_counter() - started) * 1000


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    for row in rows():
        print(row.data())
