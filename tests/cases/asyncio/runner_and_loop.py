# A runner keeps its loop between runs; a closed loop refuses.
import asyncio


async def loop_id():
    return id(asyncio.get_running_loop())


with asyncio.Runner() as runner:
    print(runner.run(loop_id()) == runner.run(loop_id()), runner.get_loop().is_closed())
loop = asyncio.new_event_loop()
print(
    loop.run_until_complete(
        asyncio.sleep(
            0,
            "done",
        )
    ),
    loop.is_running(),
)
loop.close()
print(loop.is_closed())
asyncio.get_running_loop()
