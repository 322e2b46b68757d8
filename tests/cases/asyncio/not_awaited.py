# A coroutine that is not awaited does not run.
import asyncio


async def compute():
    return 5


c = compute()
print(type(c).__name__, asyncio.iscoroutine(c), asyncio.iscoroutinefunction(compute))
c.close()


compute() + 1
