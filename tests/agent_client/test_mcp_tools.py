"""
Tools of an MCP server as functions: what a server tells is a stranger's, and is data.

The answers stand in for a `mcp.ClientSession`, in the words of the wire; a real server is run by
tests/e2e/test_examples.py.
"""

import asyncio
import base64
import builtins
import inspect

import pytest

from agent_client import InvalidRequest, mcp_tools
from agent_client.tools import Toolbox

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where."},
        "days": {"type": "integer", "default": 7},
        "exact": {"type": ["boolean", "null"]},
    },
    "required": ["city"],
}


class Told:
    """
    What the package's models are: an object with `model_dump`.
    """

    def __init__(self, data):
        self.model_dump = lambda **_: data


class Server:
    def __init__(self, *tools, result=None, **told):
        self.tools = [{"inputSchema": SCHEMA, **tool} for tool in tools]
        self.told, self.result, self.called = told, result or {"content": []}, []

    async def list_tools(self):
        return Told({"tools": self.tools, **self.told})

    async def call_tool(self, name, arguments):
        self.called.append((name, arguments))
        if self.result == "never":
            await asyncio.Event().wait()
        return Told(self.result)


def tools_of(server, **options):
    return asyncio.run(mcp_tools(server, **options))


def call(server, *args, **named):
    async def scenario():
        (tool,) = await mcp_tools(server, call_seconds=named.pop("call_seconds", 20))
        return await asyncio.to_thread(tool, *args, **named)

    return asyncio.run(scenario())


def test_a_schema_becomes_a_signature_and_a_document():
    (tool,) = tools_of(Server({"name": "forecast", "description": "The weather."}))
    assert tool.__name__ == "forecast"
    assert str(inspect.signature(tool)) == "(city: 'str', *, days: 'int' = 7, exact=None)"
    assert tool.__doc__ == "The weather.\ncity: Where."
    (described,) = Toolbox([tool]).described()
    assert [one.name for one in described.parameters] == ["city", "days", "exact"]


def test_only_what_was_given_is_sent_and_as_json():
    server = Server({"name": "forecast"}, result={"content": [{"type": "text", "text": "fine"}]})
    assert call(server, "Sele", days=2) == "fine"
    assert call(server, city="Sele", exact=True) == "fine"
    assert server.called == [
        ("forecast", {"city": "Sele", "days": 2}),
        ("forecast", {"city": "Sele", "exact": True}),
    ]


@pytest.mark.parametrize("given", [b"bytes", {1, 2}, float("nan"), object()])
def test_what_json_cannot_write_is_told_and_not_sent(given):
    server = Server({"name": "forecast"})
    with pytest.raises((TypeError, ValueError)):
        call(server, given)
    assert server.called == []


def test_what_no_parameter_can_be_is_given_by_name():
    schema = {"properties": {"file-name": {"type": "string"}, "class": {}, "others": {}, "x": {}}}
    server = Server({"name": "read", "inputSchema": {**schema, "required": ["x"]}})
    (tool,) = tools_of(server)
    assert str(inspect.signature(tool)) == "(x, **others)"
    call(server, 1, **{"file-name": "a", "class": 2, "others": 3})
    assert server.called == [("read", {"x": 1, "file-name": "a", "class": 2, "others": 3})]


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ({"content": [], "structuredContent": {"result": [1, 2]}}, [1, 2]),
        ({"content": [], "structuredContent": {"a": 1, "result": 2}}, {"a": 1, "result": 2}),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, ["a", "b"]),
        (
            {"content": [{"type": "image", "data": base64.b64encode(b"\x89PNG").decode()}]},
            b"\x89PNG",
        ),
        (
            {"content": [{"type": "resource_link", "uri": "x:y"}]},
            {"type": "resource_link", "uri": "x:y"},
        ),
        ({"content": []}, []),
    ],
)
def test_results_are_plain_values(result, value):
    assert call(Server({"name": "forecast"}, result=result), "Sele") == value


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"isError": True, "content": [{"type": "text", "text": "no such city"}]}, "no such city"),
        ({"isError": True}, "said nothing"),
        ({"content": [{"type": "image", "data": "?"}]}, "no base64"),
        ({"content": [{"type": "audio", "data": 5}]}, "no base64"),
    ],
)
def test_a_failure_is_an_exception_that_says_so(result, said):
    with pytest.raises(RuntimeError, match=said):
        call(Server({"name": "forecast"}, result=result), "Sele")


