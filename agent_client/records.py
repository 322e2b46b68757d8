"""
What a server tells about itself, its policies, sessions and files: plain data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class AuditHead:
    """
    The last record of the audit log at some moment.

    Whoever keeps it can later prove that nothing before it was changed:
    `codecage audit verify --head SEQUENCE:HASH`; `str()` gives that form.
    """

    sequence: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash.hex()}"


@dataclass(frozen=True, slots=True)
class CellFailure:
    """
    The exception that ended a cell: its class, its text, and a plain traceback of guest frames.
    """

    name: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Mount:
    """
    A directory that a session sees; `scratch` is memory of the session itself, and what is
    written in a `transaction` becomes the host's by a commit.
    """

    path: str
    writable: bool
    scratch: bool
    transaction: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What a session may use: bytes, seconds and counts.
    """

    memory_bytes: int
    cpu_time: float
    wall_time: float
    output_bytes: int
    cells: int
    idle_timeout: float


@dataclass(frozen=True, slots=True)
class PolicyInfo:
    """
    A policy as its server describes it; `digest` identifies its meaning.

    `images` are those that a session may ask for; `image`, the first, is that of one that does
    not. `audit_mode` says that sessions may look at more than the policy allows, which is recorded.
    """

    name: str
    description: str
    digest: str
    image: str
    images: tuple[str, ...]
    mounts: tuple[Mount, ...]
    limits: Limits
    audit_mode: bool = False


class SessionState(StrEnum):
    """
    What a session is doing; UNKNOWN is a state that this client is too old to name.
    """

    UNKNOWN = "unknown"
    IDLE = "idle"
    RUNNING = "running"
    LOST = "lost"


class CageKind(StrEnum):
    """
    What holds a session's code: a guest in WebAssembly, or native Python in a restricted process.
    """

    WASM = "wasm"
    PROCESS = "process"
    UNKNOWN = "unknown"


class Hold(StrEnum):
    """
    How far one part of a process is held.
    """

    ENFORCED = "enforced"
    PARTIAL = "partial"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class IsolationPart:
    """
    One thing that a process of the process cage is kept apart or bounded in, and by what.
    """

    name: str
    hold: Hold
    how: str


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """
    A session as its server describes it, at the moment of asking. `isolation_parts` is empty in
    the WebAssembly cage. `capture` says how far the session can be replayed, `complete` so far or
    `incomplete (why)`; it is empty where its policy has no `audit: {level: replay}`.
    """

    id: str
    policy: PolicyInfo
    image: str
    state: SessionState
    created: datetime
    cells: int
    isolation: str
    labels: Mapping[str, str]
    lost_reason: str
    cage: CageKind = CageKind.UNKNOWN
    isolation_parts: tuple[IsolationPart, ...] = ()
    capture: str = ""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """
    A guest runtime with its packages. `isolation_level` and `isolation_parts` say how its processes
    are held on the server's machine, in the process cage, once that has been tried.
    """

    name: str
    key: str
    python_version: str
    packages: tuple[str, ...]
    cage: CageKind = CageKind.UNKNOWN
    isolation_level: str = ""
    isolation_parts: tuple[IsolationPart, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """
    What a server is and holds; `user` is the account as which it opens files.
    """

    version: str
    wasmtime_version: str
    images: tuple[ImageInfo, ...]
    user: str
    max_code_bytes: int


@dataclass(frozen=True, slots=True)
class FileInfo:
    """
    A file or directory of a session, by its guest path; `size` is in bytes.
    """

    path: str
    size: int
    directory: bool
    modified: datetime


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """
    One record of the audit log; `origin` says whose word it is, a worker's being a suspect's.

    `hash` is the tree's root when this is its last record, `leaf` the hash of the record itself.
    """

    sequence: int
    time: datetime
    origin: str
    cell: int
    event: str
    request: str
    decision: str
    rule: str
    outcome: str
    policy_digest: str
    detail: str
    hash: bytes
    leaf: bytes = b""
