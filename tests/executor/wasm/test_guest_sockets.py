"""
The system calls on sockets, one by one, over real streams and without a guest.

The test is the network: it holds the other end of each connection's stream.
"""

import errno
import itertools
import socket
import struct

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import (
    POLLERR,
    POLLFD,
    POLLHUP,
    POLLIN,
    POLLOUT,
    STAT,
    Errno,
    GuestFault,
    from_host,
)
from executor.wasm.process import Sleeper
from executor.wasm.socket_abi import (
    AF_INET,
    AF_INET6,
    AF_PACKET,
    AF_UNIX,
    MSGHDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_RAW,
    SOCK_STREAM,
    SOCKADDR_IN,
    SOCKADDR_IN6,
    SOL_SOCKET,
    SOL_TLS,
)
from tests.executor.wasm.tiny_kernel import PAGE, Gate, Kernel

IPPROTO_TCP = 6
SO_ERROR = 4
SO_RCVTIMEO = 66
TCP_NODELAY, TCP_ULP = 1, 31
PEEK, DONTWAIT, WAITALL, NOSIGNAL, OOB = 0x2, 0x40, 0x100, 0x4000, 0x1
SET_OPTION, SHUTDOWN = 0x89E0, 0x89E1
FIONBIO, FIONREAD = 0x5421, 0x541B
ADDRESS = "93.184.216.34"
REASON = "[policy test, rule network] not granted"


class Net(Kernel):
    """
    The kernel under a policy that grants connections to anything but `denied.example`.
    """

    OUT = 0x6000
    LENGTH = 0x6F00

    def __init__(self, limit: int = 8) -> None:
        super().__init__(Gate(self._answer))
        self.process.network.limit = limit
        self.process.sleeper = Sleeper(self._wait, self._wait_for)
        self.memory = self.tiny.guest
        self.peers: list[socket.socket] = []
        self.tls = False
        self.end: tuple[int, str] = (0, "")
        self.interrupted = False
        self.on_wait = iter(())

    def _answer(self, request: wire.Ask) -> wire.Answer:
        kind = request.WhichOneof("ask")
        if kind == "network" or "denied.example" in {request.resolve, request.connect.host}:
            raise GuestFault(Errno.EACCES, REASON)
        if kind == "connection_end" and self.end[0]:
            raise GuestFault(from_host(self.end[0]), self.end[1])
        if kind != "connect":
            return wire.Answer()
        ours, theirs = socket.socketpair()
        self.peers.append(ours)
        self.gate.streams.append(theirs)
        number = len(self.peers)
        return wire.Answer(connected=wire.Connected(connection=number, tls=self.tls))

    def _wait_for(self, descriptors, seconds):
        """
        What the world does while the guest waits: the next step of `on_wait`; then nothing.
        """
        self.waited.append(seconds)
        assert descriptors
        for step in self.on_wait:
            step()
            return False
        assert self.interrupted, "the guest waits for what never comes"
        return True

    # ---- calls ---------------------------------------------------------------------------------

    def new(self, family: int = AF_INET, kind: int = SOCK_STREAM, protocol: int = 0) -> int:
        return self.call("__syscall_socket", family, kind, protocol, 0, 0, 0)

    def connect(self, number: int, address: str = ADDRESS, port: int = 443) -> int:
        data = _sockaddr(address, port)
        self.memory.write(self.OUT, data)
        return self.call("__syscall_connect", number, self.OUT, len(data), 0, 0, 0)

    def connected(self, flags: int = 0, *, made: bool = True) -> tuple[int, socket.socket]:
        """
        A socket that does not block, and the world's end of its connection.
        """
        number = self.new(kind=SOCK_STREAM | SOCK_NONBLOCK)
        assert self.connect(number) == -Errno.EINPROGRESS
        peer = self.peers[-1]
        if made:
            peer.send(b"\0")
        if not flags & SOCK_NONBLOCK:
            assert self.set_blocking(number, blocking=True) == 0
        return number, peer

    def set_blocking(self, number: int, *, blocking: bool) -> int:
        return self.ioctl(number, FIONBIO, struct.pack("<i", not blocking))

    def ioctl(self, number: int, request: int, data: bytes = b"\0\0\0\0") -> int:
        self.memory.write(self.OUT, data)
        self.memory.put_u32(self.LENGTH, self.OUT)
        return self.call("__syscall_ioctl", number, request, self.LENGTH)

    def set_option(self, number: int, level: int, name: int, value: bytes) -> int:
        data = struct.pack("<iiI", level, name, len(value)) + value
        return self.ioctl(number, SET_OPTION, data)

    def option(self, number: int, level: int, name: int, room: int = 64) -> bytes | int:
        self.memory.put_u32(self.LENGTH, room)
        error = self.call("__syscall_getsockopt", number, level, name, self.OUT, self.LENGTH, 0)
        return error or self.memory.read(self.OUT, self.memory.u32(self.LENGTH))

    def receive(self, number: int, size: int = 100, flags: int = 0) -> bytes | int:
        count = self.call("__syscall_recvfrom", number, self.OUT, size, flags, 0, 0)
        return count if count < 0 else self.memory.read(self.OUT, count)

    def send(self, number: int, data: bytes, flags: int = 0) -> int:
        self.memory.write(self.OUT, data)
        return self.call("__syscall_sendto", number, self.OUT, len(data), flags, 0, 0)

    def poll(self, number: int, events: int = POLLIN | POLLOUT, timeout: int = 0) -> int:
        self.memory.write(self.OUT, POLLFD.pack(number, events, 0))
        found = self.call("__syscall_poll", self.OUT, 1, timeout)
        returned = POLLFD.unpack(self.memory.read(self.OUT, POLLFD.size))[2]
        assert found == bool(returned) or found < 0
        return found if found < 0 else returned

    def shutdown(self, number: int, how: int) -> int:
        assert self.call("_try_shutdown", number, how, self.OUT) == 1
        return struct.unpack("<i", self.memory.read(self.OUT, 4))[0]

    def name(self, which: str, number: int, room: int = 28) -> bytes | int:
        self.memory.put_u32(self.LENGTH, room)
        error = self.call(which, number, self.OUT, self.LENGTH, 0, 0, 0)
        return error or self.memory.read(self.OUT, min(self.memory.u32(self.LENGTH), room))

    @property
    def denial(self) -> bytes | int:
        return self.readlink("/dev/denial")


