"""
The addresses that a guest connects to, as bytes of its memory.
"""

import errno
import ipaddress
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codecage.worker.v1 import worker_pb2 as wire
from executor.linux.notifications import Notification
from executor.linux.syscalls import NUMBERS
from executor.process.fuse_acts import Passed
from executor.process.supervisor_sockets import Call, GuestSockets, _address


def four(address: str, port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack(
        "!H4s8x", port, socket.inet_aton(address)
    )


def six(address: str, port: int, tail: bytes = bytes(4)) -> bytes:
    packed = socket.inet_pton(socket.AF_INET6, address)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!H4x16s", port, packed) + tail


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (four("198.18.0.1", 443), ("198.18.0.1", 443)),
        (four("198.18.0.1", 443) + bytes(112), ("198.18.0.1", 443)),
        (six("2001:db8::1", 65535), ("2001:db8::1", 65535)),
        (six("::1", 1), ("::1", 1)),
        (six("::1", 1, b""), ("::1", 1)),
        # Whoever connects to it means the other family, and so does the policy.
        (six("::ffff:10.0.0.1", 80), ("10.0.0.1", 80)),
    ],
)
def test_an_address_of_the_internet_is_read_as_connect_reads_it(data, found):
    assert _address(data) == found


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (four("10.0.0.1", 0), errno.ECONNREFUSED),
        (four("10.0.0.1", 80)[:15], errno.EINVAL),
        (six("::1", 80)[:23], errno.EINVAL),
        (struct.pack("=H", socket.AF_UNSPEC) + bytes(14), errno.EAFNOSUPPORT),
        (struct.pack("=H", socket.AF_UNIX) + b"/named", errno.EAFNOSUPPORT),
        (struct.pack("=H", socket.AF_NETLINK) + bytes(10), errno.EAFNOSUPPORT),
    ],
)
def test_what_is_no_such_address_is_an_errno(data, number):
    with pytest.raises(OSError, match="address|port 0") as refused:
        _address(data)
    assert refused.value.errno == number


@given(st.binary(min_size=2, max_size=128))
def test_any_bytes_are_an_address_or_an_errno(data):
    try:
        host, port = _address(data)
    except OSError as error:
        assert error.errno in {errno.ECONNREFUSED, errno.EINVAL, errno.EAFNOSUPPORT}
    else:
        assert str(ipaddress.ip_address(host)) == host
        assert 1 <= port <= 65535


def test_an_answer_that_comes_when_the_session_is_over_is_for_nobody():
    """
    What came with it is closed, and no listener is spoken to: its number may be another's.
    """
    asked: list[Call] = []
    reading, writing = os.pipe()
    sockets = GuestSockets(-1, reading, lambda call, _ask: asked.append(call))
    found = Notification(1, 2, NUMBERS["socket"], (socket.AF_INET, socket.SOCK_STREAM, 0, 0, 0, 0))
    sockets.take(found)
    sockets.close()
    sockets.close()
    asked[0].go_on(Passed(wire.Answer(socket=1), writing))
    for number in (reading, writing):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
