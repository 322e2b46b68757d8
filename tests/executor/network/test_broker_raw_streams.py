"""
Raw streams through a real broker process, to real servers on loopback.
"""

import errno
import hashlib
import os
import socket
import threading

import pytest
from name_world import naming, records
from network_world import BUDGET, collect, echo, listening, running, until

from codecage.network.v1 import network_pb2 as wire


@pytest.fixture(scope="module")
def broker():
    with running() as started:
        yield started


def test_bytes_go_both_ways_and_the_end_is_told_with_its_counts(broker):
    with listening(echo) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        guest.stream.sendall(b"hello")
        assert guest.stream.recv(100) == b"hello"
        guest.stream.shutdown(socket.SHUT_WR)
        assert guest.rest() == b""
    ended = broker.ended(guest)
    assert (ended.errno, ended.reason) == (0, "")
    assert (ended.sent, ended.received, ended.address) == (5, 5, "127.0.0.1")


def test_an_address_that_the_server_refuses_is_not_dialled(broker):
    with listening(echo) as server:
        guest = broker.open("127.0.0.1", server.port)
        assert broker.resolved(guest) == [("127.0.0.1", True)]
        broker.send(dial={"connection": guest.number, "reason": "loopback is not granted"})
        assert not guest.made()
        ended = broker.ended(guest)
        assert server.came == 0
    assert (ended.errno, ended.reason) == (errno.EACCES, "loopback is not granted")
    assert (ended.sent, ended.received, ended.address) == (0, 0, "")


def test_the_same_address_is_dialled_when_it_is_allowed(broker):
    with listening(echo) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        until(lambda: server.came == 1)
        broker.send(drop=guest.number)
        assert broker.ended(guest).address == "127.0.0.1"


@pytest.fixture(scope="module")
def named():
    lines = ("a.test. 60 IN A 127.0.0.1", "a.test. 60 IN AAAA ::1")
    with (
        naming(records(*lines)) as server,
        running(setup=wire.Setup(resolvers=[server.place])) as started,
    ):
        yield started


def test_only_the_allowed_one_of_several_addresses_is_dialled(named):
    broker = named
    with listening(echo, host="::1") as server:
        guest = broker.open("a.test", server.port)
        assert broker.resolved(guest) == [("127.0.0.1", True), ("::1", True)]
        broker.send(dial={"connection": guest.number, "addresses": ["::1"]})
        assert guest.made()
        broker.send(drop=guest.number)
        assert broker.ended(guest).address == "::1"


def test_the_second_address_is_tried_when_the_first_takes_no_connection(named):
    broker = named
    with listening(echo, host="::1") as server:
        guest = broker.connect("a.test", server.port)
        assert guest.made()
        broker.send(drop=guest.number)
        assert broker.ended(guest).address == "::1"


def test_a_port_on_which_nobody_listens_is_refused(broker):
    with listening(echo) as server:
        port = server.port
    guest = broker.connect("127.0.0.1", port)
    assert not guest.made()
    ended = broker.ended(guest)
    assert ended.errno == errno.ECONNREFUSED
    assert ended.reason == f"127.0.0.1 port {port}: connection refused"


def test_ten_megabytes_arrive_unchanged_both_ways_at_once(broker):
    data = os.urandom(10 * 2**20)
    with listening(echo) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()

        def upload():
            guest.stream.sendall(data)
            guest.stream.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=upload)
        sending.start()
        received = guest.rest()
        sending.join()
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
    ended = broker.ended(guest)
    assert (ended.errno, ended.sent, ended.received) == (0, len(data), len(data))


def test_a_guest_that_has_finished_sending_still_receives(broker):
    def answer_at_the_end(connection):
        connection.sendall(b"got " + collect(connection))

    with listening(answer_at_the_end) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        guest.stream.sendall(b"all")
        guest.stream.shutdown(socket.SHUT_WR)
        assert guest.rest() == b"got all"
        assert broker.ended(guest).errno == 0


def test_what_the_guest_wrote_before_the_other_side_finished_still_goes_out(broker):
    kept = bytearray()
    finished, read_on = threading.Event(), threading.Event()

    def finish_first(connection):
        connection.recv(1)
        connection.shutdown(socket.SHUT_WR)
        finished.set()
        read_on.wait()
        kept.extend(collect(connection))

    with listening(finish_first) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        guest.stream.sendall(b"." + bytes(50_000))
        assert finished.wait(20)
        read_on.set()
        assert guest.rest() == b""
        assert broker.ended(guest).errno == 0
    assert len(kept) == 50_000


def test_a_reset_of_the_other_side_is_told_as_one(broker):
    def reset(connection):
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with listening(reset) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        guest.stream.sendall(b"xx")
        assert guest.rest() == b""
        assert broker.ended(guest).errno == errno.ECONNRESET


def test_a_side_that_does_not_read_stops_the_other(broker):
    """
    Back-pressure: what is under way is bounded by the buffers of the kernel and one piece.
    """
    stopped = threading.Event()

    def never_read(connection):
        stopped.wait(20)

    with listening(never_read) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        guest.stream.setblocking(False)
        sent, refused = 0, 0
        before = -1
        while before != sent or refused < 50_000:
            before = sent
            try:
                sent += guest.stream.send(bytes(2**16))
                refused = 0
            except BlockingIOError:
                refused += 1
                os.sched_yield()
            assert sent < 64 * 2**20
        broker.send(drop=guest.number)
        assert broker.ended(guest).errno == errno.ECONNABORTED
        stopped.set()


