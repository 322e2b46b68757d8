"""
Sockets of the WASI guest over our kernel, without a guest: preview 1's calls and the asked links.

The test is the network: it holds the other end of each connection's stream. What a socket itself
does is tested where the other guests' calls are.
"""

import socket
import struct

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.syscalls.wasi_abi import EVENT, FDSTAT, SUBSCRIPTION, FileType
from executor.wasm.waiting import Sleeper, alone
from tests.executor.wasm.tiny_kernel import PAGE, Gate
from tests.executor.wasm.wasi_world import READ, ROOT, WasiKernel

REASON = "[policy test, rule network] not granted"
DENIED = "denied.example"
DATA, RESULT, OUT = 0x5000, 0x6000, 0x6010
RAW_OF_LINUX, DATAGRAM, STREAM = 3, 2, 1
PEEK, WAITALL = 1, 2
CLOCK, FD_READ, FD_WRITE = range(3)
NONBLOCK = 4


class Net(WasiKernel):
    """
    The kernel under a policy that grants connections to anything but `denied.example`.
    """

    def __init__(self, limit: int = 8) -> None:
        super().__init__(Gate(self._answer))
        self.process.network.limit = limit
        self.process.sleeper = Sleeper(self._wait, alone)
        self.memory = self.tiny.guest
        self.peers: list[socket.socket] = []
        self.tls = False

    def _answer(self, request: wire.Ask) -> wire.Answer:
        kind = request.WhichOneof("ask")
        if kind == "network" or DENIED in {request.resolve, request.connect.host}:
            raise GuestFault(Errno.EACCES, REASON)
        if kind != "connect":
            return wire.Answer()
        ours, theirs = socket.socketpair()
        self.peers.append(ours)
        self.gate.streams.append(theirs)
        return wire.Answer(connected=wire.Connected(connection=len(self.peers), tls=self.tls))

    def ask(self, *words, at=ROOT, size=1024):
        """
        The answer of an asked link, or the error negated.
        """
        path = "dev/socket/" + "/".join(map(str, words))
        error = self.call("path_readlink", at, path, DATA, size, RESULT)
        return -error if error else self.memory.read(DATA, self.memory.u32(RESULT)).decode()

    def connected(self):
        """
        The descriptor of a socket whose connection is made.
        """
        number = int(self.ask("open", 2, STREAM, 0))
        assert self.call("fd_fdstat_set_flags", number, NONBLOCK) == 0
        assert self.ask("connect", number, b"192.0.2.1".hex(), 443) == -Errno.EINPROGRESS
        self.peers[-1].send(b"\0")
        assert self.ask("get", number, 1, 4) == "00000000"
        return number

    def close(self):
        for held in tuple(self.process.network._open):
            held.close()
        for peer in self.peers:
            peer.close()

    def vectors(self, *sizes):
        at, start = 0x5800, DATA
        for index, size in enumerate(sizes):
            self.memory.write(at + 8 * index, struct.pack("<II", start, size))
            start += size
        return at, len(sizes)

    def receive(self, number, *sizes, flags=0):
        error = self.call("sock_recv", number, *self.vectors(*sizes), flags, RESULT, OUT)
        return -error if error else self.memory.read(DATA, self.memory.u32(RESULT))

    def send(self, number, *parts, flags=0):
        self.memory.write(DATA, b"".join(parts))
        error = self.call("sock_send", number, *self.vectors(*map(len, parts)), flags, RESULT)
        return -error if error else self.memory.u32(RESULT)

    def poll(self, *subscriptions):
        self.memory.write(0x3000, b"".join(subscriptions))
        assert self.call("poll_oneoff", 0x3000, 0x4000, len(subscriptions), RESULT) == 0
        count = self.memory.u32(RESULT)
        data = self.memory.read(0x4000, count * EVENT.size)
        return [EVENT.unpack_from(data, index * EVENT.size)[:3] for index in range(count)]


@pytest.fixture
def net():
    made = Net()
    yield made
    made.close()


def hexed(text):
    return text.encode().hex()


# ---- asked links ------------------------------------------------------------------------------


def test_a_socket_is_made_and_is_one_to_libc(net):
    number = int(net.ask("open", 2, STREAM, 6))
    assert net.call("fd_fdstat_get", number, net.BUFFER) == 0
    kind = FDSTAT.unpack(net.memory.read(net.BUFFER, FDSTAT.size))[0]
    assert kind == FileType.SOCKET_STREAM


@pytest.mark.parametrize(
    ("asked", "word"),
    [((2, DATAGRAM, 0), "udp"), ((10, RAW_OF_LINUX, 0), "raw"), ((1, STREAM, 0), "unix")],
)
def test_another_kind_of_socket_is_refused_after_the_gate_was_asked(net, asked, word):
    assert net.ask("open", *asked) == -Errno.EACCES
    assert [one.network.socket for one in net.gate.asked] == [word]
    assert net.process.denial.reason == REASON


