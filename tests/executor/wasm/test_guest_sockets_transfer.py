"""
What goes over a guest's sockets, how it ends, and how it is waited for, one call at a time.
"""

import errno
import itertools
import socket
import struct

import pytest

from executor.wasm.abi import (
    POLLFD,
    POLLHUP,
    POLLIN,
    POLLOUT,
    Errno,
)
from executor.wasm.socket_abi import (
    MSGHDR,
    SOCK_NONBLOCK,
    SOL_SOCKET,
)
from tests.executor.wasm.socket_kernel import (
    DONTWAIT,
    FIONREAD,
    NOSIGNAL,
    OOB,
    PEEK,
    SHUTDOWN,
    SO_ERROR,
    WAITALL,
    Net,
)

# ---- transfer -----------------------------------------------------------------------------------


def test_what_is_sent_arrives_and_what_comes_is_received(net):
    number, peer = net.connected()
    assert net.send(number, b"to the world") == 12
    assert peer.recv(100) == b"to the world"
    peer.send(b"from the world")
    assert net.receive(number, 4, PEEK) == b"from"
    assert net.receive(number, 4) == b"from"
    assert net.ioctl(number, FIONREAD) == 0
    assert net.memory.u32(net.OUT) == 10
    assert net.receive(number) == b" the world"
    assert net.receive(number, 100, DONTWAIT) == -Errno.EAGAIN
    assert net.receive(number, 0) == b""


def test_a_blocking_receive_waits_until_something_comes(net):
    number, peer = net.connected()
    net.on_wait = iter([lambda: None, lambda: peer.send(b"late")])
    assert net.receive(number) == b"late"
    assert len(net.waited) == 2


def test_an_interrupt_ends_a_receive(net):
    number, _ = net.connected()
    net.interrupted = True
    assert net.receive(number) == -Errno.EINTR


def test_waitall_waits_until_all_has_come_or_the_end(net):
    number, peer = net.connected()
    peer.send(b"one ")
    net.on_wait = iter([lambda: peer.send(b"two"), peer.close])
    assert net.receive(number, 7, WAITALL) == b"one two"
    assert len(net.waited) == 1
    assert net.receive(number, 7, WAITALL) == b""


def test_a_receive_that_has_something_does_not_lose_it_to_an_interrupt(net):
    number, peer = net.connected()
    peer.send(b"part")
    net.interrupted = True
    assert net.receive(number, 100, WAITALL) == b"part"


def test_a_blocking_send_waits_until_all_has_gone(net):
    number, peer = net.connected()
    net.tiny.grow(16)
    size = 2**20
    net.on_wait = (lambda: peer.recv(2**18) for _ in itertools.count())
    net.memory.write(0x10000, bytes(size))
    assert net.call("__syscall_sendto", number, 0x10000, size, NOSIGNAL, 0, 0) == size
    assert net.waited


def test_a_send_that_does_not_block_says_how_much_has_gone(net):
    number, _ = net.connected(SOCK_NONBLOCK)
    net.tiny.grow(16)
    sent = net.call("__syscall_sendto", number, 0x10000, 2**20, 0, 0, 0)
    assert 0 < sent < 2**20
    assert net.send(number, b"more") == -Errno.EAGAIN
    assert net.poll(number) == 0


@pytest.mark.parametrize("call", [Net.receive, Net.send])
def test_other_flags_are_eopnotsupp(net, call):
    number, peer = net.connected()
    peer.send(b"urgent")
    arguments = (b"x",) if call is Net.send else (10,)
    assert call(net, number, *arguments, OOB) == -Errno.EOPNOTSUPP
    assert call(net, number, *arguments, 0x2000_0000) == -Errno.EOPNOTSUPP


def test_send_takes_no_address(net):
    number, peer = net.connected()
    new = net.new()
    assert net.call("__syscall_sendto", number, net.OUT, 1, 0, net.OUT, 16) == -Errno.EISCONN
    assert net.call("__syscall_sendto", new, net.OUT, 1, 0x2000_0000, net.OUT, 16) == (
        -Errno.EOPNOTSUPP
    )
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(1)


def test_without_a_connection_there_is_nothing_to_receive_or_send(net):
    number = net.new()
    assert net.receive(number) == -Errno.ENOTCONN
    assert net.send(number, b"x") == -Errno.EPIPE
    assert net.shutdown(number, 1) == -Errno.ENOTCONN


def test_messages_have_several_buffers_and_nothing_else(net):
    number, peer = net.connected()
    memory = net.memory
    memory.write(0x1000, struct.pack("<4I", 0x1100, 3, 0x1200, 100))
    memory.write(0x1040, MSGHDR.pack(0x1300, 16, 0x1000, 2, 0x1400, 64, 0))
    peer.send(b"onetwo")
    assert net.call("__syscall_recvmsg", number, 0x1040, 0, 0, 0, 0) == 6
    assert (memory.read(0x1100, 3), memory.read(0x1200, 3)) == (b"one", b"two")
    assert MSGHDR.unpack(memory.read(0x1040, 28)) == (0x1300, 0, 0x1000, 2, 0x1400, 0, 0)
    memory.write(0x1000, struct.pack("<4I", 0x1100, 3, 0x1200, 3))
    for header, answer in (
        (MSGHDR.pack(0, 0, 0x1000, 2, 0, 0, 0), 6),
        (MSGHDR.pack(0, 0, 0x1000, 2, 0x1400, 16, 0), -Errno.EINVAL),
        (MSGHDR.pack(0x1300, 16, 0x1000, 2, 0, 0, 0), -Errno.EISCONN),
    ):
        memory.write(0x1040, header)
        assert net.call("__syscall_sendmsg", number, 0x1040, 0, 0, 0, 0) == answer
    assert peer.recv(100) == b"onetwo"


