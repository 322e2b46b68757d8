"""
`imports`: said, narrowed, shown and answered as what it is, guidance that nothing enforces.
"""

import json

import pytest

from policy.compare import compare
from policy.decide import decide
from policy.effective import effective, to_json
from policy.errors import PolicyError
from policy.explain import explain, parse_request
from policy.explain import to_json as answer_json
from policy.narrow import narrow
from policy.requests import FileAction, FileRequest, ImportRequest

SAID = "imports: {allow: [numpy, os.path, csv]}\n"


def test_modules_arrive_and_silence_is_no_list(policy):
    assert policy(SAID).imports == ("numpy", "os.path", "csv")
    assert policy().imports is None


@pytest.mark.parametrize(
    ("module", "advised"),
    [
        ("numpy", True),
        ("numpy.random", True),
        ("os.path", True),
        ("numpyro", False),
        ("os", False),
        ("os.pathx", False),
        ("", False),
        (".numpy", False),
    ],
)
def test_a_module_stands_for_what_lies_below_it(policy, module, advised):
    assert decide(policy(SAID), ImportRequest(module)).allowed is advised
    assert decide(policy(), ImportRequest(module)).allowed


@pytest.mark.parametrize("module", ["numpy", "os"])
def test_an_explanation_calls_it_guidance(policy, expected, module):
    request = parse_request(f"import {module}")
    expected(f"explain-import-{module}", explain(policy(SAID), request))
    assert json.loads(answer_json(policy(SAID), request))["guidance"] is True


def test_other_answers_are_no_guidance(policy):
    assert json.loads(answer_json(policy(SAID), parse_request("read /x")))["guidance"] is False


def test_what_is_in_force_calls_it_guidance_too(policy):
    line = "  imports numpy, os.path, csv (guidance, not enforced)"
    assert effective(policy(SAID)).splitlines()[-1] == line
    assert "imports" not in effective(policy())
    assert json.loads(to_json(policy(SAID)))["imports"] == ["csv", "numpy", "os.path"]


def test_it_grants_and_takes_nothing(policy):
    request = FileRequest(FileAction.READ, "/numpy")
    assert decide(policy(SAID), request) == decide(policy(), request)


@pytest.mark.parametrize(
    ("own", "other", "both"),
    [
        (None, None, None),
        ("[a]", None, ("a",)),
        (None, "[a]", ("a",)),
        ("[a, b]", "[b, c]", ("b",)),
        ("[a]", "[a.b, a.c]", ("a.b", "a.c")),
        ("[a.b]", "[a]", ("a.b",)),
        ("[a]", "[ab]", ()),
    ],
)
def test_narrowing_keeps_what_both_advise(policy, own, other, both):
    first, second = (policy(f"imports: {{allow: {one}}}\n" if one else "") for one in (own, other))
    assert narrow(first, second).imports == both


def test_the_order_of_modules_is_no_meaning_and_modules_are(policy):
    turned = policy("imports: {allow: [csv, numpy, os.path]}\n")
    assert turned.digest == policy(SAID).digest
    assert len({policy(text).digest for text in ("", SAID, "imports: {allow: [csv]}\n")}) == 3


def test_a_difference_says_that_it_is_guidance(policy):
    fewer = policy("imports: {allow: [numpy.random]}\n")
    assert [one.text for one in compare(policy(SAID), policy()).looser] == [
        "every module (guidance)"
    ]
    assert compare(policy(SAID), fewer).looser == ()
    assert [one.text for one in compare(fewer, policy(SAID)).looser] == [
        "csv (guidance)",
        "numpy (guidance)",
        "os.path (guidance)",
    ]


def test_what_lies_below_a_module_may_be_written_and_means_the_same(policy):
    one = policy('imports: {allow: ["numpy.*", numpy, "os.path.*", csv]}\n')
    assert (one.imports, one.digest) == (policy(SAID).imports, policy(SAID).digest)
    with pytest.raises(PolicyError):
        policy('imports: {allow: ["*"]}\n')
    with pytest.raises(PolicyError):
        policy('imports: {allow: ["numpy.*.x"]}\n')
