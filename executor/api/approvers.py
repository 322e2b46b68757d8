"""
The approvers' socket, beside the one for sessions: who may connect there, and who has connected.

gRPC tells nobody who is at the other end of a socket. So this program listens itself, asks the
kernel (SO_PEERCRED, unix(7)), and passes the bytes of those who may come in on to a server within
the directory that others cannot enter. Each connection that is passed on is bound to a random name,
which gRPC does tell, and which nobody else can bind as long as it is in use; a name that is not
known here belongs to somebody who came another way, and is let do nothing.

Who can open sessions is no approver: the account of the server, for the directory of its socket is
that account's alone, root, who may enter every directory, and the account that guests run as.
"""

import asyncio
import contextlib
import logging
import pwd
import secrets
import socket
import struct
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from codecage.v1 import approvals_pb2_grpc
from executor.api.approval_service import ApprovalService
from executor.api.listening import Place, add_port, clear_stale, masked
from executor.errors import CannotStart
from executor.sessions.approving import Approver, Desk

_LOG = logging.getLogger(__name__)
_MOST_CONNECTIONS: Final = 64
_MOST_OF_ONE: Final = 16
_CHUNK: Final = 2**16
_UCRED: Final = struct.Struct("3i")
_SCHEME: Final = "unix-abstract:"
_OVERFLOW: Final = Path("/proc/sys/kernel/overflowuid")
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 2**16),
    ("grpc.max_metadata_size", 2**13),
    ("grpc.absolute_max_metadata_size", 2**14),
    ("grpc.max_concurrent_streams", 16),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


@dataclass(frozen=True, slots=True)
class ApprovalOptions:
    """
    Where approvers connect, and which accounts they are.
    """

    where: Place
    approvers: tuple[Approver, ...]


def approvers(names: Collection[str], others: Mapping[int, str]) -> tuple[Approver, ...]:
    """
    The accounts of these names or numbers; `others` are those that cannot approve, by number, with
    the reason. Raises CannotStart.
    """
    found = {}
    for name in names:
        try:
            entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        except (KeyError, OverflowError) as error:
            raise CannotStart(
                f"--approver {name}: there is no such account; name one of this host"
            ) from error
        if entry.pw_uid in others:
            raise CannotStart(
                f"--approver {name}: {others[entry.pw_uid]}; nobody approves what he asks for "
                "himself: name another account"
            )
        found[entry.pw_uid] = Approver(entry.pw_name, entry.pw_uid)
    return tuple(found.values())


def nobodies() -> frozenset[int]:
    """
    The numbers that accounts without a name have for the kernel: that of `nobody`, and the one by
    which it tells of users that this user namespace does not know (user_namespaces(7)). Raises
    OSError without /proc.
    """
    found = {int(_OVERFLOW.read_text())}
    with contextlib.suppress(KeyError):
        found.add(pwd.getpwnam("nobody").pw_uid)
    return frozenset(found)


class Door:
    """
    The approvers' socket at `options.where`, and a server for them at `inner`. It belongs to one
    event loop.
    """

    def __init__(self, options: ApprovalOptions, inner: Place, desk: Desk) -> None:
        self._options = options
        self._inner = inner
        self._by_uid = {one.uid: one for one in options.approvers}
        self._known: dict[str, Approver] = {}
        self._passing: set[asyncio.Task[None]] = set()
        self._turned_away: set[int] = set()
        self._server = grpc.aio.server(options=_OPTIONS)
        service = ApprovalService(desk, self._who)
        approvals_pb2_grpc.add_ApprovalsServicer_to_server(service, self._server)
        self._listener: asyncio.Server | None = None

    async def open(self) -> None:
        """
        Let approvers in from now on. Raises CannotStart.
        """
        for where in (self._options.where, self._inner):
            clear_stale(where)
        add_port(self._server, self._inner)
        await self._server.start()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Everybody may knock: the kernel's word decides, not the file's mode.
            with masked(0o111):
                listening.bind(str(self._options.where.path))
        except OSError as error:
            listening.close()
            raise CannotStart(
                f"cannot listen on {self._options.where.path}: {error.strerror}"
            ) from error
        self._listener = await asyncio.start_unix_server(self._admit, sock=listening)

    async def close(self) -> None:
        """
        Let nobody in, and end what is under way.
        """
        if self._listener is not None:
            self._listener.close()
        for task in self._passing:
            task.cancel()
        if self._passing:
            await asyncio.wait(self._passing)
        await self._server.stop(None)
        for where in (self._options.where, self._inner):
            where.path.unlink(missing_ok=True)

    def _who(self, peer: str) -> Approver | None:
        """
        Whose connection gRPC calls `peer`; None for one that did not come through here.
        """
        return self._known.get(peer.removeprefix(_SCHEME)) if peer.startswith(_SCHEME) else None

    def _admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._admitted(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _admitted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            approver = self._by_uid.get(uid := _uid_of(writer))
            if approver is None:
                self._turn_away(uid)
            elif self._has_room(approver):
                await self._pass_on(approver, reader, writer)
        finally:
            writer.close()

    def _turn_away(self, uid: int) -> None:
        if uid not in self._turned_away and len(self._turned_away) < _MOST_CONNECTIONS:
            self._turned_away.add(uid)  # said once of each: whoever knocks fills no log
            _LOG.warning("uid %d is no approver, and was not let in to approve", uid)

    def _has_room(self, approver: Approver) -> bool:
        known = list(self._known.values())
        return len(known) < _MOST_CONNECTIONS and known.count(approver) < _MOST_OF_ONE

    async def _pass_on(
        self, approver: Approver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        name = f"codecage-{secrets.token_hex(16)}"
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inner.setblocking(False)
        try:
            inner.bind(f"\0{name}")
            self._known[name] = approver
            await asyncio.get_running_loop().sock_connect(inner, str(self._inner.path))
            inward, outward = await asyncio.open_unix_connection(sock=inner)
            try:
                await _both(_copied(reader, outward), _copied(inward, writer))
            finally:
                # What is unsent has nobody to take it. Only closed, the transport would stay with
                # the loop until it is sent, for a descriptor that is somebody else's by then.
                outward.transport.abort()
        except OSError:
            _LOG.debug("an approver's connection ended")
        finally:
            # The name is forgotten before it is free for somebody else.
            self._known.pop(name, None)
            inner.close()


async def _both(*copying: Coroutine[Any, Any, None]) -> None:
    """
    Copy both ways until one of them ends.
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(one) for one in copying]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()


def _uid_of(writer: asyncio.StreamWriter) -> int:
    connected: socket.socket = writer.get_extra_info("socket")
    told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(told)
    return int(uid)
