# Tasks wake in the order of their timers, not of their making.
import asyncio

log = []


async def job(name, future):
    log.append(await future)
    return name


async def main():
    loop = asyncio.get_running_loop()
    now, tasks = loop.time(), []
    for name, delay in (("c", 0.03), ("a", 0.005), ("b", 0.015)):
        future = loop.create_future()
        loop.call_at(now + delay, future.set_result, delay)
        tasks.append(asyncio.create_task(job(name, future), name=name))
    done, pending = await asyncio.wait(tasks)
    print(sorted(t.get_name() for t in done), len(pending))
    print(loop.time() - now > 0.025, await asyncio.sleep(0.001, "slept"))
    return [await t for t in tasks]


print(asyncio.run(main()), log)
