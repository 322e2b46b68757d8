"""
Code that models really wrote, run in captured sessions and replayed: a sample of what
`codecage bench --only replay` does with all of the recordings (CODECAGE_TEST_DATA) and with the
tool benchmark's tasks, which are beside them.
"""

import json
import os
import pwd
from pathlib import Path

import pytest

import agent_client
from agent_client.embedded import account
from executor.commands.m3tooleval import kit as kits
from executor.commands.m3tooleval import turns
from executor.commands.m3tooleval.turns import Style
from tests.e2e.serving import needs_image, private_directory
from tests.e2e.test_replay import told

DATA = os.environ.get("CODECAGE_TEST_DATA")
KIT = Path(str(DATA)).parent / "bench" / "m3tooleval"
RUNS, TASKS = 12, 8
POLICY = """\
version: 1
name: kept
image: core
audit: {{level: replay}}
limits: {{wall_time: 60s, cpu_time: 60s, requests: 100000, memory: 512Mi}}
tools:
{tools}
"""
TOOL = "  - {{name: {name}, max_calls: 100000, effect: read}}"

pytestmark = [
    pytest.mark.image,
    pytest.mark.data,
    needs_image,
    pytest.mark.skipif(
        DATA is None, reason="CODECAGE_TEST_DATA is not set: recorded agent runs"
    ),
]  # fmt: skip


def recordings():
    text = (Path(str(DATA)) / "mint_replay_sample.jsonl").read_text()
    lines = text.splitlines()
    for line in lines[:: max(1, len(lines) // RUNS)][:RUNS]:
        yield [step["code"] for step in json.loads(line)["steps"] if step["code"]]


@pytest.fixture(scope="module")
def audit():
    kit = kits.read(KIT) if KIT.is_dir() else None
    names = kit.tool_names() if kit else ["none"]
    with private_directory() as policies, private_directory() as place:
        policies.chmod(0o755)
        tools = "\n".join(TOOL.format(name=name) for name in names)
        (policies / "kept.yaml").write_text(POLICY.format(tools=tools))
        if os.geteuid() == 0:
            user = pwd.getpwnam(account())
            os.chown(place, user.pw_uid, user.pw_gid)
        path = place / "audit.sqlite3"
        with agent_client.connect(policies=policies, audit=path) as cage:
            for cells in recordings():
                with cage.session("kept") as session:
                    for cell in cells:
                        session.run(cell)
            for task in kit.tasks[:: len(kit.tasks) // TASKS][:TASKS] if kit else ():
                with cage.session("kept", tools=[*kit.functions(task.family).values()]) as session:
                    assert not turns.act(kit, task, Style.SEVERAL, session).problem
        yield path


def test_recorded_runs_and_tool_tasks_replay_to_the_byte(audit):
    code, verdicts, said = told(audit, "--all")
    assert code == 0, (said, [one for one in verdicts if one["answer"] != "identical"])
    assert len(verdicts) == RUNS + (TASKS if KIT.is_dir() else 0)
    assert sum(one["played"]["cells"] for one in verdicts) > 2 * RUNS
