"""
Pairs of sockets: socketpair(2), as system calls against Linux's own pairs, and in the guests.
"""

import errno
import fcntl
import select
import socket
import struct
import subprocess
import sys
import termios
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.wasm.abi import (
    POLLHUP,
    POLLIN,
    POLLOUT,
    STAT,
    Errno,
)
from executor.wasm.pair import PAIR_BYTES
from executor.wasm.socket_abi import (
    AF_INET,
    AF_UNIX,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
)
from executor.wasm.syscalls.network import PAIR
from tests.executor.wasm.socket_kernel import FIONREAD, PEEK, SO_RCVTIMEO, Net
from tests.executor.wasm.test_notebook_commands import notebook_of

SO_DOMAIN, SO_PROTOCOL, SO_TYPE, SO_ERROR, SO_SNDBUF = 39, 38, 3, 4, 7


class Pairs(Net):
    """
    The kernel under a policy without a network: a pair is none.
    """

    def __init__(self) -> None:
        super().__init__(limit=0)
        self.process.total = self.total

    def pair(self, family=AF_UNIX, kind=SOCK_STREAM, protocol=0):
        found = self.readlink(f"{PAIR}{family}/{kind}/{protocol}")
        return tuple(map(int, found.split(b"/"))) if isinstance(found, bytes) else found

    def unblocked(self):
        return self.pair(kind=SOCK_STREAM | SOCK_NONBLOCK)

    def close(self, number):
        return self.call("fd_close", number)


@pytest.fixture
def kernel():
    made = Pairs()
    yield made
    for number in range(3, 64):
        made.close(number)
    assert made.total.used == 0, "the pairs' bytes are given back"


# ---- making -------------------------------------------------------------------------------------


def test_a_pair_is_two_connected_descriptors_and_the_gate_is_not_asked(kernel):
    one, other = kernel.pair()
    assert (one, other) == (3, 4)
    assert kernel.send(one, b"there") == 5
    assert kernel.send(other, b"and back") == 8
    assert kernel.receive(other) == b"there"
    assert kernel.receive(one) == b"and back"
    assert kernel.gate.asked == []
    assert kernel.notes == []


def test_a_socket_of_that_family_alone_is_refused_as_before(kernel):
    assert kernel.new(AF_UNIX, SOCK_STREAM) == -Errno.EACCES
    assert [ask.network.socket for ask in kernel.gate.asked] == ["unix"]


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        (AF_INET, SOCK_STREAM, 0, Errno.EOPNOTSUPP),
        (10, SOCK_STREAM, 0, Errno.EOPNOTSUPP),
        (AF_UNIX, SOCK_DGRAM, 0, Errno.EPROTONOSUPPORT),
        (AF_UNIX, 5, 0, Errno.EPROTONOSUPPORT),
        (AF_UNIX, 2**31, 0, Errno.EPROTONOSUPPORT),
        (AF_UNIX, SOCK_STREAM, 6, Errno.EPROTONOSUPPORT),
    ],
)
def test_another_pair_is_refused_and_nothing_is_made(kernel, family, kind, protocol, expected):
    assert kernel.pair(family, kind, protocol) == -expected
    assert len(kernel.process.descriptors) == 3


@pytest.mark.parametrize(
    "words",
    ["", "1", "1/1", "1/1/0/", "1/1/0/0", "-1/1/0", "1/1/x", "1/1/ 0", "1/1/²", f"1/1/{10**10}"],
)
def test_a_path_that_asks_for_no_pair_is_invalid(kernel, words):
    assert kernel.readlink(PAIR + words) == -Errno.EINVAL
    assert len(kernel.process.descriptors) == 3


@pytest.mark.parametrize("free", [0, 1])
def test_a_pair_needs_room_for_both_descriptors(kernel, free):
    table = kernel.process.descriptors
    table.limit = len(table) + free
    assert kernel.pair() == -Errno.EMFILE
    assert len(table) == 3
    table.limit = len(table) + 2
    assert kernel.pair() == (3, 4)


def test_no_pair_is_made_whose_numbers_could_not_be_told(kernel):
    path = f"{PAIR}1/1/0"
    assert kernel.call("__syscall_readlinkat", -100, path, 0x10000 - 1, 64) == -Errno.EFAULT
    assert kernel.call("__syscall_readlinkat", -100, path, 0x8000, 0) == -Errno.EINVAL
    assert len(kernel.process.descriptors) == 3


