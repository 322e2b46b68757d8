"""
`approval`: what is granted only if a person agrees, each time.
"""

import pytest

from policy.compare import compare
from policy.decide import decide
from policy.effective import effective
from policy.errors import PolicyError
from policy.narrow import narrow
from policy.offers import wants_approval
from policy.requests import CommitRequest, tool_request
from policy.schema_approvals import ApprovalSection
from policy.types import APPROVAL_EXPIRES, Access, Approval, CommitBy

LEDGER = "mount: /ledger, source: /srv/books, access: transaction"


def tool(said):
    return f"tools: [{{name: send{said}}}]\n"


def books(said):
    return f"filesystem: [{{{LEDGER}{said}}}]\n"


WAYS = [tool, books]


def test_a_mapping_says_that_an_approval_is_required():
    assert ApprovalSection.model_validate({"required": True}).required is True


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("said", "approval", "expires"),
    [
        ("", Approval.NONE, APPROVAL_EXPIRES),
        (", approval: none", Approval.NONE, APPROVAL_EXPIRES),
        (", approval: required", Approval.REQUIRED, 600.0),
        (", approval: {required: true}", Approval.REQUIRED, 600.0),
        (", approval: {required: true, expires: 90s}", Approval.REQUIRED, 90.0),
    ],
)
def test_what_is_said_arrives(policy, way, said, approval, expires):
    one = policy(way(said))
    (grant,) = one.tools or one.filesystem
    assert (grant.approval, grant.approval_expires) == (approval, expires)
    assert (wants_approval(one) == grant.rule) is (approval is Approval.REQUIRED)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("approval: true", "cannot be true"),
        ("approval: ~", "cannot be nothing"),
        ("approval: maybe", "write none, required, or {required: true, expires: 10m}"),
        ("approval: {required: false}", "write `approval: none`"),
        ("approval: {expires: 10m}", "`required`"),
        ("approval: {required: true, expires: 500ms}", "allowed are 1s to 24h"),
        ("approval: {required: true, expires: 25h}", "allowed are 1s to 24h"),
        ("approval: {required: true, expire: 1h}", "did you mean `expires`?"),
    ],
)
def test_what_means_nothing_is_an_error_that_says_what_to_write(policy, way, said, told):
    with pytest.raises(PolicyError) as caught:
        policy(way(f", {said}"))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (books(", commit_by: approver, approval: none"), "says none, and `commit_by: approver`"),
        (
            "filesystem: [{mount: /a, source: /srv/a, access: read-write, approval: required}]\n",
            "for transactions alone",
        ),
    ],
)
def test_an_approval_where_nothing_waits_for_one_is_an_error(policy, text, told):
    with pytest.raises(PolicyError) as caught:
        policy(text)
    assert told in str(caught.value)


def test_commits_by_an_approver_are_anybodys_that_wait_for_one(policy):
    (grant,) = policy(books(", commit_by: approver")).filesystem
    assert (grant.commit_by, grant.approval) == (CommitBy.GUEST, Approval.REQUIRED)
    (other,) = policy(books(", approval: required")).filesystem
    assert (
        policy(books(", commit_by: approver")).digest
        == policy(books(", approval: required")).digest
    )
    assert (grant.commit_by, grant.approval) == (other.commit_by, other.approval)


@pytest.mark.parametrize("by_client", [True, False])
def test_a_commit_is_allowed_once_somebody_has_approved_it(policy, by_client):
    one = policy(books(", approval: required"))
    before = decide(one, CommitRequest("/ledger", by_client))
    assert (before.allowed, before.awaits_approval) == (False, True)
    after = decide(one, CommitRequest("/ledger", by_client, approved=True))
    assert (after.allowed, after.awaits_approval) == (True, False)