def test_no_socket_is_made_where_the_policy_grants_no_network():
    net = Net(limit=0)
    assert net.ask("open", 2, STREAM, 0) == -Errno.EACCES
    assert [one.network.socket for one in net.gate.asked] == ["tcp"]


def test_a_name_has_an_address_that_is_told_back(net):
    address = net.ask("resolve", hexed("API.example."))
    assert address == "198.18.0.1"
    assert net.ask("name", hexed(address)) == "api.example"
    assert net.ask("name", hexed("192.0.2.1")) == "192.0.2.1"
    assert [one.resolve for one in net.gate.asked] == ["api.example"]


def test_a_name_that_is_not_granted_has_none(net):
    assert net.ask("resolve", hexed(DENIED)) == -Errno.EACCES
    assert net.process.denial.reason == REASON


def test_a_name_that_is_no_text_is_asked_about_escaped(net):
    net.ask("resolve", "61ff00")
    assert [one.resolve for one in net.gate.asked] == ["a\\xff\0"]


def test_a_connection_is_asked_for_by_name(net):
    number = int(net.ask("open", 2, STREAM, 0))
    address = net.ask("resolve", hexed("api.example"))
    net.call("fd_fdstat_set_flags", number, NONBLOCK)
    assert net.ask("peer", number) == -Errno.ENOTCONN
    assert net.ask("connect", number, hexed(address), 443) == -Errno.EINPROGRESS
    net.peers[0].send(b"\0")
    assert net.ask("peer", number) == f"{address}/443"
    assert (net.gate.asked[-1].connect.host, net.gate.asked[-1].connect.port) == (
        "api.example",
        443,
    )


@pytest.mark.parametrize("port", [2**16, 2**32, 9_999_999_999])
def test_what_is_no_port_is_refused_without_the_gate(net, port):
    number = net.ask("open", 2, STREAM, 6)
    assert net.ask("connect", number, hexed("198.18.0.1"), port) == -Errno.EINVAL
    assert net.gate.asked == []


def test_a_connection_that_is_not_granted_says_why(net):
    number = int(net.ask("open", 2, STREAM, 0))
    assert net.ask("connect", number, hexed(DENIED), 443) == -Errno.EACCES
    assert net.process.denial.reason == REASON


def test_options_are_kept_and_unknown_ones_refused(net):
    number = int(net.ask("open", 2, STREAM, 0))
    assert net.ask("set", number, 6, 1, "01000000") == ""
    assert net.ask("get", number, 6, 1) == "01000000"
    assert net.ask("set", number, 6, 999, "01000000") == -Errno.ENOPROTOOPT
    assert net.ask("get", number, 999, 1) == -Errno.ENOPROTOOPT


@pytest.mark.parametrize("tls", [True, False])
def test_tls_is_what_the_connection_speaks(net, tls):
    net.tls = tls
    number = net.connected()
    assert net.ask("set", number, 6, 31, hexed("tls")) == ("" if tls else -Errno.EPROTO)
    assert bytes.fromhex(net.ask("get", number, 282, 1)) == b"192.0.2.1"


def test_an_error_of_a_connection_is_told_with_its_reason(net):
    number = int(net.ask("open", 2, STREAM, 0))
    net.call("fd_fdstat_set_flags", number, NONBLOCK)
    net.ask("connect", number, hexed("192.0.2.1"), 443)

    def refused(_request):
        raise GuestFault(Errno.ECONNREFUSED, "nobody listens there")

    net.gate.answers = refused
    net.peers[0].close()
    assert bytes.fromhex(net.ask("get", number, 1, 4))[0] == Errno.ECONNREFUSED
    assert net.process.denial.reason == "nobody listens there"


def test_servers_are_refused_after_the_gate_was_asked(net):
    number = int(net.ask("open", 2, STREAM, 0))
    assert net.ask("listen", number) == -Errno.EACCES
    assert net.call("sock_accept", number, 0, RESULT) == Errno.EACCES
    assert [one.network.socket for one in net.gate.asked] == ["listen", "listen"]


@pytest.mark.parametrize(
    ("words", "errno"),
    [
        (("nothing",), Errno.ENOENT),
        (("",), Errno.ENOENT),
        (("open",), Errno.EINVAL),
        (("open", 2, 1), Errno.EINVAL),
        (("open", "-2", 1, 0), Errno.EINVAL),
        (("open", "\u0662", 1, 0), Errno.EINVAL),
        (("open", "9" * 11, 1, 0), Errno.EINVAL),
        (("resolve", "xyz"), Errno.EINVAL),
        (("resolve", "abc"), Errno.EINVAL),
        (("connect", 1, "61", 443), Errno.ENOTSOCK),
        (("connect", 99, "61", 443), Errno.EBADF),
        (("peer", 1), Errno.ENOTSOCK),
        (("listen", 1), Errno.ENOTSOCK),
        (("get", 1, 1, 4), Errno.ENOTSOCK),
        (("set", 1, 1, 4, "00"), Errno.ENOTSOCK),
    ],
)
def test_what_is_not_asked_well_is_refused_without_the_gate(net, words, errno):
    assert net.ask(*words) == -errno
    assert net.gate.asked == []


