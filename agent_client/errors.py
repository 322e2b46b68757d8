"""
What can go wrong on the way to an observation.

    CodecageError
    ├── InvalidRequest         your code asked for something that no server can do
    │   ├── PolicyNotFound     the server offers no policy of that name
    │   ├── SessionNotFound    the server holds no session of that id (any more)
    │   └── PathNotFound       the session has no such file
    ├── SessionClosed          your code closed the session, or the connection, earlier
    ├── CellRunning            the session is busy with another cell
    ├── Denied                 the policy does not grant what was asked
    ├── LimitReached           a limit of the policy, or of the server, is used up
    ├── RecordChanged          the server's record is not what a head that you kept vouches for
    ├── SessionLost            the session's process ended; its variables and files are gone
    ├── ServerUnavailable      nobody answers at the address, or the connection broke
    │   ├── NoAnswer           the server is there and did not answer in time
    │   └── ServerMissing      a private server was wanted, and the server is not installed
    ├── ServerFailed           the server reports a mistake of its own
    ├── CodeFailed             the agent's code failed, and its caller wants that as an exception
    └── ModelFailed            a language model's endpoint gave no reply that can be used
        ├── ModelRefused       it takes the request, or the key, never: change something
        ├── ModelBusy          too many requests, or a failure of its own: ask again later
        ├── ModelUnreachable   nobody answers there, or not in time
        └── ModelUnreadable    its answer is not what its interface promises

"Closed" is something that your code did; "Lost" and "Failed" are what the other side did. What the
agent's own Python does wrong is the observation's `error`, and none of these but CodeFailed, which
adapters raise where a foreign interface asks for it.
"""

from collections.abc import Mapping
from types import MappingProxyType

from agent_client.events import Stream

_NOTHING: Mapping[str, str] = MappingProxyType({})


class CodecageError(Exception):
    """
    The root of this package's errors.

    `reason` is the server's word for what happened (UPPER_SNAKE_CASE, empty where the client
    itself refused), `metadata` what the server added to it.
    """

    def __init__(
        self, message: str, *, reason: str = "", metadata: Mapping[str, str] = _NOTHING
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata = metadata


class InvalidRequest(CodecageError):
    """
    An argument that cannot be served; the message says what is allowed.
    """


class PolicyNotFound(InvalidRequest):
    """
    The server offers no policy of that name; `Cage.policies()` lists those it has.
    """


class SessionNotFound(InvalidRequest):
    """
    The server holds no session of that id: closed, ended after its idle time, or never there.
    """


class PathNotFound(InvalidRequest):
    """
    The session has no file or directory at that path.
    """


class SessionClosed(CodecageError):
    """
    The session or its connection was closed by this program before.
    """


class CellRunning(CodecageError):
    """
    A session runs one cell at a time: wait for its end, or interrupt it.
    """


class Denied(CodecageError):
    """
    The policy, or the owner of the server, does not grant this.
    """


class LimitReached(CodecageError):
    """
    A limit is used up; the message names it.
    """


class SessionLost(CodecageError):
    """
    The session's process is gone, and its variables and files with it: open a new session.
    """


class RecordChanged(CodecageError):
    """
    The server's audit record is not what a head that was kept vouches for, or the server proves it
    wrongly: keep the head, it is the evidence.
    """


class ServerUnavailable(CodecageError):
    """
    Nobody answers at the address, or the connection broke.

    Where it broke while `run` was waiting, `chunks` is the output that came before, as the
    observation would have it: what was printed is not lost with the server.
    """

    chunks: tuple[tuple[Stream, str], ...] = ()


class NoAnswer(ServerUnavailable):
    """
    The server did not answer in the time that the client waits.
    """


class ServerMissing(ServerUnavailable):
    """
    The installation holds the client alone, so that it cannot start a server of its own.
    """


class ServerFailed(CodecageError):
    """
    The server met a mistake of its own; its log has the incident that the message names.
    """


class CodeFailed(CodecageError):
    """
    The agent's code failed; the message is what its model should read: a traceback, and marks.
    """


class ModelFailed(CodecageError):
    """
    A language model's endpoint gave no reply that can be used; no key is in the text.

    `status` is the HTTP status, None where there was none; `retry_after` are the seconds that the
    endpoint asked to wait, None where it did not say.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ModelRefused(ModelFailed):
    """
    The endpoint refuses the request, the model's name or the key: asking again changes nothing.
    """


class ModelBusy(ModelFailed):
    """
    The endpoint has too much to do, or failed by itself: the same request may be taken later.
    """


class ModelUnreachable(ModelFailed):
    """
    Nobody answers at the endpoint's address, the connection broke, or the time was over.
    """


class ModelUnreadable(ModelFailed):
    """
    The endpoint answered with something that its interface does not promise.
    """
