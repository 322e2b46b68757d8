"""
An approver who comes in by the real socket, beside the client and the cells of `tool_client`.
"""

import os

import grpc

from codecage.v1 import approvals_pb2 as wire
from codecage.v1 import approvals_pb2_grpc
from executor.audit.record import Event
from executor.sessions.approving import Approver
from tests.executor.fakes.tool_client import given, seen

APPROVER = Approver("somebody", os.geteuid())
ASKED = "tools: [{name: echo, max_calls: 100, approval: required}, {name: bound, max_calls: 9}]\n"
DENY = wire.APPROVAL_CHOICE_DENY


def asked(tmp_path, scenario, text=ASKED):
    async def with_approver(server):
        async with grpc.aio.insecure_channel(f"unix:{tmp_path / 'server' / 'door'}") as channel:
            await scenario(server, approvals_pb2_grpc.ApprovalsStub(channel))

    given(tmp_path, with_approver, text, approvers=[APPROVER])


async def waiting(stub, count=1):
    """
    What waits, once so many do.
    """
    found = []
    async for news in stub.WatchApprovals(wire.WatchApprovalsRequest()):
        found.append(news.asked)
        if len(found) == count:
            return found
    raise AssertionError


def decision(one, choice=wire.APPROVAL_CHOICE_APPROVE, **more):
    return wire.DecideApprovalRequest(
        **({"id": one.id, "digest": one.digest} | more), choice=choice
    )


def approvals(server, session):
    return [(one.outcome, dict(one.detail)) for one in seen(server, session, Event.APPROVAL)]