@pytest.mark.parametrize("flag", [SOCK_NONBLOCK, SOCK_CLOEXEC, 0])
def test_flags_of_the_type_hold_for_both_ends(kernel, flag):
    for number in kernel.pair(kind=SOCK_STREAM | flag):
        blocks = not kernel.call("__syscall_fcntl64", number, 3, 0) & SOCK_NONBLOCK
        assert blocks == (flag != SOCK_NONBLOCK)
        assert kernel.process.descriptors.close_on_exec(number) == (flag == SOCK_CLOEXEC)


def test_an_end_says_that_it_is_a_socket_without_a_name(kernel):
    one, _ = kernel.pair()
    assert kernel.name("__syscall_getsockname", one) == AF_UNIX.to_bytes(2, "little")
    assert kernel.name("__syscall_getpeername", one) == AF_UNIX.to_bytes(2, "little")
    assert kernel.call("__syscall_fstat64", one, kernel.BUFFER) == 0
    mode = STAT.unpack(kernel.memory.read(kernel.BUFFER, STAT.size))[1]
    assert mode & 0o170000 == 0o140000
    assert kernel.call("fd_seek", one, 0, 1, kernel.BUFFER) == Errno.ESPIPE


def test_its_options_are_those_of_sockets_and_no_others(kernel):
    one, _ = kernel.pair()
    expected = {SO_DOMAIN: AF_UNIX, SO_TYPE: SOCK_STREAM, SO_PROTOCOL: 0, SO_ERROR: 0}
    expected[SO_SNDBUF] = PAIR_BYTES
    for name, value in expected.items():
        assert kernel.option(one, SOL_SOCKET, name) == value.to_bytes(4, "little")
    assert kernel.set_option(one, SOL_SOCKET, SO_SNDBUF, struct.pack("<i", 4096)) == 0
    for level, name in ((6, 1), (6, 31), (282, 1), (0, 2)):
        assert kernel.option(one, level, name) == -Errno.EOPNOTSUPP
        assert kernel.set_option(one, level, name, b"tls\0") == -Errno.EOPNOTSUPP


# ---- waiting ------------------------------------------------------------------------------------


def test_what_would_wait_for_ever_is_an_error_that_says_so(kernel):
    one, other = kernel.pair()
    assert kernel.receive(one) == -Errno.EDEADLK
    assert b"one thread" in kernel.denial
    kernel.memory.write(kernel.OUT, bytes(8192))
    while kernel.call("__syscall_sendto", one, kernel.OUT, 8192, 0, 0, 0) == 8192:
        pass
    assert kernel.call("__syscall_sendto", one, kernel.OUT, 8192, 0, 0, 0) == -Errno.EDEADLK
    assert kernel.waited == []
    assert kernel.receive(other) == bytes(100)


def test_a_timeout_of_its_own_is_waited_for_and_then_over(kernel):
    one, _ = kernel.pair()
    assert kernel.set_option(one, SOL_SOCKET, SO_RCVTIMEO, struct.pack("<qi4x", 2, 0)) == 0
    assert kernel.receive(one) == -Errno.EAGAIN
    assert kernel.waited == [2.0]


def test_one_direction_holds_so_much_and_counts_in_the_sessions_memory(kernel):
    one, other = kernel.unblocked()
    kernel.memory.write(kernel.OUT, bytes(20_000))
    sent = 0
    while (count := kernel.call("__syscall_sendto", one, kernel.OUT, 20_000, 0, 0, 0)) > 0:
        sent += count
    assert count == -Errno.EAGAIN
    assert sent == PAIR_BYTES == kernel.total.used
    assert not kernel.poll(one) & POLLOUT
    assert kernel.receive(other, 5000) == bytes(5000)
    assert kernel.total.used == PAIR_BYTES - 5000
    assert kernel.poll(one) & POLLOUT


def test_without_memory_nothing_is_sent(kernel):
    one, other = kernel.unblocked()
    kernel.process.total = kernel.total
    kernel.total.limit = 10
    assert kernel.send(one, b"0123456789") == 10
    assert kernel.send(other, b"x") == -Errno.ENOBUFS
    assert kernel.receive(other) == b"0123456789"
    assert kernel.send(other, b"x") == 1


def test_an_end_lives_as_long_as_one_of_its_descriptors(kernel):
    one, other = kernel.unblocked()
    second = kernel.call("__syscall_dup", one)
    assert kernel.close(one) == 0
    assert kernel.send(second, b"still here") == 10
    assert kernel.receive(other) == b"still here"
    assert kernel.close(second) == 0
    assert kernel.receive(other) == b""
    assert kernel.send(other, b"x") == -Errno.EPIPE


