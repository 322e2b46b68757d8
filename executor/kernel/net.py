"""
The server's one boundary to the network: which connections a session has, and what they may do.

As with files: decode, count, decide, record, act, and record the outcome. What is asked of the
gate is decided here; what is asked on a connection that is open, in `connection.py`. The acting is
a network broker's, a process of its own for each policy, and the guest's bytes go from its worker
to that broker without passing here: this side makes the pair of sockets, gives one end to each,
and keeps none.

A guest's socket is one of two things: an end of a pair that was made for its ask, or, in a cage
whose guest has TCP of its own, an end of a TCP connection: one that its kernel has made and that
was accepted here (`accept`), or one that is made when it has been decided (`dial`). All come by the
same decision and the same records; only how the guest is told differs.

A connection is answered before it is made: the guest waits for the first byte on its own stream,
where an interrupt reaches it. No name is sent to a name server unless the policy grants a
connection to it, and then only for that connection. Reads and connections whose requests will be
read are written down before they are done; raw connections and requests that change something
are on disk, because what is sent cannot be taken back.
"""

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.errors import AuditError
from executor.kernel.accounts import Account
from executor.kernel.arrivals import Arrival, Arrivals, Place
from executor.kernel.connection import Connection, End, Granted, Line, reset
from executor.kernel.docket import Docket
from executor.kernel.errors import GuestError, InternalError, WorkerFault
from executor.kernel.names import NAMES_MAX, Names
from executor.kernel.refusals import answer_to, error_name
from executor.kernel.reply import Reply
from executor.kernel.way import Way
from policy.hosts import canonical_host
from policy.ratchets import NETWORK
from policy.requests import NetworkRequest, ResolveRequest, SocketRequest
from policy.types import Decision, NetworkGrant, Ratchet, Rule

# What of a worker's asks is answered here.
NETWORK_ASKS: Final = frozenset(
    {"resolve", "connect", "connection_end", "network", "refusal", "address"}
)
_LOG = logging.getLogger(__name__)
# The longest is of numbers: `type 4294967295 protocol 4294967295`.
_KIND: Final = re.compile(r"[a-z0-9][a-z0-9 _-]{0,47}", re.ASCII)
_LONGEST_HOST: Final = 300
# Ends that are kept until somebody asks for them; a worker has fewer connections by far.
_ENDS_KEPT: Final = 1024
# A guest that closed one connection and opens the next may be faster than the broker's word of
# the first. So long (seconds) the limit waits for it.
_PLACE_PATIENCE: Final = 1.0
_WORD_PATIENCE: Final = 0.25
_CLOSE_PATIENCE: Final = 0.5
_DEATH_PATIENCE: Final = 0.02
# A connection that the kernel has made for the guest is accepted here a moment later.
_ARRIVAL_PATIENCE: Final = 2.0


# Brings our end of a guest's TCP connection.
Join = Callable[[], Awaitable[socket.socket]]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """
    A connection that is decided and has a place, before there is a record of it.
    """

    request: NetworkRequest
    decision: Decision
    account: Account
    line: Line


