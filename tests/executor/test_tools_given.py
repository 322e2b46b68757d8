"""
What a client gives a session when it opens it: tools and variables that can be none make no
session, and what was given is in the record.
"""

import grpc
import pytest

from codecage import values
from codecage.v1 import codecage_pb2 as pb
from executor.audit.record import Event
from tests.executor.fakes.served import refused
from tests.executor.fakes.tool_client import ECHO, create, given, seen


def parameter(name, kind, default=None):
    return pb.Parameter(name=name, kind=kind, default_text=default)


def signed(*parameters):
    return {"tools": [pb.Tool(name="t", parameters=parameters)]}


KIND = pb.Parameter
BAD = {
    "two tools of one name": {"tools": [ECHO, ECHO]},
    "a tool called as a word of Python": {"tools": [pb.Tool(name="class")]},
    "a tool without a name": {"tools": [pb.Tool()]},
    "a tool called __import__": {"tools": [pb.Tool(name="__import__")]},
    "65 tools": {"tools": [pb.Tool(name=f"t{n}") for n in range(65)]},
    "a document of 20 kB": {"tools": [pb.Tool(name="t", doc="x" * 20_000)]},
    "a parameter of no kind": {"tools": [pb.Tool(name="t", parameters=[pb.Parameter(name="x")])]},
    "a default that is no document": {
        "tools": [
            pb.Tool(
                name="t",
                parameters=[pb.Parameter(name="x", kind=2, default_value=b"\x80\x04K\x01.")],
            )
        ]
    },
    "parameters out of order": signed(
        parameter("x", KIND.KEYWORD_ONLY), parameter("y", KIND.POSITIONAL_OR_KEYWORD)
    ),
    "two parameters of one name": signed(
        parameter("x", KIND.POSITIONAL_ONLY), parameter("x", KIND.KEYWORD_ONLY)
    ),
    "one that has to be given behind one with a default": signed(
        parameter("x", KIND.POSITIONAL_ONLY, "1"), parameter("y", KIND.POSITIONAL_OR_KEYWORD)
    ),
    "two that take all the rest": signed(
        parameter("x", KIND.VAR_POSITIONAL), parameter("y", KIND.VAR_POSITIONAL)
    ),
    "a default of the rest": signed(parameter("x", KIND.VAR_KEYWORD, "1")),
    "a variable called as a tool": {"tools": [ECHO], "variables": {"echo": b"x"}},
    "a variable with a blank in its name": {"variables": {"a b": b"x"}},
    "2 MiB of variables": {"variables": {"a": bytes(2**21)}},
    "an import that is no module": {"imports": pb.Imports(allow=["os; print"])},
    "an import of nothing": {"imports": pb.Imports(allow=[""])},
    "a wildcard in the middle": {"imports": pb.Imports(allow=["a.*.b"])},
    "an import of 129 letters": {"imports": pb.Imports(allow=["x" * 129])},
    "257 imports": {"imports": pb.Imports(allow=["x"] * 257)},
}


@pytest.mark.parametrize("bad", BAD)
def test_what_can_be_no_tool_or_variable_makes_no_session(tmp_path, bad):
    async def scenario(server):
        request = pb.CreateSessionRequest(policy="test", **BAD[bad])
        code, why = await refused(server.stub.CreateSession(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert why
        assert not server.sessions.list()

    given(tmp_path, scenario)


def test_parameters_of_every_kind_in_their_order_are_a_signature(tmp_path):
    async def scenario(server):
        parameters = signed(
            parameter("a", KIND.POSITIONAL_ONLY),
            parameter("b", KIND.POSITIONAL_OR_KEYWORD, "1"),
            parameter("rest", KIND.VAR_POSITIONAL),
            parameter("c", KIND.KEYWORD_ONLY, "1"),
            parameter("d", KIND.KEYWORD_ONLY),
            parameter("more", KIND.VAR_KEYWORD),
        )
        assert await create(server, *parameters["tools"])

    given(tmp_path, scenario)


def test_what_a_session_was_given_is_in_the_record_by_name_and_digest(tmp_path):
    async def scenario(server):
        imports = pb.Imports(allow=["math", "numpy.*"])
        variables = {"secret": values.encode("very secret")}
        session = await create(server, variables=variables, imports=imports)
        (created,) = seen(server, session, Event.SESSION_CREATE)
        detail = dict(created.detail)
        assert (detail["tools"], detail["variables_size"]) == ("echo bound", 27)
        assert len(detail["given"]) == 64
        assert detail["imports"] == "math numpy.*"
        assert "very secret" not in str(created)

    given(tmp_path, scenario)
