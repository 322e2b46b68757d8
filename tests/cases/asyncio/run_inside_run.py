# asyncio.run inside a running loop.
import asyncio


async def compute():
    return 5


async def nested():
    coroutine = compute()
    try:
        return asyncio.run(coroutine)
    except RuntimeError as error:
        coroutine.close()
        return str(error)


print(asyncio.run(nested()))
