"""
`tools`: what of the client's a guest may call, with what, how often, and when a person is asked.
"""

import json
import math

import pytest

from policy.cases import rules_of
from policy.compare import compare
from policy.decide import decide
from policy.effective import effective, to_json
from policy.errors import PolicyError, RequestTextError
from policy.explain import explain, parse_request
from policy.explain import to_json as answer_json
from policy.narrow import narrow
from policy.parse import load
from policy.requests import Composite, ToolRequest, kind_of, tool_request
from policy.types import Approval, Effect

SAID = """tools:
  - {name: search, max_calls: 2, arguments: {limit: {min: 1, max: 100}}}
  - {name: send, approval: required, arguments: {title: {max_length: 5}, to: {allow: [eu, 7]}}}
  - {name: look}
"""


def one_of(policy, bound):
    return policy(f"tools: [{{name: f, arguments: {{x: {bound}}}}}]\n")


def test_a_tool_arrives_with_its_place_and_finite_defaults(policy):
    search, send, look = policy(SAID).tools
    assert (search.name, search.max_calls, search.approval) == ("search", 2, Approval.NONE)
    assert (send.approval, send.max_calls) == (Approval.REQUIRED, 100)
    assert (look.bounds, look.rule.line) == ((), 6)
    assert (send.bounds[1].rule.name, send.bounds[1].allowed) == (
        "tools[1].arguments.to",
        ("eu", 7),
    )


def test_a_tool_that_is_named_may_be_called_and_another_may_not(policy):
    allowed = decide(policy(SAID), tool_request("look", {"anything": [1]}))
    assert (allowed.allowed, allowed.rule.name) == (True, "tools[2]")
    assert allowed.tool == policy(SAID).tools[2]
    denied = decide(policy(SAID), tool_request("Look", {}))
    assert (denied.allowed, denied.rule.name, denied.tool) == (False, "tools", None)
    assert denied.reason == "calling Look is not granted"
    assert not decide(policy(), tool_request("look", {})).allowed


def test_a_denial_tells_the_others_where_the_policy_discloses(policy):
    told = decide(policy(f"disclose: true\n{SAID}"), tool_request("x\n", {})).reason
    assert told == "calling x\\n is not granted; you may call look, search, send"


NUMBERS = [1, 100, 1.0, 99.5, 2**0]
NO_NUMBERS = [
    *(0, 101, 100.0001, -1, 2**70, -(2**70), 10**400, -(10**400)),
    *(True, False, None, "50", math.nan, math.inf, -math.inf, [50], {"n": 50}, b"2", 50j),
]


@pytest.mark.parametrize("value", NUMBERS)
def test_a_number_within_its_bounds_is_allowed(policy, value):
    assert decide(policy(SAID), tool_request("search", {"limit": value})).allowed


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_everything_else_than_a_number_within_its_bounds_is_denied(policy, value):
    decision = decide(policy(SAID), tool_request("search", {"limit": value}))
    assert (decision.allowed, decision.rule.name) == (False, "tools[0].arguments.limit")
    assert decision.tool.name == "search"


class Lying(int):
    def __le__(self, other):
        return True

    def __ge__(self, other):
        return True

    def __gt__(self, other):
        return False

    def __lt__(self, other):
        return False


def test_an_argument_of_a_subclass_cannot_lie_about_itself(policy):
    request = tool_request("search", {"limit": Lying(5000)})
    assert request.arguments == (("limit", Composite("Lying")),)
    assert not decide(policy(SAID), request).allowed
    # As would be one that was put there by hand.
    forged = ToolRequest("search", (("limit", Lying(5000)),))
    assert not decide(policy(SAID), forged).allowed


def test_an_argument_that_is_missing_is_denied(policy):
    decision = decide(policy(SAID), tool_request("search", {"Limit": 5}))
    assert decision.reason == (
        "calling search is denied: its argument limit is missing, and has to be "
        "a number from 1 up to 100"
    )


def test_an_argument_that_is_given_twice_is_denied(policy):
    twice = ToolRequest("search", (("limit", 5), ("limit", 5000)))
    assert not decide(policy(SAID), twice).allowed
    assert not decide(policy(SAID), ToolRequest("look", (("x", 1), ("x", 1)))).allowed


