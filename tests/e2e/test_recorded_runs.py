"""
Code that models really wrote, run in the cage, against what they saw when they wrote it.

The recordings (CODECAGE_TEST_DATA) are of native CPython 3.8 to 3.11; compared are runs that
import nothing which the guest's image lacks, step by step: the same output or value, or the same
class of exception. Messages of errors differ between releases of Python and are not compared.
"""

import ast
import json
import os
import sys
from pathlib import Path

import pytest

import agent_client

DATA = os.environ.get("CODECAGE_TEST_DATA")
AGREE_AT_LEAST = 0.95
NOTHING = "[Executed Successfully with No Output]"

pytestmark = [pytest.mark.image, pytest.mark.data]


def imported(code):
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError):
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def runs():
    path = Path(DATA) / "mint_replay_sample.jsonl"
    for line in path.read_text().splitlines():
        steps = json.loads(line)["steps"]
        if all(imported(step["code"]) <= sys.stdlib_module_names for step in steps):
            yield steps


def agrees(step, observation):
    if step["error"] is not None:
        name = step["error"].split(":")[0].strip()
        return observation.error is not None and observation.error.name == name
    if observation.error is not None:
        return False
    seen = (step["stdout_or_value"] or "").strip()
    told = observation.stdout.strip() or (observation.value or "")
    return told == ("" if seen == NOTHING else seen)


@pytest.mark.skipif(DATA is None, reason="CODECAGE_TEST_DATA is not set: recorded agent runs")
def test_recorded_agent_runs_see_what_they_saw():
    agreed, differing = 0, []
    with agent_client.connect() as cage:
        for steps in runs():
            with cage.session() as session:
                for step in steps:
                    observation = session.run(step["code"], timeout=20)
                    if agrees(step, observation):
                        agreed += 1
                    else:
                        differing.append((step, observation.text))
    assert agreed > 100, "the recordings were not there"
    share = agreed / (agreed + len(differing))
    assert share >= AGREE_AT_LEAST, (share, differing[:5])
