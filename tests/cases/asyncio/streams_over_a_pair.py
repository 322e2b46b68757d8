# Two ends of a socket pair talk as streams do.
import asyncio
import socket


async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.decode().upper().encode())
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main():
    here, there = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=here)
    task = asyncio.create_task(serve(*await asyncio.open_connection(sock=there)))
    for word in ("one", "two", "three"):
        writer.write(f"{word}\n".encode())
        print((await reader.readline()).decode().strip())
    writer.write_eof()
    print(await reader.read(), await task, reader.at_eof())
    writer.close()
    await writer.wait_closed()


asyncio.run(main())