class Net:
    """
    The network of one session. `way` is None where its policy grants none.
    """

    def __init__(self, docket: Docket, way: Way | None) -> None:
        self.names: Final = Names()
        self._docket = docket
        self._way = way
        self._arrivals = Arrivals()
        # Between a look at how many are open and one more.
        self._admitting = asyncio.Lock()
        self._last = 0
        self._open: dict[int, Connection] = {}
        self._ends: dict[int, End] = {}
        self._accounts: dict[str, Account] = {}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_granted(self) -> bool:
        """
        Whether the policy grants any connection.
        """
        return self._way is not None

    async def answer(self, kind: str, ask: frames_pb2.Ask) -> Reply:
        """
        Answer one ask, of a kind in `NETWORK_ASKS`.

        Raises GuestError for what the guest may not have, AuditError where that it may cannot be
        recorded, InternalError for an ask that no correct worker sends.
        """
        match kind:
            case "resolve":
                return await self._resolve(ask.resolve)
            case "connect":
                return await self._connect(ask.connect)
            case "connection_end":
                end = await self._end_of(ask.connection_end)
                return Reply(frames_pb2.Answer(errno=end.errno, reason=end.reason))
            case "refusal":
                end = await self._why(ask.refusal)
                return Reply(frames_pb2.Answer(errno=end.errno, reason=end.reason))
            case "address":
                return Reply(frames_pb2.Answer(address=await self.address_of(ask.address)))
        raise await self._refuse_socket(ask.network.socket)

    async def accept(self, arrival: Arrival) -> None:
        """
        Decide on a connection that the guest has made itself, and have it carried, or reset it:
        its stream is this object's from now on. Raises InternalError, and then it is reset.
        """
        held = ExitStack()
        held.callback(reset, arrival.stream)

        async def theirs() -> socket.socket:
            held.pop_all()
            return arrival.stream

        with held, suppress(GuestError, AuditError):
            await self.dial(arrival.address, arrival.port, arrival.own_port, theirs)

    async def dial(self, host: str, port: int, own_port: int, join: Join) -> None:
        """
        Decide on a connection from the guest's `own_port`, and have it carried on the stream that
        `join` brings, once it may be.

        Raises GuestError for what the guest may not have, AuditError; the stream is then reset.
        """
        request = NetworkRequest(self._host_of(host), port)
        place = Place(request.host, request.port, own_port)
        try:
            async with self._admitting:
                wanted = await self._wanted(request, Line.TCP)
                with ExitStack() as held:
                    stream = await join()
                    held.callback(reset, stream)
                    granted = await self._granted(wanted)
                    self._arrivals.begin(place)
                    self._begin(granted, stream, lambda end: self._arrivals.end(place, end))
                    held.pop_all()
        except (GuestError, AuditError) as error:
            self._refused(place, error)
            raise
        finally:
            self._notify()

    async def address_of(self, name: str) -> str:
        """
        The address that is made up for a name, which may be connected to.

        Raises GuestError for another name, AuditError.
        """
        host = _host(name)
        if (known := self.names.address_of(host)) is not None:
            return known
        try:
            await self._admit_name(host)
            if (address := self.names.add(host)) is None:
                raise GuestError(
                    errno.ENOMEM,
                    f"a session may have addresses of {NAMES_MAX} names; reuse those",
                )
        except (GuestError, AuditError) as error:
            self._refused(Place(host), error)
            raise
        return address

    def grants(self, name: str) -> bool:
        """
        Whether a name may be connected to at all; nothing is counted or recorded.
        """
        return self._docket.decide(ResolveRequest(_host(name))).allowed

    def name_at(self, address: str) -> str | None:
        """
        The name that an address was made up for.
        """
        return self.names.name_of(address)

    async def _resolve(self, name: str) -> Reply:
        await self._admit_name(_host(name))
        return Reply(frames_pb2.Answer())

    async def _admit_name(self, host: str) -> None:
        # Nothing is asked of a name server: whether the guest may have an address at all.
        request = ResolveRequest(host)
        await self._docket.count(request)
        await self._docket.admitted(request)

    async def _connect(self, asked: frames_pb2.ConnectAsk) -> Reply:
        request = NetworkRequest(_host(asked.host), asked.port)
        wanted = await self._wanted(request, Line.PAIR)
        with ExitStack() as held:
            ours, theirs = map(held.enter_context, _pair(request))
            granted = await self._granted(wanted)
            held.pop_all()
        number = self._begin(granted, ours)
        connected = frames_pb2.Connected(connection=number, tls=granted.account.grant.tls)
        return Reply(frames_pb2.Answer(connected=connected), stream=theirs)

    async def _wanted(self, request: NetworkRequest, line: Line) -> _Wanted:
        await self._docket.count(request)
        decision = await self._docket.admitted(request)
        grant = decision.network
        if grant is None or self._way is None:
            raise InternalError(f"a policy allows {request}, and there is no way to do it")
        if line is Line.TCP and (unread := _unread(request, grant)) is not None:
            raise await self._docket.denied(request, unread)
        account = self._account(grant, self._way)
        if (refused := account.refusal(request)) is not None:
            raise await self._docket.denied(request, *refused)
        await self._require_place(request)
        return _Wanted(request, decision, account, line)

    async def _granted(self, wanted: _Wanted) -> Granted:
        request, account = wanted.request, wanted.account
        durable = account.grant.raw or (wanted.line is Line.TCP and account.grant.tls)
        head = await self._docket.allowed(request, wanted.decision, durable=durable)
        # Nothing is waited for from here until the connection is one of those that are open, and
        # can be dropped: what was revoked while the record was written is gone.
        if not (decision := self._docket.decide(request)).allowed:
            self._docket.outcome([head], error_name(errno.EACCES), None)
            raise await self._docket.denied(request, decision)
        account.name(request.host)
        return Granted(request, head, account, wanted.line)

    async def _end_of(self, number: int) -> End:
        """
        How a connection of the worker's ended, as far as the broker has told: a stream may also
        end in one direction and go on in the other, which is a plain end.
        """
        if number in self._open and self._way is not None:
            await self._way.caught_up()
            # A process that dies may let go of the guest's stream before its own socket.
            await self._until(lambda: number not in self._open, _DEATH_PATIENCE)
        if number in self._open:
            return End()
        if not 1 <= number <= self._last:
            raise WorkerFault(f"the worker asked for the end of connection {number}")
        return self._ends.get(number, End(errno.EIO, "how this connection ended is not kept"))

    def _host_of(self, text: str) -> str:
        """
        The host that an address or a name stands for: the name that the address was made for, or
        the text itself.
        """
        host = _host(text)
        return self.names.name_of(host) or host

    async def _why(self, asked: frames_pb2.RefusalAsk) -> End:
        """
        What became of a name or a connection of the guest's own, once it is decided.

        Raises GuestError, recorded, for one that only the guest's kernel has refused so far.
        """
        place = Place(self._host_of(asked.host), asked.port, asked.own_port)
        if place.own_port:
            await self._until(lambda: self._arrivals.knows(place), _ARRIVAL_PATIENCE)
            if self._arrivals.is_open(place) and self._way is not None:
                await self._way.caught_up()
            return self._arrivals.take(place) or End()
        if (end := self._arrivals.take(place)) is not None and end.errno:
            return end
        request = NetworkRequest(place.host, place.port) if place.port else None
        await self._require_allowed(request or ResolveRequest(place.host))
        return End()

    async def _require_allowed(self, request: NetworkRequest | ResolveRequest) -> None:
        if not self._docket.decide(request).allowed:
            await self._docket.count(request)
            await self._docket.admitted(request)

    def _refused(self, place: Place, error: GuestError | AuditError) -> None:
        said = answer_to(error)
        self._arrivals.end(place, End(said.errno, said.reason))

    async def _refuse_socket(self, kind: str) -> GuestError:
        if not _KIND.fullmatch(kind):
            raise WorkerFault(f"the worker asked for a socket of kind {kind[:64]!r}")
        request = SocketRequest(kind)
        await self._docket.count(request)
        decision = self._docket.decide(request)
        if decision.allowed:
            raise InternalError(f"a policy allows {request}, and there is no way to do it")
        return await self._docket.denied(request, decision)

    async def settle(self) -> None:
        """
        Wait a moment for the broker's word of requests that are answered: at the end of a cell,
        so that what it moved is counted with it.
        """
        if any(one.exchanging for one in self._open.values()):
            await self._until(
                lambda: not any(one.exchanging for one in self._open.values()), _WORD_PATIENCE
            )

    def revoke(self, ratchet: Ratchet) -> None:
        """
        End every connection where the network is what is gone from now on.
        """
        if NETWORK in ratchet.revoke:
            self.drop_all()

    def drop_all(self) -> None:
        """
        End every connection.
        """
        for one in self._open.values():
            one.drop()

    async def close(self) -> None:
        """
        Drop every connection, with an outcome for each.
        """
        self.drop_all()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_PATIENCE)
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._way is not None:
            self._way.leave([account.number for account in self._accounts.values()])
            self._way = None

    async def _require_place(self, request: NetworkRequest) -> None:
        most = self._docket.policy.limits.connections
        if len(self._open) >= most:
            await self._until(lambda: len(self._open) < most, _PLACE_PATIENCE)
        if len(self._open) < most:
            return
        reason = (
            f"{request} is not granted: {most} connections are open, as many as the policy allows; "
            "close one first"
        )
        decision = Decision(False, self._docket.policy.rule("limits.connections"), reason)
        raise await self._docket.denied(request, decision, errno.EMFILE)

    def _begin(
        self,
        granted: Granted,
        stream: socket.socket,
        then: Callable[[End], None] = lambda _: None,
    ) -> int:
        if self._way is None:
            raise InternalError(f"{granted.request} was granted to a session that is over")
        self._last += 1
        number = self._last
        self._docket.counts.connections += 1

        def over(end: End) -> None:
            then(end)
            self._over(number, end)

        connection = Connection(self._way.number(), granted, self._docket, over, self._notify)
        self._open[number] = connection
        self._in_background(connection.carry(self._way, stream))
        return number

    def _over(self, number: int, end: End) -> None:
        del self._open[number]
        self._ends[number] = end
        if len(self._ends) > _ENDS_KEPT:
            del self._ends[next(iter(self._ends))]
        self._notify()

    def _account(self, grant: NetworkGrant, way: Way) -> Account:
        name = grant.rule.name
        if name not in self._accounts:
            self._accounts[name] = Account(way.number(), grant)
        return self._accounts[name]

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not done():
                    await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a connection could not be carried", exc_info=error)


def _host(text: str) -> str:
    # What has no one form is too long, or else the policy's to refuse: then it is not cut here.
    return canonical_host(text) or text[:_LONGEST_HOST]


def _unread(request: NetworkRequest, grant: NetworkGrant) -> Decision | None:
    """
    The refusal of a grant whose requests have to be read where the guest speaks TLS itself.
    """
    if not grant.tls or not (grant.http or grant.credential):
        return None
    key = "http" if grant.http else "credentials"
    reason = (
        f"{request} is not granted: `{key}` needs requests that are read, and the TLS that this "
        "cage's guest speaks itself hides them; use an image of the wasm cage"
    )
    rule = Rule(f"{grant.rule.name}.{key}", grant.rule.file, grant.rule.line)
    return Decision(False, rule, reason, network=grant)


def _pair(request: NetworkRequest) -> tuple[socket.socket, socket.socket]:
    try:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as error:
        raise GuestError.from_host(error, str(request)) from error
