"""
One connection of the guest, from the decision that allows it to its last record.

The network broker performs: it resolves, dials, speaks TLS and reads requests. At each step it
says what it found and waits; what may be done is decided and recorded here, because the broker
reads the bytes of strangers and may be theirs by now. So each of its frames is compared with what
it may say at that point, and one that does not fit ends the broker:

    phase        the broker may say     what happens then
    GREETING     greeted                (TLS of the guest's own) the name is compared; Judgement
    RESOLVING    resolved               each address is decided; Dial
    DECIDING     nothing                ours is the next word
    RELAYING     requested              (parsed connections) the request is decided; Judgement
    EXCHANGING   answered               what came of the request is recorded

and `ended` at any time, which is the last. One address that is not granted refuses the whole
connection, also where others are: a name with public and private addresses is wrongly set up, or
somebody's attempt at the private ones, and nobody should have to find out which by the order in
which they are tried.
"""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from codecage.network.v1 import network_pb2 as broker_pb2
from executor.audit.errors import AuditError
from executor.audit.record import OK, UNKNOWN, Detail, Head
from executor.kernel.accounts import Account
from executor.kernel.docket import Docket
from executor.kernel.errors import BrokerFault, BrokerGone, GuestError
from executor.kernel.refusals import answer_to, error_name
from executor.kernel.way import Link, Way
from policy.errors import shown
from policy.hosts import canonical_host, is_address
from policy.requests import AddressRequest, HttpRequest, NetworkRequest
from policy.types import Decision

_LOG = logging.getLogger(__name__)
MOST_HOPS: Final = 5
# RFC 9110, section 9.2.1: these ask for nothing but an answer. All others are on disk before
# they are sent.
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_ADDRESSES: Final = 16
_LONGEST_REASON: Final = 400
_AT_ONCE: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class End:
    """
    How a connection ended: an errno, 0 for a plain end of the stream, and the reason.
    """

    errno: int = 0
    reason: str = ""


class Line(Enum):
    """
    What the guest has of a connection: one end of a pair of ours, on which it is told what comes
    of it, or a TCP connection of its own making, which can only be reset.
    """

    PAIR = "pair"
    TCP = "tcp"


def reset(stream: socket.socket) -> None:
    """
    Close a TCP connection so that the other side reads an error, not an end (socket(7), SO_LINGER).
    """
    with stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


@dataclass(frozen=True, slots=True)
class Granted:
    """
    A connection that the policy allows: what was asked, its record, whose bytes it uses, and what
    the guest has of it.
    """

    request: NetworkRequest
    head: Head
    account: Account
    line: Line = Line.PAIR

    @property
    def tunnelled(self) -> bool:
        """
        Whether the guest speaks TLS with the other side itself.
        """
        return self.line is Line.TCP and self.account.grant.tls


class Phase(Enum):
    """
    Where a connection is; the value is the one thing that its broker may say, beside `ended`.
    """

    GREETING = "greeted"
    RESOLVING = "resolved"
    DECIDING = ""
    RELAYING = "requested"
    EXCHANGING = "answered"


@dataclass(frozen=True, slots=True)
class _Requested:
    """
    A request as the broker read it, and how many redirects led to it.
    """

    request: HttpRequest
    hops: int


@dataclass(frozen=True, slots=True)
class _Greeted:
    """
    The server that the guest's ClientHello names; none where it is empty.
    """

    name: str


_Heard = tuple[AddressRequest, ...] | _Requested | _Greeted | None


