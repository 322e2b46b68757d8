"""
What can go wrong between a client's call and its session.

    CodecageError
    ├── ExecutorError              the caller's: each class is one reason word and one status
    │   ├── InvalidRequest         a field is missing, too long or not what it has to be
    │   ├── PolicyNotFound
    │   ├── ImageNotAllowed, ImageNotBuilt, ImageTooLarge    in choice.py
    │   ├── SessionNotFound        unknown, closed or somebody else's: all the same
    │   ├── SessionLost            its worker is gone; only closing is left
    │   ├── CellRunning            one cell at a time
    │   ├── CellNotFound           `Attach` to a cell whose events are not kept
    │   ├── LimitReached           sessions of a policy or of the server, cells of a session
    │   ├── FileRefused            a file command that the session's file system answered with no
    │   ├── NotProved              the record is not what a client's head vouched for
    │   ├── AuditRefuses           the record cannot be written, so nothing happens
    │   ├── CageUnavailable        no worker can be had
    │   ├── Draining               the server is stopping
    │   └── CannotStart            the server's options or its host
    ├── InternalError
    │   └── WorkerFault            of the kernel's: a worker asked for what none asks for
    │       └── ProtocolBroken     a worker sent what is not even a frame in its turn
    └── WorkerGone                 a worker's process has ended; it never leaves the session

Every message says what was asked, what is allowed and what to do, and holds no path of the host.
"""

import errno

from executor.kernel.errors import CodecageError, ExecutorError, Status, WorkerFault


class WorkerGone(CodecageError):
    """
    The worker has closed its socket: its process has ended, or is about to.
    """


class ProtocolBroken(WorkerFault):
    """
    A worker sent what no correct worker sends; it is taken for hostile and killed.
    """


class InvalidRequest(ExecutorError):
    """
    A field of the request is not what it has to be; `reason` names which rule.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(Status.INVALID_ARGUMENT, reason, message)


class PolicyNotFound(ExecutorError):
    """
    No policy of this name is loaded.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            Status.NOT_FOUND,
            "POLICY_NOT_FOUND",
            "this server has no such policy; ListPolicies names those it has",
            metadata={"policy": name},
        )


class SessionNotFound(ExecutorError):
    """
    No session that the caller may use has this identity.
    """

    def __init__(self) -> None:
        super().__init__(
            Status.NOT_FOUND,
            "SESSION_NOT_FOUND",
            "there is no such session: it never was, or it was closed or left idle too long; "
            "create a new one",
        )


class SessionLost(ExecutorError):
    """
    The session's worker is gone, and its variables and files with it.
    """

    def __init__(self, why: str) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "SESSION_LOST",
            f"the session is lost: {why}; close it and create a new one",
        )


class CellRunning(ExecutorError):
    """
    A cell runs, and whatever was asked has to wait for its end.
    """

    def __init__(self, cell: int) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "CELL_RUNNING",
            f"cell {cell} is running and a session runs one cell at a time; "
            "wait for its end, or interrupt it",
            metadata={"cell": str(cell)},
        )


class CellNotFound(ExecutorError):
    """
    The events of this cell are not kept: only those of the running or last one are.
    """

    def __init__(self, cell: int, last: int) -> None:
        super().__init__(
            Status.NOT_FOUND,
            "CELL_NOT_FOUND",
            f"the events of cell {cell} are not kept; the last cell of this session is {last}",
            metadata={"last_cell": str(last)},
        )


class LimitReached(ExecutorError):
    """
    A number that the policy or the server sets is used up.
    """

    def __init__(self, limit: str, allowed: int, what_to_do: str) -> None:
        super().__init__(
            Status.RESOURCE_EXHAUSTED,
            "LIMIT_REACHED",
            f"{limit}: {allowed} are allowed and in use; {what_to_do}",
            metadata={"limit": limit, "allowed": str(allowed)},
        )


_FILE_STATUS = {
    errno.ENOENT: Status.NOT_FOUND,
    errno.EACCES: Status.PERMISSION_DENIED,
    errno.EPERM: Status.PERMISSION_DENIED,
    errno.EROFS: Status.PERMISSION_DENIED,
    errno.ENOSPC: Status.RESOURCE_EXHAUSTED,
    errno.EDQUOT: Status.RESOURCE_EXHAUSTED,
    errno.EFBIG: Status.RESOURCE_EXHAUSTED,
    errno.EINVAL: Status.INVALID_ARGUMENT,
    errno.ENAMETOOLONG: Status.INVALID_ARGUMENT,
}


class FileRefused(ExecutorError):
    """
    The session's file system answered a client's file command with an error number.
    """

    def __init__(self, number: int, message: str) -> None:
        name = errno.errorcode.get(number, "EIO")
        super().__init__(
            _FILE_STATUS.get(number, Status.FAILED_PRECONDITION),
            "FILE_REFUSED",
            message,
            metadata={"errno": name},
        )


class AuditRefuses(ExecutorError):
    """
    What was asked would have to be recorded, and the record cannot be written.
    """

    def __init__(self) -> None:
        super().__init__(
            Status.UNAVAILABLE,
            "AUDIT_UNAVAILABLE",
            "the audit record cannot be written now, so nothing was done; try again, and tell the "
            "server's administrator if it stays so",
        )


class NotProved(ExecutorError):
    """
    No proof leads from a head that the client holds to the record as it is.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "AUDIT_NOT_PROVED",
            "the record is not what this head vouched for with more added, or the head is of "
            "another store; keep it, and have the owner run `codecage audit verify --head`",
            detail=detail,
        )


class CageUnavailable(ExecutorError):
    """
    No worker could be started; the details are in the server's log.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(
            Status.UNAVAILABLE,
            "CAGE_UNAVAILABLE",
            "no worker could be started for the session; try again, and tell the server's "
            "administrator, whose log says why, if it stays so",
            detail=detail,
        )


class Draining(ExecutorError):
    """
    The server was told to stop and takes no new work.
    """

    def __init__(self) -> None:
        super().__init__(
            Status.UNAVAILABLE,
            "DRAINING",
            "the server is stopping and takes no new work; ask its successor",
        )


class CannotStart(ExecutorError):
    """
    The server does not start like this; the message, for its administrator, says what to change.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Status.FAILED_PRECONDITION, "CANNOT_START", message)