def test_a_signature_that_takes_more_than_it_names_is_denied_where_there_are_bounds(policy):
    arguments = {"limit": 5, "kwargs": {"limit": 5000}}
    assert not decide(policy(SAID), tool_request("search", arguments, open_ended=True)).allowed
    assert decide(policy(SAID), tool_request("search", arguments)).allowed
    assert decide(policy(SAID), tool_request("look", arguments, open_ended=True)).allowed


@pytest.mark.parametrize(
    ("bound", "kept", "broken"),
    [
        ("{min: 3}", [3, 2**80, 3.5], [2, 2.9, math.inf]),
        ("{max: 3}", [3, -(2**80), 2.5], [4, 3.1, -math.inf, math.nan]),
        ("{min: 0.5, max: 0.75}", [0.5, 0.75], [0, 1, 0.76]),
        ("{min: 2, max: 2}", [2, 2.0], [1, 3]),
        ("{max_length: 3}", ["", "abc", "äöü"], ["abcd", 3, None, True, ["a"]]),
        ("{max_length: 0}", [""], ["a"]),
        ("{allow: [a, 1]}", ["a", 1], ["A", "1", True, 1.0, "", None]),
        ("{allow: [true]}", [True], [1, "true", False, 1.0]),
        ("{allow: [0]}", [0], [False, 0.0, "", None]),
    ],
)
def test_a_bound_keeps_what_it_says(policy, bound, kept, broken):
    one = one_of(policy, bound)
    assert [v for v in kept if not decide(one, tool_request("f", {"x": v})).allowed] == []
    assert [v for v in broken if decide(one, tool_request("f", {"x": v})).allowed] == []


@pytest.mark.parametrize(("earlier", "allowed"), [(0, True), (1, True), (2, False), (-1, False)])
def test_calls_are_counted_for_each_tool(policy, earlier, allowed):
    decision = decide(policy(SAID), tool_request("search", {"limit": 5}, earlier=earlier))
    assert (decision.allowed, decision.rule.name) == (allowed, "tools[0]")
    if not allowed:
        assert decision.reason == "the session has called search 2 times, and may not again"


def test_an_approval_is_asked_for_last_and_is_enough(policy):
    right, wrong = {"title": "a", "to": "eu"}, {"title": "a", "to": "us"}
    asked = decide(policy(SAID), tool_request("send", right))
    assert (asked.allowed, asked.awaits_approval, asked.rule.name) == (False, True, "tools[1]")
    approved = decide(policy(SAID), tool_request("send", right, approved=True))
    assert (approved.allowed, approved.awaits_approval) == (True, False)
    for approved_too in (False, True):
        decision = decide(policy(SAID), tool_request("send", wrong, approved=approved_too))
        assert (decision.allowed, decision.awaits_approval) == (False, False)
    spent = decide(policy(SAID), tool_request("send", right, approved=True, earlier=100))
    assert (spent.allowed, spent.awaits_approval) == (False, False)


def test_a_record_has_texts_by_their_digest_and_no_number_of_a_megabyte(policy):
    request = tool_request("send", {"a": "my secret", "b": 7, "c": [1], "d": 2**200, "e": None})
    assert str(request) == (
        "call send(a=<9 characters, sha256 b9d1d013f600ec1b>, b=7, c=<list>, "
        "d=<a number of 201 bits>, e=None)"
    )
    assert kind_of(request) == "call"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("allowed", 'call search {"limit": 5}'),
        ("bound", 'call search {"limit": true}'),
        ("approval", 'call send {"title": "a", "to": "eu"}'),
        ("absent", "call other"),
    ],
)
def test_an_explanation_reads_like_this(policy, expected, name, text):
    request = parse_request(text)
    expected(f"explain-call-{name}", explain(policy(SAID), request))
    expected(f"explain-call-{name}.json", answer_json(policy(SAID), request))


@pytest.mark.parametrize("text", ["call", "call f [1]", "call f {", "call f " + "[" * 100_000])
def test_a_call_that_is_no_json_object_is_told_the_form(text):
    with pytest.raises(RequestTextError, match="call"):
        parse_request(text)


