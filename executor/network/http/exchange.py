"""
Requests and answers on one connection, one after another, each judged before it is sent.

    guest ──head──► read_request ──► judge ──► write_request ──► server
          ◄─────── write_answer ◄── [scrub] ◄── read_answer ◄───

A request's body and its answer pass at the same time, since a server may answer early or as the
body comes. All else is in sequence: a guest's next request waits, in its stream, until the answer
before it is through. Each way holds one piece of at most 64 KiB, and what a scrubber keeps back.

Between requests the server is listened to as well: its end is the connection's end, and bytes
that no request asked for close it, for they would be taken for the answer to the next one.

Sources: RFC 9112 9 (connections), RFC 9110 10.1.1 (100-continue), 15.2 (interim answers).
"""

import asyncio
import errno
import functools
from dataclasses import dataclass
from typing import Final, Protocol

from executor.network.errors import Ending
from executor.network.http.answer import Answer, read_answer, write_answer
from executor.network.http.body import BodyReader, framed
from executor.network.http.errors import BadAnswer, BadRequest
from executor.network.http.heads import AnswerHead, HeadCutter, parse_answer_head
from executor.network.http.hops import Hops
from executor.network.http.inbound import Inbound, Stream
from executor.network.http.origin import Origin
from executor.network.http.passage import Passage
from executor.network.http.request import Request, read_request, write_request
from executor.network.http.scrub import Needles

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_MAX_INTERIM: Final = 16
# How long a server pauses before held bytes are let go (see scrub.py): longer than a full round
# trip to wherever, so that a guest cannot make one pause by not reading.
_PAUSE: Final = 0.5


class Judge(Protocol):
    """
    Who decides about requests, and records them.
    """

    async def request(self, method: str, path: str, query: str | None, hops: int) -> None:
        """
        Return when the request may be sent. Raises Refused.
        """

    def answered(self, status: int, sent: int, received: int) -> None:
        """
        What came of a request that was allowed: called once for each, also where it failed.

        `status` is 0 where no answer came; the bytes are those to and from the server.
        """


class Account(Protocol):
    """
    The byte budget that the connection draws on.
    """

    def spend(self, count: int) -> None:
        """
        Take `count` bytes. Raises Ending EDQUOT.
        """


class Exchange:
    """
    Serves connections of one account, whose redirects it remembers together.
    """

    __slots__ = ("_hops",)

    def __init__(self, hops: Hops | None = None) -> None:
        self._hops = hops or Hops()

    async def serve(
        self, guest: Stream, upstream: Stream, judge: Judge, account: Account, origin: Origin
    ) -> None:
        """
        Pass requests of `guest` to `upstream`, whose handshake is over, until either side ends.

        Every byte to and from the server is spent from `account`. Closes neither stream. Raises
        Ending for every end that neither side wished: Refused by the judge, BadRequest, BadAnswer,
        the account's, the streams'.
        """
        if origin.injected is not None and not origin.tls:
            raise Ending(
                errno.EPROTO, "a credential is never sent in the clear: the grant needs TLS"
            )
        conversation = _Conversation(guest, upstream, judge, account, origin, self._hops)
        try:
            await conversation.run()
        finally:
            await conversation.abandon()


@dataclass(slots=True)
class _Tally:
    """
    One exchange, for the record.
    """

    status: int = 0
    sent: int = 0
    received: int = 0