def test_the_links_are_below_the_root_alone(net):
    opened = net.open_path("tmp", READ, 2)
    assert net.ask("open", 2, STREAM, 0, at=opened) == -Errno.ENOENT
    assert net.gate.asked == []


def test_an_answer_is_cut_at_the_buffer(net):
    assert net.ask("name", hexed("192.0.2.1"), size=3) == "192"


# ---- transfer ---------------------------------------------------------------------------------


def test_bytes_go_both_ways(net):
    number = net.connected()
    assert net.send(number, b"one ", b"two") == 7
    assert net.peers[0].recv(100) == b"one two"
    net.peers[0].send(b"answer")
    assert net.receive(number, 3) == b"ans"
    assert net.receive(number, 1, 100) == b"wer"
    assert net.receive(number, 3) == -Errno.EAGAIN


def test_a_peek_leaves_what_it_sees(net):
    number = net.connected()
    net.peers[0].send(b"answer")
    assert net.receive(number, 3, flags=PEEK) == b"ans"
    assert net.receive(number, 6, flags=WAITALL) == b"answer"


def test_the_end_is_told_and_what_came_before_it(net):
    number = net.connected()
    net.peers[0].send(b"last")
    net.peers[0].close()
    assert net.receive(number, 3, 100) == b"last"
    assert net.receive(number, 3) == b""


def test_shutting_down_ends_one_way(net):
    number = net.connected()
    assert net.call("sock_shutdown", number, 0) == Errno.EINVAL
    assert net.call("sock_shutdown", number, 4) == Errno.EINVAL
    assert net.call("sock_shutdown", number, 2) == 0
    assert net.peers[0].recv(1) == b""
    assert net.send(number, b"more") == -Errno.EPIPE
    net.peers[0].send(b"still")
    assert net.receive(number, 5) == b"still"


def test_unknown_flags_and_memory_of_others_are_refused(net):
    number = net.connected()
    assert net.receive(number, 1, flags=4) == -Errno.EINVAL
    assert net.send(number, b"x", flags=1) == -Errno.EINVAL
    where = net.vectors(1)
    assert net.call("sock_recv", number, *where, 0, PAGE - 2, OUT) == Errno.EFAULT
    assert net.call("sock_recv", number, *where, 0, RESULT, PAGE - 1) == Errno.EFAULT
    assert net.call("sock_send", number, *where, 0, PAGE - 2) == Errno.EFAULT
    net.peers[0].send(b"kept")
    assert net.call("sock_recv", number, PAGE - 4, 1, 0, RESULT, OUT) == Errno.EFAULT
    assert net.receive(number, 4) == b"kept"


# ---- waiting ----------------------------------------------------------------------------------


def reading(number):
    return SUBSCRIPTION.pack(1, FD_READ, number, 0, 0, 0)


def writing(number):
    return SUBSCRIPTION.pack(2, FD_WRITE, number, 0, 0, 0)


def clock(nanoseconds):
    return SUBSCRIPTION.pack(3, CLOCK, 1, nanoseconds, 0, 0)


def test_a_connection_that_becomes_ready_ends_a_wait(net):
    number = net.connected()
    assert net.poll(writing(number)) == [(2, 0, FD_WRITE)]
    net.process.sleeper.wait_for = lambda *_: bool(net.peers[0].send(b"x")) and False
    assert net.poll(reading(number), clock(10**15)) == [(1, 0, FD_READ)]


def test_a_wait_without_an_event_ends_with_its_clock(net):
    number = net.connected()
    assert net.poll(reading(number), clock(10**6)) == [(3, 0, CLOCK)]


def test_an_interrupt_ends_a_wait_and_tells_its_clock(net):
    number = net.connected()
    net.process.sleeper.wait_for = lambda *_: True
    assert net.poll(reading(number), clock(10**15)) == [(3, 0, CLOCK)]
    assert net.poll(reading(number)) == []


def test_a_connection_that_is_not_made_yet_is_waited_for(net):
    number = int(net.ask("open", 2, STREAM, 0))
    net.call("fd_fdstat_set_flags", number, NONBLOCK)
    net.ask("connect", number, hexed("192.0.2.1"), 443)
    net.process.sleeper.wait_for = lambda *_: bool(net.peers[0].send(b"\0")) and False
    assert net.poll(writing(number)) == [(2, 0, FD_WRITE)]