def test_what_is_in_force_is_shown(policy, expected):
    expected("effective-tools", effective(policy(SAID)).split("\n", 1)[1])
    assert json.loads(to_json(policy(SAID)))["tools"]["search"]["max_calls"] == 2
    assert "tools:\n  none" in effective(policy())


def test_rules_with_cases_are_tools_and_their_bounds(policy):
    names = ["tools[0]", "tools[0].arguments.limit"]
    assert [one for one in rules_of(policy(SAID)) if one.startswith("tools[0]")] == names


def test_the_meaning_of_tools_is_in_the_digest_and_their_order_is_not(policy):
    lines = SAID.splitlines()
    turned = "\n".join([lines[0], *lines[:0:-1]]) + "\n"
    assert policy(turned).digest == policy(SAID).digest
    texts = [
        "",
        SAID,
        SAID.replace("max: 100", "max: 101"),
        SAID.replace("max_calls: 2", "max_calls: 3"),
        SAID.replace(", approval: required", ""),
        SAID.replace("[eu, 7]", "[eu, true]"),
        SAID.replace("[eu, 7]", '[eu, "7"]'),
        SAID.replace("max_length: 5", "max_length: 6"),
    ]
    assert len({policy(text).digest for text in texts}) == len(texts)
    assert policy(SAID.replace("[eu, 7]", "[7, eu]")).digest == policy(SAID).digest


@pytest.mark.parametrize(
    ("own", "other", "both"),
    [
        ("{min: 1}", "{max: 5}", {"least": 1, "most": 5}),
        ("{min: 1, max: 9}", "{min: 2, max: 5}", {"least": 2, "most": 5}),
        ("{max: 1}", "{min: 1}", {"least": 1, "most": 1}),
        ("{max: 1}", "{min: 2}", None),
        ("{max: 1}", "{max_length: 2}", None),
        ("{max_length: 1}", "{max: 2}", None),
        ("{max_length: 3}", "{max_length: 2}", {"longest": 2}),
        ("{allow: [a, b, 1]}", "{allow: [b, true, 1]}", {"allowed": ("b", 1)}),
        ("{allow: [a, 2, 5]}", "{max: 3}", {"allowed": (2,)}),
        ("{max_length: 1}", "{allow: [a, bb, 2]}", {"allowed": ("a",)}),
        ("{allow: [a]}", "{allow: [b]}", None),
        ("{allow: [a]}", "{max: 3}", None),
    ],
)
def test_narrowing_keeps_what_both_bounds_allow(policy, own, other, both):
    tools = narrow(one_of(policy, own), one_of(policy, other)).tools
    if both is None:
        assert tools == ()
        return
    (bound,) = tools[0].bounds
    said = {name: getattr(bound, name) for name in ("least", "most", "longest", "allowed")}
    assert {name: value for name, value in said.items() if value is not None} == both


def test_narrowing_keeps_the_tools_of_both_and_the_stricter_of_the_rest(policy):
    ceiling = policy(
        "tools:\n  - {name: search, approval: required, arguments: {who: {max_length: 9}}}\n"
        "  - {name: other}\n"
    )
    (tool,) = narrow(policy(SAID), ceiling).tools
    assert (tool.name, tool.max_calls, tool.approval) == ("search", 2, Approval.REQUIRED)
    assert [one.name for one in tool.bounds] == ["limit", "who"]
    assert narrow(ceiling, policy(SAID)).tools[0].max_calls == 2
    assert narrow(policy(SAID), policy()).tools == ()


def test_a_difference_says_what_may_be_called_now(policy):
    old = policy(SAID)
    new = policy(
        "tools:\n  - {name: search, max_calls: 3, arguments: {limit: {max: 100}}}\n"
        "  - {name: send, arguments: {title: {max_length: 4}, to: {allow: [eu]}}}\n"
        "  - {name: fresh}\n  - {name: look}\n"
    )
    assert [f"{one.place}: {one.text}" for one in compare(old, new).looser] == [
        "tools.fresh: up to 100 calls",
        "tools.search: limit may be a number up to 100",
        "tools.search: up to 3 calls, not 2",
        "tools.send: without an approval",
    ]
    assert [f"{one.place}: {one.text}" for one in compare(old, new).tighter] == [
        "tools.send: title may be a text of up to 5 characters",
        'tools.send: to may be one of "eu", 7',
    ]


