"""
TCP sockets of a box that has no network namespace: the server makes them, and connects them.

Such a guest's socket(2) and connect(2) do not happen in its own process. The supervisor hears of
them, and asks here: for a socket, which becomes the guest's while this side keeps a copy; and to
have it connected. That is decided, recorded and carried as every connection of a guest's own TCP,
and then the copy is connected, to a socket of ours on the loopback interface. So the guest has one
and the same TCP socket from its beginning (flags, options, copies, what waits for it), and the
other end of it can be nobody but the server. To where it believes to be connected is in no packet.

The two ends find each other at an address of 127.0.0.0/8 that is chosen anew for each, where
somebody listens for that moment alone; the one who comes is let in if its address is the one that
the guest's socket was bound to when it was made, and anybody else is sent away.

Rejected: an end of a unix pair (no TCP_NODELAY, which every HTTP client sets); to replace the
guest's socket by a connected one, which would lose what the guest has set, copied or registered.
"""

import asyncio
import errno
import os
import secrets
import socket
from collections import OrderedDict
from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.audit.errors import AuditError
from executor.kernel.errors import GuestError, WorkerFault
from executor.kernel.net import Net
from executor.kernel.refusals import answer_to
from executor.kernel.reply import Reply

# What of the supervisor's asks is answered here.
SOCKET_ASKS: Final = frozenset({"open_socket", "dial"})
# Sockets that were made and not connected yet; of more the oldest cannot be connected any more.
HELD_MAX: Final = 64
_PORTS: Final = range(1, 2**16)
# Both ends are here, so this (seconds) is never waited for but where loopback is not up.
_PATIENCE: Final = 5.0
_MAPPED: Final = "::ffff:"
_GONE: Final = (
    "this socket cannot be connected: it is a copy of one, or too many were made after it; make a "
    "new one, and connect that"
)


class BoxSockets:
    """
    The sockets of one session's guest that are not connected. Used by its supervisor's asks, which
    come one at a time.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        self._held: OrderedDict[int, socket.socket] = OrderedDict()
        self._last = 0

    async def answer(self, kind: str, ask: frames_pb2.Ask) -> Reply:
        """
        Answer an ask of a kind in `SOCKET_ASKS`. Raises WorkerFault for one that no correct
        supervisor sends.
        """
        try:
            if kind == "open_socket":
                return self._open(ask.open_socket)
            await self._dial(ask.dial)
        except (GuestError, AuditError) as error:
            return Reply(answer_to(error))
        return Reply(frames_pb2.Answer())

    def close(self) -> None:
        """
        Let go of all of them: none can be connected any more.
        """
        while self._held:
            self._held.popitem()[1].close()

    def _open(self, asked: frames_pb2.SocketAsk) -> Reply:
        if not self._net.is_granted:
            raise WorkerFault("the supervisor asked for a socket, and no connection is granted")
        try:
            made = _made(socket.AF_INET6 if asked.six else socket.AF_INET)
            made.setblocking(not asked.nonblocking)
            guests = made.dup()
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT:
                reason = "this host has no such family of addresses"
                raise GuestError(error.errno, reason) from error
            raise GuestError.from_host(error, "a TCP socket") from error
        self._last += 1
        self._held[self._last] = made
        if len(self._held) > HELD_MAX:
            self._held.popitem(last=False)[1].close()
        return Reply(frames_pb2.Answer(socket=self._last), stream=guests)

    async def _dial(self, asked: frames_pb2.DialAsk) -> None:
        if asked.port not in _PORTS or asked.socket > self._last:
            raise WorkerFault(f"the supervisor asked for port {asked.port} of {asked.socket}")
        own = self._held.get(asked.socket)
        if own is None:
            raise GuestError(errno.EOPNOTSUPP, _GONE)
        await self._net.dial(asked.host, asked.port, own.getsockname()[1], lambda: joined(own))
        self._held.pop(asked.socket, own).close()


def _made(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Its port is known from here on, and nobody else can come from there.
        made.bind((_of_family(made, _loopback()), 0))
    except BaseException:
        made.close()
        raise
    return made


async def joined(own: socket.socket) -> socket.socket:
    """
    Connect `own`, which is bound to loopback, with a socket of ours: that one, the caller's.

    `own` is as blocking afterwards as it was. Raises GuestError (EHOSTUNREACH) where loopback
    carries nothing.
    """
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setblocking(False)
            listener.bind((_loopback(), 0))
            listener.listen()
            address, port = listener.getsockname()
            place = _of_family(own, address), port
            number = _begun(own, place)
            if number not in {0, errno.EINPROGRESS}:
                raise OSError(number, os.strerror(number))
            async with asyncio.timeout(_PATIENCE):
                while True:
                    ours, _ = await loop.sock_accept(listener)
                    if _are_ends(own, ours):
                        own.connect_ex(place)  # now only says that it is done
                        return _without_delay(ours)
                    ours.close()
    except OSError as error:
        reason = f"the server's loopback interface carries nothing: {error}"
        raise GuestError(errno.EHOSTUNREACH, reason) from error


def _begun(own: socket.socket, place: tuple[str, int]) -> int:
    # Who listens is there, so it is not waited for; where packets on loopback are dropped the
    # server would wait. The guest has the same flag, and its call is under way.
    blocking = os.get_blocking(own.fileno())
    os.set_blocking(own.fileno(), False)
    try:
        return own.connect_ex(place)
    finally:
        os.set_blocking(own.fileno(), blocking)


def _are_ends(own: socket.socket, ours: socket.socket) -> bool:
    """
    Whether the two are the ends of one connection, by both addresses of both.
    """
    try:
        own_peer, peer = own.getpeername(), ours.getpeername()
    except OSError:
        return False
    return _plain(own_peer) == _plain(ours.getsockname()) and (
        _plain(peer) == _plain(own.getsockname())
    )


def _plain(name: tuple[str, int]) -> tuple[str, int]:
    return name[0].removeprefix(_MAPPED), name[1]


def _without_delay(ours: socket.socket) -> socket.socket:
    try:
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        ours.close()
        raise
    return ours


def _of_family(own: socket.socket, address: str) -> str:
    return address if own.family is socket.AF_INET else f"{_MAPPED}{address}"


def _loopback() -> str:
    """
    An address of the loopback network that nobody can name beforehand.
    """
    return f"127.{secrets.randbelow(255)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}"
