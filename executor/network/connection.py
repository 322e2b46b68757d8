"""
One connection, from its Open to its Ended.

    [a ClientHello of the guest's own ──Greeted──► server judges its name ──Judgement──►]
    resolve ──Resolved──► server judges each address ──Dial──► dial ──► a zero byte to the guest
            (none on a TCP connection of the guest's own)
            ──► relay bytes, or serve requests (Requested ──► Judgement ... Answered)

Whatever happens on the way is an Ending, and the one place that tells the server, `Broker`, does
so in one order: Ended, then the guest's stream is closed. A connection asks one question at a
time, so its answer is one future, and a frame for which nobody waits breaks the protocol.
"""

import asyncio
import errno
import functools
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from codecage.network.v1 import network_pb2 as wire
from executor.network.account import Account, Traffic
from executor.network.dialer import Target, dial
from executor.network.errors import ControlBroken, Ending, Refused
from executor.network.hello import HELLO_MAX, HelloReader
from executor.network.http.exchange import Exchange
from executor.network.http.hidden import hidden_forms
from executor.network.http.origin import Injected, Origin
from executor.network.owned import Routes
from executor.network.relay import QUIET_HALF, Silence, relay
from executor.network.resolver import Resolver
from executor.network.streams import SocketStream, Stream
from executor.network.trust import Trust

_MADE: Final = b"\0"
# What the server's answers may take; it decides in milliseconds, and records on a disk.
_JUDGEMENT: Final = 60.0
# How long a request may still be answered for a guest that has closed its stream.
_GRACE: Final = 10.0
# The same for one that has finished sending on a TCP connection, and may be gone or not.
_GRACE_TCP: Final = 60.0
# How long a guest that speaks TLS itself may take to begin.
_GREETING: Final = 10.0
# In the middle of an exchange.
SILENCE: Final = 60.0

_T = TypeVar("_T")


@dataclass(slots=True)
class Shared:
    """
    What an account's connections share: its bytes, and the redirects that it was given.
    """

    account: Account
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Means:
    """
    What connections of this process are made with, all of it from before the lock.
    """

    resolver: Resolver
    routes: Routes
    trust: Trust
    secrets: Mapping[str, bytes]


