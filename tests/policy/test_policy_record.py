"""
`audit`: how much is recorded, and which names have no value in the record.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.compare import compare
from policy.doubts import doubts
from policy.effective import effective
from policy.errors import PolicyError
from policy.json_schema import json_schema
from policy.narrow import narrow
from policy.parse import load
from policy.recorded import recorded_request
from policy.redaction import NO_REDACTION, Redaction
from policy.requests import FileAction, FileRequest, HttpRequest, tool_request
from policy.types import Audit, AuditLevel

BOTH = 'audit: {level: replay, redact: [Authorization, "*token*"]}\n'


def test_a_policy_that_says_nothing_records_decisions_and_hides_no_name(policy):
    assert policy().audit == Audit(AuditLevel.DECISIONS, ())
    assert "audit:\n  level decisions\nguest" in effective(policy())


def test_what_is_said_arrives_and_is_told(policy):
    one = policy(BOTH)
    assert one.audit == Audit(AuditLevel.REPLAY, ("Authorization", "*token*"))
    assert one.rule("audit.redact").line == 3
    assert "  level replay\n  redact Authorization\n  redact *token*\n" in effective(one)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("audit:", "must be a mapping, not nothing"),
        ("audit: {level: everything}", "write decisions or replay"),
        ("audit: {redact: []}", "must have an entry"),
        ('audit: {redact: ["*"]}', "fits nearly every name"),
        ('audit: {redact: ["*a*"]}', "fits nearly every name"),
        ('audit: {redact: ["a b"]}', "a name is 1 to 64 of"),
        ('audit: {redact: ["to?en"]}', "a name is 1 to 64 of"),
        (f"audit: {{redact: [{'x' * 65}]}}", "a name is 1 to 64 of"),
        (f"audit: {{redact: [{', '.join(f'n{one}' for one in range(33))}]}}", "at most 32"),
        ("audit: {redact: [pin, PIN]}", "the first is redact[0]"),
        ("audit: {redacted: [pin]}", "did you mean `redact`?"),
    ],
)
def test_what_is_no_section_is_an_error_that_says_what_to_do(policy, said, told):
    with pytest.raises(PolicyError) as caught:
        policy(said + "\n")
    assert told in str(caught.value)


def test_a_ceiling_has_more_recorded_and_more_left_out(policy):
    one = policy("audit: {redact: [pin, Key]}\n")
    both = narrow(one, policy(BOTH.replace("Authorization", "KEY")))
    assert both.audit == Audit(AuditLevel.REPLAY, ("pin", "Key", "*token*"))
    assert narrow(policy(BOTH), one).audit.level is AuditLevel.REPLAY


def test_defaults_give_the_level_and_add_their_names(tmp_path):
    (tmp_path / "house.yaml").write_text(f"version: 1\nname: house\n{BOTH}")
    (tmp_path / "a.yaml").write_text("version: 1\nname: a\ndefaults: house\n")
    (tmp_path / "b.yaml").write_text(
        "version: 1\nname: b\ndefaults: house\naudit: {level: decisions, redact: [pin]}\n"
    )
    first, second = (load(str(tmp_path / f"{name}.yaml")).audit for name in "ab")
    assert first == Audit(AuditLevel.REPLAY, ("Authorization", "*token*"))
    assert second == Audit(AuditLevel.DECISIONS, ("pin", "Authorization", "*token*"))


def test_a_name_that_is_recorded_again_and_a_lower_level_are_looser(policy):
    found = compare(policy(BOTH), policy("audit: {redact: [authorization]}\n"))
    assert [(one.place, one.text) for one in found.looser] == [
        ("audit.level", "decisions, not replay"),
        ("audit.redact", "what is called *token* is recorded"),
    ]
    assert found.tighter == ()


def test_editors_know_the_section():
    section = json.loads(json_schema())["$defs"]["AuditSection"]
    assert section["properties"]["level"]["enum"] == ["decisions", "replay"]


# Which names


@pytest.mark.parametrize(
    ("pattern", "hidden", "shown"),
    [
        ("Authorization", ["authorization", "AUTHORIZATION"], ["x-authorization", "authorizatio"]),
        ("*token*", ["token", "X-Token", "my_token_2"], ["tok", "to_ken", ""]),
        ("x-*-key", ["x-api-key", "X--key"], ["x-key", "x-api-keys", "ax-api-key"]),
        ("*pin", ["pin", "my.pin"], ["pins"]),
        ("a*b*c", ["abc", "a1b2c", "abbc"], ["acb", "ab", "ac"]),
        ("ab*ba", ["abba", "ab-ba"], ["aba"]),
    ],
)
def test_a_name_is_hidden_by_its_pattern_alone(pattern, hidden, shown):
    one = Redaction((pattern,))
    assert [name for name in hidden if not one.hides(name)] == []
    assert [name for name in shown if one.hides(name)] == []


@given(st.text("ab*", min_size=1, max_size=8), st.text("ab", max_size=8))
def test_the_pieces_of_a_pattern_match_as_it_does_letter_by_letter(pattern, name):
    def fits(rest, left):
        if not rest:
            return not left
        if rest[0] == "*":
            return fits(rest[1:], left) or (bool(left) and fits(rest, left[1:]))
        return bool(left) and rest[0] == left[0] and fits(rest[1:], left[1:])

    assert Redaction((pattern,)).hides(name) == fits(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name", "hidden"),
    [
        ("*ab*ba*", "aba", False),
        ("*ab*ba*", "abba", True),
        ("*aa*aa", "aaa", False),
        ("aa*a", "aa", False),
        ("a*b*c", "abc", True),
        ("a*b*c", "acb", False),
        ("a*b*c", "ac", False),
    ],
)
def test_the_pieces_of_a_pattern_stand_beside_each_other(pattern, name, hidden):
    assert Redaction((pattern,)).hides(name) is hidden


def test_values_stay_but_for_those_of_names_that_are_hidden():
    named = {"PIN": "1234", "to": "Ann", "a-token-b": "x"}
    kept = {"PIN": "[redacted]", "to": "Ann", "a-token-b": "[redacted]"}
    assert SECRET.values(named) == kept
    assert NO_REDACTION.values(named) == named


def test_a_redaction_of_no_names_is_false():
    assert SECRET
    assert not NO_REDACTION
    assert bool(NO_REDACTION) is False


# Requests


SECRET = Redaction(("*token*", "pin"))
CALL = tool_request("pay", {"pin": "1234", "amount": 5, "Token": 7, "to": "Ann"})


def test_an_argument_that_is_named_has_no_value_no_length_and_no_digest():
    said = SECRET.request_text(CALL)
    assert said.startswith("call pay(pin=[redacted], amount=5, Token=[redacted], to=<3 characters")
    assert SECRET.hidden_arguments(CALL) == {"pin", "Token"}
    assert NO_REDACTION.request_text(CALL) == str(CALL)


@pytest.mark.parametrize("query", ["pin=1", "a=1&pin=1", "a;PIN", "p%69n=2", "my+token=3"])
def test_a_query_with_a_field_that_is_named_is_left_out_whole(query):
    asked = HttpRequest("a.example", 443, True, "GET", "/x", query)
    assert SECRET.request_text(asked) == "GET https://a.example:443/x?[redacted]"


@pytest.mark.parametrize("query", ["", "pins=1", "a=pin", "a=1&b=token", None])
def test_a_query_without_such_a_field_stays(query):
    asked = HttpRequest("a.example", 443, True, "GET", "/x", query)
    assert SECRET.request_text(asked) == str(asked)


def test_nobody_hides_a_file_by_its_name():
    asked = FileRequest(FileAction.READ, "/data/token=1")
    assert SECRET.request_text(asked) == "read /data/token=1"


def test_a_call_without_its_values_cannot_be_asked_again_and_a_query_can():
    assert recorded_request(SECRET.request_text(CALL)) is None
    asked = HttpRequest("a.example", 443, True, "GET", "/x", "pin=1")
    again = recorded_request(SECRET.request_text(asked))
    assert again == HttpRequest("a.example", 443, True, "GET", "/x")


def test_an_image_of_which_nothing_is_captured_is_a_doubt(policy):
    native = "cage: process\nimage: native-core\naudit: {level: replay}\n"
    (doubt,) = [one for one in doubts(policy(native)) if "captured" in str(one)]
    assert "nothing is captured of native code, so not with native-core" in str(doubt)
    assert not [one for one in doubts(policy(BOTH)) if "captured" in str(one)]
    decisions = native.replace("replay", "decisions")
    assert not [one for one in doubts(policy(decisions)) if "captured" in str(one)]
