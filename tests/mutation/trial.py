"""
One trial: tests in a copy of this process (fork(2)) in which functions have been exchanged.
"""

import mmap
import os
import signal
import struct
import time

import pytest
from _pytest.runner import runtestprotocol
from living import Exchange, NotExchangeable, make

# Seconds of the processor that a test may take beyond ten times what it took without a change, for
# a mutant that never ends; and seconds of the clock beyond thirty times that, for one that waits.
PATIENCE = 2.0
WAITING = 30.0
# What a copy ends with where its tests pass, where one fails, and where nothing could be exchanged.
PASSED, FAILED, BROKEN = 0, 1, 2


def failing(exchange: Exchange, tests: list[pytest.Item], took: dict[str, float]) -> str | None:
    """
    The first of the tests that fails where functions are exchanged, or that takes far longer than
    it `took` (seconds, by name); none where all pass.
    """
    with mmap.mmap(-1, 4) as place:  # shared: which test the copy is at
        child = os.fork()
        if child == 0:
            _copy(exchange, tests, took, place)
        status = _ended(child, tests, took, place)
        if status == PASSED:
            return None
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == BROKEN:
            raise NotExchangeable([code.co_qualname for _, code in exchange])
        return tests[_at(place)].nodeid


def _ended(child: int, tests: list[pytest.Item], took: dict[str, float], place: mmap.mmap) -> int:
    """
    How a copy ended (waitpid(2)); one that waits for too long is ended.
    """
    at, since, pause = 0, time.monotonic(), 0.0005
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if at != _at(place):
            at, since = _at(place), time.monotonic()
        if time.monotonic() - since > WAITING + 30 * took[tests[at].nodeid]:
            os.kill(child, signal.SIGKILL)
        time.sleep(pause)
        pause = min(2 * pause, 0.01)


def _at(place: mmap.mmap) -> int:
    return int(struct.unpack_from("I", place)[0])


def _copy(
    exchange: Exchange, tests: list[pytest.Item], took: dict[str, float], place: mmap.mmap
) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    status = FAILED  # what an error of the mutant's outside of a test comes to
    try:
        make(exchange)
        for number, item in enumerate(tests):
            struct.pack_into("I", place, 0, number)
            signal.setitimer(signal.ITIMER_PROF, PATIENCE + 10 * took[item.nodeid])  # ends us
            reports = runtestprotocol(item, nextitem=None, log=False)
            if any(report.failed for report in reports):
                return
        status = PASSED
    except NotExchangeable:
        status = BROKEN
    finally:
        os._exit(status)
