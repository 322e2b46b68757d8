"""
What both clients know of their connection: where the server is, and what its failures mean.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import grpc

from agent_client.embedded import PrivateServer
from agent_client.errors import CodecageError, InvalidRequest, ServerUnavailable
from agent_client.failures import closed, failure
from agent_client.records import SessionInfo

ADDRESS_VARIABLE = "CODECAGE_ADDRESS"
# Longer than any call that computes nothing should take, opening a session included.
PATIENCE_SECONDS = 60.0
_SAYS_MORE = "the server's log says why"
NO_LABELS: Mapping[str, str] = {}
NO_VARIABLES: Mapping[str, object] = {}
CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_http_proxy", 0),  # the socket is on this machine, whatever the environment says
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", 8 * 1024 * 1024),
)


class Link:
    """
    An address, and the private server behind it if there is one.
    """

    def __init__(self, address: str, server: PrivateServer | None) -> None:
        self.address = address
        self._server = server
        self._closed = False
        self._process = os.getpid()

    @property
    def is_ours(self) -> bool:
        """
        Whether this process made it, and was not forked from the one that did: gRPC's threads and
        locks are no more in the child, so that a call may wait there for ever.
        """
        return os.getpid() == self._process

    def check_open(self) -> None:
        """
        Raise SessionClosed after `close`, InvalidRequest in a forked child.
        """
        if self._closed:
            raise closed("the connection")
        if not self.is_ours:
            raise InvalidRequest(
                f"process {self._process} made this connection, and {os.getpid()} was forked from "
                "it: gRPC does not survive that; connect again in the child"
            )

    def failure(self, error: grpc.RpcError) -> CodecageError:
        """
        What a failed call means; a private server's last words are told where it is gone, or
        where only its log says more: nobody else can read that.
        """
        if self._closed:
            return closed("the connection")
        meant = failure(error, self.address)
        if isinstance(meant, ServerUnavailable) and self._server and (why := self._server.ended()):
            return ServerUnavailable(why)
        if self._server and _SAYS_MORE in str(meant):
            return type(meant)(
                f"{meant}{self._server.said()}", reason=meant.reason, metadata=meant.metadata
            )
        return meant

    def may_come_back(self) -> bool:
        """
        Whether a broken connection may be mended: not after `close`, and not where the private
        server has ended.
        """
        return not self._closed and not (self._server and self._server.ended())

    def mark_closed(self) -> bool:
        """
        Refuse what comes after; tells whether there is something to close, which in a forked child
        there is not: it is the parent's.
        """
        was_open, self._closed = not self._closed, True
        return was_open and self.is_ours

    def stop_server(self) -> None:
        """
        End the private server, if there is one.
        """
        if self._server is not None:
            self._server.stop()


class SessionHandle:
    """
    What both kinds of session know without asking.

    `info` is the session as the server described it when this object was made.
    """

    def __init__(self, info: SessionInfo) -> None:
        self.info = info
        self._closed = False
        self._has_run = False

    @property
    def id(self) -> str:
        """
        The session's id, which `Cage.attach` takes. Who knows it can use the session.
        """
        return self.info.id

    @property
    def policy(self) -> str:
        """
        The name of the policy that the session is under.
        """
        return self.info.policy.name

    @property
    def image(self) -> str:
        """
        The name of the image that the session has: what its code can import.
        """
        return self.info.image

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        what = f"policy={self.policy!r} image={self.image!r}"
        return f"<{type(self).__name__} {self.id} {what} {state}>"

    def _is_first(self) -> bool:
        had_run, self._has_run = self._has_run, True
        return not had_run

    def _open_id(self) -> str:
        if self._closed:
            raise closed("the session")
        return self.id


def address_or_private(address: str | None, *, private: bool) -> str | None:
    """
    The address to use: `address`, else the environment's CODECAGE_ADDRESS; None for a private
    server, which is also meant by arguments that only a private server has (`private`).

    Raises InvalidRequest for both at once, and for anything but `unix:PATH`: a server listens on
    nothing else.
    """
    if address and private:
        raise InvalidRequest(
            f"an address ({address}) was given together with policies, audit, run_as, secrets, "
            "trust or resolvers, which are for a private server; leave out one or the other"
        )
    asked = address or (None if private else os.environ.get(ADDRESS_VARIABLE))
    if not asked:
        return None
    path = asked.removeprefix("unix:")
    if path == asked or not path.strip("/") or "\0" in path:
        raise InvalidRequest(
            f"{asked!r} was given as the server's address; only 'unix:PATH' is possible, "
            "such as 'unix:/run/codecage/sock'"
        )
    # gRPC takes unix:///absolute as well; a relative path must not change with the directory.
    return f"unix:{Path('/', path.lstrip('/')) if path.startswith('/') else Path(path).absolute()}"
