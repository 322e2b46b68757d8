"""
Frames codecage.network.v1 between this process and the server, over its one socket.

The server is believed in what it decides, and still held to the protocol: a frame of the wrong
kind, length or order ends the process, because whoever sends it is not the server that this
process knows. A descriptor comes with the first byte of an `Open` and with nothing else.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final

from google.protobuf.message import DecodeError

from codecage.network.v1 import network_pb2 as wire
from executor.kernel.frames import FrameBuffer, FrameTooLongError, encode
from executor.linux.descriptors import PassedStream, receive_passed
from executor.linux.errors import DescriptorRefused
from executor.network.errors import ControlBroken

# The longest frame is a Dial with its addresses, or a Setup that names many secrets.
FRAME_MAX: Final = 2**16
_READ: Final = 2**16
_PAIRS: Final = frozenset({socket.AF_UNIX})
_INTERNET: Final = frozenset({socket.AF_INET, socket.AF_INET6})
# Two answers of each connection that may be open, and more than any that is honest.
_UNSENT_MAX: Final = 2**22


class End(Enum):
    """
    How the control socket's life ends.
    """

    GONE = "the server has closed it"
    BROKEN = "what came is not of the protocol"


class Control:
    """
    Both ways of the socket. Until `start` it blocks, afterwards it belongs to the loop.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = FrameBuffer(FRAME_MAX)
        self._streams: deque[int] = deque()
        self._unsent = bytearray()
        self._take_frame: Callable[[wire.ToBroker], None] = _nobody
        self._end: Callable[[End], None] = _nobody

    def setup(self) -> wire.Setup | None:
        """
        Wait for the first frame; None when the server has gone. Raises ControlBroken.
        """
        while (frame := self._take()) is None:
            if not self._read():
                return None
        if frame.WhichOneof("frame") != "setup" or self._streams:
            raise ControlBroken("the first frame is no Setup")
        return frame.setup

    def start(self, take: Callable[[wire.ToBroker], None], end: Callable[[End], None]) -> None:
        """
        Block no more: from now on the running loop calls `take` with each frame, and `end` once.

        What `take` raises as ControlBroken is an end like any other.
        """
        self._socket.setblocking(False)
        self._take_frame, self._end = take, end
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket.fileno(), self._on_readable)
        loop.call_soon(self._on_readable)

    def stream(self, *, tcp: bool) -> socket.socket:
        """
        The stream that came with the Open that was received last, of TCP or an end of a unix pair;
        it is the caller's.

        Raises ControlBroken when none came, or it is none.
        """
        if not self._streams:
            raise ControlBroken("an Open came without its stream")
        connection = socket.socket(fileno=self._streams.popleft())
        families = _INTERNET if tcp else _PAIRS
        if connection.family not in families or connection.type != socket.SOCK_STREAM:
            connection.close()
            raise ControlBroken("the descriptor of an Open is no stream of its kind")
        connection.setblocking(False)
        return connection

    def send(self, frame: wire.FromBroker) -> None:
        """
        Send `frame`, now or as soon as the server reads. Raises ControlBroken when it is gone, or
        has not read for so long that 4 MiB wait.
        """
        waiting = bool(self._unsent)
        self._unsent += encode(frame.SerializeToString())
        if len(self._unsent) > _UNSENT_MAX:
            raise ControlBroken("the server does not read")
        if not waiting:
            self._write()

    def _take(self) -> wire.ToBroker | None:
        try:
            data = self._buffer.take()
            frame = None if data is None else wire.ToBroker.FromString(data)
        except (FrameTooLongError, DecodeError) as error:
            raise ControlBroken(str(error)) from error
        if frame is not None and frame.WhichOneof("frame") is None:
            raise ControlBroken("a frame holds nothing known")
        return frame

    def _read(self) -> bool:
        """
        Take what has come; false at the end.
        """
        try:
            data, passed = receive_passed(self._socket, _READ)
        except DescriptorRefused as error:
            raise ControlBroken(str(error)) from error
        except ConnectionError:
            return False
        if isinstance(passed, PassedStream):
            self._streams.append(passed.descriptor)
        elif passed is not None:
            raise ControlBroken("a file came where only streams come")
        self._buffer.feed(data)
        return bool(data)

    def _on_readable(self) -> None:
        try:
            alive = self._read()
        except BlockingIOError:
            alive = True
        except ControlBroken:
            self._stop(End.BROKEN)
            return
        try:
            while (frame := self._take()) is not None:
                self._take_frame(frame)
        except ControlBroken:
            self._stop(End.BROKEN)
            return
        if not alive:
            self._stop(End.GONE)

    def _stop(self, end: End) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._end(end)

    def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            loop.add_writer(self._socket.fileno(), self._write)
            return
        except ConnectionError:
            # Nobody will read it; that the server has gone is seen by who reads.
            self._unsent.clear()
        loop.remove_writer(self._socket.fileno())


def _nobody(_: object) -> None:
    """
    Before `start` nobody is told anything.
    """
