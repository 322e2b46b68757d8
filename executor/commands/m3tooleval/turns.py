"""
The three ways in which an agent acts on a task, each through cells of a session.
"""

import ast
import builtins
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent_client.client import Session
from executor.commands.m3tooleval.hindsight import Browsing, Step, needless
from executor.commands.m3tooleval.kit import Function, Kit, Task
from executor.commands.m3tooleval.plain import BlockFailed, last_line, run_blocks


class Style(StrEnum):
    """
    How an agent acts.
    """

    ONE_BLOCK = "code, one block"
    SEVERAL = "code, several turns"
    JSON = "JSON, one call a turn"


@dataclass(frozen=True, slots=True)
class Acted:
    """
    An answer, how many cells and calls of tools it took, and the seconds of the cells.
    """

    answer: str
    cells: int
    tool_calls: int
    seconds: float
    problem: str = ""


class Cells:
    """
    A session that counts and times what is run in it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.count = 0
        self.tool_calls = 0
        self.seconds = 0.0

    def run(self, code: str) -> str:
        """
        Run a cell: what it printed. Raises CellFailed where it does not end well.
        """
        began = time.perf_counter()
        observation = self._session.run(code)
        self.seconds += time.perf_counter() - began
        self.count += 1
        self.tool_calls += observation.tool_calls
        if not observation.ok:
            raise CellFailed(observation.text)
        return observation.stdout

    def acted(self, answer: str, problem: str = "") -> Acted:
        """
        The sum.
        """
        return Acted(answer, self.count, self.tool_calls, self.seconds, problem)


class CellFailed(BlockFailed):
    """
    A cell did not run to its end: the text is what a model would have read.
    """


def act(kit: Kit, task: Task, style: Style, session: Session) -> Acted:
    """
    Solve a task in a session that has its tools.
    """
    cells = Cells(session)
    try:
        if style is Style.JSON:
            return cells.acted(_calling(kit, task, cells))
        return cells.acted(_coding(blocks(task, style), cells))
    except BlockFailed as failed:
        return cells.acted("", str(failed))


def act_plainly(kit: Kit, task: Task, style: Style) -> float:
    """
    The seconds that the same takes in plain Python, with the tools called directly. Raises
    BlockFailed.
    """
    functions = kit.functions(task.family)
    if style is Style.JSON:
        functions = Browsing(functions, _needless(kit, task)).functions()
    return run_blocks(blocks(task, style), functions).seconds


def calls_of(kit: Kit, task: Task) -> int:
    """
    How many calls of tools the task's one block makes, counted in plain Python. Raises BlockFailed.
    """
    calls = itertools.count()

    def counted(function: Function) -> Function:
        def call(*positional: object, **named: object) -> object:
            next(calls)
            return function(*positional, **named)

        return call

    functions = {name: counted(one) for name, one in kit.functions(task.family).items()}
    run_blocks(blocks(task, Style.ONE_BLOCK), functions)
    return next(calls)


def blocks(task: Task, style: Style) -> tuple[str, ...]:
    """
    The code of a task.
    """
    return task.several if style is Style.SEVERAL else (task.one_block,)


def _coding(code: Sequence[str], cells: Cells) -> str:
    return last_line([cells.run(block) for block in code][-1])


def _calling(kit: Kit, task: Task, cells: Cells) -> str:
    """
    The scripted agent thinks in plain Python, which is the kit's block, and each call that it
    wants is a turn: one JSON object, one cell, one observation that it reads.
    """
    asked = {name: _asking(name, cells) for name in kit.functions(task.family)}
    thinking = Browsing(asked, _needless(kit, task)).functions()
    return run_blocks([task.one_block], thinking).answer


def _needless(kit: Kit, task: Task) -> frozenset[Step]:
    return needless(task.one_block, lambda: kit.functions(task.family))


def _asking(name: str, cells: Cells) -> Function:
    def ask(*args: object, **named: object) -> object:
        try:
            call = json.dumps({"tool": name, "arguments": args, "named": named})
        except TypeError:
            # A function among the arguments is no call of a tool: the name is a builtin's, too.
            return getattr(builtins, name)(*args, **named)
        return ast.literal_eval(cells.run(cell_of(call)))

    return ask


def cell_of(call: str) -> str:
    """
    The cell that performs a call: a JSON object with `tool`, `arguments` and perhaps `named`.
    """
    asked = json.loads(call)
    return call_cell(asked["tool"], asked["arguments"], asked.get("named", {}))


def call_cell(name: str, args: list[Any], named: dict[str, Any]) -> str:
    """
    The cell that calls a tool with literals and prints its result's repr.
    """
    more = f", **{named!r}" if named else ""
    return f"print(repr({name}(*{args!r}{more})))"
