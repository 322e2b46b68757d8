"""
The tool benchmark with a model: an endpoint on loopback that speaks the real wire format.
"""

import json

import pytest

from executor import cli
from tests.e2e.serving import needs_image, private_directory
from tests.executor import small_kit
from tests.executor.test_m3tooleval_model import answering, completion

pytestmark = [pytest.mark.image, needs_image]

CALLS = {
    '{"tool"': 'Action: {"tool": "upper", "arguments": {"text": "ab"}}',
    "NAME(VALUE": "Action: upper('ab')",
}


def reply(messages):
    """
    A model that can write code for every task, calls for the first task, and gives up otherwise.
    """
    first, last = messages[0]["content"], messages[-1]["content"]
    task = first.split("Task: ")[1]
    if len(messages) > 1:
        assert last.startswith("Observation:\n")
        seen = last.splitlines()[-1]
        return f"Answer: {seen.strip(chr(39))}"
    if "<execute>" in first:
        return f"<execute>\n{small_kit.actions()[task]['one_block']}\n</execute>"
    call = next(text for mark, text in CALLS.items() if mark in first)
    return call if task == "words/shout" else "Answer: I do not know"


def test_a_model_acts_in_three_formats_and_its_share_has_an_interval(monkeypatch, capsys):
    heard = []

    def answer(_path, headers, body):
        heard.append((headers["Authorization"], body["model"]))
        return 200, completion(reply(body["messages"]))

    options = ["--model", "small", "--cage", "wasm", "--repeats", "2", "--json"]
    with private_directory() as directory, answering(answer) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "secret")
        kit = str(small_kit.write(directory))
        code = cli.main(["bench", "m3tooleval", "--kit", kit, *options])
    told = capsys.readouterr()
    assert code == 0, told.err
    lines = json.loads(told.out)["formats"]
    assert [(one["format"], one["right"], one["tries"], one["turns"]) for one in lines] == [
        ("code", 8, 8, 2.0),
        ("json", 2, 8, 1.25),
        ("text", 2, 8, 1.25),
    ]
    assert lines[0]["low"] == pytest.approx(0.6756, abs=1e-4)
    assert set(heard) == {("Bearer secret", "small")}
    assert "secret" not in told.out + told.err


@pytest.mark.parametrize(
    "says",
    ["<execute>import os\nos._exit(1)</execute>", "<execute>1 / 0</execute>", "<execute>'\ud800'</execute>", "hm", ""],
)  # fmt: skip
def test_a_model_that_breaks_its_session_loses_that_task_and_no_other(says, monkeypatch, capsys):
    def answer(_path, _headers, body):
        shouts = body["messages"][0]["content"].endswith("words/shout")
        return 200, completion(says if shouts else reply(body["messages"]))

    options = ["--model", "small", "--cage", "wasm", "--format", "code"]
    with private_directory() as directory, answering(answer) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        kit = str(small_kit.write(directory))
        assert cli.main(["bench", "m3tooleval", "--kit", kit, *options]) == 0
    table = capsys.readouterr().out
    assert "| wasm | code | 3 of 4 | 75.0% (30.1% to 95.4%) | 4.0 |" in table
