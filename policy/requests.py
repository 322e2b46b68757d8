"""
The words in which both cages ask, and in which a policy answers.

A request names one object and one act on it. It is decoded and normalised before it gets here:
a path is absolute, in the guest's view, without `.`, `..` or empty components.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final, cast

REDACTED: Final = "[redacted]"
"""What stands in a record instead of a value."""


class FileAction(Enum):
    """
    What is to be done with a path; the value is the word used in rules, audit and messages.
    """

    STAT = "stat"
    LIST = "list"
    READ = "read"
    WRITE = "write"
    CREATE = "create"
    TRUNCATE = "truncate"
    REMOVE = "remove"
    MAKE_DIRECTORY = "mkdir"
    REMOVE_DIRECTORY = "rmdir"
    RENAME = "rename"
    SET_TIMES = "utime"

    # By identity, as members are compared: Enum's own looks for a name on every look-up, and these
    # are keys of tables that every answer goes through.
    __hash__ = object.__hash__

    @property
    def changes(self) -> bool:
        """
        Whether the act changes the file system.
        """
        return self not in _LOOKING


_LOOKING = frozenset({FileAction.STAT, FileAction.LIST, FileAction.READ})


@dataclass(frozen=True, slots=True)
class FileRequest:
    """
    An act on one path. A rename is two: `RENAME` of the old name and `CREATE` of the new one.
    """

    action: FileAction
    path: str

    def __str__(self) -> str:
        return f"{self.action._value_} {self.path}"  # `value` is two calls of Python


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """
    A connection to a host, by name or literal address, and a port (0 where none was given).
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"connect {_place(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class ResolveRequest:
    """
    A name (or literal address) that the guest wants to have an address for. Whether it may be
    connected to on any port at all; nothing is sent to a name server.
    """

    host: str

    def __str__(self) -> str:
        return f"resolve {self.host}"


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """
    One address that the host of a granted connection turned out to have, as inet_ntop(3) writes
    it; `own` says that it is one of the server machine's own.
    """

    host: str
    port: int
    address: str
    own: bool = False

    def __str__(self) -> str:
        return f"dial {_place(self.host, self.port)} at {self.address}{' own' if self.own else ''}"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """
    A request on a granted connection. `path` is in its one form and begins with `/`; `query` is
    what follows the `?`, None where there is none.

    Its text has the query's length and the start of its SHA-256 in place of the query, which may
    hold what nobody should read in a record.
    """

    host: str
    port: int
    tls: bool
    method: str
    path: str
    query: str | None = None

    def __str__(self) -> str:
        if self.query is None:
            return self.without_query()
        data = self.query.encode("utf-8", "surrogateescape")
        digest = hashlib.sha256(data).hexdigest()[:16]
        return f"{self.without_query()}?({len(data)} bytes, sha256 {digest})"

    def without_query(self) -> str:
        """
        Its text as far as the query, and without its mark.
        """
        scheme = "https" if self.tls else "http"
        return f"{self.method} {scheme}://{_place(self.host, self.port)}{self.path}"


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """
    A socket of a kind that no policy grants, or one under a policy that grants no network.

    `kind` is a word: `tcp`, `udp`, `unix`, `raw`, `listen` and the like.
    """

    kind: str

    def __str__(self) -> str:
        return f"socket {self.kind}"


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


FORK: Final = "fork"


@dataclass(frozen=True, slots=True)
class ProcessRequest:
    """
    A program to be started, by the name that the guest gave, or `FORK`: a child of the guest's
    own, which runs no other program. No program is granted by a bare name, so the word is free.
    """

    program: str

    def __str__(self) -> str:
        return f"run {self.program}"


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """
    That the changes below a mount become the host's: by the mount's own path. `by_client` says
    that the session's client asks, and not its guest; `approved`, that a person has agreed to these
    very changes.
    """

    path: str
    by_client: bool = False
    approved: bool = False

    def __str__(self) -> str:
        return f"commit {self.path}"


@dataclass(frozen=True, slots=True)
class Composite:
    """
    An argument that is no number, text, truth value or None: `kind` names its type. No bound of a
    policy is about one, so what it holds is not here.
    """

    kind: str


Argument = None | bool | int | float | str | Composite


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """
    A call of a tool that the client offers. `arguments` are all parameters of the tool's own
    signature, bound, with its defaults applied; `open_ended` says that the signature takes more
    than it names (`*args`, `**kwargs`). `earlier` are the calls of the tool that the session has
    made before, `approved` says that a person has agreed to this one.

    Its text has texts by their length and the start of their SHA-256: they may hold what nobody
    should read in a record.
    """

    tool: str
    arguments: tuple[tuple[str, Argument], ...] = ()
    open_ended: bool = False
    earlier: int = 0
    approved: bool = False

    def __str__(self) -> str:
        return self.text()

    def text(self, hidden: Collection[str] = ()) -> str:
        """
        Its text, in which the arguments of the names `hidden` have no value.
        """
        said = (
            f"{name}={REDACTED if name in hidden else _argument_text(value)}"
            for name, value in self.arguments
        )
        return f"call {self.tool}({', '.join(said)})"


def tool_request(
    tool: str,
    arguments: Mapping[str, object],
    *,
    open_ended: bool = False,
    earlier: int = 0,
    approved: bool = False,
) -> ToolRequest:
    """
    The request for a call with `arguments` of any types, in the order of the signature.
    """
    bound = tuple((name, _argument(value)) for name, value in arguments.items())
    return ToolRequest(tool, bound, open_ended, earlier, approved)


def _argument(value: object) -> Argument:
    """
    Exact types alone: what a subclass compares equal to is for the guest to say.
    """
    if value is None or type(value) in {bool, int, float, str}:
        return cast("Argument", value)
    return Composite(type(value).__name__)


def _argument_text(value: Argument) -> str:
    match value:
        case str():
            digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            return f"<{len(value)} characters, sha256 {digest}>"
        case Composite():
            return f"<{value.kind}>"
    # A whole number may have as many digits as the guest likes, and a record has not.
    if type(value) is int and value.bit_length() > _SHOWN_BITS:
        return f"<a number of {value.bit_length()} bits>"
    return repr(value)


_SHOWN_BITS: Final = 128


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """
    A module, by its dotted name. No guest asks: an answer is guidance for who reads code.
    """

    module: str

    def __str__(self) -> str:
        return f"import {self.module}"


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """
    A session's guest, by the image's name. It is asked when the session is made, by its client;
    no guest asks for one.
    """

    image: str

    def __str__(self) -> str:
        return f"image {self.image}"


Request = (
    FileRequest
    | NetworkRequest
    | ResolveRequest
    | AddressRequest
    | HttpRequest
    | SocketRequest
    | ProcessRequest
    | ImageRequest
    | ImportRequest
    | ToolRequest
    | CommitRequest
)


def kind_of(request: Request) -> str:
    """
    The word for requests like this one, where they are counted: a file's action, `connect`,
    `resolve`, `dial`, `http`, `socket`, `run`, `image`, `import`, `call` or `commit`.
    """
    return request.action._value_ if isinstance(request, FileRequest) else _KINDS[type(request)]


_KINDS: Final[Mapping[type[Request], str]] = MappingProxyType(
    {
        NetworkRequest: "connect",
        ResolveRequest: "resolve",
        AddressRequest: "dial",
        HttpRequest: "http",
        SocketRequest: "socket",
        ProcessRequest: "run",
        ImageRequest: "image",
        ImportRequest: "import",
        ToolRequest: "call",
        CommitRequest: "commit",
    }
)
