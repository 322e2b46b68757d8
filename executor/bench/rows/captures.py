"""
Whole sessions that are captured for a replay, beside the same ones that are not; and replayed.

Two servers differ in `audit: {level: replay}` alone, and each session has its turn in both. By
processor time all of a server counts: itself, its zygotes, and every worker that they made. A
shared machine tells that better than the wall's clock.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from agent_client.client import Cage, Session
from agent_client.embedded import account
from agent_client.errors import InvalidRequest
from executor.bench.contest import Act, Better, Contestant, Failed, Missing, Role, Row, Setting
from executor.bench.servers import (
    MILLI,
    built,
    children,
    cpu_time,
    directory,
    policy,
    seconds,
    serving,
)
from executor.commands.m3tooleval import kit as kits
from executor.commands.m3tooleval import turns
from executor.commands.m3tooleval.running import ECHO
from executor.commands.m3tooleval.turns import Style

_TOOL: Final = "  - {{name: {}, max_calls: 1000000, effect: read}}"
_CAPTURES: Final = "audit: {level: replay}\n"
_IMAGE: Final = "core"
# The pool has its next worker ready by then, and the last one of a block is reaped.
_BREATH: Final = 0.02
_SETTLED: Final = 0.2
_PATIENCE: Final = 3600.0
_AIM: Final = 1.1
_TASKS: Final = "M3ToolEval"
_RUNS: Final = "recorded runs"
_TOLD: Final = 200
# For those who have neither: chance, clocks, files, a tool, and an error.
_CELLS: Final = (
    "import random, time\nstarted = time.time()\nrows = [random.random() for _ in range(1000)]",
    "open('/work/rows.txt', 'w').write('\\n'.join(map(str, rows)))",
    "total = sum(float(line) for line in open('/work/rows.txt'))\nprint(total)",
    f"[{ECHO}(number) for number in range(10)]",
    "{name: len(name) for name in dir(time)}",
    "1 / 0",
)
_SESSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Work:
    """
    One session's work, and what makes the tools that it calls: some remember what was asked.
    """

    act: Callable[[Session], object]
    tools: Callable[[], Iterable[Callable[..., Any]]] = tuple


Measure = Callable[["Server", "Server", Sequence[Work]], float]


@dataclass(frozen=True, slots=True)
class Kind:
    """
    Sessions of one kind, the names of their tools, and what is missing where there are none.
    """

    name: str
    missing: str
    all: tuple[Work, ...]
    tools: tuple[str, ...] = ()

    def works(self) -> tuple[Work, ...]:
        """
        All of them. Raises Missing where there is none.
        """
        if not self.all:
            raise Missing(self.missing)
        return self.all


@dataclass(frozen=True, slots=True)
class Server:
    """
    A private server that does it; `pid` is its process.
    """

    cage: Cage
    pid: int

    def run(self, work: Work) -> float:
        """
        The seconds of one session, from opening to its end.
        """
        time.sleep(_BREATH)
        tools = list(work.tools())
        began = time.perf_counter()
        with self.cage.session(_IMAGE, image=_IMAGE, tools=tools) as session:
            work.act(session)
        return time.perf_counter() - began


def capture(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    What a capture costs: the same sessions with one by without, in turn.
    """
    kinds = _kinds(setting)
    pair: list[Server] = []

    def begin(kind: Kind, measure: Measure, _stack: ExitStack) -> Act:
        works = kind.works()
        if not pair:
            pair.extend(_server(stack, kinds, more) for more in ("", _CAPTURES))
        return lambda _case: measure(pair[0], pair[1], works)

    return [
        Contestant(f"{kind.name}, {what}", Role.OURS, partial(begin, kind, measure), aim=_AIM,
                   note=note)
        for kind in kinds
        for what, measure, note in (
            ("processor time", _by_cpu, "the server and all its processes, in sum"),
            ("time", _by_wall, "the median of the sessions' ratios"),
        )
    ]  # fmt: skip


def replay(setting: Setting, _stack: ExitStack) -> Sequence[Contestant]:
    """
    Captured sessions replayed; one that is not identical fails.
    """
    kinds = _kinds(setting)

    def begin(kind: Kind, stack: ExitStack) -> Act:
        works, audit = kind.works(), _audit(stack)
        server = _server(stack, kinds, _CAPTURES, audit)
        for work in works:
            server.run(work)
        return lambda _: seconds(lambda: _replay(audit, len(works))) / len(works) * MILLI

    return [
        Contestant(kind.name, Role.OURS, partial(begin, kind), note="every one identical")
        for kind in kinds
    ]


