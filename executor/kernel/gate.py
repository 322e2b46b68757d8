"""
The one door: what a worker asks of the world is decoded, decided, recorded, done, and recorded.

In this order, always. An ask that cannot be decoded comes from no correct worker and ends it. The
policy decides on every name as it was asked, here, and again on every name that resolving comes
to, in `walk.py`; a denial of the latter kind is told to the guest as a plain errno, because where
a link leads is none of its business. A read waits until its decision is written, a change until
it is on disk; if the record cannot be written, nothing is done. The outcome is a record of its own.

What is not here: deciding (`policy`), counting and recording (`docket.py`), resolving
(`paths.py`), acting (`hostfiles.py`), the network and the client's tools (`net.py` and `tools.py`,
which take the same steps), the words of the frames (`acts.py`, `handles.py`). What never happens
here: a second evaluation of a decision to explain it, a path of the host, an exception that is
swallowed.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from typing import TypeVar

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.errors import AuditError
from executor.audit.record import OK, UNKNOWN, Head
from executor.audit.session import SessionLog
from executor.kernel.acts import PATH_ACTS, Act, Grade, Result, Scene, granted, recorded
from executor.kernel.committing import MountLocks
from executor.kernel.denials import Denials
from executor.kernel.docket import Counts, Docket
from executor.kernel.errors import GuestError, InternalError, WorkerFault
from executor.kernel.handles import Handles, Open
from executor.kernel.limits import Quota
from executor.kernel.net import NETWORK_ASKS, Net
from executor.kernel.paths import HostTrees, check_path
from executor.kernel.places import Place
from executor.kernel.pool import Share
from executor.kernel.refusals import answer_to, error_name
from executor.kernel.reply import Reply
from executor.kernel.standing import Standing
from executor.kernel.tooling import Tool
from executor.kernel.tools import TOOL_ASKS, Tools
from executor.kernel.transactions import Transactions, Verb, told
from executor.kernel.way import Way
from executor.transactions.commits import Report
from policy.decide import Decider
from policy.ratchets import NETWORK
from policy.requests import CommitRequest, ProcessRequest
from policy.types import Access, CageKind, Policy

_R = TypeVar("_R")
# All that a worker in a box asks for. Its kernel asks for files, through the supervisor, and its
# connections are accepted. A file's descriptor above all is not for it: none of the box's mounts
# holds that, so it carries chmod and utime where the box has the server's user, locks that other
# programs of the host wait for, and code from where the guest has written it.
_OF_A_BOX = frozenset({"run", "denial", "refusal", "network", "transact", *TOOL_ASKS})


class Gate:
    """
    The door of one session, for its worker (`answer`) and, where the kernel serves files to the
    guest, for the supervisor that speaks for the kernel (`serve`).

    Each of the two has one ask open; what is done with files is done one at a time. `trees` becomes
    the gate's, which closes it. Blocking acts run on `threads`. `way` leads to the network broker
    of a policy that grants connections. `cage` is the worker's: one in a box asks for little.
    `tools` are the functions that the client has told of.
    By `locks`, the server's, its sessions wait for one another's commits.
    """

    def __init__(
        self,
        decider: Decider | Standing,
        trees: HostTrees,
        log: SessionLog,
        threads: Share,
        way: Way | None = None,
        cage: CageKind = CageKind.WASM,
        tools: tuple[Tool, ...] = (),
        locks: MountLocks | None = None,
    ) -> None:
        policy = decider.policy
        standing = decider if isinstance(decider, Standing) else Standing(decider)
        self._cage = cage
        self._docket = Docket(standing, log)
        self._net = Net(self._docket, way)
        self._tools = Tools(self._docket, tools)
        self._standing = standing
        standing.listen(self._net.revoke)
        self._threads = threads
        self._handles = Handles(policy.limits.open_files)
        self._denials = Denials()
        self._turn = asyncio.Lock()
        self._closed = False
        quotas = {grant.mount: Quota(grant) for grant in policy.filesystem} | trees.quotas
        self._scene = Scene(trees, standing, quotas)
        self.locks = locks or MountLocks()
        self._transactions = Transactions(self._docket, trees, self._handles, threads, self.locks)

    @property
    def counts(self) -> Counts:
        """
        What was asked so far.
        """
        return self._docket.counts

    @property
    def policy(self) -> Policy:
        """
        The session's policy.
        """
        return self._docket.policy

    @property
    def net(self) -> Net:
        """
        The session's network, for a cage whose guest has sockets of its own.
        """
        return self._net

    @property
    def tools(self) -> Tools:
        """
        The functions that the session's client performs.
        """
        return self._tools

    async def answer(self, ask: frames_pb2.Ask) -> Reply:
        """
        Answer one ask of the worker; what the guest may not have is an errno in the answer.

        Raises WorkerFault for an ask that no correct worker sends.
        """
        kind = ask.WhichOneof("ask") or "nothing"
        self._require_of_worker(kind, ask)
        try:
            if kind in NETWORK_ASKS:
                return await self._net.answer(kind, ask)
            if kind in TOOL_ASKS:
                return await self._tools.answer(kind, ask)
            if kind == "run":
                return await self._run(ProcessRequest(ask.run))
            if kind == "transact":
                return await self._transact(ask.transact)
            if kind == "denial":
                return Reply(self._denials.take(ask.denial))
            return await self._file(kind, ask)
        except (GuestError, AuditError) as error:
            return Reply(answer_to(error))

    async def serve(self, ask: frames_pb2.Ask) -> Reply:
        """
        Answer one ask of the supervisor, about files; why something is refused is kept for the
        worker to ask, since an errno is all that the kernel takes.

        Raises WorkerFault for an ask that no correct supervisor sends.
        """
        kind = ask.WhichOneof("ask") or "nothing"
        path = ""
        try:
            path = _path_of(kind, ask) or self._handles.path(kind, ask)
            return await self._file(kind, ask)
        except (GuestError, AuditError) as error:
            refused = answer_to(error)
            self._denials.keep(path, refused)
            return Reply(refused)

    def narrow(self, without: frozenset[str] = frozenset()) -> None:
        """
        A cell begins that does without these rights: `network`, `tools`, `tools.NAME`. Connections
        of earlier cells are ended where it has no network. Without any, the cell is over.
        """
        self._standing.narrow(without)
        if NETWORK in without:
            self._net.drop_all()

    async def transact(self, verb: Verb, asked: CommitRequest) -> Report:
        """
        Commit a transaction, show what a commit would do, or drop it.

        Do not cancel who waits here. Raises GuestError, AuditError, and InternalError after the
        session's end.
        """
        await self._transactions.closed(asked.path)
        async with self._turn:
            if self._closed:
                raise InternalError(f"{asked} after its session's end")
            try:
                return await self._transactions.do(verb, asked)
            finally:
                if self._closed:
                    self._close_all()

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

        Where an ask is under way, perhaps on a host's file system that does not answer, that is
        done when it ends: nothing is closed under a thread that uses it.
        """
        self._closed = True
        if not self._turn.locked():
            self._close_all()

    async def _transact(self, ask: frames_pb2.TransactAsk) -> Reply:
        try:
            verb = Verb(ask.verb)
        except ValueError as error:
            raise InternalError(f"the worker asked to {ask.verb!r} a transaction") from error
        mount = ask.mount or self._only_transaction()
        check_path(mount)
        return Reply(
            frames_pb2.Answer(report=told(await self.transact(verb, CommitRequest(mount))))
        )

    def _only_transaction(self) -> str:
        grants = self.policy.filesystem
        mounts = [one.mount for one in grants if one.access is Access.TRANSACTION]
        if len(mounts) == 1:
            return mounts[0]
        raise GuestError(errno.EINVAL, f"there are {len(mounts)} transactions: name the mount")

    def _require_of_worker(self, kind: str, ask: frames_pb2.Ask) -> None:
        if self._cage is CageKind.PROCESS and kind not in _OF_A_BOX:
            raise WorkerFault(f"a worker in a box asked for {kind!r}, which its kernel does")
        if kind == "lookup" or ask.open.keep:
            raise WorkerFault(f"the worker asked for {kind!r} as only the supervisor may")

    async def _file(self, kind: str, ask: frames_pb2.Ask) -> Reply:
        async with self._turn:
            if self._closed:
                raise InternalError(f"the worker asked for {kind!r} after its session's end")
            try:
                reply = await self._done_with_file(kind, ask)
            finally:
                if self._closed:
                    self._close_all()
        return reply

    async def _done_with_file(self, kind: str, ask: frames_pb2.Ask) -> Reply:
        if kind in PATH_ACTS:
            await self.locks.free(self._scene.trees.sources)
            return await self._act(PATH_ACTS[kind](ask))
        if kind == "close":
            return self._close(ask.close)
        result = await self._threads.run(self._handles.use, kind, ask)
        if result is None:
            raise WorkerFault(f"the worker asked for {kind!r}, which nobody can ask for")
        return Reply(result.answer)

    def _close_all(self) -> None:
        for opened in self._handles.pop_all():
            self._record_close(opened)
        self._scene.trees.close()

    async def _act(self, act: Act) -> Reply:
        count = self._docket.count_lookup if act.lookup else self._docket.count
        await count(act.requests[0])
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
        for request in granted(act, places):
            self._docket.observe(request)
        try:
            result = await self._threads.run(act.perform, self._scene, places)
        except BaseException as error:
            name = error_name(error.errno) if isinstance(error, GuestError) else UNKNOWN
            self._docket.outcome(heads, name, None)
            raise
        return self._done(result, heads, act.targets[0].path)

    def _done(self, result: Result, heads: list[Head], path: str) -> Reply:
        if result.handle is not None and result.descriptor is None:
            return Reply(self._kept(result.answer, Open(result.handle, tuple(heads), path)))
        try:
            self._docket.outcome(heads, OK, result.size)
        except AuditError:
            if result.descriptor is not None:
                os.close(result.descriptor)
            if result.handle is not None:
                result.handle.close()
            raise
        if result.handle is not None:
            self._kept(result.answer, Open(result.handle, (), path))
        return Reply(result.answer, result.descriptor)

    def _kept(self, answer: frames_pb2.Answer, opened: Open) -> frames_pb2.Answer:
        answer.opened.handle = self._handles.add(opened)
        return answer

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

    async def _run(self, request: ProcessRequest) -> Reply:
        # Judged and recorded, not done: where a policy lets programs run, the box starts them.
        await self._docket.count(request)
        decision = await self._docket.admitted(request)
        head = await self._docket.allowed(request, decision, durable=True)
        self._docket.outcome([head], OK, None)
        return Reply(frames_pb2.Answer())


def _path_of(kind: str, ask: frames_pb2.Ask) -> str:
    return PATH_ACTS[kind](ask).targets[0].path if kind in PATH_ACTS else ""
