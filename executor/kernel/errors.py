"""
What can go wrong, in three kinds and no fourth.

    CodecageError
    ├── GuestError       the guest's fault: an errno, and an event in the record
    ├── ExecutorError    the caller's or the administrator's: a gRPC status
    │   └── SourceUnavailable    a granted host directory cannot be held
    ├── InternalError    "this should never happen": recorded, the session killed, raised
    │   ├── BrokerFault  a network broker said what no correct one says: it is killed
    │   └── WorkerFault  a worker asked for what no correct one asks for: it is killed
    └── BrokerGone       a network broker's process has ended; it never leaves the gate

Whoever catches one of these knows from its kind alone who has to act, so a kind is never
changed on the way up: a `GuestError` that reaches the service is a fault of ours.
"""

import errno
import os
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policy.types import Decision


class CodecageError(Exception):
    """
    The root of everything that this package raises on purpose.
    """


class GuestError(CodecageError):
    """
    The guest asked for something that it cannot have; the session goes on.

    `errno` is the host's number for the errno of errno(3), translated to the guest's where the
    answer is encoded. `message` may be shown to the guest and names only guest paths.
    `decision` is the refusal that caused it, for the record, or None where none did.
    """

    def __init__(self, number: int, message: str, decision: "Decision | None" = None) -> None:
        super().__init__(f"{message} [{errno.errorcode.get(number, str(number))}]")
        self.errno = number
        self.message = message
        self.decision = decision

    @classmethod
    def of(cls, number: int, what: str, decision: "Decision | None" = None) -> "GuestError":
        """
        The error whose text is what was asked for and the system's own words for `number`.
        """
        return cls(number, f"{what}: {os.strerror(number).lower()}", decision)

    @classmethod
    def from_host(cls, error: OSError, what: str) -> "GuestError":
        """
        What the guest is told when the host refuses `what`, an act in the guest's words.

        An errno that belongs to the act passes; one that tells of the host's state (its
        descriptor table, its memory, its devices) becomes EIO. The host's text and file names
        stay behind.
        """
        number = error.errno
        return cls.of(number if number in _OF_THE_ACT else errno.EIO, what)


_OF_THE_ACT = frozenset(
    {
        *(errno.EACCES, errno.EAGAIN, errno.EBUSY, errno.EDQUOT, errno.EEXIST, errno.EFBIG),
        *(errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.EMLINK, errno.ENAMETOOLONG),
        *(errno.ENOENT, errno.ENOSPC, errno.ENOTDIR, errno.ENOTEMPTY, errno.EPERM, errno.EROFS),
        *(errno.ETXTBSY, errno.EXDEV),
    }
)


class Status(Enum):
    """
    The gRPC status that answers an `ExecutorError`; the value is the code of its specification.
    """

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    UNAVAILABLE = 14


class ExecutorError(CodecageError):
    """
    The caller or the administrator has to change something; the server is well.

    `reason` is one upper-case word for programs, `message` a sentence for the caller, and
    `metadata` what the sentence names, as strings. `detail` is for the server's log alone,
    because it may name host paths: it is a note of the exception and no part of `str()`.
    """

    def __init__(
        self,
        status: Status,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] = MappingProxyType({}),
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata)
        self.detail = detail
        if detail:
            self.add_note(detail)


class SourceUnavailable(ExecutorError):
    """
    A policy grants a host directory that this server cannot hold, or must not.

    The caller learns the mount and the rule; the administrator finds the source in `detail`.
    """

    def __init__(self, mount: str, rule: str, source: str, why: str) -> None:
        super().__init__(
            Status.FAILED_PRECONDITION,
            "SOURCE_UNAVAILABLE",
            f"the directory granted at {mount} by {rule} cannot be used; "
            "the server's log says why, and its administrator can mend it",
            metadata={"mount": mount, "rule": rule},
            detail=f"{rule}: the source {source!r} of {mount}: {why}",
        )


class InternalError(CodecageError):
    """
    Something that this code holds to be impossible has happened; nothing may go on from here.
    """


class WorkerFault(InternalError):
    """
    A worker, or the supervisor for it, sent what no correct one sends; it is taken for hostile and
    killed. A guest of the process cage can do so at will: it is no fault of the server.
    """


class BrokerFault(InternalError):
    """
    A network broker sent what no correct broker sends; it is taken for hostile and killed.
    """


class BrokerGone(CodecageError):
    """
    There is no network broker, or there is none any more; `str` says why, for the guest.
    """
