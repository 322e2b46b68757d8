"""
All network brokers: one for each policy that has sessions and grants connections.

A broker holds its policy's secrets and reads what strangers send, so policies do not share one.
It is started when the first session of its policy is made, in the background, and ended when it
had no session for a minute. One that ends by itself ends its connections; the next connection
starts another.
"""

import contextlib
import itertools
import logging
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Final

from codecage.network.v1 import network_pb2 as broker_pb2
from executor.children.broker import Broker
from executor.children.launcher import Launcher
from executor.idle import IdleTime
from executor.kernel.errors import BrokerGone
from executor.kernel.way import Link, Way
from policy.types import Policy

_LOG = logging.getLogger(__name__)
# After one that ended before it was ready the next of its policy waits this long (seconds).
_PAUSE: Final = 1.0
IDLE: Final = 60.0


class Brokers:
    """
    The network brokers of one server. `row` is theirs in the launcher's table; `resolvers` are
    the name servers that they ask, as `ADDRESS:PORT`, none for those of the system; `idle`
    (seconds) is how long one without a session stays.
    """

    def __init__(
        self, launcher: Launcher, row: int, resolvers: Sequence[str] = (), *, idle: float = IDLE
    ) -> None:
        self._launcher = launcher
        self._row = row
        self._resolvers = tuple(resolvers)
        self._idle = idle
        self._lines: dict[tuple[str, ...], _Line] = {}
        self._numbers = itertools.count(1)

    def join(self, policy: Policy) -> Way | None:
        """
        The way to the policy's broker for one session, which leaves it at its end; None where
        the policy grants no connection.
        """
        if not policy.network:
            return None
        secrets = sorted({one.credential.secret for one in policy.network if one.credential})
        # Another state of a policy may name others, and a broker has those that it began with.
        key = (policy.name, *secrets)
        if key not in self._lines:
            setup = broker_pb2.Setup(resolvers=self._resolvers, secrets=secrets)
            self._lines[key] = _Line(self, policy.name, setup, self._idle)
        line = self._lines[key]
        line.join()
        return Lease(line, self._numbers)

    def start(self, setup: broker_pb2.Setup) -> Broker:
        """
        Start a broker. Raises BrokerGone where the launcher does not answer.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                self._launcher.start_zygote(0, self._row, theirs)
        except OSError as error:
            ours.close()
            raise BrokerGone(f"no network broker can be started: {error.strerror}") from error
        return Broker(ours, setup, self._launcher.process.pid)

    def close(self) -> None:
        """
        End all of them.
        """
        for line in self._lines.values():
            line.close()


class Lease:
    """
    One session's use of its policy's broker; `Way` says what its methods do.
    """

    def __init__(self, line: "_Line", numbers: Iterator[int]) -> None:
        self._line = line
        self._numbers = numbers
        self._left = False

    async def link(self) -> Link:
        """
        The broker, locked and ready. Raises BrokerGone.
        """
        broker = self._line.running()
        await broker.started()
        return broker

    async def caught_up(self) -> None:
        """
        Wait until all that it has said so far was heard.
        """
        if (broker := self._line.broker) is not None:
            await broker.caught_up()

    def number(self) -> int:
        """
        A number for a connection or an account that was never used.
        """
        return next(self._numbers)

    def leave(self, accounts: Sequence[int]) -> None:
        """
        The session is over. The second call does nothing.
        """
        if self._left:
            return
        self._left = True
        if (broker := self._line.broker) is not None:
            for account in accounts:
                broker.send(broker_pb2.ToBroker(forget=account))
        self._line.leave()


class _Line:
    """
    What is kept for one policy: its broker, if one runs, and how many sessions want it.
    """

    def __init__(self, brokers: Brokers, policy: str, setup: broker_pb2.Setup, idle: float) -> None:
        self.broker: Broker | None = None
        self._brokers = brokers
        self._policy = policy
        self._setup = setup
        self._sessions = 0
        self._not_before = 0.0
        self._idle = IdleTime(idle, lambda: self._end("its policy has no session"))
        self._closed = False

    def join(self) -> None:
        self._sessions += 1
        self._idle.stop()
        with contextlib.suppress(BrokerGone):  # whoever connects is told
            self.running()

    def leave(self) -> None:
        self._sessions -= 1
        if not self._sessions and not self._closed:
            self._idle.rest()

    def running(self) -> Broker:
        if self._closed:
            raise BrokerGone("the server is stopping")
        if self.broker is None or not self.broker.alive:
            if (wait := self._not_before - time.monotonic()) > 0:
                raise BrokerGone(
                    "the network broker did not start, and the server's log says why; "
                    f"it is tried again in {wait:.1f} s"
                )
            self.broker = broker = self._brokers.start(self._setup)
            broker.ended.add_done_callback(lambda _: self._on_end(broker))
        return self.broker

    def close(self) -> None:
        self._closed = True
        self._idle.end()
        self._end("the server is stopping")

    def _end(self, why: str) -> None:
        broker, self.broker = self.broker, None
        if broker is not None:
            broker.end(why)

    def _on_end(self, broker: Broker) -> None:
        if self.broker is not broker:
            return  # it was told to
        self.broker = None
        if not broker.ready.done():
            self._not_before = time.monotonic() + _PAUSE
            _LOG.error("the network broker of policy %s did not start", self._policy)
