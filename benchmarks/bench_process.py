"""
The process cage through gRPC: create to first result with and without a parked box, a one-line
cell, the private memory of an idle session, CPU against plain Python, the end of fork bombs; and
what a zygote pays for the attack on its own box.

Floors, in the same run and in turn with what they stand beside: an empty gRPC call, a bare fork
and end of a Python that has imported what the image has, 200 forks that are killed, the programs
of bench_cpu.py in another process of the same Python, by the CPU time of the thread: others of
this machine are not in it.
"""

import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench_cpu import PROGRAMS, ROUNDS
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
# A box has 64 tasks at most, so several sessions make the bomb; a parked box has two or three.
BOMBS, BOMB_LEAST, PARKED_MOST = 4, 200, 12
PARKED, COLD, TESTS = 20, 9, 9
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
# By the clock of the thread: what other programs of this machine take is not counted.
TIMED = """
import time as _time
_started = _time.thread_time()
_result = work()
repr((_time.thread_time() - _started, _result))
"""
PLAIN = """
import json, sys
space = {}
for line in sys.stdin:
    *programs, last = json.loads(line)
    for program in programs: exec(program, space)
    print(json.dumps(eval(eval(last, space))), flush=True)
"""
ATTACKED = """
import sys, time
from executor.process import images, jail, slots, zygote_boxes, zygote_lock
own = slots.claim()
zygote_lock.lock(own)
jail.prepare()
boxes = zygote_boxes.Boxes(images.find("native-core"), own)
for line in sys.stdin:
    started = time.perf_counter()
    boxes.attacked()
    print((time.perf_counter() - started) * 1000, flush=True)
"""
KILLED = """
import os, signal, sys, time
for line in sys.stdin:
    born = []
    for _ in range(200):
        pid = os.fork()
        if not pid: time.sleep(1000)
        born.append(pid)
    started = time.perf_counter()
    for pid in born: os.kill(pid, signal.SIGKILL)
    for pid in born: os.waitpid(pid, 0)
    print((time.perf_counter() - started) * 1000, flush=True)
"""


def rows():
    if images.find(IMAGE) is None:
        print(f"left out: `codecage image build {IMAGE}` builds it", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "boxed.yaml").write_text(POLICY.format(files=50, process=""))
        # Each is a policy of its own, whose first session has no box parked for it.
        for number in range(COLD):
            text = POLICY.format(files=60 + number, process="").replace("boxed", f"cold{number}")
            (folder / f"cold{number}.yaml").write_text(text)
        text = POLICY.format(files=50, process=FORK).replace("name: boxed", "name: bomb")
        (folder / "bomb.yaml").write_text(text)
        with agent_client.connect(policies=folder) as cage:
            yield from measured(cage)


def measured(cage):
    create(cage, "boxed")
    with asked([sys.executable, "-I", "-c", FORKING, images.find(IMAGE).site_packages[0]]) as fork:
        time.sleep(1.0)
        parked, floor = in_turn(spaced(cage, PARKED), fork)
        yield Row("process cage: create to first result, box parked", parked, 4, "ms", *floor)
        alone = (timed_ms(lambda n=n: create(cage, f"cold{n}")) for n in range(COLD))
        cold, floor = in_turn(alone, fork)
        yield Row("process cage: create to first result, no box", cold, 8, "ms", *floor)
        with asked([sys.executable, "-c", ATTACKED]) as attacked:
            tested, floor = in_turn((float(attacked("")) for _ in range(TESTS)), fork)
            yield Row("process cage: a zygote's attack on two boxes", tested, 40, "ms", *floor)
    empty = health_check(cage.address)
    with cage.session("boxed", image=IMAGE) as session:
        cell, call = alternating_ms(lambda: session.run("1 + 1"), empty, 300)
    yield Row("process cage: a one-line cell", cell, 1.2, "ms", call, "empty gRPC call")
    yield Row("process cage: private memory of an idle session", private(cage), 4, "MiB")
    ratios = dict(speed(cage))
    detail = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    mean = math.prod(ratios.values()) ** (1 / len(ratios))
    yield Row(f"process cage: CPU, geometric mean ({detail})", mean, 1.02, "x plain Python")
    with asked([sys.executable, "-I", "-c", KILLED]) as killed:
        floor = float(killed("")), "kill and wait for 200 forks"
        yield Row("process cage: fork bombs of 200 are over after", bombs(cage), 500, "ms", *floor)


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


@contextmanager
def asked(command):
    """A function that sends the process a line, and returns the line that it answers."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(line):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            return process.stdout.readline()

        yield ask
        process.stdin.close()


def in_turn(figures, fork):
    """The medians of figures, and of bare forks between them with what they are called."""
    pairs = [(figure, float(fork(""))) for figure in figures]
    figure, floor = (statistics.median(side) for side in zip(*pairs, strict=True))
    return figure, (floor, "bare fork")


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
    """Each program's CPU time in a box against the same Python's outside, the best of several."""
    with (
        cage.session("boxed", image="native-core") as session,
        asked([sys.executable, "-I", "-c", PLAIN]) as plain,
    ):
        for name, program in PROGRAMS.items():
            session.run(program)
            setting, last = TIMED.strip().rsplit("\n", 1)
            lines = json.dumps([program, setting, last])
            pairs = [
                (eval(eval(session.run(TIMED).value)), json.loads(plain(lines)))
                for _ in range(ROUNDS)
            ]
            assert all(ours[1] == theirs[1] for ours, theirs in pairs), name
            ours, theirs = (min(one[0] for one in side) for side in zip(*pairs, strict=True))
            yield name, ours / theirs


def bombs(cage):
    """From the word to end sessions until their fork bombs are gone; parked boxes stay."""
    before = set(tree(os.getpid()))
    sessions = [cage.session("bomb", image="native-core") for _ in range(BOMBS)]
    cells = [iter(session.stream(BOMB)) for session in sessions]
    for cell in cells:
        next(cell), next(cell)
    born = grown(before)
    started = time.perf_counter()
    with ThreadPoolExecutor(BOMBS) as at_once:
        list(at_once.map(lambda session: session.close(), sessions))
    while sum(alive(pid) for pid in born) > PARKED_MOST:
        time.sleep(0.002)
    return (time.perf_counter() - started) * 1000


def grown(before):
    """The processes that the bombs have made, once there are as many as are asked."""
    until = time.monotonic() + 30
    while len(born := set(tree(os.getpid())) - before) < BOMB_LEAST:
        assert time.monotonic() < until, f"the bombs have {len(born)} processes"
        time.sleep(0.05)
    return born


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if __name__ == "__main__":
    for row in rows():
        print(row.data())
