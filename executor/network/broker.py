"""
The network broker's process: one policy's connections to the world, and nothing else.

It is executed by the launcher with one socket, is told by a first frame what it needs, reads its
secrets, gives up its user, locks itself, says that it is ready, and then serves until that socket
closes or the process that started it ends. It never sees a policy or the audit store: it asks the
server before it dials, and before it sends a request.

What ends a connection is told once, by `_finished`. A fault of ours ends the connection that met
it and no other, and is told by its kind and place, for this process has no log to write to.
"""

import argparse
import asyncio
import errno
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Final

import dns.rdata

from codecage.network.v1 import network_pb2 as wire
from executor.linux import descriptors, service_process
from executor.linux.errors import MechanismError
from executor.linux.lock_steps import guard
from executor.linux.service_lock import Confinement
from executor.linux.service_process import BROKEN, UNUSABLE
from executor.network.account import Account
from executor.network.connection import Connection, Means, Shared
from executor.network.control import Control, End
from executor.network.errors import ControlBroken, Ending
from executor.network.hangups import Hangups
from executor.network.http.exchange import Exchange
from executor.network.lock import BROKER, CONNECTIONS_MAX
from executor.network.nameservers import NameServerUnusable, chosen, of_the_system
from executor.network.owned import Routes
from executor.network.resolver import Resolver
from executor.network.secrets import SecretUnusable, read_secrets
from executor.network.streams import Patience, SocketStream
from executor.network.trust import TrustUnusable, read_trust

