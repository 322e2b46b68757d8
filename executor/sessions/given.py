"""
What a client gives a session when it opens it, checked: its tools, its variables, an answer's name.

Names go into the guest's namespace, so they are plain identifiers; what is shown (signatures,
documents) is bounded; documents stay bytes. A client that sends what is none of that is told so.
"""

import keyword
import re
from typing import Final

from codecage import values
from codecage.v1 import codecage_pb2 as wire
from executor.errors import InvalidRequest
from executor.kernel.tooling import (
    BY_PLACE,
    LONGEST_NAME,
    MOST_GIVEN,
    MOST_PARAMETERS,
    MOST_TOOLS,
    OPEN_ENDED,
    Given,
    Parameter,
    ParameterKind,
    Tool,
)

_MOST_VARIABLES: Final = 256
_LONGEST_DOC: Final = 16_384
_LONGEST_TEXT: Final = 1024
_MOST_IMPORTS: Final = 256
_LONGEST_MODULE: Final = 128
_MODULE: Final = re.compile(r"\*|[^\W\d]\w*(?:\.[^\W\d]\w*)*(?:\.\*)?")
_KINDS: Final = {
    wire.Parameter.POSITIONAL_ONLY: ParameterKind.POSITIONAL_ONLY,
    wire.Parameter.POSITIONAL_OR_KEYWORD: ParameterKind.POSITIONAL_OR_KEYWORD,
    wire.Parameter.VAR_POSITIONAL: ParameterKind.VAR_POSITIONAL,
    wire.Parameter.KEYWORD_ONLY: ParameterKind.KEYWORD_ONLY,
    wire.Parameter.VAR_KEYWORD: ParameterKind.VAR_KEYWORD,
}


def given(request: wire.CreateSessionRequest) -> Given:
    """
    The tools and variables of a request. Raises InvalidRequest.
    """
    if len(request.tools) > MOST_TOOLS:
        raise _invalid("TOO_MANY_TOOLS", f"{len(request.tools)} tools; {MOST_TOOLS} are allowed")
    if (size := request.ByteSize()) > MOST_GIVEN:
        raise _invalid(
            "GIVEN_TOO_LARGE",
            f"tools and variables take {size:,} bytes and {MOST_GIVEN:,} are allowed; put what is "
            "large into files",
        )
    tools = tuple(_tool(one) for one in request.tools)
    taken = [one.name for one in tools] + ["final_answer"] * request.final_answer
    if len(set(taken)) < len(taken) or set(taken) & set(request.variables):
        raise _invalid("NAME_TAKEN", "two tools or variables have one name; rename one of them")
    return Given(tools, _variables(request), request.final_answer, _imports(request))


def _tool(one: wire.Tool) -> Tool:
    _require_name(one.name, "a tool")
    if len(one.parameters) > MOST_PARAMETERS:
        count = len(one.parameters)
        raise _invalid("TOOL_INVALID", f"{one.name} has {count} parameters; {MOST_PARAMETERS} may")
    if len(one.doc) > _LONGEST_DOC or len(one.returns) > _LONGEST_TEXT:
        raise _invalid(
            "TOOL_INVALID",
            f"the document of {one.name} has {len(one.doc):,} characters, and {_LONGEST_DOC:,} are "
            "allowed; say it in fewer",
        )
    parameters = tuple(_parameter(one.name, parameter) for parameter in one.parameters)
    _require_signature(one.name, parameters)
    return Tool(one.name, parameters, one.returns, one.doc, one.awaited)


def _parameter(tool: str, one: wire.Parameter) -> Parameter:
    _require_name(one.name, f"a parameter of {tool}")
    kind = _KINDS.get(one.kind)
    if kind is None or max(len(one.annotation), len(one.default_text)) > _LONGEST_TEXT:
        raise _invalid("TOOL_INVALID", f"the parameter {one.name} of {tool} is malformed")
    default = one.WhichOneof("default")
    if default == "default_value":
        try:
            values.decode(one.default_value, values.DEFAULT)
        except values.Refused as error:
            raise _invalid(
                "TOOL_INVALID", f"the default of {one.name} in {tool}: {error}"
            ) from None
    return Parameter(
        one.name,
        kind,
        one.annotation,
        one.default_value if default == "default_value" else None,
        one.default_text if default == "default_text" else None,
    )


def _require_signature(tool: str, parameters: tuple[Parameter, ...]) -> None:
    """
    In the order that the language has, each name once; of the open ended ones one each, without
    a default; and none that has to be given behind one that has a default.
    """
    kinds = [one.kind.value for one in parameters]
    optional = [not one.required for one in parameters if one.kind in BY_PLACE]
    sound = (
        kinds == sorted(kinds)
        and len({one.name for one in parameters}) == len(parameters)
        and all(kinds.count(kind.value) <= 1 for kind in OPEN_ENDED)
        and all(one.required for one in parameters if one.kind in OPEN_ENDED)
        and optional == sorted(optional)
    )
    if not sound:
        raise _invalid("TOOL_INVALID", f"the parameters of {tool} make no signature")


def _variables(request: wire.CreateSessionRequest) -> bytes:
    if len(request.variables) > _MOST_VARIABLES:
        count = len(request.variables)
        raise _invalid("TOO_MANY_VARIABLES", f"{count} variables; {_MOST_VARIABLES} are allowed")
    for name in request.variables:
        _require_name(name, "a variable")
    if not request.variables:
        return b""
    return values.encode(dict(request.variables), values.Limits(2 * MOST_GIVEN))


def _imports(request: wire.CreateSessionRequest) -> tuple[str, ...] | None:
    """
    What import statements may name; None for anything.
    """
    if not request.HasField("imports"):
        return None
    allowed = tuple(request.imports.allow)
    for one in allowed:
        if len(one) > _LONGEST_MODULE or not _MODULE.fullmatch(one):
            raise _invalid(
                "IMPORT_INVALID",
                f"the import {one[:LONGEST_NAME]!r} is no module; give a name such as `math`, with "
                "what lies below it `numpy.*`, or `*` for all",
            )
    if len(allowed) > _MOST_IMPORTS:
        raise _invalid("TOO_MANY_IMPORTS", f"{len(allowed)} imports; {_MOST_IMPORTS} are allowed")
    return allowed


def _require_name(name: str, what: str) -> None:
    plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    if not plain or len(name) > LONGEST_NAME or name.startswith("__"):
        raise _invalid(
            "NAME_INVALID",
            f"{what} is called {name[:LONGEST_NAME]!r}; give an identifier of ASCII letters, "
            f"digits and _, of {LONGEST_NAME} characters at most, that does not begin with __",
        )


def _invalid(reason: str, message: str) -> InvalidRequest:
    return InvalidRequest(reason, message)
