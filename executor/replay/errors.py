"""
Why a session is not replayed.

    ReplayError
    ├── CaptureInvalid   its capture holds no session: something was removed, added or moved
    ├── NothingCaptured  there is no capture at all
    ├── Unread           its capture, or its record, cannot be read
    ├── ImageMissing     the image that it ran is not in the cache
    └── CellMissing      it has no such cell
"""

from pathlib import Path


class ReplayError(Exception):
    """
    A session cannot be replayed.
    """


class CaptureInvalid(ReplayError):
    """
    The events of a capture are not those of a session.
    """


class Unread(ReplayError):
    """
    A capture or its record cannot be read; the text says why.
    """


class ImageMissing(ReplayError):
    """
    The image of a session is not there.
    """

    def __init__(self, image: str, key: str) -> None:
        super().__init__(
            f"the session ran the image {image} with key {key}, which is not in the cache; a replay"
            " needs the same one: copy it here, or build it from the same lock"
        )


class CellMissing(ReplayError):
    """
    A cell was named that the session has not.
    """

    def __init__(self, cell: int, last: int) -> None:
        super().__init__(f"there is no cell {cell}; the capture has cells 1 to {last}")


class NothingCaptured(ReplayError):
    """
    All captures were asked for, and there is none: that is no yes.
    """

    def __init__(self, audit: Path) -> None:
        super().__init__(
            f"there is no capture beside {audit}; sessions are captured under policies with "
            "`audit: {level: replay}`"
        )
