"""
The system calls on sockets, one by one, over real streams and without a guest: how they are made,
connected and named.
"""

import errno
import itertools
import socket
import struct

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    STAT,
    Errno,
)
from executor.wasm.socket_abi import (
    AF_INET,
    AF_INET6,
    AF_PACKET,
    AF_UNIX,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_RAW,
    SOCK_STREAM,
    SOCKADDR_IN6,
    SOL_SOCKET,
    SOL_TLS,
)
from tests.executor.wasm.socket_kernel import (
    ADDRESS,
    FIONBIO,
    IPPROTO_TCP,
    REASON,
    SO_ERROR,
    SO_RCVTIMEO,
    TCP_NODELAY,
    TCP_ULP,
    Net,
    sockaddr,
)

# ---- making -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "word"),
    [
        (AF_INET, SOCK_DGRAM, 0, "udp"),
        (AF_INET6, SOCK_DGRAM, 17, "udp"),
        (AF_INET, SOCK_RAW, 1, "raw"),
        (AF_UNIX, SOCK_STREAM, 0, "unix"),
        (AF_UNIX, SOCK_DGRAM, 0, "unix"),
        (AF_PACKET, SOCK_RAW, 3, "packet"),
        (16, SOCK_RAW, 0, "family 16"),
        (AF_INET, SOCK_STREAM, 132, "type 1 protocol 132"),
        (AF_INET, 5, 0, "type 5 protocol 0"),
    ],
)
def test_a_socket_of_another_kind_than_tcp_is_refused_and_on_record(
    net, family, kind, protocol, word
):
    assert net.new(family, kind, protocol) == -Errno.EACCES
    assert net.denial == f"2 {REASON}".encode()
    assert [ask.network.socket for ask in net.gate.asked] == [word]
    assert len(net.process.descriptors) == 3


@pytest.mark.parametrize("family", [AF_INET, AF_INET6])
@pytest.mark.parametrize("protocol", [0, IPPROTO_TCP])
def test_a_socket_for_tcp_is_made_without_asking(net, family, protocol):
    assert net.new(family, SOCK_STREAM, protocol) == 3
    assert net.gate.asked == []


def test_without_a_grant_of_network_a_socket_for_tcp_is_refused_and_on_record():
    net = Net(limit=0)
    assert net.new() == -Errno.EACCES
    assert net.denial == f"2 {REASON}".encode()
    assert [ask.network.socket for ask in net.gate.asked] == ["tcp"]


def test_a_gate_that_has_nothing_against_it_makes_no_socket_of_another_kind(net):
    net.gate.answers = lambda _: wire.Answer()
    assert net.new(AF_INET, SOCK_DGRAM) == -Errno.EACCES
    assert b"udp" in net.denial