def test_an_approval_makes_nobody_commit_whom_the_policy_refuses(policy):
    one = policy(books(", approval: required, commit_by: client"))
    refused = decide(one, CommitRequest("/ledger", approved=True))
    assert (refused.allowed, refused.awaits_approval) == (False, False)
    assert decide(one, CommitRequest("/other", approved=True)).allowed is False


def test_a_digest_knows_an_approval_and_its_time_and_what_says_nothing_has_the_one_it_had(policy):
    for way in WAYS:
        said = ["", ", approval: required", ", approval: {required: true, expires: 1h}"]
        assert len({policy(way(one)).digest for one in said}) == 3
        assert policy(way(said[0])).digest == policy(way(", approval: none")).digest
        ten = ", approval: {required: true, expires: 10m}"
        assert policy(way(said[1])).digest == policy(way(ten)).digest


@pytest.mark.parametrize("way", WAYS)
def test_within_a_ceiling_either_wants_one_and_the_shorter_time_holds(policy, way):
    long, short = (
        ", approval: {required: true, expires: 2h}",
        ", approval: {required: true, expires: 1h}",
    )
    for own, ceiling, expires in (
        (long, short, 3600),
        (short, long, 3600),
        ("", long, 7200),
        (long, "", 7200),
    ):
        both = narrow(policy(way(own)), policy(way(ceiling)))
        (grant,) = both.tools or both.filesystem
        assert (grant.approval, grant.approval_expires) == (Approval.REQUIRED, expires)
    assert wants_approval(narrow(policy(way("")), policy(way("")))) is None


def test_what_is_only_read_within_a_ceiling_waits_for_nobody(policy):
    one = policy(books(", approval: required"))
    read = policy("filesystem: [{mount: /ledger, source: /srv/books, access: read}]\n")
    (grant,) = narrow(one, read).filesystem
    assert (grant.access, grant.approval) == (Access.READ, Approval.NONE)


@pytest.mark.parametrize(("way", "place"), [(tool, "tools.send"), (books, "/ledger")])
def test_less_of_an_approval_is_looser_and_more_of_it_tighter(policy, way, place):
    none, ten = policy(way("")), policy(way(", approval: required"))
    hour = policy(way(", approval: {required: true, expires: 1h}"))
    looser = compare(ten, none).looser
    assert [one.place for one in looser] == [place]
    assert "without an approval" in looser[0].text
    (longer,) = compare(ten, hour).looser
    assert "an approval may take up to 1h, not 10m" in longer.text
    for old, new in ((none, ten), (hour, ten)):
        found = compare(old, new)
        assert (found.looser, len(found.tighter)) == ((), 1)


def test_what_is_in_force_says_so(policy):
    told = effective(
        policy(tool(", approval: {required: true, expires: 1h}") + books(", approval: required"))
    )
    assert "send  up to 100 calls, each approved by a person within 1h\n" in told
    assert "committed by the guest or its client, each approved by a person\n" in told


def test_a_bound_is_asked_before_a_person_is(policy):
    one = policy("tools: [{name: send, approval: required, arguments: {n: {max: 1}}}]\n")
    assert not decide(one, tool_request("send", {"n": 2})).awaits_approval
    assert decide(one, tool_request("send", {"n": 1})).awaits_approval


@pytest.mark.parametrize(("by_client", "who"), [(True, "its client"), (False, "the guest")])
def test_a_commit_that_is_granted_says_to_whom(policy, by_client, who):
    answer = decide(policy(books("")), CommitRequest("/ledger", by_client))
    assert (answer.allowed, answer.reason) == (True, f"committing /ledger is granted to {who}")


def test_a_commit_where_there_is_no_transaction_says_whether_there_is_a_mount(policy):
    one = policy("filesystem: [{mount: /data, source: /srv/data, access: read}]\n")
    for path, absent in (("/data", False), ("/other", True)):
        answer = decide(one, CommitRequest(path))
        assert (answer.allowed, answer.absent, answer.grant is None) == (False, absent, absent)
        assert f"a grant mounted at {path} would allow it" in answer.remedy
