"""
Bytes and perhaps a descriptor over a unix stream, without blocking the loop.

A worker is given ends of our own pairs alone. A network broker is also given TCP connections of
guests that have TCP of their own, and the supervisor the sockets that a guest without a network
namespace will have connected.
"""

import array
import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

from executor.linux.descriptors import send_regular_file, send_stream

# A read-only descriptor of a regular file, or one end of a pair of unix streams.
Passed = int | socket.socket
# As `send_stream` of executor.linux.descriptors: how a stream is looked at and sent.
SendsStream = Callable[[socket.socket, bytes, int], int]
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})


def send_guest_stream(channel: socket.socket, data: bytes, descriptor: int) -> int:
    """
    As `send_stream`, for a broker or the supervisor alone: one end of a pair, or a TCP socket.

    Raises DescriptorRefused for anything else, OSError from sendmsg(2).
    """
    with socket.socket(fileno=os.dup(descriptor)) as seen:
        accepted = seen.family in _INTERNET and seen.type == socket.SOCK_STREAM
    if not accepted:
        return send_stream(channel, data, descriptor)
    passed = array.array("i", [descriptor])
    return channel.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])


async def send(
    channel: socket.socket,
    data: bytes | memoryview,
    passed: Passed | None = None,
    send_one: SendsStream = send_stream,
) -> None:
    """
    Send all of `data` (1 byte or more where there is `passed`), with `passed`, which stays the
    caller's, at its start; a stream by `send_one`.

    `channel` does not block. Raises OSError, DescriptorRefused.
    """
    rest = memoryview(data)
    if passed is not None:
        rest = rest[await _send_first(channel, bytes(data), passed, send_one) :]
    if rest:  # else the system would be asked to send nothing
        await asyncio.get_running_loop().sock_sendall(channel, rest)


async def _send_first(
    channel: socket.socket, data: bytes, passed: Passed, send_one: SendsStream
) -> int:
    while True:
        try:
            if isinstance(passed, int):
                return send_regular_file(channel, data, passed)
            return send_one(channel, data, passed.fileno())
        except BlockingIOError:
            await writable(channel)


async def writable(channel: socket.socket) -> None:
    """
    Wait until `channel`, which nobody else may wait for, takes more.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(channel, settle, ready)
    try:
        await ready
    finally:
        loop.remove_writer(channel)


def settle(ready: asyncio.Future[None]) -> None:
    """
    What was waited for is there; a second time nothing is done.
    """
    if not ready.done():
        ready.set_result(None)
