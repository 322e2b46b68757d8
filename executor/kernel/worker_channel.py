"""
The worker's end of its socket: frames in order, one request to the gate at a time.

Everything is blocking. Frames are read by the thread that runs cells alone; output is also sent by
others, so sending holds a lock. No descriptor is taken here: a cage that is given some does so
itself.
"""

import socket
import threading
from typing import Final

from google.protobuf.message import Message

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import frames
from executor.kernel.errors import InternalError

# How many bytes are read at a time, where no more are known to come.
_RECEIVE: Final = 2**16


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

    def send_output(self, stream: int, data: memoryview) -> None:
        """
        Send what the guest wrote, at most MAX_OUTPUT bytes. Raises ServerGoneError.
        """
        told = wire.Output(stream=stream)
        field = wire.Output.DATA_FIELD_NUMBER
        self._send_large(wire.FromWorker.OUTPUT_FIELD_NUMBER, told, field, data)

    def send_file(self, reply: wire.FileReply, data: memoryview) -> None:
        """
        Send the reply to a file command, with the bytes of the file. Raises ServerGoneError.
        """
        field = wire.FileReply.DATA_FIELD_NUMBER
        self._send_large(wire.FromWorker.FILE_FIELD_NUMBER, reply, field, data)

    def _send_large(self, number: int, told: Message, field: int, data: memoryview) -> None:
        head = frames.head((number,), told, field, len(data))
        first, rest = head + data[: frames.FIRST], data[frames.FIRST :]
        # To send nothing would be a system call as well.
        self._sent(*((first, rest) if rest else (first,)))

    def _sent(self, *parts: bytes | memoryview) -> None:
        try:
            with self._sending:
                for part in parts:
                    self._socket.sendall(part)
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
            data = self._received(self._socket, max(_RECEIVE, self._buffer.missing))
        except OSError as error:
            raise ServerGoneError(str(error)) from error
        if not data:
            raise ServerGoneError("end of stream")
        return data

    def _received(self, connection: socket.socket, size: int) -> bytes:
        return connection.recv(size)
