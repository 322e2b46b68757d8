"""
A client that performs tools and speaks the wire, and cells of the fake worker that call them.
"""

import grpc

from codecage import values
from codecage.v1 import codecage_pb2 as pb
from tests.executor.fakes.harness import policy
from tests.executor.fakes.served import serving

TOOLS = "tools: [{name: echo, max_calls: 1000}, {name: bound, arguments: {n: {max: 10}}}]\n"
ECHO = pb.Tool(
    name="echo",
    parameters=[pb.Parameter(name="value", kind=pb.Parameter.POSITIONAL_OR_KEYWORD)],
)
BOUND = pb.Tool(
    name="bound",
    parameters=[
        pb.Parameter(name="n", kind=pb.Parameter.KEYWORD_ONLY, default_value=values.encode(1)),
        pb.Parameter(name="other", kind=pb.Parameter.KEYWORD_ONLY, default_text="<Path>"),
    ],
)
# The cell's own words for a call, and for its result.
WORDS = (
    "from codecage import values\n"
    "def doc(*args, **named): return values.encode((args, named))\n"
    "def call(name, *args, begin=False, **named):\n"
    "    data = doc(*args, **named)\n"
    "    return ask(call=wire.CallAsk(name=name, arguments=data, begin=begin))\n"
)


def given(tmp_path, scenario, text=TOOLS, **options):
    serving(tmp_path, scenario, [policy(text)], **options)


async def create(server, *tools, **more):
    request = pb.CreateSessionRequest(policy="test", tools=tools or (ECHO, BOUND), **more)
    return (await server.stub.CreateSession(request)).id


class Client:
    """
    One cell, and the stream it runs on.
    """

    def __init__(self, server, session, code, *, answers=True, **options):
        start = pb.StartCell(
            session_id=session, code=WORDS + code, answers_tools=answers, **options
        )
        self.stream = server.stub.Execute(timeout=30)
        self.first = pb.ExecuteRequest(start=start)

    async def begin(self):
        await self.stream.write(self.first)
        return self

    async def until(self, wanted):
        while (event := await self.stream.read()) is not grpc.aio.EOF:
            for one in (event, *event.more):
                if one.WhichOneof("event") == wanted:
                    return getattr(one, wanted)
        raise AssertionError(f"the stream ended without {wanted}")

    async def answer(self, call, value=None, data=None, **more):
        data = values.encode(value) if data is None else data
        result = pb.ToolResult(call=call, data=data, **more)
        await self.stream.write(pb.ExecuteRequest(tool_result=result))


async def cell(server, session, code, **options):
    return await Client(server, session, code, **options).begin()


def seen(server, session, event):
    return [one for one in server.records(session) if one.event is event]
