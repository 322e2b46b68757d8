# Locks, semaphores, events, conditions and barriers order tasks.
import asyncio


async def main():
    lock, limit, event, log = asyncio.Lock(), asyncio.Semaphore(2), asyncio.Event(), []

    async def critical(n):
        async with lock:
            log.append(f"in{n}")
            await asyncio.sleep(0)
            log.append(f"out{n}")

    running = peak = 0

    async def limited():
        nonlocal running, peak
        async with limit:
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0)
            running -= 1

    async def waiter():
        await event.wait()
        log.append("event")

    w = asyncio.create_task(waiter())
    await asyncio.gather(critical(1), critical(2), *(limited() for _ in range(5)))
    event.set()
    await w
    barrier = asyncio.Barrier(2)
    print(log, peak, sorted(await asyncio.gather(barrier.wait(), barrier.wait())), lock.locked())


asyncio.run(main())
