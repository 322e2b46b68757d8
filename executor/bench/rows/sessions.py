"""
Sessions: made to their first result, made and used by many clients, and what one more weighs.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

import agent_client
from agent_client.client import Cage
from executor.bench import peers
from executor.bench.contest import Act, Better, Contestant, Effort, Role, Row, Setting
from executor.bench.servers import (
    MILLI,
    Asked,
    children_here,
    empty_call,
    expect,
    first_result,
    memory,
    policy,
    seconds,
    serving,
    tree,
    with_packages,
)
from executor.process import images as native_images

# An agent thinks for longer than a pool takes to make the next worker, or a zygote the next box.
_PAUSE: Final = {"core": 0.05, "web": 0.05, "data": 0.05, "native-data": 0.3}
_AIMS: Final = {"core": 5.0, "data": 5.0, "native-data": 4.0}
# A process with an image's guest booted, which forks a child, hears one byte of it, and reaps it.
_FORKS: Final = """
import gc, os, socket, sys, time
def forked():
    began = time.perf_counter()
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        theirs.send(b"x")
        os._exit(0)
    ours.recv(1)
    took = time.perf_counter() - began
    os.waitpid(child, 0)
    ours.close()
    theirs.close()
    return took
gc.collect(); gc.freeze()
for line in sys.stdin:
    print(forked(), flush=True)
"""
_BOOTED: Final = """
import sys
from executor.images import catalog
from executor.images.bootable import parts
from executor.wasm.boot import boot
guest = boot(parts(catalog.find(sys.argv[1])))
"""
_IMPORTED: Final = """
import sys
sys.path.append(sys.argv[1])
import numpy, pandas, scipy, PIL.Image
"""
_HELD: Final = 8
_CLIENTS: Final = (1, 4, 16, 64)
_BURST: Final = 1.0  # seconds that clients work in one sample, at most


def create(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    From asking for a session to the result of its first cell.
    """
    cage = serving(stack, dict([policy("any", "[core, data, native-data]")]))
    found = []
    for image in ("core", "data", "native-data"):
        floor = f"fork, {image}"
        found += [
            Contestant(
                image,
                Role.OURS,
                _parked(cage, image, setting.effort),
                floor,
                _AIMS[image],
                "parked",
            ),
            Contestant(
                floor, Role.FLOOR, _fork(image, setting.effort), note="bare fork + socketpair"
            ),
        ]
    alone = "just after another took the parked one"
    found += [
        Contestant(f"{image}, none parked", Role.OURS, _alone(cage, image, setting.effort),
                   f"fork, {image}", 8.0, alone)
        for image in ("core", "native-data")
    ]  # fmt: skip
    return [*found, *peers.contestants(setting, "create", MILLI)]


def _parked(cage: Cage, image: str, effort: Effort) -> Callable[[ExitStack], Act]:
    def begin(_stack: ExitStack) -> Act:
        with_packages(image, effort)
        first_result(cage, "any", image).close()

        def act(_case: str) -> float:
            time.sleep(_PAUSE[image])
            began = time.perf_counter()
            session = first_result(cage, "any", image)
            took = time.perf_counter() - began
            session.close()
            return took * MILLI

        return act

    return begin


def _alone(cage: Cage, image: str, effort: Effort) -> Callable[[ExitStack], Act]:
    def begin(_stack: ExitStack) -> Act:
        with_packages(image, effort)
        first_result(cage, "any", image).close()

        def act(_case: str) -> float:
            time.sleep(_PAUSE[image])
            with cage.session("any", image=image):
                began = time.perf_counter()
                session = first_result(cage, "any", image)
                took = time.perf_counter() - began
                session.close()
            return took * MILLI

        return act

    return begin


def _fork(image: str, effort: Effort) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        with_packages(image, effort)
        made, where = _BOOTED, image
        if image in native_images.names() and (found := native_images.find(image)) is not None:
            made, where = _IMPORTED, str(found.site_packages[0])
        forks = stack.enter_context(Asked(made + _FORKS, where))
        return lambda _case: forks.number() * MILLI

    return begin


