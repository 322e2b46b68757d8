"""
Fresh sessions, one at a time as an agent's loop makes them, and the floor beside each: a bare
fork and end of a process that has the same guest booted.
"""

import subprocess
import sys
import time

from measure import timed_ms

# The server makes the pool's next worker meanwhile; an agent thinks for longer.
PAUSE = 0.05
_FORKS = """
import gc, os, sys, time
from executor.images import catalog
from executor.images.bootable import parts
from executor.wasm.boot import boot
guest = boot(parts(catalog.find(sys.argv[1])))
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
    """A process with an image's guest booted, which forks and reaps one child when it is asked."""

    def __init__(self, image):
        self.process = subprocess.Popen(
            [sys.executable, "-c", _FORKS, image],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.fork_ms()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def fork_ms(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline()) * 1000


def each(cage, image, count, warm=5):
    """
    `count` times a new session, the milliseconds from asking for it to its first result, and
    those of a bare fork; `warm` sessions before them are not given.
    """
    with Forker(image) as forker:
        for index in range(count + warm):
            opened = []
            created = timed_ms(lambda opened=opened: opened.append(_first_result(cage, image)))
            with opened[0] as session:
                if index >= warm:
                    yield session, created, forker.fork_ms()
            time.sleep(PAUSE)


def _first_result(cage, image):
    session = cage.session(image=image)
    assert session.run("1 + 1").value == "2"
    return session