class Connection:
    """
    `carry` is its life; `on_over` is called once with how it ended, `on_answer` for each request
    whose answer has been passed on. `number` is the broker's.
    """

    def __init__(
        self,
        number: int,
        granted: Granted,
        docket: Docket,
        on_over: Callable[[End], None],
        on_answer: Callable[[], None],
    ) -> None:
        self.number = number
        self._granted = granted
        self._grant = granted.account.grant
        self._docket = docket
        self._on_over = on_over
        self._on_answer = on_answer
        self._link: Link | None = None
        self._phase = Phase.GREETING if granted.tunnelled else Phase.RESOLVING
        # Nobody reads what passes: there is no request, and no pause between two.
        self._relayed = self._grant.raw or granted.tunnelled
        self._inbox: asyncio.Queue[_Heard] = asyncio.Queue()
        self._dialled: tuple[str, ...] = ()
        self._refusal: End | None = None
        self._exchange: Head | None = None
        self._sent = self._received = 0
        self._over = False
        self._dropped = False

    @property
    def exchanging(self) -> bool:
        """
        Whether a request was passed on whose answer the broker has not told of.
        """
        return self._exchange is not None

    @property
    def _is_at_rest(self) -> bool:
        return not self._relayed and self._phase is Phase.RELAYING

    async def carry(self, way: Way, stream: socket.socket) -> None:
        """
        Have the connection made over `stream`, and decide what the broker asks until it is over.
        """
        try:
            link = await way.link()
            if self._dropped:
                return
            self._open(link, stream)
            while (heard := await self._inbox.get()) is not None:
                if isinstance(heard, _Requested):
                    await self._judge(heard)
                elif isinstance(heard, _Greeted):
                    await self._greet(heard)
                else:
                    await self._dial(heard)
        except BrokerGone as gone:
            self.lost(str(gone))
        finally:
            if self._link is None:
                self._close(stream)
            self.drop()
            self._finish(End(errno.EIO, "the connection was given up"), UNKNOWN)

    def drop(self) -> None:
        """
        Tell the broker to close it, unless it is over.
        """
        self._dropped = True
        if self._link is not None and not self._over:
            self._link.send(broker_pb2.ToBroker(drop=self.number))

    def lost(self, why: str) -> None:
        """
        The broker is gone: what it moved is not known, and so the account is spent.
        """
        if self._link is not None and not self._over:
            self._granted.account.spend()
        self._finish(End(errno.EIO, f"{self._granted.request}: {why}"), error_name(errno.EIO))

    def heard(self, frame: broker_pb2.FromBroker) -> bool:
        """
        Take what the broker says; whether it was the last. Raises BrokerFault.
        """
        kind = frame.WhichOneof("frame")
        if self._over:  # we gave it up; its broker may not know that yet
            return kind == "ended"
        if kind == "ended":
            self._on_ended(frame.ended)
            return True
        if kind != self._phase.value or (kind == "requested" and self._relayed):
            raise BrokerFault(f"{kind!r} while {self._phase.name.lower()} {self._granted.request}")
        if kind == "answered":
            self._on_answered(frame.answered)
            return False
        self._phase = Phase.DECIDING
        self._inbox.put_nowait(self._word(frame))
        return False

    def _close(self, stream: socket.socket) -> None:
        if self._granted.line is Line.TCP:
            reset(stream)
        else:
            stream.close()

    def _word(self, frame: broker_pb2.FromBroker) -> _Heard:
        match frame.WhichOneof("frame"):
            case "greeted":
                return _Greeted(frame.greeted.server_name)
            case "resolved":
                return self._found(frame.resolved)
        return self._asked(frame.requested)

    def _open(self, link: Link, stream: socket.socket) -> None:
        grant, request = self._grant, self._granted.request
        opening = broker_pb2.Open(
            connection=self.number,
            account=self._granted.account.number,
            budget=self._granted.account.left,
            host=request.host,
            port=request.port,
            tls=grant.tls,
            raw=grant.raw,
            tcp=self._granted.line is Line.TCP,
        )
        if (given := grant.credential) is not None:
            opening.credential.header = given.header
            opening.credential.secret = given.secret
            opening.credential.prefix = given.prefix
        link.open(opening, stream, self)
        self._link = link

    # ---- whom it may name -----------------------------------------------------------------

    async def _greet(self, greeted: _Greeted) -> None:
        try:
            await self._require_name(greeted.name)
        except (GuestError, AuditError) as error:
            self._refuse(error)
            self._say(judgement=broker_pb2.Judgement(connection=self.number, reason=self._reason()))
            return
        self._phase = Phase.RESOLVING
        self._say(judgement=broker_pb2.Judgement(connection=self.number, allowed=True))

    async def _require_name(self, name: str) -> None:
        """
        The name in a ClientHello has to be that of the grant; an address has none to give
        (RFC 6066, section 3). Raises GuestError, recorded.
        """
        request = self._granted.request
        expected = "" if is_address(request.host) else request.host
        if (canonical_host(name) if name else "") == expected:
            return
        said = f"names {shown(name)}" if name else "names no server (SNI)"
        reason = f"{request} is not granted: the ClientHello of the TLS on it {said}; " + (
            f"it has to name {expected}" if expected else "for an address it may not"
        )
        refused = Decision(False, self._grant.rule, reason, network=self._grant)
        raise await self._docket.denied(request, refused)

    # ---- where it may go ------------------------------------------------------------------

    async def _dial(self, found: tuple[AddressRequest, ...]) -> None:
        try:
            for one in found:
                await self._docket.admitted(one)
        except (GuestError, AuditError) as error:
            self._refuse(error)
            self._say(dial=broker_pb2.Dial(connection=self.number, reason=self._reason()))
            return
        self._dialled = tuple(one.address for one in found)
        self._phase = Phase.RELAYING
        self._say(dial=broker_pb2.Dial(connection=self.number, addresses=self._dialled))

    def _found(self, resolved: broker_pb2.Resolved) -> tuple[AddressRequest, ...]:
        asked = self._granted.request
        if not 1 <= len(resolved.addresses) <= _MOST_ADDRESSES:
            raise BrokerFault(f"{len(resolved.addresses)} addresses for {asked.host}")
        return tuple(
            AddressRequest(asked.host, asked.port, one.text, one.own) for one in resolved.addresses
        )

    # ---- what may be said there -----------------------------------------------------------

    async def _judge(self, asked: _Requested) -> None:
        try:
            head = await self._admit(asked)
        except (GuestError, AuditError) as error:
            self._refuse(error)
            self._say(judgement=broker_pb2.Judgement(connection=self.number, reason=self._reason()))
            return
        if self._over:
            self._record(head, "ECANCELED", 0)
            return
        self._docket.counts.exchanges += 1
        self._exchange = head
        self._phase = Phase.EXCHANGING
        self._say(judgement=broker_pb2.Judgement(connection=self.number, allowed=True))

    async def _admit(self, asked: _Requested) -> Head:
        request = asked.request
        await self._docket.count(request)
        decision = await self._docket.admitted(request)
        if asked.hops > MOST_HOPS:
            reason = f"{request} is not granted: more than {MOST_HOPS} redirects led to it"
            refused = Decision(False, decision.rule, reason, network=decision.network)
            raise await self._docket.denied(request, refused)
        durable = request.method not in _SAFE
        return await self._docket.allowed(request, decision, durable=durable)

    def _asked(self, frame: broker_pb2.Requested) -> _Requested:
        query = frame.query if frame.has_query else None
        to, tls = self._granted.request, self._grant.tls
        request = HttpRequest(to.host, to.port, tls, frame.method, frame.path, query)
        return _Requested(request, frame.hops)

    def _on_answered(self, answered: broker_pb2.Answered) -> None:
        head, self._exchange = self._exchange, None
        self._phase = Phase.RELAYING
        self._moved(answered.sent, answered.received)
        assert head is not None  # or the phase would have refused the frame
        outcome = OK if answered.status else UNKNOWN
        detail = (
            ("received", answered.received),
            ("sent", answered.sent),
            ("status", answered.status),
        )
        self._record(head, outcome, answered.sent + answered.received, detail)
        self._on_answer()

    # ---- its end --------------------------------------------------------------------------

    def _on_ended(self, ended: broker_pb2.Ended) -> None:
        if ended.errno and ended.errno not in errno.errorcode:
            raise BrokerFault(f"{self._granted.request} ended with errno {ended.errno}")
        if ended.address and ended.address not in self._dialled:
            raise BrokerFault(f"{self._granted.request} was dialled at {ended.address[:64]!r}")
        self._moved(max(0, ended.sent - self._sent), max(0, ended.received - self._received))
        end = End(ended.errno, ended.reason[:_LONGEST_REASON])
        if end.errno == errno.ECONNABORTED and self._is_at_rest:
            end = End()  # a session that ends cuts nothing off between two requests
        # Where we refused it, the words are ours and not what the broker made of them.
        end = self._refusal or end
        self._finish(end, error_name(end.errno) if end.errno else OK, ended.address)

    def _finish(self, end: End, outcome: str, address: str = "") -> None:
        if self._over:
            return
        self._over = True
        self._inbox.put_nowait(None)
        detail: Detail = (("received", self._received), ("sent", self._sent))
        if address:
            detail = (("address", address), *detail)
        if end.reason:
            detail = (*detail, ("reason", end.reason))
        if (exchange := self._exchange) is not None:
            self._exchange = None
            self._record(exchange, UNKNOWN if outcome == OK else outcome, None)
        self._record(self._granted.head, outcome, self._sent + self._received, detail)
        self._on_over(end)

    def _moved(self, sent: int, received: int) -> None:
        # It spends before it moves, so more than the account has is not what it has done.
        if sent + received > self._granted.account.left:
            raise BrokerFault(f"{self._granted.request} moved {sent} and {received} bytes")
        self._sent += sent
        self._received += received
        self._granted.account.add(sent + received)
        self._docket.counts.sent += sent
        self._docket.counts.received += received

    def _record(self, head: Head, outcome: str, size: int | None, detail: Detail = ()) -> None:
        try:
            self._docket.outcome([head], outcome, size, detail)
        except AuditError:
            # It has happened; the recovery of the record will call it unknown.
            _LOG.warning("what came of %s is not in the record", self._granted.request)

    def _refuse(self, error: GuestError | AuditError) -> None:
        answer = answer_to(error)
        self._refusal = End(answer.errno, answer.reason)

    def _reason(self) -> str:
        return self._refusal.reason if self._refusal else ""

    def _say(
        self,
        *,
        dial: broker_pb2.Dial | None = None,
        judgement: broker_pb2.Judgement | None = None,
    ) -> None:
        if self._link is not None and not self._over:
            self._link.send(broker_pb2.ToBroker(dial=dial, judgement=judgement))
