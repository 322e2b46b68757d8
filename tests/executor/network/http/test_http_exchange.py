"""
Whole exchanges over real sockets, with sides that are honest, broken and hostile.
"""

import asyncio
import errno
from dataclasses import replace

import pytest

from executor.network.errors import Refused
from executor.network.http.errors import BadAnswer, BadRequest
from executor.network.http.exchange import Exchange
from tests.executor.network.http.http_world import (
    END,
    GET,
    GIVEN,
    GUARDED,
    OK,
    ORIGIN,
    SECRET,
    SENT,
    answered,
    linked,
    run,
)


def test_requests_follow_each_other_on_one_connection():
    async def scenario():
        async with linked() as link:
            for _ in range(3):
                await link.guest.send(GET)
                assert await link.server.until(END) == SENT
                await link.server.send(OK)
                assert await link.guest.until(b"ok") == GIVEN
            link.guest.close()
            assert await link.ending() is None
            assert link.judge.asked == [("GET", "/a", "q", 0)] * 3
            assert link.judge.answers == [(200, len(SENT), len(OK))] * 3
            assert 2**30 - link.account.remaining == 3 * (len(SENT) + len(OK))

    run(scenario)


def test_a_refused_request_sends_nothing():
    async def scenario():
        async with linked() as link:
            await link.guest.send(GET.replace(b"/a?q", b"/denied"))
            ending = await link.ending()
            assert isinstance(ending, Refused)
            assert ending.reason == "GET /denied is not granted"
            assert await link.server.rest() == b""
            assert link.judge.answers == []

    run(scenario)


def test_a_broken_request_is_not_even_asked_about():
    async def scenario():
        async with linked() as link:
            await link.guest.send(GET.replace(b"Host: api", b"Host: evil"))
            assert isinstance(await link.ending(), BadRequest)
            assert await link.server.rest() == b""
            assert link.judge.asked == []

    run(scenario)


def test_n09_a_request_smuggled_behind_another_is_judged_and_waits_for_its_turn():
    async def scenario():
        async with linked() as link:
            post = b"POST /p HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 3\r\n\r\nabc"
            await link.guest.send(post + GET.replace(b"/a?q", b"/denied") + GET)
            assert (await link.server.until(b"abc")).startswith(b"POST /p HTTP/1.1\r\n")
            assert link.judge.asked == [("POST", "/p", None, 0)]
            await link.server.send(OK)
            assert await link.guest.until(b"ok") == GIVEN
            assert isinstance(await link.ending(), Refused)
            assert await link.server.rest() == b""

    run(scenario)


@pytest.mark.parametrize("pieces", [1, 7, 10**6])
def test_a_body_in_chunks_is_sent_in_chunks_of_ours(pieces):
    async def scenario():
        async with linked() as link:
            data = (
                b"PUT /p HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n"
            )
            for at in range(0, len(data), pieces):
                await link.guest.send(data[at : at + pieces])
                await asyncio.sleep(0)
            head = await link.server.until(END)
            assert b"Transfer-Encoding: chunked\r\n" in head
            body = b""
            while not body.endswith(b"0\r\n\r\n"):
                body += await link.server.until(b"\r\n")
            assert b"".join(body.split(b"\r\n")[1::2]) == b"helloyou"
            await link.server.send(OK)
            assert await link.guest.until(b"ok") == GIVEN

    run(scenario)


def test_100_continue_is_said_once_the_request_is_allowed():
    async def scenario():
        async with linked() as link:
            await link.guest.send(
                b"POST /p HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\n"
                b"Content-Length: 3\r\n\r\n"
            )
            assert await link.guest.until(END) == b"HTTP/1.1 100 Continue\r\n\r\n"
            await link.guest.send(b"abc")
            assert b"xpect" not in await link.server.until(b"abc")
            await link.server.send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
            assert await link.guest.until(b"ok") == GIVEN

    run(scenario)


def test_100_continue_is_not_said_to_a_guest_that_does_not_wait():
    async def scenario():
        async with linked() as link:
            await link.guest.send(
                b"POST /p HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\n"
                b"Content-Length: 3\r\n\r\na"
            )
            await link.server.until(b"a")
            await link.guest.send(b"bc")
            await link.server.until(b"bc")
            await link.server.send(OK)
            assert await link.guest.until(b"ok") == GIVEN

    run(scenario)


def test_100_continue_is_not_said_to_a_request_that_is_refused():
    async def scenario():
        async with linked() as link:
            await link.guest.send(
                b"POST /denied HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\n"
                b"Content-Length: 3\r\n\r\n"
            )
            assert isinstance(await link.ending(), Refused)
            assert await link.guest.rest() == b""

    run(scenario)


def test_an_early_answer_is_passed_on_and_ends_the_connection():
    async def scenario():
        async with linked() as link:
            await link.guest.send(
                b"POST /p HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 1000\r\n\r\nabc"
            )
            await link.server.until(b"abc")
            await link.server.send(OK.replace(b"200 OK", b"413 Too large"))
            assert await link.guest.until(b"ok") == GIVEN.replace(
                b"200 OK", b"413 Too large"
            ).replace(b"keep-alive", b"close")
            assert await link.ending() is None
            assert link.judge.answers[0][0] == 413

    run(scenario)


