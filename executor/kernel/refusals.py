"""
How a refusal is put: the errno that fits a decision, and the words for the agent.
"""

import errno

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.errors import AuditBudgetSpent, AuditError
from executor.kernel.errors import GuestError
from policy.types import Access, Decision


def refusal(decision: Decision, policy: str) -> GuestError:
    """
    The error for a denied request: which policy (by name) and rule, and the policy's own reason.

    What must look absent is ENOENT, a change below a read-only grant EROFS, all else EACCES.
    """
    number = errno.EACCES
    if decision.absent:
        number = errno.ENOENT
    elif decision.grant is not None and decision.grant.access is Access.READ:
        number = errno.EROFS
    told = f"[policy {policy}, rule {decision.rule.name}] {decision.reason}"
    return GuestError(number, told, decision)


def answer_to(error: GuestError | AuditError) -> frames_pb2.Answer:
    """
    The answer that tells the worker of an error.
    """
    if isinstance(error, GuestError):
        return frames_pb2.Answer(errno=error.errno, reason=error.message)
    if isinstance(error, AuditBudgetSpent):
        return frames_pb2.Answer(errno=errno.EDQUOT, reason=str(error))
    return frames_pb2.Answer(
        errno=errno.EIO, reason="the audit record cannot be written now, so nothing was done"
    )


def error_name(number: int) -> str:
    """
    The name of an error number in records; EIO for one that has none.
    """
    return errno.errorcode.get(number, "EIO")
