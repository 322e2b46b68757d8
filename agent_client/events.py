"""
What happens while a cell runs, as typed events, in the order in which it happened.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from agent_client.displays import Display
from agent_client.records import AuditHead, CellFailure


class Stream(StrEnum):
    """
    Which of the guest's two streams; STDERR also holds what a warning or `print(file=...)` wrote.
    """

    STDOUT = "stdout"
    STDERR = "stderr"


class Status(StrEnum):
    """
    How a cell ended. All but WORKER_LOST leave the session and its variables as they are.
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
    The cell runs now; cells of a session are numbered 1, 2, 3, ...
    """

    cell: int


@dataclass(frozen=True, slots=True)
class Output:
    r"""
    Text that the guest wrote. Bytes that are not UTF-8 stand as `\xff`.
    """

    stream: Stream
    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """
    The repr of the cell's last expression; `full_length` counts the characters before any cut.
    """

    text: str
    full_length: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """
    The code calls one of this client's tools, which the policy has allowed; it is performed next.

    `arguments` is a document (`codecage.values.decode`): data of the guest. With `beside` the code
    goes on meanwhile.
    """

    number: int
    name: str
    arguments: bytes
    beside: bool


@dataclass(frozen=True, slots=True)
class ToolCancelled:
    """
    The code waits for this call no more.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Final:
    """
    What the code gave to `final_answer`. `problem` says why it cannot be read, where it cannot:
    only code that has tampered with its side sends such a value.
    """

    value: object
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """
    The cell's end: the last event of every cell.

    `duration` and `cpu_time` are seconds, `peak_memory` and `output_bytes` bytes (the latter
    counts what the guest wrote, delivered or not), `requests` and `denied` count what was asked
    of the gate, `requests_by_kind` the same by kind (`read`, `write`, `connect`, `http`, ...).
    `connections` and `http_requests` are those that were granted, `network_sent` and
    `network_received` their bytes: of a request once it is answered, of other streams once they
    end; `tool_calls` those of this client's tools. `reason` is the server's sentence where the cell
    did not end by itself. `audit_mode` says that the policy was in audit mode, and may have let
    pass what it denies.
    """

    status: Status
    error: CellFailure | None
    exit_code: int
    duration: float
    cpu_time: float
    peak_memory: int
    output_bytes: int
    output_truncated: bool
    requests: int
    denied: int
    audit_head: AuditHead
    session_lost: bool
    reason: str
    connections: int = 0
    http_requests: int = 0
    network_sent: int = 0
    network_received: int = 0
    requests_by_kind: Mapping[str, int] = field(default_factory=dict)
    tool_calls: int = 0
    audit_mode: bool = False


Event: TypeAlias = Started | Output | Display | Value | ToolCalled | ToolCancelled | Final | Ended
