"""
The parts of a bundle that a worker sends, joined: bounded, because the worker may be hostile.
"""

from typing import Final

from codecage.worker.v1 import worker_pb2 as frames_pb2
from executor.errors import ProtocolBroken
from executor.kernel.bundles import BUNDLE_MAX, FORMS_MAX, is_media_type
from executor.kernel.frames import MAX_OUTPUT

# A correct worker fills its parts: only the last one has less than a frame's worth.
PARTS_MAX: Final = BUNDLE_MAX // MAX_OUTPUT + 1


class Joiner:
    """
    One bundle after another, of which at most one is unfinished.
    """

    def __init__(self) -> None:
        self._forms: dict[str, bytearray] = {}
        self._parts = 0
        self._size = 0

    @property
    def is_open(self) -> bool:
        """
        Whether a bundle has begun and its last part has not come.
        """
        return self._parts > 0

    def add(self, part: frames_pb2.Display) -> dict[str, bytes] | None:
        """
        Take a part; the whole bundle when it is the last. Raises ProtocolBroken.
        """
        self._check(part)
        self._parts += 1
        for kind, data in part.data.items():
            self._forms.setdefault(kind, bytearray()).extend(data)
            self._size += len(data)
        if part.more:
            return None
        whole = {kind: bytes(data) for kind, data in self._forms.items()}
        self._forms, self._parts, self._size = {}, 0, 0
        return whole

    def _check(self, part: frames_pb2.Display) -> None:
        size = sum(map(len, part.data.values()))
        if self._parts + 1 > PARTS_MAX:
            raise ProtocolBroken(f"a display in more than {PARTS_MAX} parts")
        if self._size + size > BUNDLE_MAX:
            raise ProtocolBroken(f"a display of more than {BUNDLE_MAX} bytes")
        if not 1 <= len(self._forms.keys() | part.data.keys()) <= FORMS_MAX:
            raise ProtocolBroken(f"a display without forms, or with more than {FORMS_MAX}")
        if not all(map(is_media_type, part.data)):
            raise ProtocolBroken("a display with a form that has no media type")
