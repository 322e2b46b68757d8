"""
All tasks by scripted agents, in every style and cage, and what came of it.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agent_client.client import Cage
from agent_client.terminal import visible
from executor.commands.m3tooleval import calling, report, running
from executor.commands.m3tooleval.calling import Cost
from executor.commands.m3tooleval.kit import Kit
from executor.commands.m3tooleval.ping_pong import pinging
from executor.commands.m3tooleval.running import Outcome, Where
from executor.commands.m3tooleval.turns import Style

_OK, _FAILED = 0, 1


@dataclass(slots=True)
class Found:
    """
    What came of the tasks, a list for each cage and style, and what a call costs in each cage.
    """

    outcomes: list[tuple[Where, list[Outcome]]] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)


def run(kit: Kit, cages: Sequence[Where], *, as_json: bool) -> int:
    """
    Run the tasks and print the table, or one JSON object; 0 if every answer is right, else 1.

    Raises InvalidRequest where no cage can run.
    """
    found = Found()
    with running.serving(kit) as cage, pinging() as ping:
        for where in running.offered(cage, cages):
            found.outcomes += [(where, _styled(cage, where, kit, style)) for style in Style]
            found.costs.append(calling.cost(cage, where, ping))
    return _told(found, as_json=as_json)


def _styled(cage: Cage, where: Where, kit: Kit, style: Style) -> list[Outcome]:
    found = []
    for one in running.outcomes(cage, where, kit, style):
        found.append(one)
        _progress(where, found, len(kit.tasks))
        if not one.right:
            _say(report.wrong(where, one))
    return found


def _progress(where: Where, found: list[Outcome], all_of_them: int) -> None:
    """
    A line that is written over while somebody looks at it; in a file, only the last one.
    """
    right, last = sum(one.right for one in found), len(found) == all_of_them
    if sys.stderr.isatty() or last:
        text = f"{where.cage}, {found[0].style}: {len(found)} of {all_of_them} done, {right} right"
        print(text, end="\n" if last else "\r", file=sys.stderr, flush=True)


def _say(text: str) -> None:
    print(visible(text), file=sys.stderr, flush=True)


def _told(found: Found, *, as_json: bool) -> int:
    lines = [report.line(where, outcomes) for where, outcomes in found.outcomes]
    if as_json:
        print(json.dumps({**_data(found), "styles": [one.data() for one in lines]}))
    else:
        print("\n".join([report.table(lines), "", *map(str, found.costs)]))
    return _OK if all(one.right == one.tasks for one in lines) else _FAILED


def _data(found: Found) -> dict[str, Any]:
    return {
        "calls": [one.data() for one in found.costs],
        "outcomes": [
            {"cage": where.cage, **asdict(one)} for where, ones in found.outcomes for one in ones
        ],
    }
