"""
What a box asks of the gate that is judged and recorded here, and done elsewhere or not at all.

A box starts the programs that the policy grants, and its kernel has refused a path before anybody
could ask about it: what the policy says is for the record, and for the guest to read.
"""

from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.record import OK
from executor.kernel.docket import Docket
from executor.kernel.errors import WorkerFault
from executor.kernel.reply import Reply
from policy.requests import FileAction, FileRequest, ProcessRequest

BOX_ASKS: Final = frozenset({"run", "refused"})


class BoxAsks:
    """
    The asks that a box alone has, of one session.
    """

    def __init__(self, docket: Docket) -> None:
        self._docket = docket

    async def answer(self, kind: str, ask: frames_pb2.Ask) -> Reply:
        """
        Answer an ask of a kind in `BOX_ASKS`. Raises as `Gate.answer` does, GuestError and
        AuditError also.
        """
        if kind == "run":
            return await self._run(ProcessRequest(ask.run))
        return await self._refused(ask.refused)

    async def _run(self, request: ProcessRequest) -> Reply:
        await self._docket.count(request)
        decision = await self._docket.admitted(request)
        head = await self._docket.allowed(request, decision, durable=True)
        self._docket.outcome([head], OK, None)
        return Reply(frames_pb2.Answer())

    async def _refused(self, ask: frames_pb2.RefusedAsk) -> Reply:
        # By the names alone: what the host has there shows in no answer, nor in its time.
        try:
            request = FileRequest(FileAction(ask.action), ask.path)
        except ValueError as error:
            raise WorkerFault(f"the worker asked about {ask.action!r}, which is no act") from error
        await self._docket.count(request)
        await self._docket.admitted(request)
        return Reply(frames_pb2.Answer())