def test_the_flags_of_a_socket_are_those_that_were_asked_for(net):
    plain, both = net.new(), net.new(kind=SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    assert [net.fcntl(number, 3) for number in (plain, both)] == [2, 2 | 0o4000]
    assert [net.fcntl(number, 1) for number in (plain, both)] == [0, 1]


@pytest.mark.parametrize("name", ["bind", "listen", "accept4"])
def test_what_a_server_does_is_refused_and_on_record(net, name):
    number = net.new()
    assert net.call(f"__syscall_{name}", number, 0, 0, 0, 0, 0) == -Errno.EACCES
    assert net.denial == f"2 {REASON}".encode()
    assert [ask.network.socket for ask in net.gate.asked] == ["listen"]


CALLS = (
    "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
    "recvfrom", "recvmsg", "sendmsg", "sendto",
)  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_file_that_is_no_socket_is_enotsock_and_none_ebadf(net, name):
    file = net.open("/work/f", 0o102)
    assert net.call(f"__syscall_{name}", file, 0, 0, 0, 0, 0) == -Errno.ENOTSOCK
    assert net.call(f"__syscall_{name}", 50, 0, 0, 0, 0, 0) == -Errno.EBADF
    assert net.gate.asked == []


def test_a_socket_is_no_file(net):
    number, _ = net.connected()
    assert net.seek(number, 0) == -Errno.ESPIPE
    assert net.call("fd_pread", number, 0, 0, 0, net.BUFFER) == Errno.ESPIPE
    assert net.call("__syscall_ftruncate64", number, 0) == -Errno.EINVAL
    assert net.call("__syscall_fstat64", number, net.BUFFER) == 0
    assert STAT.unpack(net.memory.read(net.BUFFER, STAT.size))[1] & 0o170000 == 0o140000
    assert net.call("fd_fdstat_get", number, net.BUFFER) == 0
    assert net.memory.read(net.BUFFER, 1) == b"\6"


# ---- connecting ---------------------------------------------------------------------------------


def test_an_address_is_asked_for_as_itself(net):
    net.connect(net.new(kind=SOCK_STREAM | SOCK_NONBLOCK))
    net.connect(net.new(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK), "2001:db8:0::1", 80)
    asked = [(ask.connect.host, ask.connect.port) for ask in net.gate.asked]
    assert asked == [(ADDRESS, 443), ("2001:db8::1", 80)]


def test_the_address_of_a_name_is_asked_for_by_the_name(net):
    address = net.process.network.resolve("API.Example.com.")
    net.connect(net.new(kind=SOCK_STREAM | SOCK_NONBLOCK), address)
    assert address == "198.18.0.1"
    assert [str(ask.WhichOneof("ask")) for ask in net.gate.asked] == ["resolve", "connect"]
    assert [net.gate.asked[0].resolve, net.gate.asked[1].connect.host] == ["api.example.com"] * 2


def test_a_connection_that_the_gate_refuses_leaves_the_socket_as_it_was(net):
    net.process.network.names.add("denied.example")
    number = net.new()
    assert net.connect(number, "198.18.0.1") == -Errno.EACCES
    assert net.denial == f"2 {REASON}".encode()
    assert net.poll(number) == POLLOUT | POLLHUP
    net.on_wait = iter([lambda: net.peers[-1].send(b"\0")])
    assert net.connect(number) == 0


def test_a_blocking_connect_waits_for_the_zero_byte(net):
    number = net.new()
    net.on_wait = iter([lambda: None, lambda: net.peers[0].send(b"\0")])
    assert net.connect(number) == 0
    assert net.waited == [float("inf")] * 2
    assert net.connect(number) == -Errno.EISCONN


def test_a_connect_that_does_not_block_is_writable_when_it_is_made(net):
    number, peer = net.connected(SOCK_NONBLOCK, made=False)
    assert net.connect(number) == -Errno.EALREADY
    assert net.poll(number) == 0
    assert net.send(number, b"early") == -Errno.EAGAIN
    assert net.receive(number) == -Errno.EAGAIN
    peer.send(b"\0")
    assert net.poll(number) == POLLOUT
    assert net.option(number, SOL_SOCKET, SO_ERROR) == bytes(4)
    assert (net.connect(number), net.connect(number)) == (0, -Errno.EISCONN)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (errno.EACCES, "EACCES"),
        (errno.ECONNREFUSED, "ECONNREFUSED"),
        (errno.ETIMEDOUT, "ETIMEDOUT"),
        (errno.EHOSTUNREACH, "EHOSTUNREACH"),
        (errno.EPROTO, "EPROTO"),
        (errno.EDQUOT, "EDQUOT"),
    ],
)
def test_a_connection_that_fails_says_why(net, code, name):
    net.end = (code, "because of this")
    number = net.new()
    net.on_wait = iter([lambda: [peer.close() for peer in net.peers]])
    assert net.connect(number) == -Errno[name]
    assert net.denial == f"{int(Errno[name])} because of this".encode()
    assert net.gate.kinds == ["connect", "connection_end"]
    # The socket is as new.
    assert net.receive(number) == -Errno.ENOTCONN


def test_a_connection_that_fails_later_says_why_in_so_error_once(net):
    net.end = (errno.ECONNREFUSED, "nobody listens there")
    number, peer = net.connected(SOCK_NONBLOCK, made=False)
    peer.close()
    assert net.poll(number) == POLLIN | POLLOUT | POLLERR | POLLHUP
    assert net.option(number, SOL_SOCKET, SO_ERROR) == struct.pack("<i", Errno.ECONNREFUSED)
    assert net.denial == f"{int(Errno.ECONNREFUSED)} nobody listens there".encode()
    assert net.option(number, SOL_SOCKET, SO_ERROR) == bytes(4)
    assert net.connect(number) == -Errno.EINPROGRESS
    assert net.gate.kinds == ["connect", "connection_end", "connect"]


