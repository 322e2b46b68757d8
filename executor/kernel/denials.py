"""
Why a served mount refused something, kept for whoever asks afterwards.

A guest that reaches its files through the kernel gets an errno and nothing else, where a guest in
the wasm cage gets the policy's sentence with it. So the last sentences are kept for the session,
by path, and its worker may ask for one. This explains; what was refused stays refused.
"""

from collections import deque
from dataclasses import dataclass

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.kernel.walk import covers

_KEPT = 32


@dataclass(frozen=True, slots=True)
class _Denial:
    path: str
    number: int
    reason: str


class Denials:
    """
    The last 32 refusals of one session.
    """

    def __init__(self) -> None:
        self._kept: deque[_Denial] = deque(maxlen=_KEPT)

    def keep(self, path: str, answer: frames_pb2.Answer) -> None:
        """
        Keep why `path` was refused, if `answer` is a refusal that says so.
        """
        if answer.errno and answer.reason:
            self._kept.append(_Denial(path, answer.errno, answer.reason))

    def take(self, path: str) -> frames_pb2.Answer:
        """
        The newest refusal of `path` or of a directory above it ("": of anything), which is then
        forgotten; an empty answer where there is none.
        """
        for found in reversed(self._kept):
            if not path or covers(found.path, path):
                self._kept.remove(found)
                return frames_pb2.Answer(errno=found.number, reason=found.reason)
        return frames_pb2.Answer()
