"""
All tasks, in every style, in one cage: right or wrong, and at what cost.
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import agent_client
from agent_client.client import Cage
from agent_client.errors import InvalidRequest
from agent_client.terminal import visible
from executor.commands.m3tooleval import turns
from executor.commands.m3tooleval.kit import Kit, Task
from executor.commands.m3tooleval.turns import Style

_POLICY = """\
version: 1
name: {image}
description: The tools of a benchmark, and nothing else
cage: {cage}
image: {image}
limits: {{wall_time: 2m, cpu_time: 1m, requests: 100000}}
tools:
{tools}
"""
_TOOL = "  - {{name: {name}, max_calls: 100000, effect: read}}"
ECHO = "echo_of_the_benchmark"


@dataclass(frozen=True, slots=True)
class Where:
    """
    A cage, and the image in it that the tasks run on.
    """

    cage: str
    image: str


CAGES = (Where("wasm", "core"), Where("process", "native-core"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    One task in one style: `turns` counts the one that says the answer, times are seconds.
    """

    task: str
    style: Style
    right: bool
    answer: str
    turns: int
    tool_calls: int
    opened: float
    seconds: float
    plain_seconds: float
    problem: str


@contextmanager
def serving(kit: Kit) -> Iterator[Cage]:
    """
    A private server whose policies, one for each cage, grant the kit's tools and nothing else.
    """
    with tempfile.TemporaryDirectory(prefix="codecage-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # the server reads it as another user where this one is root
        tools = "\n".join(_TOOL.format(name=one) for one in [*kit.tool_names(), ECHO])
        for where in CAGES:
            text = _POLICY.format(image=where.image, cage=where.cage, tools=tools)
            (directory / f"{where.image}.yaml").write_text(text)
        with agent_client.connect(policies=directory) as cage:
            yield cage


def offered(cage: Cage, wanted: Sequence[Where]) -> list[Where]:
    """
    Those cages of which sessions can be opened here; of others the reason is printed.

    Raises InvalidRequest where there is none.
    """
    found = [where for where in wanted if _opens(cage, where)]
    if not found:
        raise InvalidRequest("no cage that is wanted can run here; 'codecage doctor' says why")
    return found


def _opens(cage: Cage, where: Where) -> bool:
    try:
        cage.session(where.image).close()
    except InvalidRequest as error:
        print(visible(f"{where.cage} is left out: {error}"), file=sys.stderr, flush=True)
        return False
    return True


def outcomes(cage: Cage, where: Where, kit: Kit, style: Style) -> Iterator[Outcome]:
    """
    Run every task in a session of its own.
    """
    for task in kit.tasks:
        yield outcome(cage, where, kit, task, style)


def outcome(cage: Cage, where: Where, kit: Kit, task: Task, style: Style) -> Outcome:
    """
    Run one task in a session of its own, and right after it in plain Python.
    """
    began = time.perf_counter()
    with cage.session(where.image, tools=[*kit.functions(task.family).values()]) as session:
        opened = time.perf_counter() - began
        acted = turns.act(kit, task, style, session)
    return Outcome(
        task=task.name,
        style=style,
        right=not acted.problem and kit.check(task.expected, acted.answer),
        answer=acted.answer,
        turns=acted.cells + 1,
        tool_calls=acted.tool_calls,
        opened=opened,
        seconds=acted.seconds,
        plain_seconds=0.0 if acted.problem else turns.act_plainly(kit, task, style),
        problem=acted.problem,
    )
