# Asynchronous generators, comprehensions and context managers work together.
import asyncio
from contextlib import asynccontextmanager


async def ticks(n):
    try:
        for i in range(n):
            await asyncio.sleep(0)
            yield i
    finally:
        print("generator done")


@asynccontextmanager
async def opened(name):
    print("open", name)
    yield name.upper()
    print("close", name)


async def main():
    async with opened("db") as db:
        print(db, [i * i async for i in ticks(4) if i != 2])
    async for i in ticks(2):
        print("tick", i)
    return {i: str(i) async for i in ticks(2)}


print(asyncio.run(main()))
