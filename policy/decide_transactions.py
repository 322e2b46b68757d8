"""
What a policy answers about committing: whether what a session has changed below a mount may become
the host's, and at whose word.
"""

from policy.errors import shown
from policy.requests import CommitRequest
from policy.types import Access, Approval, CommitBy, Decision, FileGrant, Policy


def decide_commit(policy: Policy, request: CommitRequest) -> Decision:
    """
    The answer to one request. Total: a path that is no mount of a transaction is denied.
    """
    grant = next((one for one in policy.filesystem if one.mount == request.path), None)
    if grant is None or grant.access is not Access.TRANSACTION:
        return _no_transaction(policy, request, grant)
    if grant.commit_by is CommitBy.CLIENT and not request.by_client:
        return Decision(
            False,
            grant.rule,
            f"committing {shown(request.path)} is not granted to code: the session's client does "
            "that, after it has looked at the changes",
            grant=grant,
            remedy=f"`commit_by: guest` in {grant.rule.name} would allow it",
        )
    if grant.approval is Approval.REQUIRED and not request.approved:
        return Decision(
            False,
            grant.rule,
            f"committing {shown(request.path)} needs a person's approval, each time",
            grant=grant,
            remedy="an approval of these changes, or `approval: none`, would allow it",
            awaits_approval=True,
        )
    who = "its client" if request.by_client else "the guest"
    reason = f"committing {shown(request.path)} is granted to {who}"
    return Decision(True, grant.rule, reason, grant=grant)


def _no_transaction(policy: Policy, request: CommitRequest, grant: FileGrant | None) -> Decision:
    rule = policy.rule("filesystem") if grant is None else grant.rule
    return Decision(
        False,
        rule,
        f"committing {shown(request.path)} is not granted: no transaction is mounted there",
        absent=grant is None,
        grant=grant,
        remedy=f"`access: transaction` in a grant mounted at {shown(request.path)} would allow it",
    )
