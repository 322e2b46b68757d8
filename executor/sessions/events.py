"""
What a cell tells its client: plain data, made by the session and turned into messages elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from executor.audit.record import Head


class Stream(Enum):
    """
    Where the guest wrote; the value is the file descriptor's number.
    """

    STDOUT = 1
    STDERR = 2


class CellStatus(Enum):
    """
    How a cell ended; the value is the word in records.
    """

    OK = "ok"
    ERROR = "error"
    EXITED = "exited"
    INTERRUPTED = "interrupted"
    TIMED_OUT = "timed_out"
    CPU_LIMIT = "cpu_limit"
    WORKER_LOST = "worker_lost"


@dataclass(frozen=True, slots=True)
class Started:
    """
    The cell has its number and begins.
    """

    session: str
    cell: int


@dataclass(frozen=True, slots=True)
class Output:
    """
    Bytes that the guest wrote.
    """

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Value:
    """
    The repr of the cell's last expression; `full_length` is what it was before it was cut.
    """

    text: str
    full_length: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Display:
    """
    One thing to show, in forms by media type: the guest's bytes, never to be trusted.
    """

    forms: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """
    A tool that the client is to call; `arguments` is a document, and the guest's. With `beside`
    the guest goes on meanwhile.
    """

    number: int
    name: str
    arguments: bytes
    beside: bool


@dataclass(frozen=True, slots=True)
class ToolCancelled:
    """
    Nobody waits for this call any more.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Final:
    """
    What the guest has given as its answer: a document, and the guest's.
    """

    value: bytes


@dataclass(frozen=True, slots=True)
class CellError:
    """
    The exception that ended a cell, in text.
    """

    name: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Usage:
    """
    What a cell used: times in seconds, sizes in bytes. `peak_memory` is the worker's own word.

    `displays` counts what was shown, and `displayed` its bytes; `connections` those granted,
    `exchanges` the HTTP requests that were passed on, `sent` and `received` the bytes of both as
    far as the network broker has told, `tool_calls` those passed on to the client. `kinds` are the
    requests by kind, in the words of `policy.requests.kind_of`.
    """

    wall_time: float
    cpu_time: float
    peak_memory: int
    stdout: int
    stderr: int
    truncated: bool
    requests: int
    denied: int
    displays: int
    displayed: int
    connections: int = 0
    exchanges: int = 0
    sent: int = 0
    received: int = 0
    tool_calls: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """
    The last event of a cell, sent after its record is written; `head` is that record.
    `audit_mode` says that the session's policy lets pass what it denies.
    """

    status: CellStatus
    usage: Usage
    head: Head
    error: CellError | None = None
    exit_code: int = 0
    session_lost: bool = False
    reason: str = ""
    audit_mode: bool = False


Event = Started | Output | Display | Value | ToolCall | ToolCancelled | Final | Ended


@dataclass(frozen=True, slots=True)
class Numbered:
    """
    An event and its number within the cell, from 1.
    """

    sequence: int
    event: Event