def test_the_budget_ends_the_connection_and_every_other_of_the_account(broker):
    with listening(echo) as server:
        first = broker.connect("127.0.0.1", server.port, account=50, budget=100)
        other = broker.connect("127.0.0.1", server.port, account=50, budget=100)
        assert first.made()
        assert other.made()
        first.stream.sendall(bytes(40))
        assert len(_exactly(first, 40)) == 40
        first.stream.sendall(bytes(40))
        assert first.rest() == b""
        ended = broker.ended(first)
        assert (ended.errno, ended.sent, ended.received) == (errno.EDQUOT, 40, 40)
        assert "max_bytes" in ended.reason
        other.stream.sendall(b"x")
        assert other.rest() == b""
        assert broker.ended(other).errno == errno.EDQUOT
        free = broker.connect("127.0.0.1", server.port, account=51, budget=100)
        assert free.made()
        free.stream.sendall(bytes(50))
        assert len(_exactly(free, 50)) == 50
        broker.send(drop=free.number)
        assert broker.ended(free).errno == errno.ECONNABORTED


def _exactly(guest, size):
    data = b""
    while len(data) < size:
        more = guest.stream.recv(size - len(data))
        assert more
        data += more
    return data


def test_a_later_open_may_lower_the_budget_and_never_raises_it(broker):
    with listening(echo) as server:
        for budget, errors in ((10, 0), (1000, errno.EDQUOT)):
            guest = broker.connect("127.0.0.1", server.port, account=60, budget=budget)
            assert guest.made()
            guest.stream.sendall(bytes(5))
            guest.stream.shutdown(socket.SHUT_WR)
            assert len(guest.rest()) == (5 if not errors else 0)
            assert broker.ended(guest).errno == errors


def test_a_forgotten_account_begins_anew(broker):
    with listening(echo) as server:
        for _ in range(2):
            guest = broker.connect("127.0.0.1", server.port, account=61, budget=10)
            assert guest.made()
            guest.stream.sendall(bytes(5))
            guest.stream.shutdown(socket.SHUT_WR)
            assert len(guest.rest()) == 5
            assert broker.ended(guest).errno == 0
            broker.send(forget=61)


def test_a_guest_that_closes_its_stream_ends_a_silent_connection(broker):
    closed = threading.Event()

    def wait_for_the_end(connection):
        connection.recv(1)
        closed.set()

    with listening(wait_for_the_end) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        guest.stream.close()
        assert closed.wait(20)
        assert broker.ended(guest).errno == 0


def test_a_guest_that_closes_after_it_has_written_has_its_bytes_sent(broker):
    kept = bytearray()
    done = threading.Event()

    def keep(connection):
        kept.extend(collect(connection))
        done.set()

    with listening(keep) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        guest.stream.sendall(bytes(150_000))
        guest.stream.close()
        assert done.wait(20)
        ended = broker.ended(guest)
    assert (len(kept), ended.errno, ended.sent) == (150_000, 0, 150_000)


def test_a_guest_that_leaves_before_the_answer_leaves_nothing_dialled(broker):
    with listening(echo) as server:
        guest = broker.open("127.0.0.1", server.port)
        broker.resolved(guest)
        guest.stream.close()
        ended = broker.ended(guest)
        assert (ended.errno, ended.address, server.came) == (0, "", 0)
        # Its answer comes too late, and is no fault.
        broker.send(dial={"connection": guest.number, "addresses": ["127.0.0.1"]})
        assert broker.connect("127.0.0.1", server.port).made()


def test_a_connection_that_is_dropped_is_closed_on_both_sides(broker):
    closed = threading.Event()

    def wait_for_the_end(connection):
        connection.recv(1)
        closed.set()

    with listening(wait_for_the_end) as server:
        guest = broker.connect("127.0.0.1", server.port)
        assert guest.made()
        broker.send(drop=guest.number)
        assert guest.rest() == b""
        assert closed.wait(20)
    assert broker.ended(guest).errno == errno.ECONNABORTED


def test_a_drop_of_what_has_ended_is_no_fault(broker):
    broker.send(drop=999_999)
    broker.send(judgement={"connection": 999_999, "allowed": True})
    with listening(echo) as server:
        assert broker.connect("127.0.0.1", server.port).made()


def test_a_hundred_connections_at_once_are_kept_apart_and_leave_nothing():
    with running() as broker, listening(echo) as server:
        before = broker.descriptors()
        guests = [broker.open("127.0.0.1", server.port) for _ in range(100)]
        for guest in guests:
            broker.allow(guest)
        for number, guest in enumerate(guests):
            assert guest.made()
            guest.stream.sendall(b"%d\n" % number)
        for number, guest in enumerate(guests):
            assert guest.stream.recv(100) == b"%d\n" % number
        assert broker.descriptors() >= before + 200
        for guest in guests:
            guest.stream.shutdown(socket.SHUT_WR)
            assert guest.rest() == b""
            assert broker.ended(guest).errno == 0
        until(lambda: broker.descriptors() == before)


def test_more_connections_than_a_process_holds_are_refused_one_by_one():
    with running() as broker, listening(echo) as server:
        guests = [broker.open("127.0.0.1", server.port) for _ in range(257)]
        ended = broker.ended(guests[-1])
        assert ended.errno == errno.EMFILE
        assert ended.reason == "256 connections of this policy are open; close some"
        broker.send(drop=guests[0].number)
        assert broker.ended(guests[0]).errno == errno.ECONNABORTED
        assert broker.connect("127.0.0.1", server.port).made()


def test_the_budget_of_the_tests_is_no_limit():
    assert BUDGET > 2**32
