"""
The floor of a tool's call: a message and its answer on a bidi stream of gRPC, and nothing else.

Run as a program it is the server, in a process of its own: `ping_pong.py unix:PATH`.
"""

import asyncio
import queue
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio

from agent_client.errors import ServerUnavailable

_METHOD = "/floor/Echo"
_MESSAGE = b"x" * 100  # about what a call of a tool with short arguments takes
_LISTENS = b"listens\n"


@contextmanager
def pinging() -> Iterator[Callable[[], object]]:
    """
    A function that sends a message and waits for its answer. Raises ServerUnavailable where
    the server does not start.
    """
    with tempfile.TemporaryDirectory(prefix="codecage-") as place:
        address = f"unix:{place}/sock"
        command = [sys.executable, "-P", __file__, address]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
            try:
                assert process.stdout is not None
                if process.stdout.readline() != _LISTENS:
                    raise ServerUnavailable("the floor's server did not start")
                yield from _conversing(address)
            finally:
                process.terminate()


def _conversing(address: str) -> Iterator[Callable[[], object]]:
    sending: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.stream_stream(_METHOD)
        stream = call(iter(sending.get, None))

        def ping() -> object:
            sending.put(_MESSAGE)
            return next(stream)

        ping()
        try:
            yield ping
        finally:
            sending.put(None)
            stream.cancel()


class _Echo(grpc.GenericRpcHandler):
    def service(self, _details: grpc.HandlerCallDetails) -> Any:
        """
        The one method there is.
        """
        return grpc.stream_stream_rpc_method_handler(_echo)


async def _echo(requests: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def _serve(address: str) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Echo(),))
    server.add_insecure_port(address)
    await server.start()
    sys.stdout.buffer.write(_LISTENS)
    sys.stdout.buffer.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
