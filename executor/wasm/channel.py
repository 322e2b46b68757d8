"""
The socket of a wasm worker: descriptors come with answers, and refusals are the guest's errors.

A descriptor is checked before it is used: a regular file, open for reading alone, or a stream, and
the one that the answer is about.
"""

import socket

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.errors import InternalError
from executor.kernel.worker_channel import WorkerChannel
from executor.linux import descriptors
from executor.linux.descriptors import Passed, PassedStream, RegularFile
from executor.wasm.abi import GuestFault, from_host


class Channel(WorkerChannel):
    """
    Frames to and from the server, and what is passed with them.
    """

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self._passed: list[Passed] = []
        # Frames are made and go nowhere: a rehearsal's, of which the server knows nothing.
        self.muted = False

    def ask(self, request: wire.Ask) -> wire.Answer:
        """
        Ask the gate and wait. Raises GuestFault with the gate's errno and reason.
        """
        answer = self.answer_to(request)
        if answer.errno:
            raise GuestFault(from_host(answer.errno), answer.reason)
        return answer

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

    def _sent(self, *parts: bytes | memoryview) -> None:
        if not self.muted:
            super()._sent(*parts)

    def _received(self, connection: socket.socket, size: int) -> bytes:
        data, passed = descriptors.receive_passed(connection, size)
        if passed is not None and data:
            self._passed.append(passed)
        return data
