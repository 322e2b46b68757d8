"""
The client of Codecage: open sessions, run an agent's Python in them, read what came of it.

    import agent_client

    with agent_client.connect() as cage:
        with cage.session() as session:
            print(session.run("2 + 2").text)

It needs grpcio and protobuf alone. The names below are resolved on first use, so that importing
the package costs next to nothing: gRPC is loaded when somebody connects.
"""

from importlib import import_module

# Type checkers know the name; importing `typing` for it would be most of this package's import.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from agent_client.adapters.anthropic import AnthropicMessages
    from agent_client.adapters.endpoint import Patience
    from agent_client.adapters.litellm import LiteLLM
    from agent_client.adapters.mcp import mcp_tools
    from agent_client.adapters.openai import OpenAIChat
    from agent_client.adapters.smolagents import SmolagentsExecutor
    from agent_client.aio import AsyncCage, AsyncSession, connect_async
    from agent_client.approvals import Approval, ApprovalEnding, ApprovalOver, Approvals
    from agent_client.client import Cage, Session, connect
    from agent_client.command import CommandResult
    from agent_client.course import Ending, LoopLimits, Outcome, Turn
    from agent_client.displays import Display
    from agent_client.errors import (
        CellRunning,
        CodecageError,
        CodeFailed,
        Denied,
        InvalidRequest,
        LimitReached,
        ModelBusy,
        ModelFailed,
        ModelRefused,
        ModelUnreachable,
        ModelUnreadable,
        NoAnswer,
        PathNotFound,
        PolicyNotFound,
        RecordChanged,
        ServerFailed,
        ServerMissing,
        ServerUnavailable,
        SessionClosed,
        SessionLost,
        SessionNotFound,
    )
    from agent_client.events import (
        Ended,
        Event,
        Final,
        Output,
        Started,
        Status,
        Stream,
        ToolCalled,
        ToolCancelled,
        Value,
    )
    from agent_client.extraction import BareText, Reply
    from agent_client.loop import AsyncCodeActLoop, CodeActLoop
    from agent_client.observation import Cut, Observation
    from agent_client.records import (
        AuditHead,
        AuditRecord,
        CageKind,
        CellFailure,
        FileInfo,
        Hold,
        ImageInfo,
        IsolationPart,
        Limits,
        Mount,
        PolicyInfo,
        ServerInfo,
        SessionInfo,
        SessionState,
    )
    from agent_client.transactions import (
        Change,
        ChangeKind,
        CommitOutcome,
        CommitReport,
        GateVerdict,
        Judgement,
    )
    from agent_client.transcript import (
        Recorded,
        Replay,
        Transcript,
        load_transcript,
        replay,
        save_transcript,
    )
    from agent_client.wording import Wording

