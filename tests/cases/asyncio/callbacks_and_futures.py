# Futures, callbacks and timers are the loop's own words.
import asyncio

log = []


async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_soon(log.append, "soon")
    timer = loop.call_later(0.005, future.set_result, 42)
    loop.call_later(0.001, log.append, "later").cancel()
    future.add_done_callback(lambda f: log.append(f.result()))
    print(await future, timer.cancelled(), loop.is_running(), future.done())
    await asyncio.sleep(0)
    print(log, loop.time() > 0, asyncio.current_task() is not None, len(asyncio.all_tasks()))
    future.set_result(1)


asyncio.run(main())
