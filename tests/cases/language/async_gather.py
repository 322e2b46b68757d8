# Coroutines run together, and gather keeps the order of its arguments.
import asyncio

order = []


async def job(name, pauses):
    for _ in range(pauses):
        await asyncio.sleep(0)
    order.append(name)
    return name.upper()


async def main():
    return await asyncio.gather(job("slow", 3), job("quick", 1), job("now", 0))


print(asyncio.run(main()), order)