class _Conversation:
    """
    One connection's state between its requests.
    """

    def __init__(
        self,
        guest: Stream,
        upstream: Stream,
        judge: Judge,
        account: Account,
        origin: Origin,
        hops: Hops,
    ) -> None:
        self._guest, self._upstream = guest, upstream
        self._requests, self._answers = Inbound(guest.read), Inbound(upstream.read)
        self._judge, self._account, self._origin, self._hops = judge, account, origin, hops
        self._needles = _needles(origin.injected.hidden) if origin.injected else None
        self._tally = _Tally()
        # A body is on its way; the server may be silent for as long as that takes.
        self._uploading = False
        # The read under way began before the request was sent.
        self._early = False

    async def run(self) -> None:
        """
        Request after request, until one side ends or asks for the end.
        """
        while (head := await self._request_head()) is not None:
            request = read_request(head, self._origin)
            url = f"{self._origin.scheme}://{self._origin.authority}{request.target}"
            await self._judge.request(
                request.method, request.path, request.query, self._hops.depth(url)
            )
            self._tally = _Tally()
            try:
                again = await self._silent_yet() and await self._exchange(request, url)
            finally:
                self._judge.answered(self._tally.status, self._tally.sent, self._tally.received)
            if not again:
                return

    async def abandon(self) -> None:
        """
        End whatever read is under way.
        """
        await self._requests.abandon()
        await self._answers.abandon()

    # ---- between requests ---------------------------------------------------------------

    async def _request_head(self) -> bytes | None:
        """
        The next request's head, or None where the connection ends between two.
        """
        buffer, cutter = self._requests.buffer, HeadCutter(BadRequest)
        while (head := cutter.cut(buffer)) is None:
            if not await self._guest_or_server():
                return None
            data = await self._requests.more()
            if not data and buffer:
                raise BadRequest("the guest's stream ended in the middle of a request's head")
            if not data:
                return None
            buffer += data
        self._answers.begin()
        return head

    async def _guest_or_server(self) -> bool:
        """
        Wait until the guest has sent something or ended; False where the server ended instead.
        """
        request = self._requests.begin()
        while not request.done():
            answer = self._answers.begin()
            await asyncio.wait({request, answer}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() and not await self._stayed():
                return False
        return True

    async def _stayed(self) -> bool:
        """
        Whether a server from which something came between requests is still there.
        """
        try:
            data = await self._answers.more()
        except Ending as ending:
            # Silence is right here; how long a guest may think is not for us to say.
            if ending.errno == errno.ETIMEDOUT:
                return True
            # Many servers drop a connection that is idle without a word of TLS.
            if ending.errno == errno.ECONNRESET:
                return False
            raise
        if data:
            raise BadAnswer("the server sent bytes that no request had asked for")
        return False

    async def _silent_yet(self) -> bool:
        """
        Whether the server, to which a request is about to be sent, is there and said nothing.
        """
        self._early = True
        return not self._answers.begin().done() or await self._stayed()

    # ---- one exchange -------------------------------------------------------------------

    async def _exchange(self, request: Request, url: str) -> bool:
        """
        Send a judged request and pass its answer on; whether another request may follow.
        """
        body = request.body()
        first = self._requests.take()
        head = write_request(request, self._origin)
        await self._upstream.write(self._charged(head + _framed(request, body, first)))
        if body.done:
            self._requests.buffer += body.surplus
            return await self._answer(request, url)
        if request.waits and not first:
            await self._guest.write(_CONTINUE)
        return await self._answer_to_upload(request, body, url)

    async def _answer_to_upload(self, request: Request, body: BodyReader, url: str) -> bool:
        self._uploading = True
        upload = asyncio.ensure_future(self._upload(request, body))
        answer = asyncio.ensure_future(self._answer(request, url))
        try:
            await asyncio.wait({upload, answer}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                upload.result()
            return await answer
        finally:
            # A server may answer before it has read all of the body: nothing follows that.
            upload.cancel()
            answer.cancel()
            await asyncio.gather(upload, answer, return_exceptions=True)

    async def _upload(self, request: Request, body: BodyReader) -> None:
        while not body.done:
            data = await self._requests.more()
            if not data:
                raise BadRequest("the guest's stream ended in the middle of a request's body")
            out = self._charged(_framed(request, body, data))
            try:
                await self._upstream.write(out)
            except Ending:
                # The server may have answered and closed; the answer, or its end, says more.
                return
        self._requests.buffer += body.surplus
        self._uploading = False

    async def _answer(self, request: Request, url: str) -> bool:
        answer = read_answer(
            await self._final_head(), request.method, guarded=self._needles is not None
        )
        self._tally.status = answer.status
        self._hops.answered(url, answer.location)
        closes = answer.closes or request.closes or self._uploading
        surplus = await self._pass_on(answer, write_answer(answer, closes=closes))
        if surplus and not closes:
            raise BadAnswer("the server sent more than the answer to the request")
        return not closes

    async def _final_head(self) -> AnswerHead:
        buffer, cutter = self._answers.buffer, HeadCutter(BadAnswer)
        for _ in range(_MAX_INTERIM + 1):
            while (head := cutter.cut(buffer)) is None:
                data = await self._received()
                if not data:
                    raise Ending(errno.ECONNRESET, "the server closed before it had answered")
                buffer += data
            answer = parse_answer_head(self._needles.cover(head) if self._needles else head)
            if not answer.dropped:
                return answer
        raise BadAnswer(f"the server sent more than {_MAX_INTERIM} interim answers")

    async def _pass_on(self, answer: Answer, head: bytes) -> bytes:
        """
        Give the guest `head` and the body as it comes; what the server sent behind it.
        """
        passage = Passage(answer, self._needles)
        out = head + passage.feed(self._answers.take())
        while True:
            if out:
                await self._guest.write(out)
            if passage.done:
                return passage.surplus
            data = await self._received(pausing=passage.holds)
            out = _next_out(passage, data)

    async def _received(self, *, pausing: bool = False) -> bytes | None:
        """
        The server's next bytes, paid for, none at its end; with `pausing`, None after a pause.
        """
        while True:
            try:
                read = self._answers.more_within(_PAUSE) if pausing else self._answers.more()
                data = await read
            except Ending as ending:
                # That wait began before the server had anything to answer, or it has not all yet.
                if ending.errno != errno.ETIMEDOUT or not (self._early or self._uploading):
                    raise
                self._early = False
                continue
            self._early = False
            self._account.spend(len(data or b""))
            self._tally.received += len(data or b"")
            return data

    def _charged(self, data: bytes) -> bytes:
        self._account.spend(len(data))
        self._tally.sent += len(data)
        return data


@functools.lru_cache(maxsize=64)
def _needles(hidden: tuple[bytes, ...]) -> Needles:
    # Once for each secret: a guest opens connections faster than these are made ready.
    return Needles(hidden)


def _framed(request: Request, body: BodyReader, data: bytes) -> bytes:
    payload = body.feed(data)
    return framed(payload, chunked=request.length is None, done=body.done)


def _next_out(passage: Passage, data: bytes | None) -> bytes:
    if data is None:
        return passage.pause()
    return passage.feed(data) if data else passage.end()
