"""
Files of cases: what they may say, which of a policy's answers are other than they should be, and
which of its rules nobody asked.
"""

import pytest

from policy.cases import load_cases, rules_of, run_cases
from policy.errors import PolicyError

POLICY = """filesystem:
  - {mount: /data, source: /srv/data, access: read, deny: ["*.key"]}
network: [{host: api.example.com, http: [{paths: [/v1/**]}]}]
tools: [{name: look, arguments: {n: {max: 5}}}]
deny: [{path: /data/private/**}]
"""


@pytest.fixture
def cases(tmp_path):
    def load(*lines, policy=""):
        path = tmp_path / "sample.cases.yaml"
        entries = "".join(f"  - {line}\n" for line in lines)
        path.write_text(f"version: 1\n{policy}cases:\n{entries}")
        path.chmod(0o644)
        return load_cases(str(path))

    return load


def case(request, expect, rule=""):
    rule = f', rule: "{rule}"' if rule else ""
    return f'{{request: "{request}", expect: {expect}{rule}}}'


def test_cases_that_hold_are_counted_and_the_rules_that_nobody_asked_are_told(policy, cases):
    one = policy(POLICY)
    held = cases(
        case("read /data/x", "allowed"),
        case("read /data/x.key", "denied", "filesystem[0].deny[0]"),
        """{request: 'call look {"n": 3}', expect: allowed, rule: "tools[0]"}""",
    )
    found = run_cases(one, held)
    assert (found.passed, found.failures, found.rules) == (3, (), tuple(rules_of(one)))
    assert found.unasked == (
        "deny[0]",
        "network[0]",
        "network[0].http[0]",
        "tools[0].arguments.n",
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            case("read /data/x", "denied"),
            "`read /data/x` is allowed by filesystem[0] (sample.yaml:4), not denied",
        ),
        (
            case("write /data/x", "allowed"),
            "`write /data/x` is denied by filesystem[0] (sample.yaml:4), not allowed",
        ),
        (
            case("read /data/x", "allowed", "filesystem[1]"),
            "`read /data/x` is allowed by filesystem[0] (sample.yaml:4), "
            "not allowed by filesystem[1]",
        ),
        (
            case("read /data/x.key", "denied", "deny[0]"),
            "`read /data/x.key` is denied by filesystem[0].deny[0] (sample.yaml:4), "
            "not denied by deny[0]",
        ),
    ],
)
def test_a_case_that_does_not_hold_says_what_was_answered_by_whom_and_where_it_stands(
    policy, cases, line, told
):
    found = run_cases(policy(POLICY), cases(case("read /data/y", "allowed"), line))
    (problem,) = found.failures
    assert found.passed == 1
    assert problem.message == told
    assert problem.hint
    assert (problem.file, problem.line, problem.column) == ("sample.cases.yaml", 4, 5)
    assert problem.text == f"  - {line}"


def test_the_policy_of_cases_is_a_file_beside_theirs(cases, tmp_path):
    line = case("read /data/x", "allowed")
    assert cases(line).policy == ""
    assert cases(line, policy="policy: a.yaml\n").policy == str(tmp_path / "a.yaml")
    for name in ("../a.yaml", "/etc/a.yaml", "sub/a.yaml", "a.yml", "a"):
        with pytest.raises(PolicyError, match="is no policy beside this file"):
            cases(line, policy=f"policy: {name}\n")


def test_every_case_that_is_no_request_is_told_at_once(cases):
    with pytest.raises(PolicyError) as caught:
        cases(
            case("dance /data", "denied"), case("read /data/x", "denied"), case("read x", "denied")
        )
    places = [(problem.line, problem.column) for problem in caught.value.problems]
    assert places == [(3, 15), (5, 15)]
    assert all("cases[" in problem.message for problem in caught.value.problems)


def test_a_file_with_a_key_that_is_none_has_no_cases(cases):
    with pytest.raises(PolicyError, match="did you mean `expect`"):
        cases('{request: "read /data/x", expct: denied}')