def test_body_and_answer_pass_at_the_same_time():
    """
    A server that echoes as it reads needs its answer taken before the body has ended.
    """

    async def scenario():
        size = 4 * 2**20
        async with linked() as link:

            async def guest():
                await link.guest.send(
                    b"POST /p HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: %d\r\n\r\n"
                    % size
                )
                await link.guest.send(b"x" * size)

            async def server():
                await link.server.until(END)
                await link.server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                left = size
                data, link.server.seen = link.server.seen, b""
                while left:
                    left -= len(data)
                    await link.server.send(data)
                    if left:
                        data = await asyncio.get_running_loop().sock_recv(link.server.socket, 65536)

            async def back():
                head = await link.guest.until(END)
                total = len(link.guest.seen)
                while total < size:
                    total += len(
                        await asyncio.get_running_loop().sock_recv(link.guest.socket, 65536)
                    )
                return head, total

            _, _, (head, total) = await asyncio.gather(guest(), server(), back())
            assert b"200 OK" in head
            assert total == size

    run(scenario)


def test_a_guest_that_ends_in_its_body_ends_the_exchange_with_a_record():
    async def scenario():
        async with linked() as link:
            await link.guest.send(
                b"POST /p HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 9\r\n\r\nabc"
            )
            await link.server.until(b"abc")
            link.guest.close()
            assert isinstance(await link.ending(), BadRequest)
            assert [status for status, _, _ in link.judge.answers] == [0]

    run(scenario)


# ---- redirects ------------------------------------------------------------------------------


def test_n07_redirects_are_counted_over_the_connections_of_an_account():
    async def scenario():
        exchange = Exchange()
        for step in range(7):
            async with linked(exchange=exchange) as link:
                await link.guest.send(GET.replace(b"/a?q", b"/%d" % step))
                if step == 6:
                    assert isinstance(await link.ending(), Refused)
                    break
                await link.server.until(END)
                await link.server.send(
                    b"HTTP/1.1 307 Moved\r\nLocation: https://api.example.com/%d\r\n"
                    b"Content-Length: 0\r\n\r\n" % (step + 1)
                )
                await link.guest.until(END)
                assert link.judge.asked[0][3] == step

    run(scenario)


# ---- credentials ----------------------------------------------------------------------------


def test_n14_a_secret_goes_to_the_server_and_does_not_come_back():
    async def scenario():
        async with linked(GUARDED) as link:
            await link.guest.send(GET.replace(END, b"\r\nAuthorization: mine\r\n\r\n"))
            sent = await link.server.until(END)
            assert sent.count(b"Authorization: Bearer " + SECRET + b"\r\n") == 1
            assert b"mine" not in sent
            body = b"your key is " + SECRET
            await link.server.send(
                b"HTTP/1.1 200 " + SECRET + b"\r\nX-Echo: Bearer " + SECRET + b"\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body) + body
            )
            stars = b"*" * len(SECRET)
            assert await link.guest.until(b"is " + stars) == (
                b"HTTP/1.1 200 " + stars + b"\r\nX-Echo: *******" + stars + b"\r\n"
                b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\nyour key is "
                % len(body)
                + stars
            )

    run(scenario)


def test_a_credential_is_not_sent_in_the_clear():
    async def scenario():
        async with linked(replace(GUARDED, port=80, tls=False)) as link:
            await link.guest.send(GET)
            assert (await link.ending()).errno == errno.EPROTO
            assert await link.server.rest() == b""
            assert link.judge.asked == []

    run(scenario)


def test_n14_a_secret_in_pieces_is_hidden_and_a_pausing_server_is_still_heard():
    """
    The first half waits for what follows; a last piece that nothing follows is let go in the end.
    """

    async def scenario():
        async with linked(GUARDED) as link:
            await link.guest.send(GET)
            await link.server.until(END)
            await link.server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for byte in b"key " + SECRET + b" end":
                await link.server.send(b"1\r\n%c\r\n" % byte)
                await asyncio.sleep(0)
            given = await link.guest.until(b"end\r\n")
            assert SECRET[:8] not in given
            assert given.count(b"*") == len(SECRET)
            await link.server.send(b"0\r\n\r\n")
            assert await link.guest.until(b"0\r\n\r\n") == b"0\r\n\r\n"

    run(scenario)


@pytest.mark.parametrize("origin", [GUARDED, ORIGIN])
def test_n14_a_compressed_answer_is_refused_where_a_secret_was_sent(origin):
    answer = OK.replace(b"Content", b"Content-Encoding: gzip\r\nContent")
    given, ending, _ = answered(answer, origin=origin)
    if origin is GUARDED:
        assert isinstance(ending, BadAnswer)
        assert given == b""
    else:
        assert ending is None
        assert given == GIVEN.replace(b"Content", b"Content-Encoding: gzip\r\nContent", 1)


def test_a_cancelled_exchange_leaves_nothing_behind_and_is_recorded():
    async def scenario():
        async with linked() as link:
            await link.guest.send(
                b"POST /p HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 9\r\n\r\nabc"
            )
            await link.server.until(b"abc")
            link.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await link.task
            assert [status for status, _, _ in link.judge.answers] == [0]

    run(scenario)