def test_a_socket_is_read_and_written_as_a_file(net):
    number, peer = net.connected()
    assert net.write(number, b"written") == 7
    assert peer.recv(100) == b"written"
    peer.send(b"read")
    net.memory.write(0x1000, struct.pack("<4I", 0x1100, 4, 0x1200, 100))
    # The second buffer is not waited for: what the first one got is the call's result.
    assert net.call("fd_read", number, 0x1000, 2, 0x1300) == 0
    assert (net.memory.u32(0x1300), net.memory.read(0x1100, 4)) == (4, b"read")


def test_a_second_buffer_of_an_empty_pipe_does_not_lose_what_the_first_got(net):
    assert net.call("__syscall_pipe", net.OUT) == 0
    reader, writer = net.memory.u32(net.OUT), net.memory.u32(net.OUT + 4)
    assert net.write(writer, b"read") == 4
    net.memory.write(0x1000, struct.pack("<4I", 0x1100, 4, 0x1200, 100))
    assert net.call("fd_read", reader, 0x1000, 2, 0x1300) == 0
    assert (net.memory.u32(0x1300), net.memory.read(0x1100, 4)) == (4, b"read")


# ---- the end ------------------------------------------------------------------------------------


def test_at_a_plain_end_a_receive_is_empty_and_the_server_asked_once(net):
    number, peer = net.connected()
    peer.send(b"last")
    peer.close()
    assert net.poll(number) == POLLIN | POLLOUT | POLLHUP
    assert [net.receive(number) for _ in range(3)] == [b"last", b"", b""]
    assert net.send(number, b"x") == -Errno.EPIPE
    assert net.gate.kinds == ["connect", "connection_end"]
    assert net.gate.asked[1].connection_end == 1


def test_an_end_by_an_error_says_why_after_what_had_come(net):
    net.end = (errno.EACCES, "POST is not granted")
    number, peer = net.connected()
    peer.send(b"last")
    peer.close()
    assert net.send(number, b"x") == -Errno.EACCES
    assert net.receive(number) == b"last"
    for _ in range(2):
        assert net.receive(number) == -Errno.EACCES
        assert net.denial == b"2 POST is not granted"
    assert net.option(number, SOL_SOCKET, SO_ERROR) == struct.pack("<i", Errno.EACCES)
    assert net.gate.kinds == ["connect", "connection_end"]


def test_a_stream_that_the_other_side_sends_no_more_on_has_not_ended(net):
    number, peer = net.connected()
    peer.shutdown(socket.SHUT_WR)
    assert net.receive(number) == b""
    assert net.send(number, b"goes on") == 7
    assert peer.recv(100) == b"goes on"
    assert net.gate.kinds == ["connect"]


def test_shutdown_sends_the_end_and_receives_what_comes(net):
    number, peer = net.connected()
    assert net.shutdown(number, 1) == 0
    assert peer.recv(1) == b""
    peer.send(b"answer")
    assert net.receive(number) == b"answer"
    assert net.send(number, b"x") == -Errno.EPIPE
    assert net.shutdown(number, 0) == 0
    assert net.receive(number) == b""
    assert net.poll(number, POLLIN) == POLLIN
    assert net.shutdown(number, 3) == -Errno.EINVAL
    assert net.ioctl(number, SHUTDOWN, struct.pack("<i", 2)) == 0


def test_the_last_descriptor_closes_the_connection(net):
    number, peer = net.connected()
    copy = net.call("__syscall_dup", number)
    net.call("fd_close", number)
    peer.send(b"still")
    assert net.receive(copy) == b"still"
    net.call("fd_close", copy)
    assert peer.recv(1) == b""


# ---- waiting ------------------------------------------------------------------------------------


def test_poll_waits_for_a_connection_and_tells_which(net):
    numbers, peers = zip(*(net.connected() for _ in range(3)), strict=True)
    size = POLLFD.size
    net.memory.write(net.OUT, b"".join(POLLFD.pack(number, POLLIN, 0) for number in numbers))
    net.on_wait = iter([lambda: None, lambda: peers[1].send(b"x")])
    assert net.call("__syscall_poll", net.OUT, 3, -1) == 1
    returned = [POLLFD.unpack(net.memory.read(net.OUT + i * size, size))[2] for i in range(3)]
    assert returned == [0, POLLIN, 0]


def test_poll_for_a_connection_ends_with_its_time_or_an_interrupt(net):
    number, _ = net.connected()
    net.on_wait = (lambda: None for _ in itertools.count())
    assert net.poll(number, POLLIN, 1) == 0
    net.on_wait, net.interrupted = iter(()), True
    assert net.poll(number, POLLIN, -1) == -Errno.EINTR
