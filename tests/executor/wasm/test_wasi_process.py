"""
WASI preview 1 over our kernel: the program's argument, clocks and descriptors that it waits for, and
socket calls on what is none.
"""

import struct

import pytest

from executor.wasm.abi import Errno
from executor.wasm.syscalls.wasi_abi import EVENT, SUBSCRIPTION
from tests.executor.wasm.wasi_world import WASI_ROWS

CLOCK, FD_READ, FD_WRITE = range(3)
NOW = 10**18


def test_the_program_has_one_argument(wasi):
    assert wasi.call("args_sizes_get", 0x7000, 0x7004) == 0
    assert (wasi.tiny.guest.u32(0x7000), wasi.tiny.guest.u32(0x7004)) == (1, 7)
    assert wasi.call("args_get", 0x7000, wasi.BUFFER) == 0
    assert wasi.tiny.guest.u32(0x7000) == wasi.BUFFER
    assert wasi.tiny.guest.read(wasi.BUFFER, 7) == b"python\0"


def clock(userdata, nanoseconds, *, clock_id=1, flags=0):
    return SUBSCRIPTION.pack(userdata, CLOCK, clock_id, nanoseconds, 0, flags)


def descriptor(userdata, kind, number):
    return SUBSCRIPTION.pack(userdata, kind, number, 0, 0, 0)


def poll(wasi, *subscriptions):
    """
    The events, or the error negated.
    """
    wasi.tiny.guest.write(0x9000, b"".join(subscriptions))
    error = wasi.call("poll_oneoff", 0x9000, wasi.BUFFER, len(subscriptions), 0x7000)
    if error:
        return -error
    count = wasi.tiny.guest.u32(0x7000)
    data = wasi.tiny.guest.read(wasi.BUFFER, count * EVENT.size)
    return [EVENT.unpack_from(data, at) for at in range(0, len(data), EVENT.size)]


def test_a_clock_is_waited_for(wasi):
    assert poll(wasi, clock(7, 2 * 10**9)) == [(7, 0, CLOCK, 0, 0)]
    assert wasi.waited == [2.0]


def test_the_earliest_clock_comes_first(wasi):
    assert poll(wasi, clock(1, 9 * 10**9), clock(2, 10**9), clock(3, 10**9)) == [
        (2, 0, CLOCK, 0, 0),
        (3, 0, CLOCK, 0, 0),
    ]
    assert wasi.waited == [1.0]


def test_a_moment_is_counted_from_its_clock(wasi):
    assert poll(wasi, clock(1, NOW + 3 * 10**9, clock_id=0, flags=1)) == [(1, 0, CLOCK, 0, 0)]
    assert poll(wasi, clock(1, NOW - 1, clock_id=0, flags=1)) == [(1, 0, CLOCK, 0, 0)]
    assert wasi.waited == [3.0]


def test_what_is_ready_is_told_without_waiting(wasi):
    opened = wasi.open_path("lib/image.txt")
    found = poll(wasi, descriptor(5, FD_READ, opened), clock(6, 10**9), descriptor(7, FD_WRITE, 1))
    assert found == [(5, 0, FD_READ, 0, 0), (7, 0, FD_WRITE, 0, 0)]
    assert wasi.waited == []


def test_a_descriptor_that_is_not_open_is_an_event_with_an_error(wasi):
    assert poll(wasi, descriptor(5, FD_READ, 99)) == [(5, Errno.EBADF, FD_READ, 0, 0)]


def test_with_nothing_to_wait_for_only_an_interrupt_ends_the_wait(wasi):
    assert poll(wasi) == []
    assert wasi.waited == [float("inf")]


@pytest.mark.parametrize(
    "subscription",
    [
        clock(1, 5, clock_id=2),
        clock(1, 5, clock_id=2**32 - 1),
        clock(1, 5, flags=2),
        SUBSCRIPTION.pack(1, 3, 0, 0, 0, 0),
        SUBSCRIPTION.pack(1, 255, 0, 0, 0, 0),
    ],
)
def test_a_subscription_that_is_none_is_refused(wasi, subscription):
    assert poll(wasi, subscription) == -Errno.EINVAL
    assert wasi.waited == []


def test_more_subscriptions_than_a_kernel_takes_are_refused(wasi):
    assert wasi.call("poll_oneoff", 0, 0, 1025, 0) == Errno.EINVAL
    assert wasi.call("poll_oneoff", 0, 0, 2**32 - 1, 0) == Errno.EINVAL


@pytest.mark.parametrize("name", ["sock_accept", "sock_recv", "sock_send", "sock_shutdown"])
def test_what_is_no_socket_is_refused(wasi, name):
    rest = len(WASI_ROWS[name].signature.partition(">")[0]) - 1
    assert wasi.call(name, 1, *[0] * rest) == Errno.ENOTSOCK
    assert wasi.call(name, 99, *[0] * rest) == Errno.EBADF


def test_numbers_are_little_endian(wasi):
    assert poll(wasi, clock(0x0102, 0)) == [(0x0102, 0, CLOCK, 0, 0)]
    assert wasi.tiny.guest.read(wasi.BUFFER, 8) == struct.pack("<Q", 0x0102)
