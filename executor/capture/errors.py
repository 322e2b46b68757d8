"""
What can be wrong with a capture.

    CaptureError
    ├── CaptureMissing   there is none of this session, or none any more
    ├── CaptureErased    its key was dropped: nobody can read it again
    ├── CaptureTooLarge  it is more than whoever reads it has room for
    └── CaptureDamaged   it is not what was written
"""


class CaptureError(Exception):
    """
    A capture cannot be read.
    """


class CaptureMissing(CaptureError):
    """
    There is no capture of the session.
    """

    def __init__(self, session: str) -> None:
        super().__init__(
            f"nothing was captured of session {session}; that needs `audit: {{level: replay}}` in"
            " its policy, and the captures beside the record that --audit names"
        )


class CaptureErased(CaptureError):
    """
    The capture's key is gone.
    """

    def __init__(self, session: str) -> None:
        super().__init__(f"the capture of session {session} was erased: its key is gone")


class CaptureTooLarge(CaptureError):
    """
    The capture's events are more bytes than the reader wants.
    """

    def __init__(self, session: str, most: int) -> None:
        super().__init__(
            f"the capture of session {session} has more than {most:,} bytes once it is unpacked; "
            "`codecage audit replay` reads it"
        )


class CaptureDamaged(CaptureError):
    """
    The capture is not what was written.
    """

    def __init__(self, session: str, what: str) -> None:
        super().__init__(f"the capture of session {session} is not what was written: {what}")