class Connection:
    """
    One connection: `run` lives its life, `answer` brings what the server says about it.
    """

    def __init__(
        self,
        opened: wire.Open,
        guest: SocketStream,
        shared: Shared,
        means: Means,
        send: Callable[[wire.FromBroker], None],
    ) -> None:
        self.number = opened.connection
        self.address = ""
        self.traffic = Traffic(shared.account)
        self._gone = asyncio.Event()
        self._left: asyncio.Future[None] | None = None
        self.tcp = opened.tcp
        # TLS that the guest speaks itself is not spoken here.
        self._tunnelled = opened.tcp and opened.tls
        self._relays = opened.raw or self._tunnelled
        tls = opened.tls and not opened.tcp
        self._target = Target(opened.host, opened.port, tls, opened.raw)
        self._first = b""
        self._finished = self._exchanging = False
        self._credential = opened.credential if opened.HasField("credential") else None
        self._guest, self._shared, self._means, self._send = guest, shared, means, send
        self._asked: asyncio.Future[wire.ToBroker] | None = None
        self._kind = ""

    def answer(self, frame: wire.ToBroker) -> None:
        """
        Take the server's answer to the question that is open. Raises ControlBroken without one.
        """
        if self._asked is None or frame.WhichOneof("frame") != self._kind:
            raise ControlBroken(f"connection {self.number} did not ask for {frame}")
        asked, self._asked = self._asked, None
        if not asked.done():
            asked.set_result(frame)

    def leave(self) -> None:
        """
        The guest has closed its stream altogether.
        """
        self._gone.set()
        self._leave()

    def finish(self) -> None:
        """
        The guest has finished sending on its TCP connection, or closed it: nobody can tell.
        """
        self._finished = True
        if self._exchanging:
            self._leave()

    def _leave(self) -> None:
        if self._left is not None and not self._left.done():
            self._left.set_result(None)

    async def run(self) -> None:
        """
        Make the connection and serve it until it ends as both sides wish. Raises Ending.
        """
        upstream = await self._while_wanted(self._make(), 0.0)
        if upstream is None:
            return
        try:
            if not self.tcp:
                await self._guest.write(_MADE)
            if self._relays:
                silence = Silence(half=QUIET_HALF) if self.tcp else Silence()
                await relay(self._guest, upstream, self.traffic, self._gone, silence, self._first)
            else:
                self._exchanging = True
                grace = _GRACE_TCP if self.tcp else _GRACE
                await self._while_wanted(self._exchange(upstream), grace)
        finally:
            await upstream.close()

    # ---- what the exchange asks (http.exchange.Judge) -------------------------------------

    async def request(self, method: str, path: str, query: str | None, hops: int) -> None:
        """
        Return when the server allows the request. Raises Refused.
        """
        asked = wire.Requested(
            connection=self.number,
            method=method,
            path=path,
            query=query or "",
            has_query=query is not None,
            hops=hops,
        )
        answer = await self._ask("judgement", wire.FromBroker(requested=asked))
        if not answer.judgement.allowed:
            raise Refused(answer.judgement.reason)

    def answered(self, status: int, sent: int, received: int) -> None:
        """
        Tell the server what came of a request.
        """
        self.traffic.sent += sent
        self.traffic.received += received
        answered = wire.Answered(
            connection=self.number, status=status, sent=sent, received=received
        )
        self._send(wire.FromBroker(answered=answered))

    # ---- its life -------------------------------------------------------------------------

    async def _make(self) -> Stream | None:
        """
        The other side, connected; None where the guest ends before it has begun.
        """
        if self._tunnelled and not await self._greeted():
            return None
        found = await self._means.resolver.addresses(self._target.host)
        allowed = await self._allowed(found)
        dialled = await dial(self._target, allowed, self._means.trust, self._silence)
        self.address = dialled.address
        return dialled.stream

    async def _greeted(self) -> bool:
        """
        Have the guest's ClientHello judged; False where it ends before the first byte of one.
        """
        reader = HelloReader()
        name: str | None = None
        try:
            async with asyncio.timeout(_GREETING):
                while name is None:
                    data = await self._guest.read(HELLO_MAX)
                    if not data and not reader.taken:
                        return False
                    if not data:
                        raise Ending(errno.EPROTO, "it ended in the middle of its ClientHello")
                    name = reader.feed(data)
        except TimeoutError as error:
            reason = f"TLS did not begin within {_GREETING:g} seconds, as the policy grants it here"
            raise Ending(errno.ETIMEDOUT, reason) from error
        greeted = wire.Greeted(connection=self.number, server_name=name)
        answer = await self._ask("judgement", wire.FromBroker(greeted=greeted))
        if not answer.judgement.allowed:
            raise Refused(answer.judgement.reason)
        self._first = bytes(reader.taken)
        return True

    async def _allowed(self, found: tuple[str, ...]) -> tuple[str, ...]:
        """
        Those of the addresses `found` that the server lets us dial.
        """
        ways = [(address, self._means.routes.way(address)) for address in found]
        # Where this host has no way to go comes last: the others need not wait for its failure.
        ways.sort(key=lambda pair: not pair[1].reachable)
        addresses = [wire.Address(text=address, own=way.own) for address, way in ways]
        resolved = wire.Resolved(connection=self.number, addresses=addresses)
        answer = (await self._ask("dial", wire.FromBroker(resolved=resolved))).dial
        if not answer.addresses:
            raise Refused(answer.reason)
        if not {*answer.addresses} <= {*found}:
            raise ControlBroken(f"connection {self.number} has no such addresses")
        return tuple(answer.addresses)

    @property
    def _silence(self) -> float | None:
        return None if self._relays else SILENCE

    async def _exchange(self, upstream: Stream) -> None:
        target, credential = self._target, self._credential
        injected = None
        if credential is not None:
            secret = self._means.secrets.get(credential.secret)
            if secret is None:
                raise ControlBroken(f"no secret is called {credential.secret}")
            injected = _injected(credential.header, credential.prefix, secret)
        origin = Origin(target.host, target.port, target.tls, injected)
        shared = self._shared
        await shared.exchange.serve(self._guest, upstream, self, shared.account, origin)

    async def _ask(self, kind: str, question: wire.FromBroker) -> wire.ToBroker:
        loop = asyncio.get_running_loop()
        self._kind, self._asked = kind, loop.create_future()
        timer = loop.call_later(_JUDGEMENT, _give_up, self._asked)
        try:
            self._send(question)
            return await self._asked
        finally:
            timer.cancel()

    async def _while_wanted(self, work: Coroutine[None, None, _T], grace: float) -> _T | None:
        """
        Do `work`, or give it up `grace` seconds after the guest has gone: then None.
        """
        loop = asyncio.get_running_loop()
        task = loop.create_task(work)
        left = self._left = loop.create_future()
        if self._gone.is_set() or (self._exchanging and self._finished):
            left.set_result(None)
        either: set[asyncio.Future[Any]] = {task, left}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=grace)
            return task.result() if task.done() else None
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


def _give_up(asked: asyncio.Future[wire.ToBroker]) -> None:
    if not asked.done():
        asked.set_exception(Ending(errno.EIO, "the server does not answer its network broker"))


@functools.lru_cache(maxsize=64)
def _injected(header: str, prefix: str, secret: bytes) -> Injected:
    start = prefix.encode("ascii")
    return Injected(header, start + secret, hidden_forms(secret, start))
