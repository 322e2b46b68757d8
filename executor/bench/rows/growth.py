"""
How cost grows with the sessions that are there, with a file, and with what a cell prints.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from executor.bench.contest import Curve, Failed, Setting
from executor.bench.servers import (
    MILLI,
    built,
    children_here,
    expect,
    first_result,
    memory,
    policy,
    ran,
    seconds,
    serving,
)

_TIMES: Final = 5
_ROOM: Final = 2 * 2**30  # bytes of the machine's memory that are left to others
_SCRATCH: Final = "filesystem: [{mount: /work, source: scratch, access: read-write, quota: 256Mi}]"
_SESSIONS: Final = (1, 3, 10, 30, 100, 300, 1000)
_BYTES: Final = (1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)


def sessions(_setting: Setting, stack: ExitStack) -> Callable[[int], list[float]]:
    """
    A one-line cell of the newest session while so many are there.
    """
    return _held(stack, lambda session: seconds(lambda: expect(session, "1 + 1", "2")) * MILLI)


def weight(_setting: Setting, stack: ExitStack) -> Callable[[int], list[float]]:
    """
    The PSS of a server with so many sessions, and all its processes.
    """
    measure = _held(stack, lambda _: 0.0)

    def at(point: int) -> list[float]:
        measure(point)
        return [memory(children_here())]

    return at


def _held(stack: ExitStack, act: Callable[..., float]) -> Callable[[int], list[float]]:
    built("core")
    cage = serving(stack, dict([policy("any", "core")]), sessions=2 * _SESSIONS[-1])
    there = [stack.enter_context(first_result(cage, "any", "core"))]

    def at(point: int) -> list[float]:
        while len(there) < point:
            if _available() < _ROOM:
                raise Failed(f"the machine's memory ends at {len(there)} sessions")
            there.append(stack.enter_context(first_result(cage, "any", "core")))
        return [act(there[-1]) for _ in range(_TIMES)]

    return at


def _available() -> int:
    with open("/proc/meminfo") as told:  # noqa: PTH123 - a file of the kernel's, read by line
        found = dict(line.split(":") for line in told)
    return int(found["MemAvailable"].split()[0]) * 1024


def files(_setting: Setting, stack: ExitStack) -> Callable[[int], list[float]]:
    """
    A file of so many bytes to a session and back.
    """
    built("core")
    cage = serving(stack, dict([policy("any", "core", _SCRATCH)]))
    session = stack.enter_context(cage.session("any", image="core"))

    def once(data: bytes) -> float:
        began = time.perf_counter()
        session.put("/work/grown", data)
        if len(session.get("/work/grown")) != len(data):
            raise Failed("another file came back")
        return (time.perf_counter() - began) * MILLI

    return lambda point: [once(bytes(point)) for _ in range(_TIMES if point < 10**7 else 2)]


def output(_setting: Setting, stack: ExitStack) -> Callable[[int], list[float]]:
    """
    A cell that prints so many bytes, in blocks of 64 KiB.
    """
    built("core")
    cage = serving(stack, dict([policy("any", "core")]))
    session = stack.enter_context(cage.session("any", image="core"))
    ran(session, "import sys\nblock = 'x' * 65535 + '\\n'")

    def at(point: int) -> list[float]:
        whole, rest = divmod(point, 65536)
        code = f"for _ in range({whole}): sys.stdout.write(block)\nsys.stdout.write(block[:{rest}])"
        times = _TIMES if point < 10**7 else 2
        return [seconds(lambda: ran(session, code)) * MILLI for _ in range(times)]

    return at


CURVES: Final = (
    Curve("sessions", "a one-line cell while more sessions are there", "sessions", "ms",
          _SESSIONS, sessions),
    Curve("weight", "PSS of a server with its sessions", "sessions", "MiB", _SESSIONS, weight),
    Curve("files", "a file to a session and back", "bytes", "ms", _BYTES, files),
    Curve("printed", "a cell that prints", "bytes", "ms", _BYTES[:-1], output),
)  # fmt: skip
