"""
What can go wrong with a commit besides what can with any file.

    CodecageError
    ├── Conflict             the base is not what the session saw; nothing of the commit was done
    └── ExecutorError
        └── Unrecoverable    a commit was cut off, and what is left of it cannot be trusted
"""

from executor.kernel.errors import CodecageError, ExecutorError, Status


class Conflict(CodecageError):
    """
    Somebody else changed what a commit rests on. `paths` are those found, relative to the mount.
    """

    def __init__(self, *paths: str) -> None:
        super().__init__(f"changed meanwhile: {', '.join(paths)}")
        self.paths = paths


class Unrecoverable(ExecutorError):
    """
    What a commit has left at the root of a source is not as this server leaves it.
    """

    def __init__(self, why: str) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "COMMIT_UNRECOVERABLE",
            "a commit was cut off and cannot be completed or undone; the server's log says why",
            detail=f"{why}; look at the files in it, put right what is wrong, and remove it",
        )