def test_a_bound_that_is_gone_is_looser(policy):
    old, new = one_of(policy, "{min: 1}"), policy("tools: [{name: f}]\n")
    assert [one.text for one in compare(old, new).looser] == ["x may be anything"]
    assert compare(old, new).tighter == ()


WRONG = {
    "tools-name": "- {name: a-b}",
    "tools-no-name": "- {max_calls: 3}",
    "tools-calls": "- {name: a, max_calls: 0}",
    "tools-approval": "- {name: a, approval: true}",
    "tools-keys": "- {name: a, max_cals: 3, arguments: {x: {maximum: 3}}}",
    "tools-twice": "- {name: a}\n  - {name: b}\n  - {name: a, max_calls: 3}",
    "tools-argument": "- {name: a, arguments: {x y: {max: 3}}}",
    "tools-argument-is-a-number": "- {name: a, arguments: {x: 3}}",
    "tools-nothing-said": "- {name: a, arguments: {x: {}}}",
    "tools-two-kinds": "- {name: a, arguments: {x: {max: 3, max_length: 3}}}",
    "tools-no-number-between": "- {name: a, arguments: {x: {min: 3, max: 2.5}}}",
    "tools-bound": "- {name: a, arguments: {x: {max: true}, y: {max: .inf}, z: {min: .nan}}}",
    "tools-bound-text": '- {name: a, arguments: {x: {max: "3"}}}',
    "tools-too-large": "- {name: a, arguments: {x: {max: 9223372036854775809}}}",
    "tools-allow": "- {name: a, arguments: {x: {allow: []}, y: {allow: [1.5, [a]]}}}",
    "tools-long-value": f"- {{name: a, arguments: {{x: {{allow: [{'a' * 201}]}}}}}}",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_problem_of_tools_is_told_like_this(policy, expected, name):
    with pytest.raises(PolicyError) as caught:
        policy(f"tools:\n  {WRONG[name]}\n")
    expected(name, str(caught.value))


def test_a_list_of_names_is_no_list_of_tools(policy):
    with pytest.raises(PolicyError, match="must be a mapping"):
        policy("tools: [search]\n")


def test_tools_are_not_inherited(tmp_path):
    (tmp_path / "house.yaml").write_text(f"version: 1\nname: house\n{SAID}")
    (tmp_path / "a.yaml").write_text("version: 1\nname: a\ndefaults: house\n")
    assert load(str(tmp_path / "a.yaml")).tools == ()


def test_a_tool_that_only_looks_says_so_and_all_others_act(policy):
    looks = policy("tools: [{name: look, effect: read}]\n")
    acts = policy("tools: [{name: look}]\n")
    assert [one.tools[0].effect for one in (looks, acts)] == [Effect.READ, Effect.ACT]
    assert policy("tools: [{name: look, effect: act}]\n").digest == acts.digest != looks.digest
    assert "look  up to 100 calls, which only look" in effective(looks)
    assert [one.text for one in compare(acts, looks).looser] == [
        "done before its record is on disk"
    ]
    assert compare(looks, acts).looser == ()
    for one, two in ((looks, acts), (acts, looks)):
        assert narrow(one, two).tools[0].effect is Effect.ACT
    assert narrow(looks, looks).tools[0].effect is Effect.READ
    with pytest.raises(PolicyError, match="write act or read"):
        policy("tools: [{name: look, effect: none}]\n")


def test_the_longest_name_of_an_argument_has_64_characters(policy):
    longest = "a" * 64
    (tool,) = policy(f"tools: [{{name: f, arguments: {{{longest}: {{max: 1}}}}}}]\n").tools
    assert tool.bounds[0].name == longest
    with pytest.raises(PolicyError, match="is no name of an argument"):
        policy(f"tools: [{{name: f, arguments: {{{longest}a: {{max: 1}}}}}}]\n")
