"""
The one door: what a worker asks of the world is decoded, decided, recorded, done, and recorded.

In this order, always. An ask that cannot be decoded comes from no correct worker and ends it. The
policy decides on every name as it was asked, here, and again on every name that resolving comes
to, in `walk.py`; a denial of the latter kind is told to the guest as a plain errno, because where
a link leads is none of its business. A read waits until its decision is written, a change until
it is on disk; if the record cannot be written, nothing is done. The outcome is a record of its own.

What is not here: deciding (`policy`), counting and recording (`docket.py`), resolving
(`paths.py`), acting (`hostfiles.py`), the network (`net.py`, which takes the same steps), the
words of the frames (`acts.py`, `handles.py`). What never happens here: a second evaluation of a
decision to explain it, a path of the host, an exception that is swallowed.
"""

import os
from collections.abc import Callable
from typing import TypeVar

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.errors import AuditError
from executor.audit.record import OK, UNKNOWN, Head
from executor.audit.session import SessionLog
from executor.kernel.acts import PATH_ACTS, Act, Grade, Result, Scene, recorded
from executor.kernel.docket import Counts, Docket
from executor.kernel.errors import GuestError, InternalError
from executor.kernel.handles import Handles, Open
from executor.kernel.limits import Quota
from executor.kernel.net import NETWORK_ASKS, Net
from executor.kernel.paths import HostTrees
from executor.kernel.places import Place
from executor.kernel.pool import Share
from executor.kernel.refusals import answer_to, error_name
from executor.kernel.reply import Reply
from executor.kernel.way import Way
from policy.decide import Decider
from policy.requests import ProcessRequest

_R = TypeVar("_R")


class Gate:
    """
    The door of one session. One `answer` at a time, because a worker has one ask open.

    `trees` becomes the gate's, which closes it. Blocking acts run on `threads`. `way` leads to the
    network broker of a policy that grants connections.
    """

    def __init__(
        self,
        decider: Decider,
        trees: HostTrees,
        log: SessionLog,
        threads: Share,
        way: Way | None = None,
    ) -> None:
        policy = decider.policy
        self._docket = Docket(decider, log)
        self._net = Net(self._docket, way)
        self._threads = threads
        self._handles = Handles(policy.limits.open_files)
        quotas = {grant.mount: Quota(grant) for grant in policy.filesystem}
        self._scene = Scene(trees, decider, quotas)

    @property
    def counts(self) -> Counts:
        """
        What was asked so far.
        """
        return self._docket.counts

    async def answer(self, ask: frames_pb2.Ask) -> Reply:
        """
        Answer one ask; what the guest may not have is an errno in the answer.

        Raises InternalError for an ask that no correct worker sends.
        """
        kind = ask.WhichOneof("ask") or "nothing"
        try:
            if kind in PATH_ACTS:
                return await self._act(PATH_ACTS[kind](ask))
            if kind in NETWORK_ASKS:
                return await self._net.answer(kind, ask)
            if kind == "close":
                return self._close(ask.close)
            if kind == "run":
                raise await self._never(ProcessRequest(ask.run))
            result = await self._threads.run(self._handles.use, kind, ask)
        except (GuestError, AuditError) as error:
            return Reply(answer_to(error))
        if result is None:
            raise InternalError(f"the worker asked for {kind!r}, which nobody can ask for")
        return Reply(result.answer)

    async def settle(self) -> None:
        """
        A cell ends: wait a moment for what its network broker has still to tell of it.
        """
        await self._net.settle()

    async def hang_up(self) -> None:
        """
        End the session's connections, with an outcome for each. Before `close`.
        """
        await self._net.close()

    def close(self) -> None:
        """
        Close the session's files, with an outcome for each that is open for writing.
        """
        for opened in self._handles.pop_all():
            self._record_close(opened)
        self._scene.trees.close()

    async def _act(self, act: Act) -> Reply:
        await self._docket.count(act.requests[0])
        for request in act.requests:
            await self._docket.admitted(request)
        if act.opens:
            self._handles.require_room()
        if act.grade is Grade.LOOK:
            return Reply((await self._resolved(self._scene.look, act)).answer)
        places = await self._resolved(self._scene.locate, act)
        try:
            return await self._recorded(act, places)
        finally:
            for place in places:
                place.close()

    async def _recorded(self, act: Act, places: tuple[Place, ...]) -> Reply:
        durable, heads = act.grade is Grade.CHANGE, []
        for request, decision in recorded(act, places):
            heads.append(await self._docket.allowed(request, decision, durable=durable))
        try:
            result = await self._threads.run(act.perform, self._scene, places)
        except BaseException as error:
            name = error_name(error.errno) if isinstance(error, GuestError) else UNKNOWN
            self._docket.outcome(heads, name, None)
            raise
        return self._done(result, heads)

    def _done(self, result: Result, heads: list[Head]) -> Reply:
        if result.handle is not None:
            result.answer.opened.handle = self._handles.add(Open(result.handle, tuple(heads)))
            return Reply(result.answer)
        try:
            self._docket.outcome(heads, OK, result.size)
        except AuditError:
            if result.descriptor is not None:
                os.close(result.descriptor)
            raise
        return Reply(result.answer, result.descriptor)

    async def _resolved(self, resolve: Callable[[Act], _R], act: Act) -> _R:
        try:
            return await self._threads.run(resolve, act)
        except GuestError as error:
            if error.decision is not None:
                await self._docket.denied(act.requests[0], error.decision)
            raise

    def _close(self, number: int) -> Reply:
        self._record_close(self._handles.pop(number))
        return Reply(frames_pb2.Answer())

    def _record_close(self, opened: Open) -> None:
        outcome = error_name(opened.failure) if opened.failure else OK
        self._docket.outcome(opened.decisions, outcome, opened.handle.written)

    async def _never(self, request: ProcessRequest) -> GuestError:
        # Nothing here can start a program, whatever a policy may come to say.
        await self._docket.count(request)
        if (decision := self._docket.decide(request)).allowed:
            raise InternalError(f"a policy allows {request}, and there is no way to do it")
        return await self._docket.denied(request, decision)