_ACCOUNTS_MAX: Final = 65536
_STATUS: Final = {End.GONE: 0, End.BROKEN: BROKEN}
# The guest may think for this long between two requests, and not read for this long.
_GUEST: Final = Patience(300.0, 300.0, "the guest")
_LOST: Final = frozenset({errno.EPIPE, errno.ECONNRESET})
_RAW_GUEST: Final = Patience(None, None, "the guest")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Serve until the control socket closes. Exit status 1 when the server broke the protocol, 2
    when something that is needed is not there; standard error says what.
    """
    given = _parser().parse_args(arguments)
    parent = os.getppid()
    try:
        guard(parent)
        descriptors.keep_only({given.socket, 2})
        return _serve(Control(socket.socket(fileno=given.socket)), given, parent)
    except ControlBroken as error:
        print(f"network broker: {error}", file=sys.stderr)
        return BROKEN
    except (MechanismError, NameServerUnusable, SecretUnusable, TrustUnusable) as error:
        print(f"network broker: {error}", file=sys.stderr)
        return UNUSABLE


def _parser() -> argparse.ArgumentParser:
    parser = service_process.parser("codecage-network-broker")
    parser.add_argument("--secrets", type=Path)
    parser.add_argument("--trust", type=Path)
    return parser


def _serve(control: Control, given: argparse.Namespace, parent: int) -> int:
    setup = control.setup()
    if setup is None:
        return 0
    owners = {0, os.getuid(), given.uid or os.getuid()}
    means = Means(
        resolver=Resolver(chosen(setup.resolvers) if setup.resolvers else of_the_system()),
        routes=Routes(),
        trust=read_trust(given.trust),
        secrets=read_secrets(given.secrets, [*setup.secrets], owners),
    )
    _import_all()
    broker = Broker(control, means, Hangups())
    return service_process.run(Confinement(BROKER, parent, given.uid, given.gid), broker.serve)


def _import_all() -> None:
    """
    Import what would be imported later: under the lock nothing can be read.
    """
    dns.rdata.load_all_types(disable_dynamic_load=True)  # type: ignore[no-untyped-call]
    "localhost".encode("idna")


@dataclass(slots=True)
class _Held:
    """
    One connection that is open, and its guest's stream.
    """

    connection: Connection
    guest: SocketStream
    descriptor: int
    task: asyncio.Task[None]


class Broker:
    """
    The connections of this process, by number, and the accounts that they draw on.
    """

    def __init__(self, control: Control, means: Means, hangups: Hangups) -> None:
        self._control = control
        self._means = means
        self._hangups = hangups
        self._open: dict[int, _Held] = {}
        self._accounts: dict[int, Shared] = {}
        self._over: asyncio.Future[int] | None = None

    async def serve(self, isolation: str) -> int:
        """
        Say that this process is ready, confined by `isolation`, and take the server's frames until
        it has gone; the process's exit status.
        """
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        loop.set_exception_handler(self._fault)
        self._hangups.start()
        self._control.start(self._take, self._end)
        self._send(wire.FromBroker(ready=wire.Ready(isolation=isolation)))
        return await self._over

    def _end(self, end: End) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(_STATUS[end])

    def _fault(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        # A fault of ours outside of a connection: nobody knows what was left undone.
        if "handle" in context:
            self._end(End.BROKEN)

    def _take(self, frame: wire.ToBroker) -> None:
        match frame.WhichOneof("frame"):
            case "open":
                self._begin(frame.open)
            case "dial":
                self._answer(frame.dial.connection, frame)
            case "judgement":
                self._answer(frame.judgement.connection, frame)
            case "drop":
                if frame.drop in self._open:
                    self._open[frame.drop].task.cancel()
            case "forget":
                self._accounts.pop(frame.forget, None)
            case kind:
                raise ControlBroken(f"a frame {kind} where it has no place")

    def _answer(self, number: int, frame: wire.ToBroker) -> None:
        # A connection that has ended meanwhile is no fault of the server's.
        if number in self._open:
            self._open[number].connection.answer(frame)

    def _begin(self, opened: wire.Open) -> None:
        stream = self._control.stream(tcp=opened.tcp)
        if opened.connection in self._open:
            raise ControlBroken(f"connection {opened.connection} is open already")
        relays = opened.raw or (opened.tcp and opened.tls)
        patience = _RAW_GUEST if relays else _GUEST
        guest, descriptor = SocketStream(stream, patience), stream.fileno()
        if len(self._open) >= CONNECTIONS_MAX:
            self._refuse(opened, guest)
            return
        connection = Connection(opened, guest, self._shared(opened), self._means, self._send)
        task = asyncio.get_running_loop().create_task(connection.run())
        self._open[opened.connection] = _Held(connection, guest, descriptor, task)
        finish = connection.finish if opened.tcp else None
        self._hangups.watch(descriptor, connection.leave, finish)
        task.add_done_callback(lambda _: self._finished(opened.connection))

    def _shared(self, opened: wire.Open) -> Shared:
        shared = self._accounts.get(opened.account)
        if shared is None:
            if len(self._accounts) >= _ACCOUNTS_MAX:
                raise ControlBroken("more accounts than sessions can have; forget some")
            shared = Shared(Account(opened.budget), Exchange())
            self._accounts[opened.account] = shared
        shared.account.limit(opened.budget)
        return shared

    def _refuse(self, opened: wire.Open, guest: SocketStream) -> None:
        reason = f"{CONNECTIONS_MAX} connections of this policy are open; close some"
        ended = wire.Ended(connection=opened.connection, errno=errno.EMFILE, reason=reason)
        self._send(wire.FromBroker(ended=ended))
        _close(guest, tcp=opened.tcp, broken=True)

    def _finished(self, number: int) -> None:
        held = self._open.pop(number)
        ending, connection = _ending(held.task), held.connection
        if isinstance(ending, ControlBroken):
            self._end(End.BROKEN)
        else:
            if ending.errno in _LOST and held.guest.hung_up():
                # How a connection breaks that the guest has closed is no error of anybody's.
                ending = Ending(0, "")
            ended = wire.Ended(
                connection=number,
                errno=ending.errno,
                reason=ending.reason,
                sent=connection.traffic.sent,
                received=connection.traffic.received,
                address=connection.address,
            )
            self._send(wire.FromBroker(ended=ended))
        self._hangups.forget(held.descriptor)
        broken = isinstance(ending, ControlBroken) or bool(ending.errno)
        _close(held.guest, tcp=connection.tcp, broken=broken)

    def _send(self, frame: wire.FromBroker) -> None:
        try:
            self._control.send(frame)
        except ControlBroken:
            self._end(End.BROKEN)


def _close(guest: SocketStream, *, tcp: bool, broken: bool) -> None:
    """
    A guest at the end of a pair reads an end and asks for the reason; one with TCP of its own has
    to see from the connection itself that something is wrong.
    """
    if tcp and broken:
        guest.reset_now()
    else:
        guest.end_now()


def _ending(task: asyncio.Task[None]) -> Ending | ControlBroken:
    """
    What the end of a connection's task says; errno 0 for an end that both sides wish.
    """
    if task.cancelled():
        return Ending(errno.ECONNABORTED, "the server has given this connection up")
    error = task.exception()
    match error:
        case None:
            return Ending(0, "")
        case Ending() | ControlBroken():
            return error
    # The frames alone: the lines of their files cannot be read any more.
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    where = f" in {Path(places[-1][0]).name}:{places[-1][1]}" if places else ""
    return Ending(errno.EIO, f"a fault of the network broker ({type(error).__name__}{where})")


if __name__ == "__main__":
    sys.exit(main())
