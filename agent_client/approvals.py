"""
The client for approvers: what waits for an approval, and deciding about it.

It is for another account than those that run sessions, connects to another socket (`codecage serve
--approvals`), and takes what it is shown for what it is: words of an agent.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, Self

import grpc

from agent_client.errors import InvalidRequest
from agent_client.link import CHANNEL_OPTIONS, PATIENCE_SECONDS, Link, address_or_private
from agent_client.transactions import Change, change_of
from codecage import values
from codecage.v1 import approvals_pb2 as pb
from codecage.v1 import approvals_pb2_grpc


class ApprovalEnding(Enum):
    """
    How the wait for an approval ended.
    """

    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class Argument:
    """
    One argument of a call, as Python writes it. `text` is of a value, or of the tool's own default
    where `is_default` says so.
    """

    name: str
    text: str
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class Approval:
    """
    What waits for an approval. `digest` is that of all of it; `tool` and `arguments` are of a call,
    `mount`, `changes` and `more_changes` (those that are not shown) of a commit.
    """

    id: str
    digest: str
    session: str
    labels: Mapping[str, str]
    policy: str
    policy_digest: str
    rule: str
    cell: int
    asked_at: datetime
    expires_at: datetime
    tool: str = ""
    arguments: tuple[Argument, ...] = ()
    mount: str = ""
    change_digest: str = ""
    changes: tuple[Change, ...] = ()
    more_changes: int = 0

    @property
    def what(self) -> str:
        """
        What would be done, in one line.
        """
        if self.tool:
            said = ", ".join(f"{one.name}={one.text}" for one in self.arguments)
            return f"call {self.tool}({said})"
        return f"commit {self.mount} ({len(self.changes) + self.more_changes} changes)"


@dataclass(frozen=True, slots=True)
class ApprovalOver:
    """
    That something does not wait any more; `by` is who has decided.
    """

    id: str
    ending: ApprovalEnding
    by: str


class Approvals:
    """
    A connection to the approvers' socket. Use it with `with`, or call `close`.

    `address` is `unix:PATH`. Raises InvalidRequest for anything else. Whoever is no approver is not
    let in, which the first call finds out (ServerUnavailable).
    """

    def __init__(self, address: str) -> None:
        found = address_or_private(address, private=False)
        if not found:
            raise InvalidRequest("no address was given; write 'unix:PATH' of `serve --approvals`")
        self._link = Link(found, None)
        self._channel = grpc.insecure_channel(found, CHANNEL_OPTIONS)
        self._stub = approvals_pb2_grpc.ApprovalsStub(self._channel)

    def list(self) -> tuple[Approval, ...]:
        """
        What waits now, the oldest first.
        """
        replies = self._called("ListApprovals", pb.ListApprovalsRequest(), PATIENCE_SECONDS)
        return tuple(map(_approval, self._each(replies)))

    def watch(self) -> Iterator[Approval | ApprovalOver]:
        """
        What waits now, and then what comes and what is over, for as long as the iterator is used.
        """
        replies = self._called("WatchApprovals", pb.WatchApprovalsRequest(), None)
        try:
            for news in self._each(replies):
                yield _news(news)
        finally:
            replies.cancel()

    def approve(self, asked: Approval, reason: str = "") -> None:
        """
        Let it be done, once. Raises PathNotFound where it does not wait any more.
        """
        self._decide(asked, pb.APPROVAL_CHOICE_APPROVE, reason)

    def deny(self, asked: Approval, reason: str = "") -> None:
        """
        Refuse it; the agent is told the reason. Raises PathNotFound as `approve` does.
        """
        self._decide(asked, pb.APPROVAL_CHOICE_DENY, reason)

    def close(self) -> None:
        """
        Close the connection; may be called twice.
        """
        if self._link.mark_closed():
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decide(self, asked: Approval, choice: "pb.ApprovalChoice.ValueType", reason: str) -> None:
        request = pb.DecideApprovalRequest(
            id=asked.id, digest=asked.digest, choice=choice, reason=reason
        )
        try:
            self._called("DecideApproval", request, PATIENCE_SECONDS)
        except grpc.RpcError as error:
            raise self._link.failure(error) from error

    def _called(self, method: str, request: Any, timeout: float | None) -> Any:
        self._link.check_open()
        return getattr(self._stub, method)(request, timeout=timeout)

    def _each(self, replies: Any) -> Iterator[Any]:
        try:
            yield from replies
        except grpc.RpcError as error:
            raise self._link.failure(error) from error


def _news(news: pb.ApprovalNews) -> Approval | ApprovalOver:
    if news.HasField("asked"):
        return _approval(news.asked)
    return ApprovalOver(
        news.over.id, _ENDINGS.get(news.over.ending, ApprovalEnding.VOID), news.over.by
    )


_ENDINGS = {
    pb.APPROVAL_ENDING_APPROVED: ApprovalEnding.APPROVED,
    pb.APPROVAL_ENDING_DENIED: ApprovalEnding.DENIED,
    pb.APPROVAL_ENDING_EXPIRED: ApprovalEnding.EXPIRED,
    pb.APPROVAL_ENDING_VOID: ApprovalEnding.VOID,
}


def _approval(asked: pb.Approval) -> Approval:
    return Approval(
        id=asked.id,
        digest=asked.digest,
        session=asked.session_id,
        labels=dict(asked.labels),
        policy=asked.policy,
        policy_digest=asked.policy_digest,
        rule=f"{asked.rule} ({asked.rule_place})",
        cell=asked.cell,
        asked_at=asked.asked_at.ToDatetime(UTC),
        expires_at=asked.expires_at.ToDatetime(UTC),
        tool=asked.call.tool,
        arguments=tuple(map(_argument, asked.call.arguments)),
        mount=asked.commit.mount,
        change_digest=asked.commit.digest,
        changes=tuple(map(change_of, asked.commit.changes)),
        more_changes=asked.commit.more_changes,
    )


def _argument(one: pb.ApprovalArgument) -> Argument:
    if not one.HasField("value"):
        return Argument(one.name, one.default_text, is_default=True)
    return Argument(one.name, _shown(one.value))


def _shown(document: bytes) -> str:
    """
    A value as Python writes it; of one that is not wholly shown so, such as an array, its digest.
    """
    digest = hashlib.sha256(document).hexdigest()
    try:
        value = values.decode(document, _LARGEST)
    except (values.Refused, ImportError):
        return f"<{len(document)} bytes, sha256 {digest}>"
    if _is_whole(value):
        return repr(value)
    return f"<{type(value).__name__}, {len(document)} bytes, sha256 {digest}>"


def _is_whole(value: object) -> bool:
    """
    Whether `repr` leaves nothing of the value out.
    """
    if type(value) in _PLAIN:
        return True
    if isinstance(value, dict):
        return all(map(_is_whole, value)) and all(map(_is_whole, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_whole, value))
    return isinstance(value, values.Record) and all(
        map(_is_whole, values.record_fields(value).values())
    )


_PLAIN = {
    *(type(None), bool, int, float, complex, str, bytes),
    *(date, time, datetime, timedelta, Decimal, Fraction),
}
_LARGEST = values.Limits(2**17)
