# A cancelled task cleans up, can refuse, and says so.
import asyncio


async def worker(log):
    try:
        while True:
            await asyncio.sleep(0)
            log.append(1)
    finally:
        log.append("cleaned")


async def stubborn():
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError as error:
        return f"refused: {error.args}"


async def main():
    log = []
    task, other = asyncio.create_task(worker(log)), asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    other.cancel("please")
    results = await asyncio.gather(task, other, return_exceptions=True)
    print(repr(results[0]), results[1], task.cancelled(), other.done(), log[-1])
    task.result()


asyncio.run(main())
