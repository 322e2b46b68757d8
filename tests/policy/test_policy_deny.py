"""
`deny` at the top of a policy: it wins over every grant, hides, and says why.
"""

import pytest

from policy.decide import compile_policy, decide
from policy.errors import PolicyError
from policy.explain import explain, parse_request, to_json
from policy.requests import FileAction, FileRequest

GRANTS = """filesystem:
  - {mount: /data, source: /srv/data, access: read, deny: ["*.tmp"]}
  - {mount: /work/out, source: /srv/out, access: read-write}
  - {mount: /work, source: scratch, access: read-write}
"""
DENY = """deny:
  - {path: "/data/private/**", reason: "Personal data. Ask for the aggregated table."}
  - {path: "/**/*.key"}
"""


@pytest.mark.parametrize("action", FileAction)
@pytest.mark.parametrize("path", ["/data/private", "/data/private/a/b", "/data/x/y.key"])
def test_what_deny_matches_is_absent_whatever_a_grant_says(policy, action, path):
    decision = decide(policy(GRANTS + DENY), FileRequest(action, path))
    assert (decision.allowed, decision.absent) == (False, True)
    assert decision.rule.name == ("deny[1]" if path.endswith(".key") else "deny[0]")


@pytest.mark.parametrize("path", ["/data", "/data/privately", "/data/x.keys", "/work/out/a"])
def test_what_deny_does_not_match_is_left_to_the_grants(policy, path):
    assert decide(policy(GRANTS + DENY), FileRequest(FileAction.READ, path)).allowed


def test_deny_also_covers_writable_grants(policy):
    one = policy(GRANTS + DENY)
    assert not decide(one, FileRequest(FileAction.CREATE, "/work/out/a.key")).allowed
    assert decide(one, FileRequest(FileAction.CREATE, "/work/out/a.txt")).allowed


def test_without_the_entry_the_grant_speaks(policy):
    request = FileRequest(FileAction.READ, "/data/private/a")
    assert decide(policy(GRANTS), request).allowed
    assert not decide(policy(GRANTS + DENY), request).allowed


def test_memory_of_the_session_has_nothing_to_hide(policy):
    assert decide(policy(GRANTS + DENY), FileRequest(FileAction.WRITE, "/work/my.key")).allowed


def test_the_reason_reaches_the_agent_and_the_glob_does_not(policy):
    one = policy(GRANTS + DENY)
    reason = decide(one, FileRequest(FileAction.READ, "/data/private/a")).reason
    assert reason == (
        "reading /data/private/a is not granted: Personal data. Ask for the aggregated table."
    )
    reason = decide(one, FileRequest(FileAction.READ, "/data/a.key")).reason
    assert reason == "reading /data/a.key is not granted: the policy denies the name"


def test_a_directory_that_holds_a_denied_name_has_to_be_looked_through(policy):
    one = compile_policy(policy(GRANTS + 'deny: [{path: "/data/a/b/*.csv"}]\n'))
    assert one.may_hide("/data/a")
    assert one.may_hide("/data/a/b")
    assert not one.may_hide("/data/other")
    assert not compile_policy(policy(GRANTS.replace("*.tmp", "x/y"))).may_hide("/data/a")


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("deny-relative", 'deny: [{path: "data/x"}]\n'),
        ("deny-glob", 'deny: [{path: "/data/[ab]"}]\n'),
        ("deny-nothing-there", 'deny: [{path: "/date/private/**"}]\n'),
        ("deny-of-scratch", "deny: [{path: /work/mine}]\n"),
        ("deny-twice", "deny: [{path: /data/x}, {path: /data/x, reason: Again.}]\n"),
        ("deny-reason", 'deny: [{path: /data/x, reason: ""}]\n'),
        ("deny-key", "deny: [{path: /data/x, reasn: Because.}]\n"),
        ("deny-text", "deny: /data/x\n"),
    ],
)
def test_a_mistake_is_shown_with_its_place(policy, expected, case, text):
    with pytest.raises(PolicyError) as caught:
        policy(GRANTS + text)
    expected(case, str(caught.value))


def test_one_directory_under_two_names_cannot_be_half_denied(policy):
    twice = """filesystem:
  - {mount: /data, source: /srv/data, access: read}
  - {mount: /also, source: /srv/data, access: read}
"""
    assert len(policy(twice).filesystem) == 2
    with pytest.raises(PolicyError, match="one file under two sets of rights"):
        policy(twice + "deny: [{path: /data/private}]\n")


def test_an_explanation_points_at_the_line(policy, expected):
    one, request = policy(GRANTS + DENY), parse_request("read /data/private/x.csv")
    expected("explain-deny", explain(one, request))
    expected("explain-deny.json", to_json(one, request))


def test_the_digest_covers_the_paths_and_the_reasons(policy):
    plain = 'deny: [{path: "/data/a"}, {path: "/data/b"}]\n'
    turned = 'deny: [{path: "/data/b"}, {path: "/data/a"}]\n'
    reasoned = 'deny: [{path: "/data/b"}, {path: "/data/a", reason: "No."}]\n'
    assert policy(GRANTS + plain).digest == policy(GRANTS + turned).digest
    digests = {policy(GRANTS + text).digest for text in ("", plain, reasoned)}
    assert len(digests) == 3
