"""
A raw stream: bytes both ways that nobody reads, counted, with back-pressure and half-close.

Each way holds one piece at a time, so a side that does not read stops the other. The guest may
finish sending and go on reading. Where the other side finishes, the connection ends: what the
guest had written by then still goes out, and then the guest is told the end, which it learns
together with its reason, and there is none yet of a stream that may still go wrong.

A guest at the end of a TCP connection that has finished sending may as well be gone: nothing tells
the two apart until something is sent to it. So then less silence ends the stream.

Which side is silent for how long is not known here, so the stream as a whole is watched: one
that moves nothing in either direction for five minutes ends.
"""

import asyncio
import errno
from dataclasses import dataclass
from typing import Final, Literal

from executor.network.account import Traffic
from executor.network.errors import Ending
from executor.network.streams import CHUNK, SocketStream, Stream

QUIET: Final = 300.0
QUIET_HALF: Final = 30.0


@dataclass(frozen=True, slots=True)
class Silence:
    """
    Seconds without a byte (and at most twice as many) that end a stream: while the guest may
    send, and once it has finished sending.
    """

    whole: float = QUIET
    half: float = QUIET


async def relay(
    guest: SocketStream,
    upstream: Stream,
    traffic: Traffic,
    gone: asyncio.Event,
    silence: Silence,
    first: bytes = b"",
) -> None:
    """
    Move bytes, the guest's `first` ones before all others, until `upstream` ends, or the guest has
    `gone`. Raises Ending for every other end, among them ETIMEDOUT for `silence`.
    """
    outward = asyncio.ensure_future(_outward(guest, upstream, traffic, first))
    inward = asyncio.ensure_future(_inward(guest, upstream, traffic))
    watch = asyncio.ensure_future(_watch(traffic, silence.whole))
    left = asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait({outward, inward, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not inward.done() and outward.done() and outward.exception() is None:
            # The guest has finished sending; whether it still reads, `left` knows.
            watch.cancel()
            watch = asyncio.ensure_future(_watch(traffic, silence.half))
            await asyncio.wait({inward, left, watch}, return_when=asyncio.FIRST_COMPLETED)
        if inward.done() and inward.exception() is None:
            guest.stop_reading()
            await asyncio.wait({outward})
            return
        for task in (inward, outward, watch):
            if task.done():
                task.result()
    finally:
        await _stop(outward, inward, watch, left)


async def _outward(guest: SocketStream, upstream: Stream, traffic: Traffic, first: bytes) -> None:
    if first:
        traffic.send(len(first))
        await upstream.write(first)
    while data := await guest.read(CHUNK):
        traffic.send(len(data))
        await upstream.write(data)
    await upstream.finish()


async def _inward(guest: SocketStream, upstream: Stream, traffic: Traffic) -> None:
    while data := await upstream.read(CHUNK):
        traffic.receive(len(data))
        await guest.write(data)


async def _watch(traffic: Traffic, quiet: float) -> None:
    before = -1
    while traffic.moved != before:
        before = traffic.moved
        await asyncio.sleep(quiet)
    raise Ending(errno.ETIMEDOUT, f"nothing was sent or received for {quiet:g} seconds")


async def _stop(*tasks: asyncio.Future[None] | asyncio.Future[Literal[True]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
