"""
The other end of the network benchmark: an HTTPS server in a process of its own, which does as
little as it can for a request, and keeps when each came.

    python answering.py DIRECTORY

writes `authority.pem` there, prints its port, and runs until its standard input ends. `/gaps`
tells the nanoseconds between the requests since it was last asked, in their order: what one
client does, one request after another, is timed in one place and by one clock, whoever it is.
"""

import asyncio
import json
import ssl
import sys
import time
from pathlib import Path

import trustme

BODY = b"x" * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
ANSWER = HEAD % len(BODY) + BODY


class Answering(asyncio.Protocol):
    """A connection, on which requests without a body come one after another."""

    came: list[int] = []  # noqa: RUF012 - one list for the whole process is what is meant

    def connection_made(self, transport):
        self.transport = transport
        self.read = b""

    def data_received(self, data):
        self.read += data
        while b"\r\n\r\n" in self.read:
            head, _, self.read = self.read.partition(b"\r\n\r\n")
            if head.startswith(b"GET /gaps "):
                gaps = [later - one for one, later in zip(self.came, self.came[1:], strict=False)]
                self.came.clear()
                said = json.dumps(gaps).encode()
                self.transport.write(HEAD % len(said) + said)
            else:
                self.came.append(time.perf_counter_ns())
                self.transport.write(ANSWER)


async def serve(directory):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("bench.test", "127.0.0.1").configure_cert(context)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, ssl=context, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