def held(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    What one more idle session adds to the PSS of everything, as the difference of two sums.
    """
    cage = serving(stack, dict([policy("any", "[core, data, native-data]")]))
    found = []
    for image, aim in (("core", 4.0), ("data", 8.0), ("native-data", 4.0)):
        floor = f"private dirty, {image}"
        found += [
            Contestant(image, Role.OURS, _weighed(cage, image, "Pss", setting.effort), floor, aim),
            Contestant(floor, Role.FLOOR, _weighed(cage, image, "Private_Dirty", setting.effort),
                       note="pages that it alone has written"),
        ]  # fmt: skip
    return [*found, *_peers_held(setting)]


def _weighed(cage: Cage, image: str, kind: str, effort: Effort) -> Callable[[ExitStack], Act]:
    def begin(_stack: ExitStack) -> Act:
        with_packages(image, effort)
        first_result(cage, "any", image).close()

        def act(_case: str) -> float:
            with ExitStack() as sessions:
                sums = []
                for _ in range(2):
                    for _ in range(_HELD):
                        session = sessions.enter_context(cage.session("any", image=image))
                        session.run("x = 1")
                    time.sleep(_PAUSE[image])  # the parked one is there in both sums
                    sums.append(memory(children_here(), kind))
                return (sums[1] - sums[0]) / _HELD

        return act

    return begin


def _peers_held(setting: Setting) -> list[Contestant]:
    def beginning(peer: peers.Peer, stack: ExitStack) -> Act:
        peers.begun(peer, setting, stack)
        count = 2 if peer.home is peers.Home.NODE else 4

        def act(_case: str) -> float:
            # A process of its own each time: what a pool keeps would be found in both sums.
            with ExitStack() as own:
                driven = peers.begun(peer, setting, own)
                sums = []
                for _ in range(2):
                    driven.ask("hold", count=count)
                    sums.append(memory([driven.pid, *tree(driven.pid)]))
                return (sums[1] - sums[0]) / count

        return act

    return [
        Contestant(one.name, Role.PEER, lambda stack, one=one: beginning(one, stack), note=one.says)  # type: ignore[misc]
        for one in peers.PEERS
    ]


def rate(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    Sessions a second (create, a cell, close) and cells a second, by 1 to 64 clients.
    """
    cage = serving(stack, dict([policy("any", "[core, data, native-data]")]))
    call = empty_call(stack, cage.address)
    lasting = min(_BURST, setting.effort.seconds / 2)
    found = [
        Contestant("cores x fork rate", Role.FLOOR, _fork_rate),
    ]
    for clients in _CLIENTS:
        who = f"{clients} clients" if clients > 1 else "1 client"
        calls = f"empty gRPC calls, {who}"
        found += [
            Contestant(f"sessions, {who}", Role.OURS, _sessions(cage, clients, lasting),
                       "cores x fork rate", 300.0),
            Contestant(f"cells, {who}", Role.OURS, _cells(cage, clients, lasting), calls, 2000.0),
            Contestant(calls, Role.FLOOR, lambda _, n=clients: _burst([call] * n, lasting)),  # type: ignore[misc]
        ]  # fmt: skip
    return found


def _fork_rate(stack: ExitStack) -> Act:
    forks = stack.enter_context(Asked(_BOOTED + _FORKS, "core"))
    return lambda _case: len(os.sched_getaffinity(0)) / forks.number()


def _sessions(cage: Cage, clients: int, lasting: float) -> Callable[[ExitStack], Act]:
    def one() -> None:
        first_result(cage, "any", "core").close()

    return lambda _stack: _burst([one] * clients, lasting)


def _cells(cage: Cage, clients: int, lasting: float) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        sessions = [stack.enter_context(cage.session("any", image="core")) for _ in range(clients)]
        return _burst([lambda s=one: expect(s, "1 + 1", "2") for one in sessions], lasting)  # type: ignore[misc]

    return begin


def _burst(acts: Sequence[Callable[[], object]], lasting: float) -> Act:
    def worker(act: Callable[[], object], until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            act()
            done += 1
        return done

    def measure(_case: str) -> float:
        with ThreadPoolExecutor(len(acts)) as pool:
            began = time.perf_counter()
            done = sum(pool.map(lambda act: worker(act, began + lasting), acts))
            return done / (time.perf_counter() - began)

    return measure


def server(_setting: Setting, _stack: ExitStack) -> Sequence[Contestant]:
    """
    From nothing to the first result: a server is started, a session made, a cell run.
    """
    return [
        Contestant("server, image cached", Role.OURS, _started, "python -c", 400.0),
        Contestant("python -c", Role.FLOOR, _plain),
    ]


def _started(_stack: ExitStack) -> Act:
    def act(_case: str) -> float:
        began = time.perf_counter()
        with agent_client.connect() as cage:
            expect(cage.session(), "1 + 1", "2")
            took = time.perf_counter() - began
        return took * MILLI

    return act


def _plain(_stack: ExitStack) -> Act:
    command = [sys.executable, "-c", "print(1 + 1)"]

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603

    return lambda _case: seconds(run) * MILLI


ROWS: Final = (
    Row("create", "create a session to its first output", "ms", Better.LOWER, create),
    Row("memory", "memory of one more idle session, PSS", "MiB", Better.LOWER, held),
    Row("rate", "sessions and cells a second", "/s", Better.HIGHER, rate),
    Row("server", "a private server, from start to the first result", "ms", Better.LOWER, server),
)
