"""
How a session's clock and connections are put on a tape, and have their answers from one.
"""

import socket
from collections.abc import Callable

from executor.wasm.line import HostLine, Line, NoLine, TapedLine
from executor.wasm.process import Clock, Process
from executor.wasm.tape import Input, ReplayedTape, Tape


def put_on_tape(process: Process, clock: Clock, tape: Tape) -> None:
    """
    Have a session's clock and its connections answer over `tape` from now on.
    """
    process.keep_time(TapedClock(clock, tape))
    replays = isinstance(tape, ReplayedTape)

    def line(number: int, stream: Callable[[], socket.socket]) -> Line:
        return TapedLine(NoLine(number) if replays else HostLine(stream()), tape)

    process.network.line = line


class TapedClock(Clock):
    """
    A clock whose every answer goes over a tape: see `Clock` for what it means.
    """

    def __init__(self, clock: Clock, tape: Tape) -> None:
        super().__init__(0)
        self.resolution_ns = clock.resolution_ns
        self._clock = clock
        self._tape = tape

    def wall_ns(self) -> int:
        """
        Nanoseconds since 1970.
        """
        return self._tape.number(Input.WALL, self._clock.wall_ns)

    def monotonic_ns(self) -> int:
        """
        Nanoseconds since the session began.
        """
        return self._tape.number(Input.MONOTONIC, self._clock.monotonic_ns)

    def cpu_ns(self) -> int:
        """
        CPU time.
        """
        return self._tape.number(Input.CPU, self._clock.cpu_ns)

    def waited_ns(self) -> int:
        """
        A clock for the length of waits.
        """
        return self._tape.number(Input.WAITED, self._clock.waited_ns)

    def wait(self, seconds: float, wait: Callable[[float], bool]) -> bool:
        """
        Wait, or in a replay be told at once how the wait ended.
        """
        return bool(self._tape.number(Input.WAIT, lambda: int(self._clock.wait(seconds, wait))))

    def wait_for(self, seconds: float, wait: Callable[[float], bool]) -> bool:
        """
        The same for connections.
        """
        return bool(
            self._tape.number(Input.WAIT_FOR, lambda: int(self._clock.wait_for(seconds, wait)))
        )
