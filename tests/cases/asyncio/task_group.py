# A task group waits for all, and one failure cancels the others.
import asyncio


async def ok(n):
    await asyncio.sleep(0.001 * n)
    return n


async def bad():
    await asyncio.sleep(0)
    raise ValueError("bad task")


async def forever():
    try:
        await asyncio.sleep(100)
    finally:
        print("cancelled by the group")


async def main():
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ok(n)) for n in (3, 1, 2)]
    print([t.result() for t in tasks])
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(forever())
            group.create_task(bad())
    except* ValueError as errors:
        print(errors.exceptions, errors.message)


asyncio.run(main())
