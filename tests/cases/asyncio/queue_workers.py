# Producers and consumers share a bounded queue.
import asyncio


async def producer(queue):
    for n in range(6):
        await queue.put(n)
    await queue.put(None)


async def consumer(queue, out):
    while (item := await queue.get()) is not None:
        out.append(item * item)
        queue.task_done()
    queue.task_done()


async def main():
    queue, out = asyncio.Queue(maxsize=2), []
    await asyncio.gather(producer(queue), consumer(queue, out))
    await queue.join()
    heap = asyncio.PriorityQueue()
    for n in (3, 1, 2):
        heap.put_nowait(n)
    print(out, queue.empty(), [heap.get_nowait() for _ in range(3)])
    asyncio.Queue().get_nowait()


asyncio.run(main())
