"""
M3ToolEval as a whole: its 82 tasks, each in a session of its own, beside plain Python and as many
ping-pongs as it calls tools.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from executor.bench.contest import (
    Act,
    AimOf,
    Better,
    Contestant,
    Failed,
    Missing,
    Role,
    Row,
    Setting,
)
from executor.bench.servers import built
from executor.commands.m3tooleval import kit, running
from executor.commands.m3tooleval.ping_pong import pinging
from executor.commands.m3tooleval.running import CAGES, Where
from executor.commands.m3tooleval.turns import Style, act_plainly, calls_of


def whole(setting: Setting, stack: ExitStack) -> Sequence[Contestant]:
    """
    Seconds of all cells of all tasks, each as one block of code.
    """
    if setting.kit is None:
        raise Missing("skipped: it needs the kit of M3ToolEval, --kit DIR (docs/m3tooleval.md)")
    read = kit.read(setting.kit)
    cage = stack.enter_context(running.serving(read))

    def run(where: Where, _stack: ExitStack) -> Act:
        built(where.image)

        def act(_case: str) -> float:
            ones = [*running.outcomes(cage, where, read, Style.ONE_BLOCK)]
            wrong = [one.task for one in ones if not one.right]
            if wrong:
                raise Failed(f"{len(wrong)} answers are wrong, the first of {wrong[0]}")
            return sum(one.seconds for one in ones)

        return act

    def floor(stack: ExitStack) -> Act:
        ping = stack.enter_context(pinging())
        calls = sum(calls_of(read, task) for task in read.tasks)

        def act(_case: str) -> float:
            began = time.perf_counter()
            for _ in range(calls):
                ping()
            took = time.perf_counter() - began
            return took + sum(act_plainly(read, task, Style.ONE_BLOCK) for task in read.tasks)

        return act

    return [
        *(
            Contestant(where.image, Role.OURS, lambda s, where=where: run(where, s),  # type: ignore[misc]
                       "plain + ping-pongs", 1.5, f"{where.cage}, one block a task", AimOf.RATIO)
            for where in CAGES
        ),
        Contestant("plain + ping-pongs", Role.FLOOR, floor,
                   note="plain Python, and a ping-pong for each call"),
    ]  # fmt: skip


ROWS: Final = (
    Row("m3tooleval", "M3ToolEval, all cells of its 82 tasks", "s", Better.LOWER, whole),
)
