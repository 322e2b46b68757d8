"""
What a server's silence, its end and its bytes mean at each moment, over streams in memory.
"""

import asyncio
import errno

import pytest

from executor.network.account import Account
from executor.network.errors import Ending
from executor.network.http.errors import BadAnswer
from executor.network.http.exchange import Exchange
from tests.executor.network.http.http_world import GET, GIVEN, OK, ORIGIN, SENT, Judge, run


class Impatient:
    """
    A server's stream that loses patience with every read that begins, until it is `answering`.
    """

    def __init__(self):
        self.lost = 0
        self.tired, self.answering = asyncio.Event(), asyncio.Event()
        self.answers = [OK]

    async def read(self, _size):
        if self.lost < 5 or not self.answers:
            self.lost += 1
            if self.lost == 5:
                self.tired.set()
            await asyncio.sleep(0)
            raise Ending(errno.ETIMEDOUT, "the server did nothing for 60 seconds")
        await self.answering.wait()
        return self.answers.pop()

    async def write(self, _data):
        self.answering.set()


class Guest:
    """
    A guest that thinks until the server's stream has lost patience five times, and then asks.
    """

    def __init__(self, server):
        self.server, self.requests, self.given = server, [GET, GET], b""

    async def read(self, _size):
        await self.server.tired.wait()
        return self.requests.pop() if self.requests else b""

    async def write(self, data):
        self.given += data


def test_silence_between_requests_is_no_failure_and_silence_in_an_answer_is():
    async def scenario():
        server = Impatient()
        guest, judge = Guest(server), Judge()
        with pytest.raises(Ending) as caught:
            await Exchange().serve(guest, server, judge, Account(2**20), ORIGIN)
        assert caught.value.errno == errno.ETIMEDOUT
        assert guest.given == GIVEN
        assert [status for status, _, _ in judge.answers] == [200, 0]

    run(scenario)


class Slow:
    """
    A server's stream that loses patience once, while `event` is awaited, and then answers.
    """

    def __init__(self, event, answer):
        self.event, self.answer, self.written = event, answer, b""
        self.answers = [OK]
        self.begun, self.lost = asyncio.Event(), asyncio.Event()

    async def read(self, _size):
        if not self.lost.is_set():
            self.begun.set()
            await self.event.wait()
            self.lost.set()
            raise Ending(errno.ETIMEDOUT, "the server did nothing for 60 seconds")
        await self.answer.wait()
        return self.answers.pop(0) if self.answers else b""

    async def write(self, data):
        self.written += data
        self.event.set()


class Asking:
    """
    A guest that sends its pieces, each once its event has come, and then ends.
    """

    def __init__(self, *pieces):
        self.pieces, self.given = list(pieces), b""

    async def read(self, _size):
        if not self.pieces:
            return b""
        event, piece = self.pieces.pop(0)
        await event.wait()
        return piece

    async def write(self, data):
        self.given += data


def test_patience_that_began_before_the_request_is_not_lost_with_it():
    """
    The read of the answer is begun while the guest thinks; sixty seconds may end just after the
    request was sent.
    """

    async def scenario():
        server = Slow(asyncio.Event(), asyncio.Event())
        server.answer = server.lost
        guest = Asking((server.begun, GET))
        await Exchange().serve(guest, server, Judge(), Account(2**20), ORIGIN)
        assert guest.given == GIVEN

    run(scenario)


def test_a_server_may_be_silent_for_as_long_as_a_body_is_on_its_way():
    async def scenario():
        ready = asyncio.Event()
        ready.set()
        post = b"POST /p HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 2\r\n\r\n"

        class Tired(Slow):
            async def read(self, size):
                # Twice: the first time is excused by having begun before the request.
                if self.lost.is_set() and self.answer is not None and not self.answer.is_set():
                    self.answer.set()
                    raise Ending(errno.ETIMEDOUT, "the server did nothing for 60 seconds")
                return await super().read(size)

        server = Tired(asyncio.Event(), asyncio.Event())
        guest = Asking((ready, post), (ready, b"a"), (server.answer, b"b"))
        await Exchange().serve(guest, server, Judge(), Account(2**20), ORIGIN)
        assert server.written.endswith(b"\r\n\r\nab")
        assert b"200 OK" in guest.given

    run(scenario)


@pytest.mark.parametrize("late", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"])
def test_n09_what_a_server_sends_before_a_waiting_request_is_no_answer_to_it(late):
    """
    Both requests come at once. While the second is judged the server sends bytes, or its end.
    """

    async def scenario():
        sent = asyncio.Event()

        class Hostile(Slow):
            async def read(self, _size):
                await self.event.wait()
                return self.answers.pop(0)

        class Judging(Judge):
            async def request(self, *asked):
                await super().request(*asked)
                if len(self.asked) == 2:
                    for _ in range(10):
                        await asyncio.sleep(0)

        sent.set()
        server, guest, judge = Hostile(asyncio.Event(), None), Asking((sent, GET + GET)), Judging()
        server.answers.append(late)
        serving = Exchange().serve(guest, server, judge, Account(2**20), ORIGIN)
        if late:
            with pytest.raises(BadAnswer, match="no request had asked for"):
                await serving
        else:
            await serving
        assert server.written == SENT
        assert guest.given == GIVEN
        assert [status for status, _, _ in judge.answers] == [200, 0]

    run(scenario)


class Leaving(Slow):
    """
    A server that takes a request's head, and then neither its body nor anything else.
    """

    async def read(self, _size):
        await self.event.wait()
        await self.lost.wait()
        if self.answers:
            return self.answers.pop()
        raise Ending(errno.ECONNRESET, "the server: connection reset by peer")

    async def write(self, data):
        if self.written:
            self.lost.set()
            raise Ending(errno.EPIPE, "the server: broken pipe")
        await super().write(data)


@pytest.mark.parametrize("answers", [[OK], []])
def test_a_server_that_takes_no_more_of_a_body_may_have_answered(answers):
    async def scenario():
        server = Leaving(asyncio.Event(), None)
        server.answers = list(answers)
        ready = asyncio.Event()
        ready.set()
        post = b"POST /p HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 9\r\n\r\n"
        guest, judge = Asking((ready, post), (server.event, b"abc")), Judge()
        serving = Exchange().serve(guest, server, judge, Account(2**20), ORIGIN)
        if answers:
            await serving
            assert guest.given == GIVEN.replace(b"keep-alive", b"close")
        else:
            with pytest.raises(Ending, match="reset"):
                await serving
            assert guest.given == b""
        assert [status for status, _, _ in judge.answers] == [200 if answers else 0]

    run(scenario)


def test_a_server_that_resets_between_requests_ends_the_connection_like_any_other():
    async def scenario():
        server = Leaving(asyncio.Event(), None)
        server.answers = []
        server.event.set()
        server.lost.set()
        guest = Asking((asyncio.Event(), GET))
        await Exchange().serve(guest, server, Judge(), Account(2**20), ORIGIN)
        assert guest.given == b""

    run(scenario)
