"""
The supervisor: a process of the server that speaks for it with the kernel about the boxes' guests.

A box that is granted host files under rules has them as FUSE mounts, and a box that is watched has
its refused system calls reported. Both come here, from all sessions: the server's own process never
reads a request that a guest has caused, and no guest speaks to it but in frames, at a pace.

One process and one thread, because each request is short: what takes time is asked of the server.
Sessions have turns of a few requests each. When it dies, nothing opens: served mounts answer
ENOTCONN, refused calls ENOSYS, and the server ends the sessions.
"""

import argparse
import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from executor.linux import descriptors, service_process
from executor.linux.errors import MechanismError
from executor.linux.lock_steps import guard
from executor.linux.service_lock import Confinement
from executor.linux.service_process import BROKEN, UNUSABLE
from executor.process.fuse_nodes import ALL_NODES_MAX, Room
from executor.process.supervisor_attach import ATTACH_MAX, DESCRIPTORS_MAX, Attach
from executor.process.supervisor_lock import SUPERVISOR
from executor.process.supervisor_session import Ends, Session

READY: Final = b"ready "


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Serve until the control socket closes. Exit status 1 when the server broke the protocol, 2
    when something that is needed is not there; standard error says what.
    """
    given = service_process.parser("codecage-supervisor").parse_args(arguments)
    parent = os.getppid()
    try:
        guard(parent)
        descriptors.keep_only({given.socket, 2})
        _serve(given, parent)
    except MechanismError as error:
        print(f"supervisor: {error}", file=sys.stderr)
        return UNUSABLE


def _serve(given: argparse.Namespace, parent: int) -> NoReturn:
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=given.socket)
    control.setblocking(False)
    confinement = Confinement(SUPERVISOR, parent, given.uid, given.gid)
    service_process.run(confinement, Supervisor(control).serve)


class Supervisor:
    """
    All sessions of this process.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._sessions: set[Session] = set()
        self._room = Room(None, ALL_NODES_MAX)
        self._over: asyncio.Future[int] | None = None

    async def serve(self, isolation: str) -> int:
        """
        Say that this process is ready, confined by `isolation`, and take sessions until the server
        has gone; the process's exit status.
        """
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        loop.set_exception_handler(self._fault)
        self._control.send(READY + isolation.encode())
        loop.add_reader(self._control.fileno(), self._on_readable)
        return await self._over

    def _on_readable(self) -> None:
        try:
            data, received, flags, _ = socket.recv_fds(self._control, ATTACH_MAX, DESCRIPTORS_MAX)
        except BlockingIOError:
            return
        except OSError:
            data, received, flags = b"", [], 0
        if not data:
            self._end(0)
        elif flags or not self._attach(data, received):
            self._end(BROKEN)

    def _attach(self, data: bytes, received: list[int]) -> bool:
        try:
            attach = Attach.unpack(data)
        except ValueError:
            return False
        if len(received) != attach.descriptors:
            return False
        stream, *others = received
        memory = others.pop() if attach.sockets else -1
        listener = others.pop() if attach.watched else -1
        ends = Ends(stream, tuple(others), listener, memory)
        self._sessions.add(Session(ends, attach.mounts, self._room, self._sessions.discard))
        return True

    def _fault(self, *_: object) -> None:
        # A fault of ours: nobody knows what was left undone, so nothing is served any more.
        self._end(BROKEN)

    def _end(self, status: int) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(status)


if __name__ == "__main__":
    sys.exit(main())
