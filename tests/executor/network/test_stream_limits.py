"""
Silence and refusal on single streams: what each side may keep the other waiting for.
"""

import asyncio
import errno
import itertools
import socket

import pytest
from network_world import listening

from executor.network import dialer
from executor.network.account import Account, Traffic
from executor.network.dialer import Target, dial
from executor.network.errors import Ending
from executor.network.hangups import Hangups
from executor.network.owned import Routes, Way
from executor.network.relay import Silence, relay
from executor.network.streams import Patience, SocketStream
from executor.network.trust import read_trust


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    left.setblocking(False)
    with left, right:
        yield left, right


def ends(work):
    with pytest.raises(Ending) as caught:
        asyncio.run(work)
    return caught.value.errno, caught.value.reason


def test_a_silent_side_is_given_up_after_its_time(pair):
    stream = SocketStream(pair[0], Patience(0.01, None, "the server"))
    said = (errno.ETIMEDOUT, "the server did nothing for 0.01 seconds")
    assert ends(stream.read(10)) == said


def test_a_side_that_does_not_read_is_given_up_after_its_time(pair):
    stream = SocketStream(pair[0], Patience(None, 0.01, "the server"))
    assert ends(stream.write(bytes(2**22))) == (
        errno.ETIMEDOUT,
        "the server did nothing for 0.01 seconds",
    )


def test_bytes_that_are_there_are_not_waited_for(pair):
    pair[1].send(b"x")
    stream = SocketStream(pair[0], Patience(0.0, 0.0, "the server"))
    assert asyncio.run(stream.read(10)) == b"x"


def test_a_raw_stream_that_moves_nothing_is_given_up(pair):
    upstream = socket.socketpair()
    upstream[0].setblocking(False)

    async def run():
        forever = Patience(None, None, "nobody")
        streams = SocketStream(pair[0], forever), SocketStream(upstream[0], forever)
        await relay(*streams, Traffic(Account(9)), asyncio.Event(), Silence(0.01))

    with upstream[0], upstream[1]:
        assert ends(run()) == (errno.ETIMEDOUT, "nothing was sent or received for 0.01 seconds")


def test_a_raw_stream_that_moves_is_not_given_up(pair):
    upstream = socket.socketpair()
    upstream[0].setblocking(False)
    traffic = Traffic(Account(10**6))

    async def run():
        forever = Patience(None, None, "nobody")
        streams = SocketStream(pair[0], forever), SocketStream(upstream[0], forever)
        going = asyncio.ensure_future(relay(*streams, traffic, asyncio.Event(), Silence(0.05)))
        loop = asyncio.get_running_loop()
        until = loop.time() + 0.3
        while loop.time() < until:
            before = traffic.sent
            pair[1].send(b"x")
            while traffic.sent == before:
                assert not going.done()
                await asyncio.sleep(0)
            upstream[1].recv(10)
        assert not going.done()
        upstream[1].close()
        await going

    with upstream[0]:
        asyncio.run(run())
    assert traffic.sent > 0


def test_an_end_of_a_unix_pair_is_read_as_an_end_also_with_bytes_unread(pair):
    left, right = pair
    right.send(b"nobody reads this")
    stream = SocketStream(left, Patience(None, None, "the guest"))
    assert stream.hung_up() is False
    stream.end_now()
    assert right.recv(10) == b""


def test_a_hangup_is_told_once_and_a_half_close_is_none(pair):
    left, right = pair
    told = []

    async def run():
        hangups = Hangups()
        hangups.start()
        gone = asyncio.Event()
        hangups.watch(left.fileno(), lambda: (told.append(1), gone.set()))
        right.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not told
        right.close()
        async with asyncio.timeout(20):
            await gone.wait()
        await asyncio.sleep(0)
        hangups.forget(left.fileno())
        hangups.forget(left.fileno())
        hangups.stop()

    asyncio.run(run())
    assert told == [1]


def test_a_handshake_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr(dialer, "PATIENCE", 0.1)
    with listening(lambda connection: connection.recv(2**16) and connection.recv(1)) as server:
        target = Target("127.0.0.1", server.port, tls=True, raw=True)
        assert ends(dial(target, ["127.0.0.1"], read_trust(None), None)) == (
            errno.ETIMEDOUT,
            "127.0.0.1 does not finish TLS within 0.1 seconds",
        )


def test_an_address_that_does_not_answer_is_given_up(monkeypatch):
    """
    A listener whose queue is full: the kernel lets further connections wait.
    """
    monkeypatch.setattr(dialer, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        place = server.getsockname()
        held = [socket.socket() for _ in range(4)]
        for one in held:
            one.setblocking(False)
            one.connect_ex(place)
        target = Target("127.0.0.1", place[1], tls=False, raw=True)
        assert ends(dial(target, ["127.0.0.1"], read_trust(None), None)) == (
            errno.ETIMEDOUT,
            f"127.0.0.1 port {place[1]} does not answer within 0.1 seconds",
        )
        for one in held:
            one.close()


def test_without_addresses_nothing_is_dialled():
    target = Target("a.test", 1, tls=False, raw=True)
    assert ends(dial(target, [], read_trust(None), None))[0] == errno.EHOSTUNREACH


def test_the_budget_is_spent_exactly():
    account = Account(10)
    account.spend(10)
    assert account.remaining == 0
    with pytest.raises(Ending) as caught:
        account.spend(1)
    assert caught.value.errno == errno.EDQUOT
    account.spend(0)


def test_a_refused_spending_leaves_nothing_for_smaller_ones():
    account = Account(10)
    with pytest.raises(Ending):
        account.spend(11)
    with pytest.raises(Ending):
        account.spend(1)


@pytest.fixture
def routes():
    made = Routes()
    yield made
    made.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.200.1.1", "::1", "::ffff:127.0.0.1"])
def test_what_leads_back_to_this_host_is_its_own(routes, address):
    assert routes.way(address) == Way(reachable=True, own=True)


@pytest.mark.parametrize("address", ["192.0.2.77", "8.8.8.8", "2001:db8::77", "224.0.0.1"])
def test_what_leads_elsewhere_is_not(routes, address):
    assert routes.way(address).own is False


def test_every_address_of_an_interface_is_its_own(routes):
    with open("/proc/net/fib_trie") as file:
        lines = file.read().splitlines()
    own = {
        before.split()[-1]
        for before, line in itertools.pairwise(lines)
        if line.strip() == "/32 host LOCAL"
    }
    assert "127.0.0.1" in own
    assert all(routes.way(address).own for address in own)


@pytest.mark.parametrize("text", ["", "a.test", "127.1", "::1%lo", "0x7f000001"])
def test_what_is_no_address_has_no_way(routes, text):
    with pytest.raises(ValueError, match="is no address alone|IPv4 or IPv6"):
        routes.way(text)
