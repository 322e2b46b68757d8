"""
Tools of an MCP server as tools of a session: `await mcp_tools(client_session)`.

What a server tells of its tools is a stranger's. Names have to be plain identifiers that hide no
builtin; descriptions and schemas become a docstring and a signature, as data, and no source is made
of them. Each call is decided by the policy's `tools:` before the server hears of it, and what the
server returns are plain values or texts. The package `mcp` is not imported here: a client session
of its is given, and read in the words of the wire.
Source: the Model Context Protocol, "Tools", revision 2025-11-25.
"""

import asyncio
import base64
import binascii
import builtins
import inspect
import json
import keyword
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from agent_client.errors import InvalidRequest

Function: TypeAlias = Callable[..., object]

MOST_TOOLS = 64
_LONGEST_NAME = 64
_MOST_PARAMETERS = 60
_LONGEST_TEXT = 2000
_NO_NAMES: Mapping[str, str] = MappingProxyType({})
# What a schema's type is called in Python; of anything else nothing is said.
_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
}


async def mcp_tools(
    session: Any, *, names: Mapping[str, str] = _NO_NAMES, call_seconds: float = 60.0
) -> list[Function]:
    """
    The tools of an initialized `mcp.ClientSession` as functions for `tools=` of a session, in whose
    code they are called without `await`.

    A tool is called as on its server, with `_` for what no identifier has, or as `names` says
    (the server's name: the one here; an empty one leaves the tool out). `call_seconds` bounds
    one call. The functions are to be called from other threads than that of this event loop,
    which is what an `AsyncSession` does.

    Raises InvalidRequest for names that cannot be used, and for more than 64 tools or one page.
    """
    told = (await session.list_tools()).model_dump(mode="json", by_alias=True, exclude_none=True)
    listed = [one for one in told.get("tools", []) if names.get(one["name"]) != ""]
    if told.get("nextCursor"):
        raise InvalidRequest(
            "the server lists its tools on several pages, and one is read here; use a server that "
            "has fewer"
        )
    if len(listed) > MOST_TOOLS:
        raise InvalidRequest(
            f"the server has more than {MOST_TOOLS} tools; leave out those that are not needed: "
            "names={'its name': ''}"
        )
    loop, found = asyncio.get_running_loop(), dict[str, Function]()
    for one in listed:
        name = _name(one["name"], names)
        if name in found:
            raise InvalidRequest(
                f"two tools of the server would be called {name!r}; rename one: "
                f"names={{{one['name'][:_LONGEST_NAME]!r}: 'another_name'}}"
            )
        found[name] = _function(name, one, _Calls(session, one["name"], loop, call_seconds))
    return [*found.values()]


class _Calls:
    """
    The calls of one tool, from any thread but the event loop's.
    """

    def __init__(
        self, session: Any, tool: str, loop: asyncio.AbstractEventLoop, timeout: float
    ) -> None:
        self._session = session
        self._tool = tool
        self._loop = loop
        self._timeout = timeout

    def __call__(self, arguments: Mapping[str, object]) -> object:
        # Raises TypeError for what JSON cannot write, which the guest's code then reads.
        sent = json.loads(json.dumps(dict(arguments), allow_nan=False))
        if _runs_here(self._loop):
            raise RuntimeError(
                "a tool of an MCP server was called on the thread of its own event loop, which "
                "would wait for itself; use the asyncio client, which calls it in another"
            )
        asked = self._session.call_tool(self._tool, sent)
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        try:
            result = future.result(self._timeout)
        except TimeoutError:
            future.cancel()
            raise TimeoutError(f"the server gave no result in {self._timeout:g} s") from None
        return _value(result.model_dump(mode="json", by_alias=True, exclude_none=True))


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _name(told: str, names: Mapping[str, str]) -> str:
    name = names.get(told) or re.sub(r"[^A-Za-z0-9_]", "_", told)
    sound = name.isascii() and name.isidentifier() and len(name) <= _LONGEST_NAME
    hides = keyword.iskeyword(name) or hasattr(builtins, name) or name.startswith("__")
    if not sound or hides or name == "final_answer":
        raise InvalidRequest(
            f"the server calls a tool {told[:_LONGEST_NAME]!r}, which cannot be a function's name "
            "in a session, or would hide one that is there; rename it: "
            "names={'its name': 'another_name'}"
        )
    return name


def _function(name: str, told: Mapping[str, Any], calls: _Calls) -> Function:
    schema = told.get("inputSchema") or {}
    signature = _signature(schema)

    def called(*args: object, **named: object) -> object:
        bound = signature.bind(*args, **named).arguments
        others = bound.pop(_OTHERS, {})
        return calls({**bound, **others})

    made: Any = called
    made.__name__ = made.__qualname__ = name
    made.__doc__ = _document(told, schema)
    made.__signature__ = signature
    return called


_OTHERS = "others"


def _signature(schema: Mapping[str, Any]) -> inspect.Signature:
    """
    Those that are required by place, the others by name; and by `**` what no parameter can be.
    """
    properties = _properties(schema)
    required = set(_texts(schema.get("required")))
    plain = [one for one in properties if _is_parameter(one)][:_MOST_PARAMETERS]
    parameters = [
        inspect.Parameter(
            one,
            inspect.Parameter.POSITIONAL_OR_KEYWORD
            if one in required
            else inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if one in required else _default(properties[one]),
            annotation=_TYPES.get(_type(properties[one]), inspect.Parameter.empty),
        )
        for one in sorted(plain, key=lambda one: one not in required)
    ]
    if len(plain) < len(properties):
        parameters.append(inspect.Parameter(_OTHERS, inspect.Parameter.VAR_KEYWORD))
    return inspect.Signature(parameters)


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _texts(told: object) -> list[str]:
    return [one for one in told if isinstance(one, str)] if isinstance(told, list) else []


def _is_parameter(name: str) -> bool:
    plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    own = name != _OTHERS and not name.startswith("__")
    return plain and own and len(name) <= _LONGEST_NAME


def _type(schema: object) -> str:
    told = schema.get("type") if isinstance(schema, dict) else None
    return told if isinstance(told, str) else ""


def _default(schema: object) -> object:
    return schema.get("default") if isinstance(schema, dict) else None


def _document(told: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    lines = [str(told.get("description", ""))]
    for name, one in _properties(schema).items():
        said = one.get("description") if isinstance(one, dict) else None
        if isinstance(said, str):
            lines.append(f"{name[:_LONGEST_NAME]}: {said[:_LONGEST_TEXT]}")
    return "\n".join(lines)


def _value(result: Mapping[str, Any]) -> object:
    """
    What a call gave. Raises RuntimeError where the server says that it failed.
    """
    parts = [_part(one) for one in result.get("content", [])]
    if result.get("isError"):
        said = "\n".join(part for part in parts if isinstance(part, str))
        raise RuntimeError(said or "the tool failed and said nothing")
    structured = result.get("structuredContent")
    if isinstance(structured, dict):
        # A value that is no object is told as the one key `result`.
        return structured["result"] if set(structured) == {"result"} else structured
    return parts[0] if len(parts) == 1 else parts


def _part(content: Mapping[str, Any]) -> object:
    """
    A text, the bytes of a picture or a sound, or the whole of what is neither.
    """
    match content.get("type"):
        case "text":
            return str(content.get("text", ""))
        case "image" | "audio":
            try:
                return base64.b64decode(content.get("data", ""), validate=True)
            except (binascii.Error, TypeError, ValueError):
                raise RuntimeError("the server sent a picture or sound that is no base64") from None
        case _:
            return dict(content)
