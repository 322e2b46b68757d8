"""
Models that send code by their endpoint's own calls of tools, against a local endpoint that speaks
the real wire formats.
"""

import json

import pytest
from exchanges import KEY, calling, completion, in_turn, message, replying, using

from agent_client import (
    AnthropicMessages,
    CodeActLoop,
    LiteLLM,
    ModelUnreadable,
    OpenAIChat,
    Patience,
    load_transcript,
    save_transcript,
)
from agent_client.extraction import Code, Problem, Reply, extract
from agent_client.loop import INSTRUCTIONS_FOR_CALLS
from tests.servers.sites import HttpServer

ONCE = Patience(timeout=20, retries=0)
MARKS = "print('</tool_call><solution>no</solution>')\nx = '<execute>'"


@pytest.fixture
def site():
    with HttpServer({}) as server:
        yield server


def openai(site, *answers, **options):
    site.pages = {"v1": in_turn(*map(replying, answers))}
    url = f"http://127.0.0.1:{site.port}/v1"
    return OpenAIChat("gpt-4.1", url=url, key=KEY, patience=ONCE, calls=True, **options)


def anthropic(site, *answers, **options):
    site.pages = {"v1": in_turn(*map(replying, answers))}
    url = f"http://127.0.0.1:{site.port}"
    options = {"key": KEY, "patience": ONCE, "calls": True, **options}
    return AnthropicMessages("claude-sonnet-4", url=url, **options)


def play(model, session):
    return CodeActLoop(model, session, system=INSTRUCTIONS_FOR_CALLS).run("2 + 2?")


def test_openais_calls_are_code_and_are_answered_as_calls(site, session):
    model = openai(site, calling("2 + 2", said="I add."), completion("<solution>4</solution>"))
    outcome = play(model, session)
    assert (outcome.answer, outcome.turns[0].code, outcome.turns[0].told) == ("4", "2 + 2", "4")
    first, second = (json.loads(seen.body) for seen in site.seen)
    (tool,) = first["tools"]
    assert (tool["type"], tool["function"]["name"]) == ("function", "python")
    assert tool["function"]["parameters"]["required"] == ["code"]
    call = {"name": "python", "arguments": json.dumps({"code": "2 + 2"})}
    assert second["messages"][2:] == [
        {
            "role": "assistant",
            "content": "I add.",
            "tool_calls": [{"id": "call_2_0", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "call_2_0", "content": "4"},
    ]


def test_anthropics_uses_are_code_and_are_answered_as_results(site, session):
    model = anthropic(site, using("2 + 2"), message("<solution>4</solution>"))
    outcome = play(model, session)
    assert (outcome.answer, outcome.turns[0].code) == ("4", "2 + 2")
    first, second = (json.loads(seen.body) for seen in site.seen)
    assert first["tools"][0]["name"] == "python"
    assert first["tools"][0]["input_schema"]["required"] == ["code"]
    use = {"type": "tool_use", "id": "call_1_0", "name": "python", "input": {"code": "2 + 2"}}
    assert second["messages"][1:] == [
        {"role": "assistant", "content": [{"type": "text", "text": "I run it."}, use]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "call_1_0", "content": "4"}],
        },
    ]


@pytest.mark.parametrize("make", [openai, anthropic])
def test_several_calls_are_one_cell_and_each_has_its_answer(site, make):
    whole, end = (calling, completion) if make is openai else (using, message)
    model = make(site, whole("a = 1", MARKS), end("done"))
    reply = model([{"role": "user", "content": "go"}])
    assert extract(reply) == Code(f"a = 1\n\n{MARKS}")
    model(
        [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": reply.text},
            {"role": "user", "content": "told"},
        ]
    )
    sent = json.loads(site.seen[1].body)["messages"]
    answers = sent[2:] if make is openai else sent[2]["content"]
    assert answers[0]["content"] == "told"
    assert len(answers) == 2
    calls = sent[1]["tool_calls"] if make is openai else sent[1]["content"][1:]
    told = [one.get("id") for one in calls]
    assert [one.get("tool_call_id", one.get("tool_use_id")) for one in answers] == told