def test_what_is_closed_with_bytes_on_their_way_gives_all_of_them_back(kernel):
    for first in (0, 1):
        ends = kernel.unblocked()
        for number in ends:
            assert kernel.send(number, bytes(1000)) == 1000
        for number in (ends[first], ends[1 - first]):
            assert kernel.close(number) == 0
        assert kernel.total.used == 0


def test_no_way_leads_from_one_pair_to_another(kernel):
    pairs = [kernel.unblocked() for _ in range(20)]
    for number, (one, _) in enumerate(pairs):
        assert kernel.send(one, b"%d" % number) > 0
    for number, (_, other) in reversed(list(enumerate(pairs))):
        assert kernel.receive(other) == b"%d" % number


# ---- against Linux ------------------------------------------------------------------------------


class Native:
    """
    A pair of Linux, in the words of the tests.
    """

    def __init__(self) -> None:
        self.ends = socket.socketpair()
        for end in self.ends:
            end.setblocking(False)

    def do(self, name, end, argument):
        try:
            return getattr(self, name)(self.ends[end], argument)
        except OSError as error:
            return errno.errorcode[error.errno]

    def send(self, end, size):
        return end.send(bytes(size))

    def receive(self, end, size):
        return len(end.recv(size))

    def peek(self, end, size):
        return len(end.recv(size, socket.MSG_PEEK))

    def shutdown(self, end, how):
        return end.shutdown(how)

    def available(self, end, _):
        return struct.unpack("<i", fcntl.ioctl(end, termios.FIONREAD, bytes(4)))[0]

    def poll(self, end, _):
        poller = select.poll()
        poller.register(end, select.POLLIN | select.POLLOUT)
        events = dict(poller.poll(0)).get(end.fileno(), 0)
        return _seen(events, select.POLLIN, select.POLLOUT, select.POLLHUP)

    def close(self, end, _):
        end.close()


class Ours:
    """
    A pair of the guest's, in the same words.
    """

    def __init__(self) -> None:
        self.kernel = Pairs()
        self.ends = list(self.kernel.unblocked())

    def do(self, name, end, argument):
        found = getattr(self, name)(self.ends[end], argument)
        if isinstance(found, int) and found < 0:
            return Errno(-found).name
        return found

    def send(self, end, size):
        return self.kernel.send(end, bytes(size))

    def receive(self, end, size, flags=0):
        got = self.kernel.receive(end, size, flags)
        return got if isinstance(got, int) else len(got)

    def peek(self, end, size):
        return self.receive(end, size, PEEK)

    def shutdown(self, end, how):
        return self.kernel.shutdown(end, how) or None

    def available(self, end, _):
        error = self.kernel.ioctl(end, FIONREAD, bytes(4))
        return error or self.kernel.memory.u32(self.kernel.OUT)

    def poll(self, end, _):
        events = self.kernel.poll(end)
        assert not events & 0x20, "it is open"
        return _seen(events, POLLIN, POLLOUT, POLLHUP)

    def close(self, end, _):
        assert self.kernel.close(end) == 0


def _seen(events, readable, writable, hung_up):
    return bool(events & readable), bool(events & writable), bool(events & hung_up)


SIZES = st.integers(1, 500)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["send", "receive", "peek"]), st.integers(0, 1), SIZES),
    st.tuples(st.just("shutdown"), st.integers(0, 1), st.integers(0, 2)),
    st.tuples(st.sampled_from(["available", "poll"]), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("close"), st.just(1), st.just(0)),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(STEPS, max_size=25))
def test_a_pair_does_what_one_of_linux_does(steps):
    native, ours = Native(), Ours()
    try:
        closed = False
        for name, end, argument in steps:
            if closed and end == 1:
                continue
            expected = native.do(name, end, argument)
            found = ours.do(name, end, argument)
            assert found == expected, (name, end, argument)
            closed = closed or name == "close"
    finally:
        for end in native.ends:
            end.close()


# ---- in the guests ------------------------------------------------------------------------------

