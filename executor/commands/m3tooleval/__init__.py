"""
M3ToolEval, the benchmark of the CodeAct paper: its 82 tasks through the real service.

Source: Wang et al., "Executable Code Actions Elicit Better LLM Agents" (2024), section 2.3.
"""

import argparse
import json
import sys
from dataclasses import asdict

from agent_client.client import Cage
from agent_client.errors import InvalidRequest
from agent_client.terminal import visible
from executor.commands.m3tooleval import kit as kits
from executor.commands.m3tooleval import report, running
from executor.commands.m3tooleval.kit import Kit
from executor.commands.m3tooleval.running import CAGES, Outcome, Where
from executor.commands.m3tooleval.turns import Style

_OK, _FAILED = 0, 1


def run(args: argparse.Namespace) -> int:
    """
    Run the tasks in every style and cage; 0 if every answer is right.
    """
    kit = kits.read(args.kit)
    found: dict[Where, list[list[Outcome]]] = {}
    with running.serving(kit) as cage:
        for where in CAGES:
            if _offered(cage, where):
                found[where] = [_styled(cage, where, kit, style) for style in Style]
    if not found:
        raise InvalidRequest("neither cage can run here; 'codecage doctor' says why")
    return _told(found, as_json=args.json)


def _styled(cage: Cage, where: Where, kit: Kit, style: Style) -> list[Outcome]:
    found = []
    for one in running.outcomes(cage, where, kit, style):
        found.append(one)
        _progress(where, found, len(kit.tasks))
        if not one.right:
            _say(report.wrong(where, one))
    return found


def _offered(cage: Cage, where: Where) -> bool:
    try:
        cage.session(where.image).close()
    except InvalidRequest as error:
        _say(f"{where.cage} is left out: {error}")
        return False
    return True


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


def _told(found: dict[Where, list[list[Outcome]]], *, as_json: bool) -> int:
    lines = [report.line(where, style) for where, styles in found.items() for style in styles]
    if as_json:
        outcomes = [
            {"cage": where.cage, **asdict(one)}
            for where, styles in found.items()
            for style in styles
            for one in style
        ]
        print(json.dumps({"styles": [one.data() for one in lines], "outcomes": outcomes}))
    else:
        print(report.table(lines))
    return _OK if all(one.right == one.tasks for one in lines) else _FAILED
