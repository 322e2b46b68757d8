"""
The tasks by a live model, in the paper's three formats: how often right, and in how many turns.

What a model writes runs in a caged session alone, never in this program.
"""

import json
import statistics
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent_client.client import Cage, Session
from agent_client.errors import InvalidRequest, LimitReached, SessionLost
from executor.commands.m3tooleval import formats, running
from executor.commands.m3tooleval.formats import Answer, Cell, Format
from executor.commands.m3tooleval.kit import Kit, Task
from executor.commands.m3tooleval.running import Where
from executor.commands.m3tooleval.wilson import interval

Complete = Callable[[Sequence[Mapping[str, str]]], str]

MAX_TURNS = 10  # as in the paper
_OBSERVED = 10_000  # characters
_HEAD = "| cage | format | right | share, 95 % | turns |\n| --- | --- | ---: | ---: | ---: |"


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What is asked of the model: in which formats and cages, and how often each task.
    """

    formats: Sequence[Format]
    cages: Sequence[Where]
    repeats: int
    turns: int = MAX_TURNS


@dataclass(frozen=True, slots=True)
class Solved:
    """
    One task, tried once: `turns` is the number of replies, `answer` None where none was given.
    """

    cage: str
    format: Format
    task: str
    repeat: int
    right: bool
    answer: str | None
    turns: int


def run(kit: Kit, complete: Complete, plan: Plan, *, as_json: bool) -> int:
    """
    Let a model try and print the table, or one JSON object. Always 0: a share is no verdict.

    Raises InvalidRequest where no cage can run, and what `complete` raises.
    """
    found = []
    with running.serving(kit) as cage:
        cages = running.offered(cage, plan.cages)
        for one in _tried(cage, cages, kit, complete, plan):
            found.append(one)
            _progress(found, len(cages) * len(plan.formats) * plan.repeats * len(kit.tasks))
    lines = summary(found)
    if as_json:
        print(json.dumps({"formats": lines, "outcomes": [asdict(one) for one in found]}))
    else:
        print("\n".join([_HEAD, *map(_line, lines)]))
    return 0


def _tried(
    cage: Cage, cages: Sequence[Where], kit: Kit, complete: Complete, plan: Plan
) -> Iterator[Solved]:
    for where in cages:
        for format_ in plan.formats:
            for repeat in range(1, plan.repeats + 1):
                for task in kit.tasks:
                    functions = [*kit.functions(task.family).values()]
                    with cage.session(where.image, tools=functions) as session:
                        answer, turns = converse(kit, task, format_, session, complete, plan.turns)
                    right = answer is not None and _is_right(kit, task, answer)
                    yield Solved(where.cage, format_, task.name, repeat, right, answer, turns)


def _is_right(kit: Kit, task: Task, answer: str) -> bool:
    try:
        return kit.check(task.expected, answer)
    except (ArithmeticError, RecursionError, TypeError, ValueError):
        return False  # a model may answer with anything, and the checker was made for answers


def converse(
    kit: Kit, task: Task, format_: Format, session: Session, complete: Complete, turns: int
) -> tuple[str | None, int]:
    """
    Let the model act until it answers: the answer, None after so many replies without one, and
    the number of replies.
    """
    tools = kit.tools[task.family]
    names = [tool.name for tool in tools]
    messages = [_said("user", formats.prompt(format_, tools, task.instruction, turns))]
    for turn in range(1, turns + 1):
        reply = complete(messages)
        meant = formats.read(format_, reply, names)
        if isinstance(meant, Answer):
            return meant.text, turn
        seen = _observed(session, meant.code) if isinstance(meant, Cell) else meant.hint
        messages += [_said("assistant", reply), _said("user", f"Observation:\n{seen}")]
    return None, turns


def summary(found: Collection[Solved]) -> list[dict[str, Any]]:
    """
    For each cage and format how many tries were right, with the interval, and the mean of turns.
    """
    lines = []
    for cage, format_ in dict.fromkeys((one.cage, one.format) for one in found):
        ones = [one for one in found if (one.cage, one.format) == (cage, format_)]
        right = sum(one.right for one in ones)
        low, high = interval(right, len(ones))
        turns = statistics.mean(one.turns for one in ones)
        counts = {"right": right, "tries": len(ones), "low": low, "high": high, "turns": turns}
        lines.append({"cage": cage, "format": format_, **counts})
    return lines


def _line(line: dict[str, Any]) -> str:
    share = f"{line['right'] / line['tries']:.1%} ({line['low']:.1%} to {line['high']:.1%})"
    right = f"{line['right']} of {line['tries']}"
    return f"| {line['cage']} | {line['format']} | {right} | {share} | {line['turns']:.1f} |"


def _observed(session: Session, code: str) -> str:
    try:
        return session.run(code, max_chars=_OBSERVED).text
    except (InvalidRequest, LimitReached, SessionLost) as error:
        return f"[{error}]"  # what the model wrote is the cause, and it may go on without


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _progress(found: Sequence[Solved], count: int) -> None:
    """
    A line that is written over while somebody looks at it; in a file, only the last one.
    """
    last = len(found) == count
    if sys.stderr.isatty() or last:
        right = sum(one.right for one in found)
        text = f"{len(found)} of {count} tries done, {right} right"
        print(text, end="\n" if last else "\r", file=sys.stderr, flush=True)
