"""
Pointers and lengths of a guest's calls on sockets.
"""

import struct

import pytest

from executor.wasm.abi import (
    Errno,
)
from executor.wasm.socket_abi import (
    SOL_SOCKET,
    SOL_TLS,
)
from tests.executor.wasm.socket_kernel import FIONBIO, SET_OPTION
from tests.executor.wasm.tiny_kernel import PAGE

# ---- W19: pointers and lengths ------------------------------------------------------------------

OUTSIDE = (PAGE - 1, PAGE, 2**31, 2**32 - 1)


@pytest.mark.parametrize("pointer", OUTSIDE)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("__syscall_connect", ("socket", "pointer", 16, 0, 0, 0)),
        ("__syscall_getsockname", ("number", "pointer", "length", 0, 0, 0)),
        ("__syscall_getsockname", ("number", "out", "pointer", 0, 0, 0)),
        ("__syscall_getpeername", ("number", "pointer", "length", 0, 0, 0)),
        ("__syscall_getsockopt", ("number", 1, 3, "pointer", "length", 0)),
        ("__syscall_getsockopt", ("number", 1, 3, "out", "pointer", 0)),
        ("__syscall_recvfrom", ("number", "pointer", 100, 0, 0, 0)),
        ("__syscall_recvfrom", ("number", "out", 100, 0, "out", "pointer")),
        ("__syscall_recvmsg", ("number", "pointer", 0, 0, 0, 0)),
        ("__syscall_sendmsg", ("number", "pointer", 0, 0, 0, 0)),
        ("__syscall_sendto", ("number", "pointer", 100, 0, 0, 0)),
        ("__syscall_ioctl", ("number", FIONBIO, "pointer")),
    ],
)
def test_w19_a_pointer_outside_memory_is_efault_and_nothing_moves(net, name, arguments, pointer):
    number, peer = net.connected()
    peer.send(b"content")
    named = {"pointer": pointer, "number": number, "length": net.LENGTH, "out": net.OUT}
    named["socket"] = net.new()
    net.memory.put_u32(net.LENGTH, 28)
    before = net.tiny.bytes()
    values = [named.get(value, value) for value in arguments]
    assert net.call(name, *values) == -Errno.EFAULT
    assert net.tiny.bytes() == before
    assert net.receive(number) == b"content"
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(1)


@pytest.mark.parametrize("length", [2**31 - 1, 2**31, 2**32 - 1])
def test_w19_a_length_beyond_memory_is_efault_and_nothing_moves(net, length):
    number, peer = net.connected()
    peer.send(b"content")
    for name in ("__syscall_recvfrom", "__syscall_sendto"):
        assert net.call(name, number, net.OUT, length, 0, 0, 0) == -Errno.EFAULT
    assert net.receive(number) == b"content"


def test_the_length_of_an_option_is_bounded(net):
    number = net.new()
    data = struct.pack("<iiI", SOL_TLS, 1, 513)
    assert net.ioctl(number, SET_OPTION, data) == -Errno.EINVAL
    assert net.option(number, SOL_SOCKET, 3, 2**31) == struct.pack("<i", 1)
