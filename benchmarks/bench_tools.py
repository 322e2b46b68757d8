"""
A call of a client's tool from inside a cell, through gate, record and gRPC, and back.

Floor, measured between every two calls of the same run: a message and its answer on a bidi stream
of gRPC, from the same kind of client to an empty server in a process of its own. A call of a tool
that acts is on disk before it is made: its floor is a sync of a small write in the same directory.
"""

import contextlib
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
from measure import Row

import agent_client

COUNT, WARM = 300, 50
POLICY = """version: 1
name: {name}
description: a benchmark's policy
cage: {cage}
image: {image}
tools:
  - {{name: reads, max_calls: 100000, effect: read}}
  - {{name: acts, max_calls: 100000}}
"""
SERVER = """
import asyncio, sys, grpc
async def echo(requests, context):
    async for request in requests:
        yield request
class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.stream_stream_rpc_method_handler(echo)
async def main():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    server.add_insecure_port(sys.argv[1])
    await server.start()
    print("up", flush=True)
    await server.wait_for_termination()
asyncio.run(main())
"""


def rows():
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        for image, cage in (("core", "wasm"), ("native-core", "process")):
            text = POLICY.format(name=image, cage=cage, image=image)
            Path(place, f"{image}.yaml").write_text(text)
        with agent_client.connect(policies=place) as cage, ping_pong() as ping:
            for image in ("core", "native-core"):
                call, floor = cycle(cage, image, "reads", ping)
                yield Row(f"a call of a tool that reads, {image}",
                          call, 0.6, "ms", floor, "bidi ping-pong")  # fmt: skip
            with synced() as sync:
                call, floor = cycle(cage, "core", "acts", sync)
                yield Row("a call of a tool that acts, core",
                          call, 5, "ms", floor, "fdatasync")  # fmt: skip


def cycle(cage, image, name, floor):
    """
    The medians of a call, from one to the next as its client sees them, and of `floor`, which is
    measured in each call and is no part of it.
    """
    began, calls, floors = [0.0], [], []

    def tool(number):
        arrived = time.perf_counter()
        calls.append(arrived - began[0])
        floor()
        began[0] = time.perf_counter()
        floors.append(began[0] - arrived)
        return number

    tool.__name__ = name
    with cage.session(image, tools=[tool]) as session:
        seen = session.run(f"sum({name}(n) for n in range({COUNT + WARM}))")
        assert seen.tool_calls == COUNT + WARM, seen.text
    return tuple(statistics.median(one[WARM:]) * 1000 for one in (calls, floors))


@contextlib.contextmanager
def ping_pong():
    with tempfile.TemporaryDirectory() as place:
        address = f"unix:{place}/sock"
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, address], stdout=subprocess.PIPE, text=True
        )
        sending = queue.SimpleQueue()
        try:
            assert process.stdout.readline() == "up\n"
            with grpc.insecure_channel(address) as channel:
                stream = channel.stream_stream("/floor/Echo")(iter(sending.get, None))

                def ping():
                    sending.put(b"x" * 100)
                    return next(stream)

                ping()
                yield ping
                sending.put(None)
                stream.cancel()
        finally:
            process.kill()
            process.communicate()


@contextlib.contextmanager
def synced():
    with tempfile.TemporaryFile(buffering=0) as file:

        def sync():
            file.write(b"x" * 400)
            os.fdatasync(file.fileno())

        yield sync


if __name__ == "__main__":
    for row in rows():
        print(row.data())
