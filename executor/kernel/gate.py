"""
The one door: what a worker asks of the world is decoded, decided, recorded, done, and recorded.

In this order, always. An ask that cannot be decoded comes from no correct worker and ends it. The
policy decides on every name as it was asked, here, and again on every name that resolving comes
to, in `walk.py`; a denial of the latter kind is told to the guest as a plain errno, because where
a link leads is none of its business. A read waits until its decision is written, a change until
it is on disk; if the record cannot be written, nothing is done. The outcome is a record of its own.

What is not here: who may ask (`askers.py`), deciding (`policy`), counting and recording
(`docket.py`), resolving (`paths.py`), acting (`hostfiles.py`), the words of the frames (`acts.py`,
`handles.py`), and what takes the same steps elsewhere: the network (`net.py`), the client's tools
(`tools.py`), commits (`transactions.py`), what a box alone asks (`boxasks.py`). What never happens
here: a second evaluation of a decision to explain it, a path of the host, an exception that is
swallowed.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.errors import AuditError
from executor.audit.record import UNKNOWN
from executor.audit.session import SessionLog
from executor.kernel.acts import PATH_ACTS, Act, Grade, Scene, close, recorded, unrecorded
from executor.kernel.askers import require_of_worker
from executor.kernel.boxasks import BOX_ASKS, BoxAsks
from executor.kernel.boxsockets import SOCKET_ASKS, BoxSockets
from executor.kernel.denials import Denials
from executor.kernel.docket import Docket
from executor.kernel.errors import GuestError
from executor.kernel.handles import Handles
from executor.kernel.net import NETWORK_ASKS, Net
from executor.kernel.paths import HostTrees
from executor.kernel.peers import Peers
from executor.kernel.places import Place
from executor.kernel.pool import Share
from executor.kernel.refusals import answer_to, error_name
from executor.kernel.reply import Reply
from executor.kernel.standing import Standing
from executor.kernel.tooling import Tool
from executor.kernel.tools import TOOL_ASKS, Tools
from executor.kernel.transactions import Transactions
from executor.kernel.turn import Turn
from executor.kernel.way import Way
from policy.ratchets import NETWORK
from policy.types import CageKind

_R = TypeVar("_R")
# For how long (seconds) the end of a session waits for a file system that does not answer.
_PATIENCE: Final = 0.5


class Gate:
    """
    The door of one session, for its worker (`answer`) and, where the kernel serves files to the
    guest, for the supervisor that speaks for the kernel (`serve`).

    Each of the two has one ask open; what is done with files is done one at a time. `trees` becomes
    the gate's, which closes it. Blocking acts run on `threads`. `way` leads to the network broker
    of a policy that grants connections. `cage` is the worker's, `tools` are the client's functions,
    `peers` what there is beside the session. `policy` is the session's, `counts` what was asked so
    far; `net` is there for a cage whose guest has sockets of its own, the rest for the client.
    """

    def __init__(
        self,
        standing: Standing,
        trees: HostTrees,
        log: SessionLog,
        threads: Share,
        way: Way | None = None,
        cage: CageKind = CageKind.WASM,
        tools: tuple[Tool, ...] = (),
        peers: Peers | None = None,
    ) -> None:
        self._standing = standing
        self._docket = docket = Docket(standing, log)
        self._cage = cage
        self._threads = threads
        self._locks = (peers := peers or Peers()).locks
        self._scene = Scene(trees, standing, peers.captures)
        self._handles = Handles(docket)
        self._denials = Denials()
        self._box = BoxAsks(docket)
        self._turn = Turn(self._let_go)
        self.policy: Final = docket.policy
        self.counts: Final = docket.counts
        self.net: Final = Net(docket, way)
        self._sockets = BoxSockets(self.net)
        self.tools: Final = Tools(docket, tools, peers.approvals)
        self.transactions: Final = Transactions(
            docket, trees, self._handles, threads, self._turn, peers, self.tools.ask, log.session
        )
        standing.listen(self.net.revoke)

    async def answer(self, ask: frames_pb2.Ask) -> Reply:
        """
        Answer one ask of the worker; what the guest may not have is an errno in the answer.

        Raises WorkerFault for an ask that no correct worker sends.
        """
        kind = ask.WhichOneof("ask") or "nothing"
        require_of_worker(self._cage, kind, ask)
        try:
            if kind in NETWORK_ASKS:
                return await self.net.answer(kind, ask)
            if kind in TOOL_ASKS:
                return await self.tools.answer(kind, ask)
            if kind == "transact":
                return await self.transactions.answer(ask.transact)
            if kind in BOX_ASKS:
                return await self._box.answer(kind, ask)
            if kind == "denial":
                return Reply(self._denials.take(ask.denial))
            return await self._file(kind, ask)
        except (GuestError, AuditError) as error:
            return Reply(answer_to(error))

    async def serve(self, ask: frames_pb2.Ask) -> Reply:
        """
        Answer one ask of the supervisor, about files or sockets; why something is refused is kept
        for the worker to ask, since an errno is all that the kernel takes.

        Raises WorkerFault for an ask that no correct supervisor sends.
        """
        kind = ask.WhichOneof("ask") or "nothing"
        try:
            if kind in SOCKET_ASKS:
                return await self._sockets.answer(kind, ask)
            return await self._file(kind, ask)
        except (GuestError, AuditError) as error:
            refused = answer_to(error)
            self._denials.keep(self._path_of(kind, ask), refused)
            return Reply(refused)

    def narrow(self, without: frozenset[str] = frozenset()) -> None:
        """
        A cell begins that does without these rights: `network`, `tools`, `tools.NAME`. Connections
        of earlier cells are ended where it has no network. Without any, the cell is over.
        """
        self._standing.narrow(without)
        if NETWORK in without:
            self.net.drop_all()

    async def settle(self) -> None:
        """
        A cell ends: wait a moment for what its network broker and its approvers have still to tell.
        """
        await self.tools.settled()
        await self.net.settle()

    async def hang_up(self) -> None:
        """
        End the session's connections and questions, with an outcome for each. Before `close`.
        """
        self._sockets.close()
        await self.tools.settled()
        # A client's commit that is cut off, or being done, has records that belong before the end.
        await self._turn.passed(_PATIENCE)
        await self.net.close()

    def close(self) -> None:
        """
        Close the session's files, with an outcome for each that is open for writing; where an ask
        is under way, when it ends. Raises AuditUnavailable with all of them closed.
        """
        self._turn.end()

    async def _file(self, kind: str, ask: frames_pb2.Ask) -> Reply:
        async with self._turn.taken(kind):
            if kind in PATH_ACTS:
                if self._locks.committing:
                    await self._locks.free(self._scene.trees.sources)
                return await self._act(PATH_ACTS[kind](ask))
            if kind == "close":
                return self._handles.close(ask.close)
            return await self._threads.run(self._handles.use, kind, ask)

    async def _act(self, act: Act) -> Reply:
        count = self._docket.count_lookup if act.lookup else self._docket.count
        requests = act.requests
        await count(requests[0])
        for request in requests:
            await self._docket.admitted(request)
        if act.opens or (self._scene.captures and act.grade is Grade.READ):
            self._handles.require_room()
        if act.grade is Grade.LOOK:
            return Reply((await self._resolved(self._scene.look, act)).answer)
        places = await self._resolved(self._scene.locate, act)
        try:
            return await self._recorded(act, places)
        finally:
            close(places)

    async def _recorded(self, act: Act, places: tuple[Place, ...]) -> Reply:
        durable, heads = act.grade is Grade.CHANGE, []
        for request, decision in recorded(act, places):
            heads.append(await self._docket.allowed(request, decision, durable=durable))
        for request in unrecorded(act, places):
            self._docket.observe(request)
        try:
            result = await self._threads.attempt(self._scene.perform, act, places)
        except BaseException as error:
            name = error_name(error.errno) if isinstance(error, GuestError) else UNKNOWN
            self._docket.outcome(heads, name, None)
            raise
        return self._handles.reply(result, heads, act.targets[0].path)

    async def _resolved(self, resolve: Callable[[bool, Act], _R], act: Act) -> _R:
        try:
            return await self._threads.attempt(resolve, act)
        except GuestError as error:
            if error.decision is not None:
                await self._docket.denied(act.targets[0].request, error.decision)
            raise

    def _path_of(self, kind: str, ask: frames_pb2.Ask) -> str:
        if kind in PATH_ACTS:
            return PATH_ACTS[kind](ask).targets[0].path
        return self._handles.path(kind, ask)

    def _let_go(self) -> None:
        try:
            self._handles.close_all()
        finally:
            self._scene.trees.close()
