"""
Boxes that wait: for each order that was asked for, not longer than somebody may come for them.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

import psutil
import pytest

from executor.children.boxed import BoxedWorker, BoxExit, ends_of
from executor.children.launcher import launch, program
from executor.children.probing import NotHeld, probe
from executor.children.zygotes import ImageRow, Rotation, Zygotes
from executor.errors import CageUnavailable
from executor.idle import IdleTime
from executor.images.cache import default_cache
from executor.kernel.boxing import BoxSpawned, Holding
from executor.kernel.cage import BoxEnds
from executor.kernel.orders import BoxOrder
from executor.process.images import declared_as, image_of

CORE = image_of(declared_as("native-core"), default_cache())
ORDER = BoxOrder()
OTHER = BoxOrder(memory=2**27)
held = pytest.mark.skipif(isinstance(probe(), NotHeld), reason="no box can be made here")


def with_boxes(scenario: Callable[[Zygotes], Awaitable[None]], **options: object) -> None:
    async def main() -> None:
        row = program("executor.process.zygote", "--image", CORE.name, "--key", CORE.key)
        launcher = launch([row])
        rows = [ImageRow(CORE.name, CORE.key)]
        zygotes = Zygotes(launcher, rows, **options)  # type: ignore[arg-type]
        try:
            await scenario(zygotes)
        finally:
            await zygotes.close()
            launcher.stop()

    asyncio.run(main())


async def settled(zygotes: Zygotes) -> None:
    while zygotes._tasks:
        await asyncio.wait(zygotes._tasks)


def waiting(zygotes: Zygotes, order: BoxOrder) -> list[BoxedWorker]:
    return [*zygotes._images[0].pool(order)._waiting]  # type: ignore[list-item]


@held
def test_boxes_wait_for_each_order_by_itself() -> None:
    async def scenario(zygotes: Zygotes) -> None:
        await zygotes.start(CORE.name, ORDER)
        (await zygotes.take(CORE.name, OTHER)).drop()
        await settled(zygotes)
        (one,), (other,) = waiting(zygotes, ORDER), waiting(zygotes, OTHER)
        taken = await zygotes.take(CORE.name, OTHER)
        assert taken is other
        assert one.alive
        assert waiting(zygotes, ORDER) == [one]
        taken.drop()

    with_boxes(scenario, pool=1)


@held
def test_boxes_that_nobody_asks_for_again_are_let_go_of() -> None:
    async def scenario(zygotes: Zygotes) -> None:
        await zygotes.start(CORE.name, ORDER)
        await settled(zygotes)
        (box,) = waiting(zygotes, ORDER)
        pool = zygotes._images[0].pool(ORDER)
        pool._idle = IdleTime(0.0, pool.end)
        pool.used()
        await box.ended
        assert pool.closed
        assert zygotes._images[0].pools() == []
        taken = await zygotes.take(CORE.name, ORDER)
        assert taken.alive
        taken.drop()

    with_boxes(scenario, pool=1)


@held
def test_an_order_that_cannot_be_met_costs_nobody_else_his_box() -> None:
    async def scenario(zygotes: Zygotes) -> None:
        first = await zygotes.take(CORE.name, ORDER)
        with pytest.raises(CageUnavailable) as refused:
            await zygotes.take(CORE.name, replace(ORDER, minimum="P9"))
        assert "there is no level 'P9'" in refused.value.detail
        second = await zygotes.take(CORE.name, ORDER)
        assert first.alive
        assert psutil.Process(first.pid).ppid() == psutil.Process(second.pid).ppid()
        first.drop()
        second.drop()

    with_boxes(scenario, pool=0)


@held
def test_a_worn_native_zygote_is_replaced_and_its_boxes_live_on() -> None:
    async def scenario(zygotes: Zygotes) -> None:
        first = await zygotes.take(CORE.name, ORDER)
        second = await zygotes.take(CORE.name, ORDER)
        assert psutil.Process(first.pid).ppid() != psutil.Process(second.pid).ppid()
        assert first.alive
        for box in (first, second):
            box.drop()
            assert isinstance(await box.ended, BoxExit)

    with_boxes(scenario, pool=0, rotation=Rotation(workers=1))


@held
def test_a_box_of_another_user_is_signalled_and_counted() -> None:
    async def scenario(zygotes: Zygotes) -> None:
        box = await zygotes.take(CORE.name, replace(ORDER, watched=True))
        assert box.holding is not None
        assert box.holding.items
        assert (box.cpu_time() or 0.0) > 0.0
        ends = box.take_ends()
        assert ends is not None
        assert ends.listener is not None
        assert box.take_ends() is None
        ends.close()
        box.kill()
        assert "SIGKILL" in str(await box.ended)
        box.channel.close()

    with_boxes(scenario, pool=0)


def test_descriptors_that_were_not_ordered_are_refused() -> None:
    spawned = BoxSpawned(1, 2, Holding("P4", ""), listener=True, served=1)
    order = BoxOrder(watched=True, served=("/data",))
    assert ends_of(order, spawned, [7, 8]) == BoxEnds(listener=7, served=(("/data", 8),))
    for other, descriptors in (
        (BoxOrder(watched=True), [7, 8]),
        (order, [7]),
        (order, [7, 8, 9]),
        (replace(order, names=True), [7, 8]),
    ):
        with pytest.raises(ValueError, match="was ordered"):
            ends_of(other, spawned, descriptors)


def test_a_box_without_namespaces_comes_with_its_memory_and_no_listeners() -> None:
    spawned = BoxSpawned(1, 2, Holding("P2", ""), listener=True, memory=True)
    order = BoxOrder(watched=True, ports=(80, 443), names=True)
    assert ends_of(order, spawned, [7, 8]) == BoxEnds(listener=7, memory=8)
    for other, told in (
        (BoxOrder(watched=True), spawned),
        (replace(order, watched=False), replace(spawned, listener=False)),
        (order, replace(spawned, names=True)),
        (order, replace(spawned, listeners=2)),
    ):
        with pytest.raises(ValueError, match="was ordered"):
            ends_of(other, told, [*range(7, 6 + told.descriptors)])


@pytest.mark.parametrize(
    ("status", "killed", "said"),
    [
        (9, True, "limits.memory"),
        (9, False, "SIGKILL"),
        (31, False, "foreign to this machine's programs"),
        (24, False, "all the CPU time that a session may have"),
        (11, False, "crashed (SIGSEGV)"),
        (3 << 8, False, "exited with status 3"),
    ],
)
def test_an_end_is_told_in_words(status: int, killed: bool, said: str) -> None:
    assert said in str(BoxExit(status, killed))


def test_the_ends_of_a_box_are_closed_together() -> None:
    one, two, three, four, five, six = numbers = [*os.pipe(), *os.pipe(), *os.pipe()]
    BoxEnds(one, (("/a", two),), ((80, three), (443, four)), five, six).close()
    for descriptor in numbers:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(descriptor)