PROGRAMS = {
    "both ways": """
a, b = socket.socketpair()
a.sendall(b"there"); b.sendall(b"back")
print(b.recv(10), a.recv(10), a.family.name, a.type.name, a.proto, a.getpeername() == b.getsockname() == "")
a.close(); print(b.recv(1), b.fileno() >= 0); b.close()
""",
    "files over it": """
a, b = socket.socketpair()
with a, b, a.makefile("rw", newline="\\n") as one, b.makefile("rw", newline="\\n") as other:
    one.write("ping\\n"); one.flush()
    print(other.readline())
    other.write("pong\\n"); other.flush()
    print(one.readline())
""",
    "half closed": """
a, b = socket.socketpair()
a.sendall(b"last words"); a.shutdown(socket.SHUT_WR)
print(b.recv(100), b.recv(100)); b.sendall(b"heard"); print(a.recv(100))
try: a.send(b"more")
except BrokenPipeError as error: print(type(error).__name__)
""",
    "without blocking": """
a, b = socket.socketpair()
a.setblocking(False); b.settimeout(0.01)
for end in (a, b):
    try: end.recv(1)
    except OSError as error: print(type(error).__name__)
sent = 0
try:
    while True: sent += a.send(bytes(65536))
except BlockingIOError: print(sent > 65536)
while sent: sent -= len(b.recv(2**20))
print(sent)
""",
    "a selector": """
import selectors
a, b = socket.socketpair()
a.setblocking(False); b.setblocking(False)
with selectors.DefaultSelector() as chosen:
    chosen.register(a, selectors.EVENT_READ, "a"); chosen.register(b, selectors.EVENT_READ, "b")
    print(chosen.select(0))
    a.send(b"x"); print([(key.data, mask) for key, mask in chosen.select(5)])
    b.recv(1); print(chosen.select(0.001))
""",
    "by its number": """
a, b = socket.socketpair()
c = socket.socket(fileno=a.detach())
c.send(b"by another object"); print(b.recv(100), c.family == socket.AF_UNIX, c.type == socket.SOCK_STREAM)
""",
    "ten megabytes to a task that reads": """
import asyncio, hashlib
data = bytes(range(256)) * 40_960
async def main():
    a, b = socket.socketpair()
    a.setblocking(False); b.setblocking(False)
    loop = asyncio.get_running_loop()
    async def read():
        found, size = hashlib.sha256(), 0
        while part := await loop.sock_recv(b, 2**18):
            found.update(part); size += len(part)
        return size, found.digest() == hashlib.sha256(data).digest()
    task = asyncio.create_task(read())
    await loop.sock_sendall(a, data)
    a.close()
    print(await task); b.close()
asyncio.run(main())
""",
    "streams of asyncio": """
import asyncio
async def main():
    a, b = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=a)
    served, serving = await asyncio.open_connection(sock=b)
    async def serve():
        while line := await served.readline():
            serving.write(line.upper()); await serving.drain()
        serving.close(); await serving.wait_closed()
    task = asyncio.create_task(serve())
    writer.write(b"one\\ntwo\\n"); writer.write_eof()
    print(await reader.read()); await task
    writer.close(); await writer.wait_closed()
asyncio.run(main())
""",
}  # fmt: skip


@cache
def natively(code: str) -> bytes:
    """
    What a program writes on the Python that runs the tests.
    """
    return subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, check=True
    ).stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_with_a_pair_does_what_it_does_natively(session, name):
    code = f"import socket\n{PROGRAMS[name]}"
    assert session.run(code).ok().stdout == natively(code)


@pytest.mark.parametrize("name", PROGRAMS)
def test_so_it_does_in_the_data_stack(data_zygote, name):
    code = f"import socket\n{PROGRAMS[name]}"
    with data_zygote.session() as worker:
        assert worker.run(code).ok().stdout == natively(code)


@pytest.mark.parametrize("name", ["by its number", "half closed", "streams of asyncio"])
def test_so_it_does_in_the_older_guest(name):
    code = f"import socket\n{PROGRAMS[name]}"
    assert notebook_of("python313").ok(code)[0].encode() == natively(code)


def test_another_pair_says_what_there_is(session):
    told = session.run("import socket\nsocket.socketpair(type=socket.SOCK_DGRAM)").raised("OSError")
    assert "SOCK_STREAM" in told.error
    told = session.run("socket.socketpair(socket.AF_INET)").raised("OSError")
    assert "AF_UNIX" in told.error
    assert told.asks == []


def test_a_wait_that_nothing_can_end_is_an_error_and_one_for_time_is_interrupted(session):
    told = session.run("import socket\na, b = socket.socketpair()\na.recv(1)").raised("OSError")
    assert "one thread" in told.error
    assert session.run("a.send(b'x'), b.recv(9)").ok().value.text == "(1, b'x')"


def test_pairs_that_are_made_and_dropped_leave_nothing(session):
    session.run(
        """
import os, socket
for _ in range(3000):
    a, b = socket.socketpair()
    a.send(bytes(100_000))
    a.close(), b.close()
c, d = socket.socketpair()
"""
    ).ok()
    assert session.run("c.fileno(), d.fileno()").ok().value.text == "(3, 4)"
