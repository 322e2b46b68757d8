"""
Acts under the supervisor's lock: one forked, locked process for each, as `broker_range` has them.

Run by exec: pytest has threads, and forks badly.
"""

import asyncio
import os
import select
import socket
import struct
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "linux"), str(HERE.parent / "network")]

import broker_range  # noqa: E402
from cage_acts import ACTS, simple  # noqa: E402
from cage_range import World  # noqa: E402

from codecage.worker.v1 import worker_pb2 as wire  # noqa: E402
from executor.children import passing  # noqa: E402
from executor.kernel.frames import FrameBuffer, encode  # noqa: E402
from executor.linux.descriptors import send_regular_file  # noqa: E402
from executor.linux.filters import ALLOW, Filter, Tell, compile_filter  # noqa: E402
from executor.linux.seccomp import install_watched  # noqa: E402
from executor.process.fuse_nodes import Room  # noqa: E402
from executor.process.supervisor_attach import ServedMount  # noqa: E402
from executor.process.supervisor_lock import SUPERVISOR  # noqa: E402
from executor.process.supervisor_session import Ends, Session  # noqa: E402

HEADER = struct.Struct("<IIQQIIIHH")
STATUS = wire.FileStatus(kind=wire.KIND_FILE, size=5, mode=0o400)

simple("supervisor_socket", "socket", socket.AF_INET, socket.SOCK_STREAM, 0)
simple("supervisor_bind", "bind", 0, 0, 0)
simple("supervisor_pwrite", "pwrite64", 0, 0, 0, 0)
simple("supervisor_write", "write", 1, b"x", 0)


def _request(opcode: int, body: bytes, node: int = 1) -> bytes:
    return HEADER.pack(HEADER.size + len(body), opcode, opcode, node, 0, 0, 0, 0, 0) + body


async def read(end: socket.socket) -> bytes:
    while True:
        try:
            return os.read(end.fileno(), 4096)
        except BlockingIOError:
            await asyncio.sleep(0)


def serve(world: World) -> broker_range.Round:
    """
    A session's whole life: a name is looked up, opened, read and let go of. A socket that keeps
    messages apart stands for the device.
    """
    device, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    stream, server = socket.socketpair()
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"bytes")
        file.flush()
        passed = os.open(file.name, os.O_RDONLY)
    for request in (_request(26, struct.pack("<4I", 7, 45, 4096, 0)), _request(1, b"name\0")):
        kernel.send(request)
    # Under the lock no descriptor is sent, so it comes with the first answer.
    first = encode(wire.ToWorker(answer=wire.Answer(status=STATUS)).SerializeToString())
    send_regular_file(server, first, passed)
    os.close(passed)
    opened = wire.Answer(opened=wire.Opened(passed=True, handle=4, status=STATUS))
    second = encode(wire.ToWorker(answer=opened).SerializeToString())
    loop = asyncio.new_event_loop()
    kernel.setblocking(False)
    server.setblocking(False)
    yield

    async def served() -> list[object]:
        over = asyncio.get_running_loop().create_future()
        ends = Ends(stream.detach(), (device.detach(),), -1)
        session = Session(ends, [ServedMount("/data", 1, 1)], Room(None, 9), over.set_result)
        session._mounts[0]._on_readable()  # the question goes out before its answer is read
        told: list[object] = [len(await read(kernel)), len(await read(kernel))]
        await read(server)
        kernel.send(_request(14, struct.pack("<II", 0, 0), 2))
        await read(server)
        server.send(second)
        told.append(len(await read(kernel)))
        kernel.send(_request(15, struct.pack("<QQIIQII", 1, 0, 64, 0, 0, 0, 0), 2))
        told.append((await read(kernel))[16:].decode())
        server.close()
        await over
        return told

    return loop.run_until_complete(asyncio.wait_for(served(), 10))


ACTS["supervisor_serve"] = serve


def _guest(channel: socket.socket) -> None:
    """
    A process whose sockets are notified: it connects one, and says hello on it.
    """
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        table = Filter("guest", (Tell("socket", "a test"), Tell("connect", "a test")), ALLOW)
        listener = install_watched(compile_filter(table, os.getpid()))
        socket.send_fds(channel, [b"x"], [listener, memory])
        os.close(listener)
        with socket.socket() as made:
            made.connect(("10.1.2.3", 443))
            made.sendall(b"hello")
    finally:
        os._exit(0)


def _tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]


def sockets(world: World) -> broker_range.Round:
    """
    A guest's socket and its connection, heard of, asked for and answered.
    """
    here, there = socket.socketpair()
    if os.fork() == 0:
        here.close()
        _guest(there)
    there.close()
    stream, server = socket.socketpair()
    # Under the lock no descriptor is sent and nothing is connected: both are done before.
    made, ours = _tcp()
    answer = wire.ToWorker(answer=wire.Answer(socket=1)).SerializeToString()
    passing.send_guest_stream(server, encode(answer), made.fileno())
    made.close()
    loop = asyncio.new_event_loop()
    for end in (server, ours):
        end.setblocking(False)
    yield

    async def heard() -> wire.Ask:
        frames = FrameBuffer(2**16)
        frames.feed(await read(server))
        return wire.FromWorker.FromString(frames.take() or b"").ask

    async def served() -> list[object]:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        _, (listener, memory), _, _ = socket.recv_fds(here, 1, 2)
        asked = select.poll()
        asked.register(listener, select.POLLIN)
        assert asked.poll(10_000)
        ends = Ends(stream.detach(), (), listener, memory)
        session = Session(ends, [], Room(None, 9), over.set_result)
        assert session._calls is not None
        session._calls._on_readable()  # the question goes out before its answer is read
        assert (await heard()).open_socket == wire.SocketAsk()
        dialled = (await heard()).dial
        assert dialled.socket == 1
        server.send(encode(wire.ToWorker(answer=wire.Answer()).SerializeToString()))
        said = await read(ours)
        server.close()
        await over
        return [f"{dialled.host}:{dialled.port}", said.decode()]

    return loop.run_until_complete(asyncio.wait_for(served(), 10))


ACTS["supervisor_sockets"] = sockets


def start() -> broker_range.BrokerRange:
    """
    The tests' side.
    """
    return broker_range.BrokerRange(__file__)


if __name__ == "__main__":
    broker_range.SERVICE = SUPERVISOR
    broker_range.main()
