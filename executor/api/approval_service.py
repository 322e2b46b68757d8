# ruff: noqa: N802 - the methods bear the names of the protocol
"""
The wire API for approvers: `codecage.v1.Approvals`.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc

from codecage.v1 import approvals_pb2 as wire
from codecage.v1 import approvals_pb2_grpc
from executor.api import convert
from executor.api.answering import many, one
from executor.errors import InvalidRequest
from executor.kernel.approval import Argument, ChangeList, Ending, ToolCall
from executor.kernel.errors import ExecutorError, Status
from executor.sessions.approving import Approver, Asked, Choice, Desk, News, Over
from executor.sessions.transacting import change

_Context = grpc.aio.ServicerContext[Any, Any]
_MOST_REASON: Final = 300
_LONGEST: Final = 64
_CHOICES: Final = {
    wire.APPROVAL_CHOICE_APPROVE: Choice.APPROVE,
    wire.APPROVAL_CHOICE_DENY: Choice.DENY,
}
_ENDINGS: Final = {
    Ending.APPROVED: wire.APPROVAL_ENDING_APPROVED,
    Ending.DENIED: wire.APPROVAL_ENDING_DENIED,
    Ending.EXPIRED: wire.APPROVAL_ENDING_EXPIRED,
    Ending.VOID: wire.APPROVAL_ENDING_VOID,
}


class NoApprover(ExecutorError):
    """
    Whoever calls did not come in by the approvers' socket.
    """

    def __init__(self) -> None:
        super().__init__(
            Status.PERMISSION_DENIED,
            "NO_APPROVER",
            "only the accounts that the server was started with approve, and only at the socket "
            "of `serve --approvals`",
        )


class ApprovalService(approvals_pb2_grpc.ApprovalsServicer):
    """
    The service for those whom `who` knows by the name that gRPC has for their connection.
    """

    def __init__(self, desk: Desk, who: Callable[[str], Approver | None]) -> None:
        self._desk = desk
        self._who = who

    @many
    async def ListApprovals(
        self, _: wire.ListApprovalsRequest, context: _Context
    ) -> AsyncIterator[wire.Approval]:
        """
        What waits now.
        """
        self._approver(context)
        for asked in self._desk.open():
            yield _approval(asked)

    @many
    async def WatchApprovals(
        self, _: wire.WatchApprovalsRequest, context: _Context
    ) -> AsyncIterator[wire.ApprovalNews]:
        """
        What waits, comes and goes.
        """
        self._approver(context)
        async for news in self._desk.watch():
            yield _news(news)

    @one
    async def DecideApproval(
        self, request: wire.DecideApprovalRequest, context: _Context
    ) -> wire.DecideApprovalResponse:
        """
        Approve or deny.
        """
        by = self._approver(context)
        choice = _CHOICES.get(request.choice)
        if choice is None:
            raise InvalidRequest("CHOICE_MISSING", "say APPROVE or DENY")
        if len(request.reason) > _MOST_REASON or not request.reason.isprintable():
            raise InvalidRequest(
                "REASON_TOO_LONG", f"a reason has {_MOST_REASON} printable characters at most"
            )
        if max(len(request.id), len(request.digest)) > _LONGEST:
            raise InvalidRequest("APPROVAL_NOT_FOUND", "an approval's id or digest is shorter")
        head = await self._desk.decide(request.id, request.digest, choice, by, request.reason)
        return wire.DecideApprovalResponse(audit_head=convert.head(head))

    def _approver(self, context: _Context) -> Approver:
        if (found := self._who(context.peer())) is None:
            raise NoApprover
        return found


def _news(news: News) -> wire.ApprovalNews:
    if isinstance(news, Over):
        over = wire.ApprovalOver(id=news.name, ending=_ENDINGS[news.ending], by=news.by)
        return wire.ApprovalNews(over=over)
    return wire.ApprovalNews(asked=_approval(news))


def _approval(asked: Asked) -> wire.Approval:
    facts, rule = asked.facts, asked.question.decision.rule
    approval = wire.Approval(
        id=asked.name,
        digest=asked.digest,
        session_id=facts.id,
        labels=dict(facts.labels),
        policy=facts.policy.name,
        policy_digest=facts.policy.digest,
        rule=rule.name,
        rule_place=f"{rule.file}:{rule.line or rule.name}",
        cell=asked.cell or 0,
        asked_at=convert.timestamp(int(asked.asked_at * 1e9)),
        expires_at=convert.timestamp(int(asked.expires_at * 1e9)),
    )
    if isinstance(asked.question.shows, ToolCall):
        approval.call.CopyFrom(_call(asked.question.shows))
    else:
        approval.commit.CopyFrom(_commit(asked.question.shows))
    return approval


def _call(call: ToolCall) -> wire.ApprovalCall:
    return wire.ApprovalCall(tool=call.tool, arguments=map(_argument, call.arguments))


def _argument(one: Argument) -> wire.ApprovalArgument:
    return wire.ApprovalArgument(name=one.name, value=one.value, default_text=one.default)


def _commit(shown: ChangeList) -> wire.ApprovalCommit:
    # All of them: nobody is asked about a list that he would not see whole.
    changes = [change(found) for found in shown.changes]
    return wire.ApprovalCommit(mount=shown.mount, digest=shown.digest, changes=changes)
