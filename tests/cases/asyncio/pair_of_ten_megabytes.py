# What does not fit into a socket pair is sent while a task receives.
import asyncio
import hashlib
import socket

DATA = bytes(range(256)) * 40_960


async def receive(end):
    loop = asyncio.get_running_loop()
    seen, size = hashlib.sha256(), 0
    while part := await loop.sock_recv(end, 2**18):
        seen.update(part)
        size += len(part)
    return size, seen.hexdigest()


async def main():
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        other.setblocking(False)
        task = asyncio.create_task(receive(other))
        await asyncio.get_running_loop().sock_sendall(one, DATA)
        one.shutdown(socket.SHUT_WR)
        size, digest = await task
    print(size == len(DATA), digest == hashlib.sha256(DATA).hexdigest())


asyncio.run(main())
