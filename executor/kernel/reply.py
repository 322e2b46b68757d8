"""
What the gate answers, with what goes along.
"""

import os
import socket
from dataclasses import dataclass

from codecage.worker.v1 import worker_pb2 as frames_pb2


@dataclass(frozen=True, slots=True)
class Reply:
    """
    The answer to send, and perhaps what goes with it, which is the caller's: a read-only
    descriptor of a file, or the guest's end of a connection.
    """

    answer: frames_pb2.Answer
    descriptor: int | None = None
    stream: socket.socket | None = None

    @property
    def passed(self) -> int | socket.socket | None:
        """
        What goes with the answer.
        """
        return self.descriptor if self.stream is None else self.stream

    def close(self) -> None:
        """
        Let go of what went with it.
        """
        if self.descriptor is not None:
            os.close(self.descriptor)
        if self.stream is not None:
            self.stream.close()
