"""
The examples that a person tries first, run as the files say: scripted, and with an endpoint.
"""

import json
import re
import subprocess
import sys

import pytest

from policy.parse import load
from tests.e2e.serving import ROOT, environment, needs_image
from tests.servers.sites import HttpServer, answer

pytestmark = [pytest.mark.image, needs_image]

EXAMPLES = ROOT / "examples"
KEY = "sk-test-0123456789abcdefghij"


def run(name, *options, **variables):
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *options],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def part(printed, heading):
    """
    What stands below a title of the output.
    """
    return printed.split(f"---- {heading} ", 1)[1].split("\n---- ", 1)[0].split("\n", 1)[1]


def test_each_pupil_hears_what_is_wrong_and_none_disturbs_another():
    ran = run("tutor.py", "--scripted")
    assert ran.returncode == 0, ran.stderr
    assert part(ran.stdout, "ada").splitlines()[:4] == [
        "running it: no value",
        "median([3, 1, 2]): 2 (right)",
        "median([4, 1, 3, 2]): 2.5 (right)",
        "median([7]): 7 (right)",
    ]
    assert "median([4, 1, 3, 2]): 3 (expected 2.5)" in part(ran.stdout, "ben")
    assert "is it still in its own order?" in part(ran.stdout, "ben")
    cleo = part(ran.stdout, "cleo")
    assert len(re.findall(r"(timed out|stopped) after .* variables are kept", cleo)) == 2
    assert "median([7]): 7.0 (right)" in cleo
    assert "running it: SyntaxError: expected ':'" in part(ran.stdout, "dan")
    eve = part(ran.stdout, "eve")
    assert "output truncated: 8,192 of " in eve
    assert "(right)" in eve
    zoe = part(ran.stdout, "zoe")
    assert zoe.count("reading /etc/passwd is not granted") == 3
    trail = part(ran.stdout, "the audit trail of the pupil who looked around")
    assert trail.count("read /solutions/median.py") == 3
    assert "whole: " in trail


def test_the_research_agent_reads_one_host_and_no_page_gives_it_orders():
    ran = run("research.py", "--scripted")
    assert ran.returncode == 0, ran.stderr
    assert "The Rime spire is 459 metres higher" in part(ran.stdout, "the answer")
    asked = part(ran.stdout, "what the encyclopedia was asked for").split()
    assert asked == ["/wiki/Rime_spire", "/wiki/Rime_spire", "/wiki/Mount_Calder"]
    assert "collector.example is not granted" in part(ran.stdout, "turn 2")
    trail = part(ran.stdout, "the audit trail")
    assert re.search(r"deny +resolve collector\.example", trail)
    assert "whole: " in trail


def test_tools_of_an_mcp_server_are_called_in_a_loop_as_far_as_the_policy_has_them():
    ran = run("tools_mcp.py", "--scripted")
    assert ran.returncode == 0, ran.stderr
    assert "temperatures(station: str, first: str, *, days: int = 7)" in ran.stdout
    told = part(ran.stdout, "turn 3")
    assert "    True\n" in told
    assert "[policy forecaster, rule tools[2]] the session has called cancel_alarm 1 times" in told
    assert "calling shut_down is not granted" in told
    assert "its argument days is more, and has to be a number from 1 up to 31" in told
    assert "RuntimeError: Error executing tool temperatures: there is no station 'nowhere'" in told
    trail = part(ran.stdout, "the audit trail")
    assert len(re.findall(r"call temperatures", trail)) >= 5
    assert "whole: " in trail


@pytest.mark.parametrize(
    ("name", "folder"),
    [("tutor.py", "tutor"), ("research.py", "research"), ("tools_mcp.py", "weather")],
)
def test_each_asks_the_endpoint_that_the_environment_names(name, folder):
    def page(*_):
        choice = {
            "message": {"content": "<solution>From afar.</solution>"},
            "finish_reason": "stop",
        }
        return answer(json.dumps({"choices": [choice]}).encode())

    with HttpServer({"v1": page}) as site:
        where = {"OPENAI_BASE_URL": f"http://127.0.0.1:{site.port}/v1", "OPENAI_API_KEY": KEY}
        ran = run(name, CODECAGE_MODEL="some-model", **where)
        assert ran.returncode == 0, ran.stderr
        assert "From afar." in ran.stdout
        assert len(site.seen) == (6 if folder == "tutor" else 1)
        assert KEY not in ran.stdout + ran.stderr


def test_without_a_model_and_without_a_script_it_is_said():
    for name in ("tutor.py", "research.py"):
        ran = run(name, CODECAGE_MODEL="")
        told = "set CODECAGE_MODEL, or ask nobody with --scripted\n"
        assert (ran.returncode, ran.stderr) == (1, told)


def test_the_policies_of_the_examples_are_good():
    for path in sorted(EXAMPLES.glob("*/*.yaml")):
        assert load(path).description is not None
