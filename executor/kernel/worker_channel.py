"""
The worker's end of its socket: frames in order, one request to the gate at a time.

Everything is blocking. Frames are read by the thread that runs cells alone; output is also sent by
others, so sending holds a lock. No descriptor is taken here: a cage that is given some does so
itself.
"""

import socket
import threading
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import frames
from executor.kernel.errors import InternalError

RECEIVE: Final = 2**16
"""How many bytes are read at a time."""


class ServerGoneError(InternalError):
    """
    The server closed the socket: the worker has nothing left to live for.
    """


class WorkerChannel:
    """
    Frames to and from the server.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = frames.FrameBuffer(frames.MAX_TO_WORKER)
        self._sending = threading.Lock()

    def send(self, *messages: wire.FromWorker) -> None:
        """
        Send frames at once, waiting while the server is behind. Raises ServerGoneError.
        """
        self._sent(b"".join([frames.encode(message.SerializeToString()) for message in messages]))

    def _sent(self, data: bytes) -> None:
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError as error:
            raise ServerGoneError(str(error)) from error

    def receive(self) -> wire.ToWorker:
        """
        The next frame. Raises ServerGoneError.
        """
        while (data := self._buffer.take()) is None:
            self._buffer.feed(self._more())
        return wire.ToWorker.FromString(data)

    def answer_to(self, request: wire.Ask) -> wire.Answer:
        """
        Ask the gate, while a cell runs, and wait for its answer, also one that refuses. Raises
        ServerGoneError.
        """
        self.send(wire.FromWorker(ask=request))
        frame = self.receive()
        if frame.WhichOneof("frame") != "answer":
            raise InternalError("the server sent something else than the answer")
        return frame.answer

    def _more(self) -> bytes:
        try:
            data = self._received(self._socket)
        except OSError as error:
            raise ServerGoneError(str(error)) from error
        if not data:
            raise ServerGoneError("end of stream")
        return data

    def _received(self, connection: socket.socket) -> bytes:
        return connection.recv(RECEIVE)
