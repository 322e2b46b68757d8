"""
Acts under the supervisor's lock: one forked, locked process for each, as `broker_range` has them.

Run by exec: pytest has threads, and forks badly.
"""

import asyncio
import os
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
from executor.kernel.frames import encode  # noqa: E402
from executor.linux.descriptors import send_regular_file  # noqa: E402
from executor.process.fuse_nodes import Room  # noqa: E402
from executor.process.supervisor_attach import ServedMount  # noqa: E402
from executor.process.supervisor_lock import SUPERVISOR  # noqa: E402
from executor.process.supervisor_session import Ends, Session  # noqa: E402

HEADER = struct.Struct("<IIQQIIIHH")
STATUS = wire.FileStatus(kind=wire.KIND_FILE, size=5, mode=0o400)

simple("supervisor_socket", "socket", socket.AF_INET, socket.SOCK_STREAM, 0)
simple("supervisor_bind", "bind", 0, 0, 0)
simple("supervisor_pread", "pread64", 0, 0, 0, 0)
simple("supervisor_write", "write", 1, b"x", 0)


def _request(opcode: int, body: bytes, node: int = 1) -> bytes:
    return HEADER.pack(HEADER.size + len(body), opcode, opcode, node, 0, 0, 0, 0, 0) + body


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

    async def read(end: socket.socket) -> bytes:
        while True:
            try:
                return os.read(end.fileno(), 4096)
            except BlockingIOError:
                await asyncio.sleep(0)

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


def start() -> broker_range.BrokerRange:
    """
    The tests' side.
    """
    return broker_range.BrokerRange(__file__)


if __name__ == "__main__":
    broker_range.SERVICE = SUPERVISOR
    broker_range.main()