def test_a_call_without_an_answer_ends():
    with pytest.raises(TimeoutError, match=r"no result in 0\.05 s"):
        call(Server({"name": "forecast"}, result="never"), "Sele", call_seconds=0.05)


def test_a_call_on_the_loop_itself_is_an_error_and_no_deadlock():
    async def scenario():
        server = Server({"name": "forecast"})
        (tool,) = await mcp_tools(server)
        with pytest.raises(RuntimeError, match="would wait for itself"):
            tool("Sele")
        assert server.called == []

    asyncio.run(scenario())


HOSTILE = [
    "open",
    "print",
    "__import__",
    "__builtins__",
    "final_answer",
    "class",
    "None",
    "",
    "1st",
    "x" * 65,
    "ünïcode" * 20,
    "__secret",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_hides_something_or_is_none_is_refused(name):
    with pytest.raises(InvalidRequest, match="rename it"):
        tools_of(Server({"name": name}))
    (tool,) = tools_of(Server({"name": name}), names={name: "renamed"})
    assert tool.__name__ == "renamed"


@pytest.mark.parametrize("name", ["a-b", "a.b", "a b", "a/b", "a\nb", "a(b", "a;b", "a'b", "äb"])
def test_no_name_and_no_text_becomes_source(name, monkeypatch):
    for way in ("eval", "exec", "compile"):
        monkeypatch.setattr(builtins, way, None)
    text = "'''\"\"\"\n__import__('os').system('x')"
    properties = {text: {"type": text, "default": text}, "y": {"type": text, "description": text}}
    hostile = {"name": name, "description": text, "inputSchema": {"properties": properties}}
    (tool,) = tools_of(Server(hostile))
    assert tool.__name__ == ("_b" if name == "äb" else "a_b")
    (described,) = Toolbox([tool]).described()
    assert [(one.name, one.annotation) for one in described.parameters] == [
        ("y", ""),
        ("others", ""),
    ]
    assert text in described.doc


@pytest.mark.parametrize(
    ("schema", "signature"),
    [
        (None, "()"),
        ({"properties": 5, "required": 5}, "()"),
        ({"properties": {"x": 5}, "required": [[], 5]}, "(*, x=None)"),
        ({"required": ["missing"]}, "()"),
    ],
)
def test_a_schema_that_is_none_leaves_a_function(schema, signature):
    (tool,) = tools_of(Server({"name": "odd", "inputSchema": schema}))
    assert (tool.__name__, str(inspect.signature(tool))) == ("odd", signature)


def test_two_tools_of_one_name_and_too_many_are_refused():
    with pytest.raises(InvalidRequest, match="two tools of the server would be called 'a_b'"):
        tools_of(Server({"name": "a-b"}, {"name": "a.b"}))
    both = tools_of(Server({"name": "a-b"}, {"name": "a.b"}), names={"a.b": "other"})
    assert [one.__name__ for one in both] == ["a_b", "other"]
    (left,) = tools_of(Server({"name": "a-b"}, {"name": "a.b"}), names={"a.b": ""})
    assert left.__name__ == "a_b"
    many = [{"name": f"tool{number}"} for number in range(65)]
    with pytest.raises(InvalidRequest, match="more than 64 tools"):
        tools_of(Server(*many))
    with pytest.raises(InvalidRequest, match="several pages"):
        tools_of(Server({"name": "a"}, nextCursor="more"))