def _by_wall(plain: Server, captured: Server, works: Sequence[Work]) -> float:
    return statistics.median(second / first for first, second in _in_turn(plain, captured, works))


def _by_cpu(plain: Server, captured: Server, works: Sequence[Work]) -> float:
    before = cpu_time(plain.pid), cpu_time(captured.pid)
    for _ in _in_turn(plain, captured, works):
        pass
    time.sleep(_SETTLED)
    first, second = cpu_time(plain.pid) - before[0], cpu_time(captured.pid) - before[1]
    if not first:
        raise Failed("too few sessions for processor time, which is counted in hundredths")
    return second / first


def _in_turn(
    plain: Server, captured: Server, works: Sequence[Work]
) -> Iterator[tuple[float, float]]:
    """
    The seconds of each, without a capture and with one; neither is always the first.
    """
    for number, work in enumerate(works):
        if number % 2:
            second = captured.run(work)
            yield plain.run(work), second
        else:
            yield plain.run(work), captured.run(work)


# ---- what the sessions do ------------------------------------------------------------------------


def _kinds(setting: Setting) -> tuple[Kind, ...]:
    kit = kits.read(setting.kit) if setting.kit is not None else None
    own = Work(partial(_run, _CELLS), lambda: [_echo])
    return (
        Kind("six cells", "", (own,) * _SESSIONS, (ECHO,)),
        Kind(_TASKS, "it needs the kit of M3ToolEval, --kit DIR (docs/m3tooleval.md)",
             _of_kit(kit) if kit else (), tuple(kit.tool_names()) if kit else ()),
        Kind(_RUNS, "it needs recorded runs of agents, --recorded FILE (benchmarks/README.md)",
             _of_recordings(setting.recorded) if setting.recorded else ()),
    )  # fmt: skip


def _of_kit(kit: kits.Kit) -> tuple[Work, ...]:
    """
    Each task in one block, and each in turns.
    """
    return tuple(
        Work(partial(_solve, kit, task, style), partial(_tools, kit, task))
        for style in (Style.ONE_BLOCK, Style.SEVERAL)
        for task in kit.tasks
    )


def _echo(value: object) -> object:
    return value


_echo.__name__ = ECHO


def _tools(kit: kits.Kit, task: kits.Task) -> Iterable[Callable[..., Any]]:
    return kit.functions(task.family).values()


def _solve(kit: kits.Kit, task: kits.Task, style: Style, session: Session) -> None:
    if problem := turns.act(kit, task, style, session).problem:
        raise Failed(f"{task.name}: {problem}")


def _of_recordings(path: Path) -> tuple[Work, ...]:
    """
    A line is a run: a JSON object whose `steps` have `code`.
    """
    try:
        runs = [json.loads(line)["steps"] for line in path.read_text().splitlines()]
        return tuple(
            Work(partial(_run, [step["code"] for step in steps if step["code"]])) for steps in runs
        )
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{path} cannot be read as recorded runs: {error!r}") from None


def _run(cells: Sequence[str], session: Session) -> None:
    for cell in cells:
        session.run(cell)


# ---- servers and replays -------------------------------------------------------------------------


def _server(
    stack: ExitStack, kinds: Sequence[Kind], more: str, audit: Path | None = None
) -> Server:
    built(_IMAGE)
    tools = [name for kind in kinds for name in kind.tools]
    more += "\n".join(["tools:", *map(_TOOL.format, tools)])
    before = children(os.getpid())
    cage = serving(stack, dict([policy(_IMAGE, _IMAGE, more)]), audit)
    (pid,) = set(children(os.getpid())) - set(before)
    return Server(cage, pid)


def _audit(stack: ExitStack) -> Path:
    """
    A place for a record and captures, of the account that a server has which root starts.
    """
    place = directory(stack) / "audit"
    place.mkdir(mode=0o700)
    if user := account():
        shutil.chown(place, user)
    return place / "audit.sqlite3"


def _replay(audit: Path, count: int) -> None:
    command = [sys.executable, "-m", "executor.cli", "audit", "replay", "--all", "--json"]
    done = subprocess.run(  # noqa: S603 - our own program
        [*command, "--audit", str(audit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
    )
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    others = [one for one in verdicts if one["answer"] != "identical"]
    if others or len(verdicts) != count or done.returncode:
        why = others[0]["why"] if others else done.stderr.strip()[-_TOLD:]
        raise Failed(f"{len(verdicts) - len(others)} of {count} replay identically: {why}")


ROWS: Final = (
    Row("capture", "whole sessions, captured by not captured", "x", Better.LOWER, capture),
    Row("replay", "a captured session, run again and compared", "ms", Better.LOWER, replay),
)