def _sockaddr(address: str, port: int) -> bytes:
    data = port.to_bytes(2, "big")
    if ":" in address:
        raw = socket.inet_pton(socket.AF_INET6, address)
        return SOCKADDR_IN6.pack(AF_INET6, data, 0, raw, 0)
    return SOCKADDR_IN.pack(AF_INET, data, socket.inet_pton(socket.AF_INET, address))


@pytest.fixture
def net():
    made = Net()
    yield made
    for number in range(3, 64):
        made.call("fd_close", number)
    for peer in made.peers:
        peer.close()


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
        (_sockaddr(ADDRESS, 1), 15, "EINVAL"),
        (_sockaddr("::1", 1), 27, "EINVAL"),
        (_sockaddr("::1", 1), 28, "EAFNOSUPPORT"),
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


# ---- names and options --------------------------------------------------------------------------


def test_a_socket_tells_what_it_is_connected_to_and_nothing_of_the_host(net):
    address = net.process.network.resolve("api.example.com")
    number = net.new()
    assert net.name("__syscall_getpeername", number) == -Errno.ENOTCONN
    assert net.name("__syscall_getsockname", number) == _sockaddr("0.0.0.0", 0)
    net.on_wait = iter([lambda: net.peers[0].send(b"\0")])
    assert net.connect(number, address, 8443) == 0
    assert net.name("__syscall_getpeername", number) == _sockaddr(address, 8443)
    assert net.name("__syscall_getsockname", number) == _sockaddr("198.19.255.254", 32_771)
    assert net.name("__syscall_getpeername", number, 4) == _sockaddr(address, 8443)[:4]
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
