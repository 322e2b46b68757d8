"""
`access: transaction`: what it grants, how it narrows, and how a change of it is told.
"""

import pytest

from policy.builtin import CALCULATOR
from policy.compare import compare
from policy.decide import decide
from policy.digest import digest_of
from policy.effective import effective
from policy.errors import PolicyError
from policy.narrow import narrow
from policy.parse import parse
from policy.request_text import parse_request
from policy.requests import CommitRequest, FileAction, FileRequest, kind_of
from policy.types import Access, CommitBy

HEAD = "version: 1\nname: books\nfilesystem:\n"


def policy(*grants, name="books"):
    text = HEAD.replace("books", name) + "".join(f"  - {{{grant}}}\n" for grant in grants)
    return parse(text, file=f"{name}.yaml", base="/srv/policies")


LEDGER = "mount: /ledger, source: /srv/books"
TRANSACTION = f"{LEDGER}, access: transaction"


def problem(*grants):
    with pytest.raises(PolicyError) as caught:
        policy(*grants)
    return str(caught.value)


def test_a_transaction_may_be_written_and_committed_by_code_unless_it_says_otherwise():
    (grant,) = policy(f"{TRANSACTION}, quota: 1Mi, max_files: 7").filesystem
    assert (grant.access, grant.commit_by) == (Access.TRANSACTION, CommitBy.GUEST)
    assert (grant.quota, grant.max_files) == (2**20, 7)
    assert policy(f"{LEDGER}, access: read-write").filesystem[0].commit_by is None


@pytest.mark.parametrize(
    ("by", "by_client", "allowed"),
    [
        ("guest", False, True),
        ("guest", True, True),
        ("client", False, False),
        ("client", True, True),
    ],
)
def test_who_may_commit_is_what_the_grant_says(by, by_client, allowed):
    decided = decide(
        policy(f"{TRANSACTION}, commit_by: {by}"), CommitRequest("/ledger", by_client=by_client)
    )
    assert decided.allowed is allowed
    assert decided.rule.name == "filesystem[0]"
    assert ("the session's client does" in decided.reason) is not allowed


@pytest.mark.parametrize("path", ["/ledger/2026", "/plain", "/read", "/elsewhere", "/", "", "x\0"])
def test_nothing_but_the_mount_of_a_transaction_is_committed(path):
    books = policy(
        TRANSACTION,
        "mount: /plain, source: /srv/plain, access: read-write",
        "mount: /read, source: /srv/read, access: read",
    )
    decided = decide(books, CommitRequest(path, by_client=True))
    assert not decided.allowed
    assert "no transaction is mounted there" in decided.reason


def test_denied_and_guarded_names_are_so_in_a_transaction_too():
    books = policy(f"{TRANSACTION}, deny: [private]")
    assert decide(books, FileRequest(FileAction.WRITE, "/ledger/main")).allowed
    assert decide(books, FileRequest(FileAction.WRITE, "/ledger/private/a")).absent
    guarded = decide(books, FileRequest(FileAction.CREATE, "/ledger/.git"))
    assert not guarded.allowed
    assert guarded.rule.name == "guard[.git]"


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        (f"{TRANSACTION}, gate: bean-check", "there is no gate `bean-check`"),
        (f"{TRANSACTION}, commit_by: anybody", "write guest, client or approver"),
        (f"{LEDGER}, access: read-write, commit_by: guest", "for transactions alone"),
        ("mount: /s, source: scratch, access: transaction", "no base that a commit could change"),
        ("mount: /s, source: /, access: transaction", "dangerous grant"),
        (f"{LEDGER}, access: transactions", "write read, read-write or transaction"),
    ],
)
def test_what_nobody_could_keep_or_mean_does_not_load(grant, said):
    assert said in problem(grant)


def test_a_source_under_a_transaction_and_another_grant_does_not_load():
    said = problem(TRANSACTION, "mount: /b, source: /srv/books/2026, access: read")
    assert "one file under two sets of rights" in said


@pytest.mark.parametrize(
    ("own", "ceiling", "access", "by"),
    [
        ("transaction", "transaction", Access.TRANSACTION, CommitBy.GUEST),
        ("transaction", "read-write", Access.TRANSACTION, CommitBy.GUEST),
        ("read-write", "transaction", Access.TRANSACTION, CommitBy.GUEST),
        ("transaction", "read", Access.READ, None),
        ("read", "transaction", Access.READ, None),
        ("transaction, commit_by: client", "read-write", Access.TRANSACTION, CommitBy.CLIENT),
        ("read-write", "transaction, commit_by: client", Access.TRANSACTION, CommitBy.CLIENT),
        ("transaction", "transaction, commit_by: client", Access.TRANSACTION, CommitBy.CLIENT),
    ],
)
def test_of_two_grants_the_stricter_is_left(own, ceiling, access, by):
    both = narrow(
        policy(f"{LEDGER}, access: {own}"), policy(f"{LEDGER}, access: {ceiling}", name="ceiling")
    )
    (grant,) = both.filesystem
    assert (grant.access, grant.commit_by) == (access, by)


@pytest.mark.parametrize(
    ("stricter", "looser", "said"),
    [
        ("read", "transaction", "may be written"),
        ("transaction", "read-write", "is written at once"),
        ("transaction, commit_by: client", "transaction", "may be committed by the guest"),
    ],
)
def test_what_became_looser_is_told_and_the_way_back_is_tighter(stricter, looser, said):
    one, other = (policy(f"{LEDGER}, access: {access}") for access in (stricter, looser))
    assert said in [change.text for change in compare(one, other).looser]
    assert said in [change.text for change in compare(other, one).tighter]


def test_the_digest_depends_on_who_commits_and_other_policies_keep_theirs():
    digests = {
        policy(f"{LEDGER}, access: {access}").digest
        for access in ("read-write", "transaction", "transaction, commit_by: client")
    }
    assert len(digests) == 3
    silent, said = policy(TRANSACTION), policy(f"{TRANSACTION}, commit_by: guest")
    assert silent.digest == said.digest
    assert digest_of(CALCULATOR) == CALCULATOR.digest


def test_a_commit_is_a_request_that_can_be_written_and_counted():
    asked = parse_request("commit /ledger")
    assert asked == CommitRequest("/ledger")
    assert str(asked) == "commit /ledger"
    assert kind_of(asked) == "commit"


def test_the_effective_policy_says_who_commits():
    assert "committed by the client" in effective(policy(f"{TRANSACTION}, commit_by: client"))
