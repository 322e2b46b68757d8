"""
What of an answer reaches the guest, from servers that are honest, broken and hostile.
"""

import asyncio
import errno

import pytest

from executor.network.http.errors import BadAnswer
from tests.executor.network.http.http_world import (
    END,
    GET,
    GIVEN,
    OK,
    answered,
    linked,
    run,
)


def test_chunks_of_the_server_become_chunks_of_ours():
    given, ending, _ = answered(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1 \r\n!\r\n"
        b"0\r\nTrailer: 1\r\n\r\n"
    )
    assert given == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
        b"6\r\nhello!\r\n0\r\n\r\n"
    )
    assert ending is None


def test_an_answer_until_the_end_gets_an_end_that_can_be_seen():
    given, ending, judge = answered(b"HTTP/1.0 200 OK\r\n\r\nhello", end=True)
    head, _, body = given.partition(END)
    assert head == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close"
    assert body == b"5\r\nhello\r\n0\r\n\r\n"
    assert ending is None
    assert judge.answers[0][0] == 200


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"",
    ],
)
def test_an_answer_that_is_cut_off_is_no_whole_one(answer):
    _, ending, judge = answered(answer, end=True)
    assert ending.errno == errno.ECONNRESET
    assert len(judge.answers) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 10**5 + END,
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 2**20 + END,
        b"HTTP/1.1 103 Early\r\n\r\n" * 17 + OK,
        b"220 mail.example.com ESMTP\r\n\r\n",
    ],
    ids=lambda answer: answer[:40].decode(),
)
def test_n12_a_broken_answer_reaches_the_guest_in_no_part(answer):
    given, ending, judge = answered(answer)
    assert given == b""
    assert isinstance(ending, BadAnswer)
    assert ending.errno == errno.EPROTO
    assert [status for status, _, _ in judge.answers] == [0]


def test_interim_answers_are_dropped():
    given, ending, _ = answered(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 16 + OK)
    assert (given, ending) == (GIVEN, None)


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
def test_head_has_the_length_and_not_the_body(method):
    request = GET.replace(b"GET", method)
    answer = OK if method == b"GET" else OK.removesuffix(b"ok")
    given, ending, _ = answered(answer, request=request)
    assert given == (GIVEN if method == b"GET" else GIVEN.removesuffix(b"ok"))
    assert ending is None


def test_n09_surplus_bytes_end_the_connection_and_reach_nobody():
    given, ending, _ = answered(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert given == GIVEN
    assert isinstance(ending, BadAnswer)


@pytest.mark.parametrize("early", [b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"220 hello\r\n"])
def test_bytes_before_any_request_end_the_connection(early):
    async def scenario():
        async with linked() as link:
            await link.server.send(early)
            assert isinstance(await link.ending(), BadAnswer)
            assert await link.guest.rest() == b""

    run(scenario)


def test_a_server_that_ends_between_requests_ends_the_connection_quietly():
    async def scenario():
        async with linked() as link:
            await link.guest.send(GET)
            await link.server.until(END)
            await link.server.send(OK)
            assert await link.guest.until(b"ok") == GIVEN
            link.server.close()
            assert await link.ending() is None
            assert len(link.judge.asked) == 1

    run(scenario)


def test_close_of_the_server_is_passed_on():
    given, ending, _ = answered(OK.replace(b"Content", b"Connection: close\r\nContent"))
    assert (given, ending) == (GIVEN.replace(b"keep-alive", b"close"), None)


def test_n12_the_byte_budget_ends_an_endless_answer():
    async def scenario():
        async with linked(budget=300_000) as link:
            await link.guest.send(GET)
            await link.server.until(END)

            async def endless():
                await link.server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    await link.server.send(b"1\r\nx\r\n" * 1000)

            async def reading():
                return await link.guest.rest()

            sending = asyncio.ensure_future(endless())
            taken = asyncio.ensure_future(reading())
            ending = await link.ending()
            assert ending.errno == errno.EDQUOT
            assert len(await taken) <= 300_000
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                await sending
            assert link.judge.answers[0][0] == 200

    run(scenario)


def test_a_guest_that_does_not_read_stops_the_server():
    async def scenario():
        async with linked() as link:
            await link.guest.send(GET)
            await link.server.until(END)
            await link.server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            # Nobody reads at the far end, so all of it is in buffers, and those are bounded.
            sent = turns = 0
            while turns < 100:
                try:
                    sent += link.server.socket.send(b"x" * 65536)
                    turns = 0
                except BlockingIOError:
                    turns += 1
                    await asyncio.sleep(0)
                assert sent < 2 * 2**20
            assert sent > 65536

    run(scenario)
