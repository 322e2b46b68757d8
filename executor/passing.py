"""
Bytes and perhaps a descriptor over a unix stream, without blocking the loop.
"""

import asyncio
import socket

from executor.linux.descriptors import send_regular_file, send_stream

# A read-only descriptor of a regular file, or one end of a pair of unix streams.
Passed = int | socket.socket


async def send(channel: socket.socket, data: bytes, passed: Passed | None = None) -> None:
    """
    Send all of `data` (1 byte or more), with `passed`, which stays the caller's, at its start.

    `channel` does not block. Raises OSError, DescriptorRefused.
    """
    rest = memoryview(data)
    if passed is not None:
        rest = rest[await _send_first(channel, data, passed) :]
    await asyncio.get_running_loop().sock_sendall(channel, rest)


async def _send_first(channel: socket.socket, data: bytes, passed: Passed) -> int:
    while True:
        try:
            if isinstance(passed, int):
                return send_regular_file(channel, data, passed)
            return send_stream(channel, data, passed.fileno())
        except BlockingIOError:
            await _writable(channel)


async def _writable(channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(channel, _settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(channel)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
