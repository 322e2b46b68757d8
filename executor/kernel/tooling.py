"""
What a session's tools may be, and how large their calls: bounds that every part keeps.
"""

import base64
from dataclasses import dataclass
from enum import Enum
from typing import Final

from codecage import values
from codecage.worker.v1 import worker_pb2 as wire

MOST_ARGUMENTS: Final = values.ARGUMENTS.size
MOST_RESULT: Final = values.RESULT.size
MOST_TOOLS: Final = 64
MOST_PARAMETERS: Final = 64
LONGEST_NAME: Final = 64
MOST_GIVEN: Final = 2**20
"""Tools, described, and variables together, in bytes."""
MOST_AT_ONCE: Final = 32
"""Calls that are under way at a time."""
MOST_HELD: Final = 2 * MOST_RESULT
"""Bytes of results that nobody has asked for yet."""


class ParameterKind(Enum):
    """
    As `inspect` has them; the value is the number there.
    """

    POSITIONAL_ONLY = 0
    POSITIONAL_OR_KEYWORD = 1
    VAR_POSITIONAL = 2
    KEYWORD_ONLY = 3
    VAR_KEYWORD = 4


BY_PLACE: Final = (ParameterKind.POSITIONAL_ONLY, ParameterKind.POSITIONAL_OR_KEYWORD)
BY_NAME: Final = (ParameterKind.POSITIONAL_OR_KEYWORD, ParameterKind.KEYWORD_ONLY)
OPEN_ENDED: Final = (ParameterKind.VAR_POSITIONAL, ParameterKind.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    A parameter of a tool. `default` is a document, `default_text` what is shown of one that cannot
    be a document; both are None where it has to be given.
    """

    name: str
    kind: ParameterKind
    annotation: str = ""
    default: bytes | None = None
    default_text: str | None = None

    @property
    def required(self) -> bool:
        """
        Whether it has no default.
        """
        return self.default is None and self.default_text is None


@dataclass(frozen=True, slots=True)
class Tool:
    """
    A function of the client, as its client describes it. `awaited` says that the guest awaits it.
    """

    name: str
    parameters: tuple[Parameter, ...] = ()
    returns: str = ""
    doc: str = ""
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """
    What a client gives a session: its tools, values by name (a document of a dict whose values
    are documents; empty for none), whether the guest has `final_answer`, and what its cells'
    import statements may name (None: anything).
    """

    tools: tuple[Tool, ...] = ()
    variables: bytes = b""
    final_answer: bool = False
    imports: tuple[str, ...] | None = None


NOTHING: Final = Given()


def told(tools: tuple[Tool, ...]) -> bytes:
    """
    What a guest is told of the tools: a document, empty where there are none.
    """
    if not tools:
        return b""
    return values.encode([_told(tool) for tool in tools], values.Limits(MOST_GIVEN))


def _told(tool: Tool) -> dict[str, object]:
    return {
        "name": tool.name,
        "doc": tool.doc,
        "returns": tool.returns,
        "awaited": tool.awaited,
        "parameters": [
            {
                "name": one.name,
                "kind": one.kind.value,
                "annotation": one.annotation,
                "default": one.default,
                "text": one.default_text,
            }
            for one in tool.parameters
        ],
    }


def given(begin: wire.Begin) -> dict[str, object] | None:
    """
    What a worker hands its guest at the beginning, for JSON; None where there is nothing.
    """
    imports = list(begin.imports.allow) if begin.HasField("imports") else None
    if not (begin.tools or begin.variables or begin.final_answer or imports is not None):
        return None
    return {
        "imports": imports,
        "tools": base64.b64encode(begin.tools).decode(),
        "variables": base64.b64encode(begin.variables).decode(),
        "final": begin.final_answer,
    }


def cell(run: wire.RunCell) -> dict[str, object]:
    """
    What a worker hands its guest for a cell, for JSON.
    """
    return {
        "op": "cell",
        "cell": run.cell,
        "code": run.code,
        "directory": run.directory,
        "assigned": run.assigned,
    }
