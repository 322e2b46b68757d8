"""
A stream's socket stays watched between two reads, and no longer than it is this stream's.
"""

import asyncio
import os
import socket

from executor.network.streams import Patience, SocketStream

PATIENCE = Patience(10.0, 10.0, "the other side")


def pair(number=None):
    """
    A stream, also one with a number of our choice, and its other end.
    """
    ours, theirs = socket.socketpair()
    if number is not None and ours.fileno() != number:
        with ours:
            ours = socket.socket(fileno=os.dup2(ours.fileno(), number))
    ours.setblocking(False)
    return SocketStream(ours, PATIENCE), ours.fileno(), theirs


async def read_while_waiting(stream, theirs, data):
    reading = asyncio.ensure_future(stream.read(100))
    await asyncio.sleep(0)
    assert not reading.done()
    theirs.send(data)
    return await reading


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


def watched(number):
    return asyncio.get_running_loop().remove_reader(number)


def test_the_number_of_a_closed_stream_serves_the_next_one():
    async def scenario():
        first, number, theirs = pair()
        assert await read_while_waiting(first, theirs, b"one") == b"one"
        await first.close()
        theirs.close()
        second, again, theirs = pair(number)
        assert again == number, "the scenario did not run"
        assert await read_while_waiting(second, theirs, b"two") == b"two"
        second.end_now()
        assert not watched(number)
        theirs.close()

    asyncio.run(scenario())


def test_a_socket_is_watched_between_two_reads():
    async def scenario():
        stream, number, theirs = pair()
        assert await read_while_waiting(stream, theirs, b"one") == b"one"
        assert watched(number)
        stream.close_now()
        theirs.close()

    asyncio.run(scenario())


def test_bytes_that_nobody_waits_for_end_the_watch_and_are_there_for_the_next_read():
    async def scenario():
        stream, number, theirs = pair()
        assert await read_while_waiting(stream, theirs, b"one") == b"one"
        theirs.send(b"two")
        await turns(3)
        assert not watched(number)
        assert await stream.read(100) == b"two"
        assert await read_while_waiting(stream, theirs, b"three") == b"three"
        stream.close_now()
        theirs.close()

    asyncio.run(scenario())


def test_a_read_that_was_given_up_takes_nothing_from_the_next():
    async def scenario():
        stream, _, theirs = pair()
        given_up = asyncio.ensure_future(stream.read(100))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert await read_while_waiting(stream, theirs, b"one") == b"one"
        stream.close_now()
        theirs.close()

    asyncio.run(scenario())
