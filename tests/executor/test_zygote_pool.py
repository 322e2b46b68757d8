"""
The pool's next worker: made when the last one was taken a while ago, and given to who waits for it.
"""

import asyncio

from executor.children import zygotes as zygotes_module
from tests.executor.test_zygotes import settled, with_zygotes, zygote_of

# Seconds that no test lasts.
LONG = 3600.0


async def turns() -> None:
    """
    Let every task of the loop run to its first real wait.
    """
    for _ in range(3):
        await asyncio.sleep(0)


def test_who_comes_while_the_next_worker_is_being_made_gets_that_one():
    async def scenario(zygotes):
        await zygotes.start("core")
        await turns()
        worker = await zygotes.take("core")
        worker.drop()
        assert zygote_of(zygotes).spawned == 1

    with_zygotes(scenario, pool=1)


def test_who_comes_when_another_has_claimed_it_gets_one_of_his_own(monkeypatch):
    # The first of the three would have the pool filled again while the last is still waited for.
    monkeypatch.setattr(zygotes_module, "_BREATH", LONG)

    async def scenario(zygotes):
        await zygotes.start("core")
        await turns()
        workers = await asyncio.gather(*(zygotes.take("core") for _ in range(3)))
        assert len({worker.pid for worker in workers}) == 3
        assert zygote_of(zygotes).spawned == 3
        for worker in workers:
            worker.drop()

    with_zygotes(scenario, pool=1)


def test_a_worker_whose_claimer_has_gone_waits_in_the_pool():
    async def scenario(zygotes):
        await zygotes.start("core")
        taking = asyncio.get_running_loop().create_task(zygotes.take("core"))
        await turns()
        taking.cancel()
        await settled(zygotes)
        assert zygotes._images[0].count() == 1
        assert zygote_of(zygotes).spawned == 1

    with_zygotes(scenario, pool=1)


def test_the_pool_is_full_again_after_a_worker_was_taken():
    async def scenario(zygotes):
        await zygotes.start("core")
        await settled(zygotes)
        (await zygotes.take("core")).drop()
        await settled(zygotes)
        assert zygotes._images[0].count() == 1

    with_zygotes(scenario, pool=1)


def test_nothing_is_made_ahead_while_somebody_waits(monkeypatch):
    async def scenario(zygotes):
        await zygotes.start("core")
        await settled(zygotes)
        monkeypatch.setattr(zygotes_module, "_BREATH", 0.0)
        first = await zygotes.take("core")
        second = asyncio.get_running_loop().create_task(zygotes.take("core"))
        await asyncio.sleep(0)  # the second waits, and the first's breath has begun
        monkeypatch.setattr(zygotes_module, "_BREATH", LONG)
        (await second).drop()
        assert zygote_of(zygotes).spawned == 2
        first.drop()

    with_zygotes(scenario, pool=1)


def test_without_a_pool_nothing_is_made_ahead():
    async def scenario(zygotes):
        await zygotes.start("core")
        (await zygotes.take("core")).drop()
        await settled(zygotes)
        assert zygotes._images[0].count() == 0
        assert zygote_of(zygotes).spawned == 1

    with_zygotes(scenario, pool=0)
