"""
What tests of the whole service begin with: a server for a scenario, and how its answers are read.
"""

import asyncio

import grpc
import pytest

from codecage.v1 import codecage_pb2 as pb
from tests.executor.fakes.harness import reason, running

OK = pb.CELL_STATUS_OK
# The worker sleeps in the kernel until a signal comes.
FOREVER = "print('up')\nwhile True: pause()"


def serving(tmp_path, scenario, *args, **options):
    async def main():
        async with running(tmp_path / "server", *args, **options) as server:
            await scenario(server)

    asyncio.run(main())


async def refused(awaitable) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value.code(), reason(caught.value)


async def until(events, wanted: str) -> list[pb.Event]:
    seen = []
    async for event in events:
        seen.append(event)
        if event.WhichOneof("event") == wanted:
            return seen
    raise AssertionError(f"the stream ended without {wanted}: {seen}")
