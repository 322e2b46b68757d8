# Timeouts cancel what takes too long, and only that.
import asyncio


async def slow():
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        print("cancelled")
        raise


async def main():
    try:
        await asyncio.wait_for(slow(), 0.01)
    except TimeoutError as error:
        print(type(error).__name__, error is not None)
    async with asyncio.timeout(5):
        print(await asyncio.wait_for(asyncio.sleep(0, "quick"), 1))
    try:
        async with asyncio.timeout(0.01) as t:
            await asyncio.sleep(10)
    except TimeoutError:
        print("expired", t.expired())
    print(await asyncio.shield(asyncio.sleep(0, "shielded")))
    await asyncio.wait_for(slow(), 0.001)


asyncio.run(main())
