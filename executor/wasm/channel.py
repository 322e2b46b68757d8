"""
The worker's end of its socket: frames in order, one request to the gate at a time.

Everything is blocking and on one thread; only output is also sent by the watchdog, so sending
holds a lock. A descriptor that comes with an answer is checked before it is used: a regular
file, open for reading alone, or a stream, and the one that the answer is about.
"""

import socket
import threading
from typing import Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import frames
from executor.kernel.errors import InternalError
from executor.linux import descriptors
from executor.linux.descriptors import Passed, PassedStream, RegularFile
from executor.wasm.abi import GuestFault, from_host

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
        self._passed: list[Passed] = []
        self._sending = threading.Lock()
        # Frames are made and go nowhere: a rehearsal's, of which the server knows nothing.
        self.muted = False

    def send(self, *messages: wire.FromWorker) -> None:
        """
        Send frames at once, waiting while the server is behind. Raises ServerGoneError.
        """
        data = b"".join([frames.encode(message.SerializeToString()) for message in messages])
        if self.muted:
            return
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
        Ask the gate and wait. Raises GuestFault with the gate's errno and reason.
        """
        answer = self.answer_to(request)
        if answer.errno:
            raise GuestFault(from_host(answer.errno), answer.reason)
        return answer

    def answer_to(self, request: wire.Ask) -> wire.Answer:
        """
        The gate's answer, also one that refuses.
        """
        self.send(wire.FromWorker(ask=request))
        frame = self.receive()
        if frame.WhichOneof("frame") != "answer":
            raise InternalError("the server sent something else than the answer")
        return frame.answer

    def passed_descriptor(self) -> int:
        """
        The descriptor of a file that came with the last answer. The caller closes it.
        """
        passed = self._next_passed()
        if not isinstance(passed, RegularFile):
            raise InternalError("the server announced a file and sent something else")
        return passed.descriptor

    def passed_stream(self) -> socket.socket:
        """
        The stream that came with the last answer. The caller closes it.
        """
        passed = self._next_passed()
        if not isinstance(passed, PassedStream):
            raise InternalError("the server announced a stream and sent something else")
        # Its kind is named, or it would be asked of the kernel, by calls that the filter refuses.
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=passed.descriptor)

    def _next_passed(self) -> Passed:
        if not self._passed:
            raise InternalError("the server announced a descriptor and sent none")
        return self._passed.pop(0)

    def _more(self) -> bytes:
        try:
            data, passed = descriptors.receive_passed(self._socket, _RECEIVE)
        except OSError as error:
            raise ServerGoneError(str(error)) from error
        if not data:
            raise ServerGoneError("end of stream")
        if passed is not None:
            self._passed.append(passed)
        return data