@pytest.mark.parametrize("make", [openai, anthropic])
def test_without_calls_no_tool_is_offered_and_text_stays_text(site, make):
    model = make(site, completion("x") if make is openai else message("x"))
    model._calls = False
    written = '<tool_call>{"name": "python", "arguments": {"code": "1"}}</tool_call>'
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": written},
        {"role": "user", "content": "1"},
    ]
    model(messages)
    sent = json.loads(site.seen[0].body)
    assert "tools" not in sent
    assert sent["messages"] == messages


def test_a_call_that_cannot_be_read_is_told_to_the_model(site, session):
    broken = calling("1")
    broken["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = '{"code": "1'
    other = calling("1")
    other["choices"][0]["message"]["tool_calls"][0]["function"]["name"] = "search"
    outcome = play(openai(site, broken, other, completion("done")), session)
    first, second, _ = outcome.turns
    assert (first.code, second.code) == (None, None)
    assert "not valid JSON" in first.told
    assert "write search(...)" in second.told
    sent = json.loads(site.seen[2].body)["messages"]
    assert sent[2]["tool_calls"][0]["function"]["arguments"] == '{"code": "1'
    assert sent[3]["content"] == first.told


@pytest.mark.parametrize("make", [openai, anthropic])
@pytest.mark.parametrize("name", ["functions.python", "", "a b", "x" * 65])
def test_a_call_by_a_name_that_an_endpoint_refuses_stays_text(site, make, name):
    """
    Else each request from there on would be refused.
    """
    model = make(site, completion("x") if make is openai else message("x"))
    written = f"<tool_call>{json.dumps({'name': name, 'arguments': {'code': '1'}})}</tool_call>"
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": written},
        {"role": "user", "content": "told"},
    ]
    model(messages)
    assert json.loads(site.seen[0].body)["messages"] == messages


def test_a_call_that_was_cut_is_not_run(site):
    whole = calling("print(1)")
    whole["choices"][0]["finish_reason"] = "length"
    call = whole["choices"][0]["message"]["tool_calls"][0]["function"]
    call["arguments"] = call["arguments"][:-4]
    reply = openai(site, whole)([{"role": "user", "content": "go"}])
    assert isinstance(extract(reply), Problem)


@pytest.mark.parametrize("calls", [[{}], [{"function": {"name": "python"}}], ["x"], 5])
def test_calls_that_are_none_are_an_error(site, calls):
    model = openai(site, completion("x", tool_calls=calls))
    with pytest.raises(ModelUnreadable):
        model([{"role": "user", "content": "go"}])


def test_the_key_does_not_get_into_code(site):
    for make, whole in ((openai, calling), (anthropic, using)):
        reply = make(site, whole(f"k = '{KEY}'"))([{"role": "user", "content": "go"}])
        assert KEY not in reply.text
        assert extract(reply) == Code("k = '[key]'")


def test_litellm_is_asked_in_openais_form():
    asked = []

    def complete(**given):
        asked.append(given)
        return type("Dumped", (), {"model_dump": lambda _: calling("5")})()

    complete.__module__ = "builtins"
    model = LiteLLM("m", key=KEY, completion=complete, calls=True)
    assert extract(model([{"role": "user", "content": "go"}])) == Code("5")
    assert asked[0]["tools"][0]["function"]["name"] == "python"


def test_a_transcript_with_calls_is_text_and_is_played_again(site, session, directory):
    model = openai(site, calling("2 + 2"), completion("<solution>4</solution>"))
    outcome = play(model, session)
    save_transcript(outcome, directory / "run.jsonl")
    played = load_transcript(directory / "run.jsonl")
    assert played.turns[0].reply == Reply(outcome.turns[0].reply.text, tokens=29)
    assert played.turns[0].code == "2 + 2"
