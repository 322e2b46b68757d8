"""
The worker's end of its socket: frames in order, one request to the gate at a time.

Frames are read by the thread that runs cells alone; output is also sent by others, so sending
holds a lock. No descriptor is ever taken: this cage is given none.
"""

import socket
import threading
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import frames
from executor.kernel.errors import InternalError

_RECEIVE: Final = 2**16


class ServerGoneError(InternalError):
    """
    The server closed the socket: the worker has nothing left to live for.
    """


class Channel:
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
        data = b"".join([frames.encode(message.SerializeToString()) for message in messages])
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

    def ask(self, request: wire.Ask) -> wire.Answer:
        """
        Ask the gate, while a cell runs, and wait for its answer. Raises ServerGoneError.
        """
        self.send(wire.FromWorker(ask=request))
        frame = self.receive()
        if frame.WhichOneof("frame") != "answer":
            raise InternalError("the server sent something else than the answer")
        return frame.answer

    def _more(self) -> bytes:
        try:
            data = self._socket.recv(_RECEIVE)
        except OSError as error:
            raise ServerGoneError(str(error)) from error
        if not data:
            raise ServerGoneError("end of stream")
        return data
