"""
What a guest tells its worker, as a worker puts it into frames: of any type, of any length.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.frames import MAX_OUTPUT

_LONGEST_TEXT: Final = 2**17


def text(value: object) -> str:
    """
    A string of the guest's, lossless and fit for a protobuf string: surrogates are escaped.
    """
    said = value if isinstance(value, str) else ""
    return said[:_LONGEST_TEXT].encode("utf-8", "backslashreplace").decode()


def length(value: dict[str, Any]) -> int:
    """
    How long the guest says that a value's text is; 0 for what is no length.
    """
    said = value.get("length")
    return said if isinstance(said, int) and 0 <= said < 2**63 else 0


def display_frames(forms: Mapping[str, bytes]) -> Iterator[wire.FromWorker]:
    """
    The frames of a bundle, each with at most MAX_OUTPUT bytes of its forms.
    """
    part, room = wire.Display(), MAX_OUTPUT
    for kind, data in forms.items():
        rest = memoryview(data)
        while True:
            part.data[kind] = bytes(rest[:room])
            room, rest = room - len(part.data[kind]), rest[room:]
            if not rest:
                break
            part.more = True
            yield wire.FromWorker(display=part)
            part, room = wire.Display(), MAX_OUTPUT
    yield wire.FromWorker(display=part)
