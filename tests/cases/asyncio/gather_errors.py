# gather raises the first error, or returns them all.
import asyncio


async def fail(text, after=0):
    await asyncio.sleep(after)
    raise RuntimeError(text)


async def main():
    print(
        await asyncio.gather(fail("a"), asyncio.sleep(0, "fine"), fail("b"), return_exceptions=True)
    )
    await asyncio.gather(fail("first"), fail("second", 0.001))


asyncio.run(main())