_HOMES = {
    "AnthropicMessages": "adapters.anthropic",
    "Approval": "approvals",
    "ApprovalEnding": "approvals",
    "ApprovalOver": "approvals",
    "Approvals": "approvals",
    "AsyncCage": "aio",
    "AsyncCodeActLoop": "loop",
    "AsyncSession": "aio",
    "AuditHead": "records",
    "AuditRecord": "records",
    "BareText": "extraction",
    "Cage": "client",
    "CageKind": "records",
    "CellFailure": "records",
    "CellRunning": "errors",
    "Change": "transactions",
    "ChangeKind": "transactions",
    "CodeActLoop": "loop",
    "CodeFailed": "errors",
    "CodecageError": "errors",
    "CommandResult": "command",
    "CommitOutcome": "transactions",
    "CommitReport": "transactions",
    "Cut": "observation",
    "GateVerdict": "transactions",
    "Judgement": "transactions",
    "Denied": "errors",
    "Display": "displays",
    "Ended": "events",
    "Ending": "course",
    "Event": "events",
    "FileInfo": "records",
    "Final": "events",
    "Hold": "records",
    "ImageInfo": "records",
    "InvalidRequest": "errors",
    "IsolationPart": "records",
    "LimitReached": "errors",
    "Limits": "records",
    "LiteLLM": "adapters.litellm",
    "LoopLimits": "course",
    "ModelBusy": "errors",
    "ModelFailed": "errors",
    "ModelRefused": "errors",
    "ModelUnreachable": "errors",
    "ModelUnreadable": "errors",
    "Mount": "records",
    "NoAnswer": "errors",
    "Observation": "observation",
    "OpenAIChat": "adapters.openai",
    "Outcome": "course",
    "Output": "events",
    "PathNotFound": "errors",
    "Patience": "adapters.endpoint",
    "PolicyInfo": "records",
    "PolicyNotFound": "errors",
    "RecordChanged": "errors",
    "Recorded": "transcript",
    "Replay": "transcript",
    "Reply": "extraction",
    "ServerFailed": "errors",
    "ServerInfo": "records",
    "ServerMissing": "errors",
    "ServerUnavailable": "errors",
    "Session": "client",
    "SessionClosed": "errors",
    "SessionInfo": "records",
    "SessionLost": "errors",
    "SessionNotFound": "errors",
    "SessionState": "records",
    "SmolagentsExecutor": "adapters.smolagents",
    "Started": "events",
    "Status": "events",
    "Stream": "events",
    "ToolCalled": "events",
    "ToolCancelled": "events",
    "Transcript": "transcript",
    "Turn": "course",
    "Value": "events",
    "Wording": "wording",
    "connect": "client",
    "connect_async": "aio",
    "load_transcript": "transcript",
    "mcp_tools": "adapters.mcp",
    "replay": "transcript",
    "save_transcript": "transcript",
}

__all__ = [
    "AnthropicMessages",
    "Approval",
    "ApprovalEnding",
    "ApprovalOver",
    "Approvals",
    "AsyncCage",
    "AsyncCodeActLoop",
    "AsyncSession",
    "AuditHead",
    "AuditRecord",
    "BareText",
    "Cage",
    "CageKind",
    "CellFailure",
    "CellRunning",
    "Change",
    "ChangeKind",
    "CodeActLoop",
    "CodeFailed",
    "CodecageError",
    "CommandResult",
    "CommitOutcome",
    "CommitReport",
    "Cut",
    "Denied",
    "Display",
    "Ended",
    "Ending",
    "Event",
    "FileInfo",
    "Final",
    "GateVerdict",
    "Hold",
    "ImageInfo",
    "InvalidRequest",
    "IsolationPart",
    "Judgement",
    "LimitReached",
    "Limits",
    "LiteLLM",
    "LoopLimits",
    "ModelBusy",
    "ModelFailed",
    "ModelRefused",
    "ModelUnreachable",
    "ModelUnreadable",
    "Mount",
    "NoAnswer",
    "Observation",
    "OpenAIChat",
    "Outcome",
    "Output",
    "PathNotFound",
    "Patience",
    "PolicyInfo",
    "PolicyNotFound",
    "RecordChanged",
    "Recorded",
    "Replay",
    "Reply",
    "ServerFailed",
    "ServerInfo",
    "ServerMissing",
    "ServerUnavailable",
    "Session",
    "SessionClosed",
    "SessionInfo",
    "SessionLost",
    "SessionNotFound",
    "SessionState",
    "SmolagentsExecutor",
    "Started",
    "Status",
    "Stream",
    "ToolCalled",
    "ToolCancelled",
    "Transcript",
    "Turn",
    "Value",
    "Wording",
    "connect",
    "connect_async",
    "load_transcript",
    "mcp_tools",
    "replay",
    "save_transcript",
]


if not TYPE_CHECKING:  # else a checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'agent_client' has no attribute {name!r}")
        found = getattr(import_module(f"agent_client.{_HOMES[name]}"), name)
        globals()[name] = found  # the next use does not come here
        return found


def __dir__() -> list[str]:
    return sorted(__all__)
