"""
How the guest's one thread waits: for the time, for an interrupt, or for a connection.

Nothing inside the worker becomes ready while it waits, since nothing else runs; only the host's
ends of connections do. So a wait is a poll(2) of those, and the wake-up that an interrupt is.
"""

import math
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from executor.wasm.abi import POLLERR, POLLHUP

if TYPE_CHECKING:
    from executor.wasm.openfiles import OpenFile

# poll(2) takes milliseconds as an int: 24 days.
_POLL_MAX_MS: Final = 2**31 - 1
# What poll(2) tells whether it was asked for it or not.
ALWAYS: Final = POLLERR | POLLHUP


class Waited(Enum):
    """
    How a wait ended.
    """

    READY = auto()
    OVER = auto()
    INTERRUPTED = auto()


def poll(descriptors: Mapping[int, int], seconds: float) -> None:
    """
    Wait until one of the host's descriptors has one of its poll(2) events, or `seconds` are over.
    """
    poller = select.poll()
    for descriptor, events in descriptors.items():
        poller.register(descriptor, events)
    poller.poll(None if seconds == math.inf else min(math.ceil(seconds * 1000), _POLL_MAX_MS))


def alone(descriptors: Mapping[int, int], seconds: float) -> bool:
    """
    Wait where nobody interrupts.
    """
    poll(descriptors, seconds)
    return False


@dataclass(slots=True)
class Sleeper:
    """
    How the guest waits: `wait(seconds)` returns early, and true, when the cell is interrupted.

    `wait_for(descriptors, seconds)` also returns early when one of the host's descriptors has one
    of the poll(2) events that it stands for there.
    """

    wait: Callable[[float], bool]
    wait_for: Callable[[Mapping[int, int], float], bool] = alone
    # Nanoseconds, by which the length of a wait is told.
    now_ns: Callable[[], int] = time.monotonic_ns


class Waker:
    """
    A wake-up for the main thread, given by the watchdog: a byte on a pair of sockets.

    Made before the worker's lock, under which no socket can be made and nothing but sockets be
    written to. The caller sees to it that one thread at a time uses `wake` and `clear`.
    """

    def __init__(self) -> None:
        self._waiting, self._waking = socket.socketpair()
        self.woken = False

    @property
    def descriptors(self) -> frozenset[int]:
        """
        What has to stay open.
        """
        return frozenset({self._waiting.fileno(), self._waking.fileno()})

    def close(self) -> None:
        """
        Let go of the sockets.
        """
        self._waiting.close()
        self._waking.close()

    def wake(self) -> None:
        """
        End the wait that is under way, or the next one at once.
        """
        if not self.woken:
            self.woken = True
            self._waking.send(b"\0", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)

    def clear(self) -> None:
        """
        Let the next wait last.
        """
        if self.woken:
            self.woken = False
            self._waiting.recv(1, socket.MSG_DONTWAIT)

    def wait(self, descriptors: Mapping[int, int], seconds: float) -> bool:
        """
        Wait for the wake-up, for a descriptor or for the time; whether it was the wake-up.
        """
        poll({**descriptors, self._waiting.fileno(): select.POLLIN}, seconds)
        return self.woken


def wait_until(
    sleeper: Sleeper,
    done: Callable[[], bool],
    descriptors: Callable[[], Mapping[int, int]],
    seconds: float,
) -> Waited:
    """
    Wait until `done`, which is asked again whenever one of `descriptors` has one of its events.

    An event need not be what was waited for (a connection that is made can be written to, and not
    yet read). Where there is no descriptor, nothing can change but the time.
    """
    left = seconds
    started: int | None = None
    while not done():
        wanted = descriptors()
        if not wanted:
            # It may have happened between the two looks, and then nothing will wake us.
            if done():
                return Waited.READY
            return Waited.INTERRUPTED if sleeper.wait(left) else Waited.OVER
        if left <= 0:
            return Waited.OVER
        # No clock is looked at before there is something to wait for.
        started = sleeper.now_ns() if started is None else started
        if sleeper.wait_for(wanted, left):
            return Waited.INTERRUPTED
        left = max(seconds - (sleeper.now_ns() - started) / 1e9, 0)
    return Waited.READY


def wait_until_ready(
    sleeper: Sleeper, wanted: Sequence[tuple["OpenFile", int]], seconds: float
) -> Waited:
    """
    Wait until one of the open files has one of the poll(2) events that it is paired with.
    """
    return wait_until(
        sleeper,
        lambda: any(file.ready() & (events | ALWAYS) for file, events in wanted),
        lambda: _descriptors(wanted),
        seconds,
    )


def _descriptors(wanted: Sequence[tuple["OpenFile", int]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for file, events in wanted:
        waits = file.waits_on(events)
        if waits is not None:
            found[waits[0]] = found.get(waits[0], 0) | waits[1]
    return found
