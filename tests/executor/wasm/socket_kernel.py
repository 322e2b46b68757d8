"""
A kernel whose network is the test: it holds the other end of each connection's stream.
"""

import socket
import struct

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.wasm.abi import (
    POLLFD,
    POLLIN,
    POLLOUT,
    Errno,
    GuestFault,
    from_host,
)
from executor.wasm.socket_abi import (
    AF_INET,
    AF_INET6,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOCKADDR_IN,
    SOCKADDR_IN6,
)
from executor.wasm.waiting import Sleeper
from tests.executor.wasm.tiny_kernel import Gate, Kernel

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
        data = sockaddr(address, port)
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


def sockaddr(address: str, port: int) -> bytes:
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
