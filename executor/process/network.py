"""
The network of one box, served from outside: its connections accepted, its names answered.

A box has a network namespace of its own in which every address is local. For each port that its
policy grants a socket listens there, and one more is asked for names; they were made in the box
before it was locked, and belong to the server since. So the guest's own TCP (any library, any
language) connects to what it believes to be the host, and what is accepted here says by its own
address which one was meant. Nothing else is in that namespace: what is not accepted here is
connected to nothing.

One connection is decided at a time, so as many as there are ports wait in the server and all
others in the kernel's queues, which are the box's own memory. What the guest asks faster than
`_RATE` waits as well.
"""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Sequence
from typing import Final

from executor.kernel.arrivals import Arrival
from executor.kernel.net import Net
from executor.process.network_names import QUERY_MAX, answer
from policy.hosts import canonical_host
from policy.types import Policy

_LOG = logging.getLogger(__name__)
# Connections and queries a second, each, and how many may come at once.
_RATE: Final = 500.0
_BURST: Final = 200.0
_PAUSE: Final = 0.2
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})


def ports_of(policy: Policy) -> tuple[int, ...]:
    """
    The ports that a policy grants on any host, each once.
    """
    return tuple(sorted({port for grant in policy.network for port in grant.ports}))


class BoxNetwork:
    """
    Serves `listeners`, TCP sockets of a box that listen, and `names`, its UDP socket for queries
    (None where it has none). All of them become this object's.
    """

    def __init__(
        self, net: Net, listeners: Sequence[socket.socket], names: socket.socket | None
    ) -> None:
        self._net = net
        self._listeners = tuple(listeners)
        self._names = names
        self._arrivals, self._queries = _Pace(), _Pace()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """
        Serve from now on, in the running loop. Raises ValueError for a socket of another kind.
        """
        for one in self._listeners:
            _require(one, socket.SOCK_STREAM)
        work = [self._accept(one) for one in self._listeners]
        if self._names is not None:
            _require(self._names, socket.SOCK_DGRAM)
            work.append(self._answer(self._names))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(one) for one in work]
        for task in self._tasks:
            task.add_done_callback(self._on_done)

    async def close(self) -> None:
        """
        Accept and answer no more. Connections that were granted are the gate's to end. A second
        call does nothing.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._close_sockets()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                stream, peer = await loop.sock_accept(listener)
            except ConnectionError:
                continue
            except OSError as error:
                await self._outlast(error)
                continue
            await self._net.accept(_arrival(stream, peer[1]))
            await self._arrivals.rest()

    async def _answer(self, names: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data, sender = await loop.sock_recvfrom(names, QUERY_MAX)
                said = await answer(data, self._net)
                if said is not None:
                    await loop.sock_sendto(names, said, sender)
            except ConnectionError:
                continue  # an earlier answer met a socket that was closed
            except OSError as error:
                await self._outlast(error)
            await self._queries.rest()

    async def _outlast(self, error: OSError) -> None:
        """
        Wait where this host has too little of something just now. Raises any other error.
        """
        if error.errno not in _PASSING:
            raise error
        _LOG.warning("a box's network has to wait: %s", error)
        await asyncio.sleep(_PAUSE)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        # Nothing is known of what was left undone, so nothing goes on.
        _LOG.error("the network of a box is over", exc_info=error)
        self._ending = asyncio.get_running_loop().create_task(self.close())

    def _close_sockets(self) -> None:
        for one in self._listeners:
            one.close()
        if self._names is not None:
            self._names.close()


class _Pace:
    """
    `rest` lasts as long as it takes to keep to `_RATE`, with `_BURST` in advance.
    """

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0.0

    async def rest(self) -> None:
        now = time.monotonic()
        self._due = max(self._due, now - _BURST / _RATE) + 1 / _RATE
        await asyncio.sleep(max(0.0, self._due - now))


def _arrival(stream: socket.socket, own_port: int) -> Arrival:
    try:
        address, port = stream.getsockname()[:2]
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        stream.close()
        raise
    # On a socket for both families an address of IPv4 is written as one of IPv6.
    return Arrival(canonical_host(address) or address, port, own_port, stream)


def _require(one: socket.socket, kind: socket.SocketKind) -> None:
    if one.family not in _INTERNET or one.type is not kind:
        raise ValueError(f"a socket of {one.family!r} and {one.type!r} serves no box")
    one.setblocking(False)
