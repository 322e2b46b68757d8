"""
Tools of an MCP server as functions of an agent's code, each call decided by a policy.

    python examples/tools_mcp.py --scripted
    CODECAGE_MODEL=gpt-4.1 OPENAI_API_KEY=... python examples/tools_mcp.py

The server (examples/weather/server.py) is a real one, a process that speaks the Model Context
Protocol on its standard input and output; any other is used in the same way. It offers four tools,
of which the policy grants three, and one of those with bounds. The agent calls them in a loop, in
one step, where calls by JSON would take a turn each. It needs the package mcp. With --scripted
nobody is asked: the replies are those of examples/weather/replies. The other variables are those of
examples/demo_loop.py.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import mcp
from demo import prepare, show_audit, title
from demo_loop import asked, show

import agent_client

HERE = Path(__file__).parent / "weather"
TASK = """\
Which station had the largest difference between its warmest and its coldest day in the first week \
of May 2026? Then cancel the alarm of that station, if it has one. The tools of a weather service \
are functions in your session: help(stations) and the like say what they take."""


async def main():
    parser = argparse.ArgumentParser(description="Tools of an MCP server.")
    parser.add_argument("--scripted", action="store_true", help="ask no model")
    model = scripted() if parser.parse_args().scripted else asked()
    with tempfile.TemporaryDirectory(prefix="codecage-demo-") as name:
        folder = Path(name)
        audit = prepare(folder, HERE / "forecaster.yaml")
        async with weather() as tools:
            async with agent_client.connect_async(policies=folder, audit=audit) as cage:
                async with cage.session("forecaster", tools=tools) as session:
                    limits = agent_client.LoopLimits(turns=10, seconds=300, cell_seconds=30)
                    loop = agent_client.AsyncCodeActLoop(
                        model, session, limits=limits, on_turn=show
                    )
                    try:
                        outcome = await loop.run(TASK)
                    except agent_client.ModelFailed as error:
                        sys.exit(f"no reply of {model!r}: {error}")
                    head = await session.close()
        title("the answer")
        print(f"{outcome.answer}\n")
        title("the audit trail")
        return show_audit(audit, session.id, head)


class weather:
    """The server's process, and its tools as functions; `async with`."""

    async def __aenter__(self):
        started = mcp.StdioServerParameters(command=sys.executable, args=[str(HERE / "server.py")])
        self.process = mcp.stdio_client(started)
        self.session = mcp.ClientSession(*await self.process.__aenter__())
        await self.session.__aenter__()
        await self.session.initialize()
        return await agent_client.mcp_tools(self.session)

    async def __aexit__(self, *failure):
        await self.session.__aexit__(*failure)
        await self.process.__aexit__(*failure)


def scripted():
    """A model whose replies are written down."""
    replies = iter(sorted((HERE / "replies").glob("*.md")))
    return lambda messages: next(replies).read_text()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
