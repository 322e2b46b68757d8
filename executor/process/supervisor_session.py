"""
One session of the supervisor: its served mounts, its refused calls, its guest's sockets, and its
stream to the server.

On the stream go the frames of a worker: questions and notes to the server, answers back, with a
read-only descriptor where a file was opened for reading, or a socket where one was asked for. One
question is open at a time, and those of all the session's mounts and sockets wait in one line; only
behind the close of a file, for whose answer nobody waits, the next goes at once. The server takes
one after the other, and answers in that order. When the stream ends, so does the session here, and
the other way round: the devices and the listener are closed, and the kernel answers the guest with
ENOTCONN and ENOSYS.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.errors import InternalError
from executor.kernel.frames import FrameBuffer, encode
from executor.linux.descriptors import PassedStream, RegularFile, receive_passed
from executor.linux.errors import DescriptorRefused
from executor.process.fuse import Job, Mount
from executor.process.fuse_acts import Passed, Tree
from executor.process.fuse_nodes import NODES_MAX, Fault, Files, Nodes, Room
from executor.process.plan import GUEST_ID
from executor.process.supervisor_attach import ServedMount
from executor.process.supervisor_calls import RefusedCalls
from executor.process.supervisor_sockets import Call, GuestSockets

# A listing of ten thousand names is the longest answer.
_ANSWER_MAX: Final = 2**22
_READ: Final = 2**18
# Notes wait while so many bytes do: a question is at most one write and its path.
_NOTES_MAX: Final = 2**16
_NOTE_ROOM: Final = 512
# Closes that are sent before the first of them is answered.
_CLOSES_MAX: Final = 16


class StreamBroken(Exception):
    """
    The server sent what no server sends.
    """


@dataclass(frozen=True, slots=True)
class Ends:
    """
    What a session is served with, as descriptors that become its own: the stream, a FUSE device
    for each mount, the listener or -1, the guest's memory or -1.
    """

    stream: int
    devices: tuple[int, ...]
    listener: int
    memory: int = -1


class Session:
    """
    A session from its first request to its end. `over` is called when it has ended by itself.
    """

    def __init__(
        self,
        ends: Ends,
        mounts: Sequence[ServedMount],
        room: Room,
        over: Callable[["Session"], None],
    ) -> None:
        self._stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=ends.stream)
        self._stream.setblocking(False)
        self._over = over
        self._closed = False
        self._frames = FrameBuffer(_ANSWER_MAX)
        self._passed: deque[RegularFile | PassedStream] = deque()
        self._unsent = bytearray()
        self._line: deque[tuple[Job | Call, wire.Ask]] = deque()
        # Whose questions are open, in their order: at most the last of them is not a close.
        self._asked: deque[Job | Call] = deque()
        self._waits = False
        self._notes: dict[str, wire.Note] = {}
        own = Room(room, NODES_MAX)
        self._mounts = [
            Mount(device, _tree(mount, own), self._ask, self._end)
            for device, mount in zip(ends.devices, mounts, strict=True)
        ]
        self._calls: RefusedCalls | None = None
        if ends.listener >= 0:
            sockets = None
            if ends.memory >= 0:
                sockets = GuestSockets(ends.listener, ends.memory, self._ask)
            self._calls = RefusedCalls(ends.listener, self._note, self._end, sockets)
        asyncio.get_running_loop().add_reader(self._stream.fileno(), self._on_readable)

    def close(self) -> None:
        """
        Let go of everything. The second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        if self._calls is not None:
            self._calls.close()
        for mount in self._mounts:
            mount.close()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._stream.fileno())
        loop.remove_writer(self._stream.fileno())
        self._stream.close()
        while self._passed:
            os.close(self._passed.popleft().descriptor)
        self._line.clear()

    def _end(self, _why: str) -> None:
        """
        Something is not as it can be; the reason has nobody to go to, and the server sees the end.
        """
        self.close()
        self._over(self)

    # ---- what is asked ---------------------------------------------------------------------

    def _ask(self, job: Job | Call, ask: wire.Ask) -> None:
        self._line.append((job, ask))
        self._ask_next()

    def _ask_next(self) -> None:
        while self._line and not self._closed and not self._waits:
            job, ask = self._line.popleft()
            if not job.dropped:
                job.asked = True
                self._asked.append(job)
                self._waits = not ask.close or len(self._asked) >= _CLOSES_MAX
                self._send(wire.FromWorker(ask=ask))

    def _note(self, note: wire.Note) -> None:
        if self._closed:
            return
        if len(self._unsent) + _NOTE_ROOM > _NOTES_MAX:
            held = self._notes.setdefault(note.what, wire.Note(what=note.what, errno=note.errno))
            held.count = min(held.count + note.count, 2**32 - 1)
            return
        self._send(wire.FromWorker(note=note))

    def _send(self, frame: wire.FromWorker) -> None:
        waiting = bool(self._unsent)
        self._unsent += encode(frame.SerializeToString())
        if not waiting:
            self._write()

    def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                del self._unsent[: self._stream.send(self._unsent)]
        except BlockingIOError:
            loop.add_writer(self._stream.fileno(), self._write)
            return
        except OSError:
            # That the server has gone is seen by who reads.
            self._unsent.clear()
        loop.remove_writer(self._stream.fileno())
        notes, self._notes = self._notes, {}
        for note in notes.values():
            self._note(note)

    # ---- what is answered ------------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            alive = self._receive()
            while not self._closed and (message := self._frames.take()) is not None:
                self._answered(message)
        except (StreamBroken, InternalError, DescriptorRefused, OSError):
            alive = False
        if not alive:
            self._end("the server has let go of the session, or is none")

    def _receive(self) -> bool:
        try:
            data, passed = receive_passed(self._stream, _READ)
        except BlockingIOError:
            return True
        if passed is not None:
            self._passed.append(passed)
        self._frames.feed(data)
        return bool(data)

    def _answered(self, message: bytes) -> None:
        try:
            frame = wire.ToWorker.FromString(message)
        except DecodeError as error:
            raise StreamBroken(str(error)) from error
        if not self._asked or not frame.HasField("answer"):
            raise StreamBroken("an answer to nothing, or none")
        job = self._asked.popleft()
        self._waits = self._waits and bool(self._asked)
        answer, descriptor = frame.answer, -1
        if answer.opened.passed or answer.socket:
            descriptor = self._announced(job, answer)
        told = Fault(answer.errno, answer.reason) if answer.errno else Passed(answer, descriptor)
        job.go_on(told)
        self._ask_next()

    def _announced(self, job: Job | Call, answer: wire.Answer) -> int:
        """
        The descriptor that came with an answer: a file for a mount, a socket for a guest.
        """
        kind = PassedStream if answer.socket else RegularFile
        fits = isinstance(job, Call) == (kind is PassedStream)
        if not fits or answer.errno or not self._passed:
            raise StreamBroken("a descriptor is announced that did not come, or is for nobody")
        if not isinstance(self._passed[0], kind):
            raise StreamBroken("a descriptor came that is not what was announced")
        return self._passed.popleft().descriptor


def _tree(mount: ServedMount, room: Room) -> Tree:
    nodes = Nodes(mount.path, room, wire.KIND_DIRECTORY)
    return Tree(nodes, Files(), GUEST_ID, mount.size, mount.files)
