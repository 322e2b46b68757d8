"""
How many gates run at a time, whoever still waits for them.
"""

import asyncio
from contextlib import asynccontextmanager

from executor.errors import CageUnavailable
from executor.gating.runs import Gatekeeper
from executor.transactions.verdicts import Judgement
from tests.executor.gating.test_gate_programs import case, written


class Cages:
    """
    None is ever made; those that are being made, and the word for them to fail.
    """

    def __init__(self):
        self.made, self.fail = [], asyncio.Event()

    @asynccontextmanager
    async def gate_session(self, policy, labels):
        self.made.append((policy.name, labels["gate"]))
        await self.fail.wait()
        raise CageUnavailable("none here")
        yield


async def reached(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a thread reads the program first
            await asyncio.sleep(0)


def test_who_gives_up_waiting_leaves_its_gate_in_its_room(tmp_path):
    """
    Else a session could have as many cages at a time as it begins commits and interrupts them.
    """

    async def scenario():
        cages, loop = Cages(), asyncio.get_running_loop()
        keeper, one = Gatekeeper(cages), case(written(tmp_path, "pass"), "x")
        asked = [loop.create_task(keeper.judge(one)) for _ in range(4)]
        await reached(lambda: len(cages.made) == 2)
        for left in asked[:3]:  # two of them have a room, and one waits for one
            left.cancel()
        await asyncio.wait(asked[:3])
        for _ in range(100):
            await asyncio.sleep(0)
        assert (len(cages.made), asked[3].done()) == (2, False)
        cages.fail.set()
        verdict = await asked[3]
        assert (verdict.judgement, len(cages.made)) == (Judgement.BROKEN, 3)
        await reached(lambda: not keeper._running)

    asyncio.run(scenario())