def test_a_connection_that_ends_before_it_is_made_without_a_word_is_reset(net):
    number, peer = net.connected(SOCK_NONBLOCK, made=False)
    peer.close()
    assert net.connect(number) == -Errno.ECONNRESET


def test_an_interrupt_ends_a_connect_and_the_connection_goes_on(net):
    net.interrupted = True
    number = net.new()
    assert net.connect(number) == -Errno.EINTR
    net.peers[0].send(b"\0")
    assert net.connect(number) == 0
    assert net.gate.kinds == ["connect"]


@pytest.mark.parametrize(
    ("address", "length", "name"),
    [
        (b"", 0, "EINVAL"),
        (sockaddr(ADDRESS, 1), 15, "EINVAL"),
        (sockaddr("::1", 1), 27, "EINVAL"),
        (sockaddr("::1", 1), 28, "EAFNOSUPPORT"),
        (struct.pack("<H14x", AF_UNIX), 16, "EAFNOSUPPORT"),
        (bytes(16), 16, "EAFNOSUPPORT"),
    ],
)
def test_an_address_that_is_none_is_refused_before_anything_is_asked(net, address, length, name):
    number = net.new()
    net.memory.write(net.OUT, address)
    assert net.call("__syscall_connect", number, net.OUT, length, 0, 0, 0) == -Errno[name]
    assert net.gate.asked == []


def test_an_address_with_a_scope_is_refused(net):
    number = net.new(AF_INET6)
    data = SOCKADDR_IN6.pack(AF_INET6, b"\0P", 0, socket.inet_pton(socket.AF_INET6, "fe80::1"), 2)
    net.memory.write(net.OUT, data)
    assert net.call("__syscall_connect", number, net.OUT, 28, 0, 0, 0) == -Errno.EINVAL
    assert net.gate.asked == []


def test_connections_are_counted_and_a_closed_one_makes_room(net):
    net.process.network.limit = 2
    numbers = [net.connected()[0] for _ in range(2)]
    third = net.new()
    assert net.connect(third) == -Errno.EMFILE
    assert b"limits.connections" in net.denial
    assert net.gate.kinds == ["connect"] * 2
    assert net.poll(numbers[0]) == POLLOUT
    assert net.call("fd_close", numbers[0]) == 0
    assert net.peers[0].recv(1) == b""
    assert net.set_blocking(third, blocking=False) == 0
    assert net.connect(third) == -Errno.EINPROGRESS


def test_a_stream_whose_first_byte_is_another_is_no_connection(net):
    number, peer = net.connected(SOCK_NONBLOCK, made=False)
    peer.send(b"x")
    with pytest.raises(Exception, match="not made has bytes"):
        net.poll(number)


# ---- names and options --------------------------------------------------------------------------


def test_a_socket_tells_what_it_is_connected_to_and_nothing_of_the_host(net):
    address = net.process.network.resolve("api.example.com")
    number = net.new()
    assert net.name("__syscall_getpeername", number) == -Errno.ENOTCONN
    assert net.name("__syscall_getsockname", number) == sockaddr("0.0.0.0", 0)
    net.on_wait = iter([lambda: net.peers[0].send(b"\0")])
    assert net.connect(number, address, 8443) == 0
    assert net.name("__syscall_getpeername", number) == sockaddr(address, 8443)
    assert net.name("__syscall_getsockname", number) == sockaddr("198.19.255.254", 32_771)
    assert net.name("__syscall_getpeername", number, 4) == sockaddr(address, 8443)[:4]
    assert net.memory.u32(net.LENGTH) == 16


def test_an_option_that_is_known_is_remembered(net):
    number = net.new()
    assert net.option(number, IPPROTO_TCP, TCP_NODELAY) == bytes(4)
    assert net.set_option(number, IPPROTO_TCP, TCP_NODELAY, b"\1\0\0\0") == 0
    assert net.option(number, IPPROTO_TCP, TCP_NODELAY) == b"\1\0\0\0"
    assert net.option(number, IPPROTO_TCP, TCP_NODELAY, 2) == b"\1\0"
    assert net.set_option(number, IPPROTO_TCP, TCP_NODELAY, b"\1") == -Errno.EINVAL


