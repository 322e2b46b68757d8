"""
What is the process cage's alone: a zygote's attack on its own boxes, and the end of fork bombs.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from agent_client.client import Cage
from executor.bench.contest import Act, Better, Contestant, Failed, Role, Row, Setting
from executor.bench.servers import MILLI, Asked, built, children_here, policy, serving

_BOMB: Final = """
import os, time
print('on', flush=True)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
"""
# A box has 64 tasks at most, so several sessions make the bomb; a parked box has two or three.
_BOMBS: Final = 4
_BOMB_LEAST: Final = 200
_PARKED_MOST: Final = 12
_BORN_SECONDS: Final = 30.0
_ATTACKED: Final = """
import sys, time
from executor.process import images, jail, slots, zygote_boxes, zygote_lock
own = slots.claim()
zygote_lock.lock(own)
jail.prepare()
boxes = zygote_boxes.Boxes(images.find("native-core"), own)
for line in sys.stdin:
    began = time.perf_counter()
    boxes.attacked()
    print(time.perf_counter() - began, flush=True)
"""
_FORKED: Final = """
import os, sys, time
for line in sys.stdin:
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    print(time.perf_counter() - began, flush=True)
"""
_KILLED: Final = """
import os, signal, sys, time
for line in sys.stdin:
    born = []
    for _ in range(200):
        child = os.fork()
        if child == 0:
            time.sleep(1000)
        born.append(child)
    began = time.perf_counter()
    for child in born: os.kill(child, signal.SIGKILL)
    for child in born: os.waitpid(child, 0)
    print(time.perf_counter() - began, flush=True)
"""


def boxes(_setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    The two, each beside what it cannot be below.
    """
    more = "process: {fork: true}"
    cage = serving(stack, dict([policy("bomb", "native-core", more, cage="process")]))

    def bombs(_stack: ExitStack) -> Act:
        built("native-core")
        return lambda _case: _over_after(cage) * MILLI

    def asked(program: str, stack: ExitStack) -> Act:
        process = stack.enter_context(Asked(program))
        return lambda _case: process.number() * MILLI

    return [
        Contestant("a zygote's attack on two boxes", Role.OURS, lambda s: asked(_ATTACKED, s),
                   "bare fork", 40.0),
        Contestant("bare fork", Role.FLOOR, lambda s: asked(_FORKED, s), note="of a small Python"),
        Contestant("fork bombs of 200 are over", Role.OURS, bombs, "kill 200 forks", 500.0),
        Contestant("kill 200 forks", Role.FLOOR, lambda s: asked(_KILLED, s)),
    ]  # fmt: skip


def _over_after(cage: Cage) -> float:
    """
    From the word to end the sessions until their bombs are gone; parked boxes stay.
    """
    before = set(children_here())
    with ExitStack() as open_ones:
        sessions = [cage.session("bomb", image="native-core") for _ in range(_BOMBS)]
        for session in sessions:
            open_ones.callback(session.close)
        cells = [iter(session.stream(_BOMB)) for session in sessions]
        for cell in cells:
            next(cell), next(cell)
        born = _grown(before)
        began = time.perf_counter()
        with ThreadPoolExecutor(_BOMBS) as at_once:
            list(at_once.map(lambda session: session.close(), sessions))
        while sum(_alive(pid) for pid in born) > _PARKED_MOST:
            if time.perf_counter() - began > _BORN_SECONDS:
                raise Failed("the bombs outlive their sessions")
            time.sleep(0.002)
        return time.perf_counter() - began


def _grown(before: set[int]) -> set[int]:
    until = time.monotonic() + _BORN_SECONDS
    while len(born := set(children_here()) - before) < _BOMB_LEAST:
        if time.monotonic() > until:
            raise Failed(f"the bombs have {len(born)} processes")
        time.sleep(0.05)
    return born


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


ROWS: Final = (
    Row("boxes", "the process cage's self-test, and fork bombs", "ms", Better.LOWER, boxes),
)  # fmt: skip