def test_a_timeout_that_one_layout_cannot_hold_is_told_in_both(net):
    number = net.new()
    for seconds in (2**62, 2**31):
        assert net.set_option(number, SOL_SOCKET, SO_RCVTIMEO, struct.pack("<qq", seconds, 1)) == 0
        assert net.option(number, SOL_SOCKET, 20) == struct.pack("<ii", 2**31 - 1, 1)
        assert net.option(number, SOL_SOCKET, SO_RCVTIMEO) == struct.pack("<qi", 2**31 - 1, 1)


def test_an_option_that_is_not_known_is_enoprotoopt(net):
    number = net.new()
    assert net.set_option(number, SOL_SOCKET, 25, b"eth0") == -Errno.ENOPROTOOPT
    assert net.option(number, SOL_SOCKET, 25) == -Errno.ENOPROTOOPT
    assert net.set_option(number, SOL_SOCKET, 3, bytes(4)) == -Errno.ENOPROTOOPT
    assert net.ioctl(number, 0x8901) == -Errno.ENOTTY
    assert net.ioctl(0, FIONBIO) == -Errno.ENOTTY


@pytest.mark.parametrize(("name", "value"), [(3, 1), (38, 6), (39, AF_INET6)])
def test_a_socket_tells_what_it_is(net, name, value):
    number = net.new(AF_INET6)
    assert net.option(number, SOL_SOCKET, name) == struct.pack("<i", value)


def test_a_timeout_ends_a_receive(net):
    number, peer = net.connected()
    assert net.set_option(number, SOL_SOCKET, SO_RCVTIMEO, struct.pack("<qq", 0, 1)) == 0
    assert net.option(number, SOL_SOCKET, 20) == struct.pack("<ii", 0, 1)
    net.on_wait = (lambda: None for _ in itertools.count())
    assert net.receive(number) == -Errno.EAGAIN
    assert net.set_option(number, SOL_SOCKET, 20, struct.pack("<ii", 0, 0)) == 0
    net.on_wait = iter([lambda: peer.send(b"late")])
    assert net.receive(number) == b"late"
    assert net.waited[-1] == float("inf")
    bad = struct.pack("<qi", 0, 10**6)
    assert net.set_option(number, SOL_SOCKET, SO_RCVTIMEO, bad) == -Errno.EDOM


def test_tls_is_there_where_the_servers_side_speaks_it(net):
    net.tls = True
    number, _ = net.connected()
    assert net.set_option(number, IPPROTO_TCP, TCP_ULP, b"tls") == 0
    assert net.option(number, IPPROTO_TCP, TCP_ULP) == b"tls\0"
    assert net.option(number, SOL_TLS, 1) == ADDRESS.encode()
    assert net.set_option(number, SOL_TLS, 1, ADDRESS.encode()) == 0
    assert net.set_option(number, SOL_TLS, 1, b"other.example") == -Errno.EPROTO
    assert b"other.example" in net.denial
    assert net.set_option(number, IPPROTO_TCP, TCP_ULP, b"smc") == -Errno.ENOENT


def test_tls_is_not_there_where_the_connection_is_in_the_clear(net):
    number, _ = net.connected()
    assert net.set_option(number, IPPROTO_TCP, TCP_ULP, b"tls") == -Errno.EPROTO
    assert b"in the clear" in net.denial
    assert net.option(number, IPPROTO_TCP, TCP_ULP) == -Errno.EPROTO
    assert net.set_option(number, SOL_TLS, 1, ADDRESS.encode()) == -Errno.EPROTO


def test_tls_with_a_name_needs_every_connection_to_it_to_be_tls(net):
    net.tls = True
    number, _ = net.connected()
    net.tls = False
    other, _ = net.connected()
    assert net.set_option(number, SOL_TLS, 1, ADDRESS.encode()) == -Errno.EPROTO
    net.call("fd_close", other)
    assert net.set_option(number, SOL_TLS, 1, ADDRESS.encode()) == 0


def test_tls_needs_a_connection(net):
    number = net.new()
    assert net.set_option(number, IPPROTO_TCP, TCP_ULP, b"tls") == -Errno.ENOTCONN
    assert net.option(number, SOL_TLS, 1) == -Errno.ENOTCONN
