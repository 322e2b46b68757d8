"""
An exchange between two socket pairs: the test plays the guest at one end, the server at the other.
"""

import asyncio
import contextlib
import socket
from dataclasses import dataclass, field

from executor.network.account import Account
from executor.network.errors import Ending, Refused
from executor.network.http.exchange import Exchange
from executor.network.http.hidden import hidden_forms
from executor.network.http.origin import Injected, Origin
from executor.network.streams import Patience, SocketStream

ORIGIN = Origin("api.example.com", 443, tls=True)
GET = b"GET /a?q HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
SENT = b"GET /a?q HTTP/1.1\r\nHost: api.example.com\r\nConnection: keep-alive\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GIVEN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"
END = b"\r\n\r\n"
SECRET = b"sk-live-0123456789abcdef"
GUARDED = Origin(
    "api.example.com",
    443,
    tls=True,
    injected=Injected("Authorization", b"Bearer " + SECRET, hidden_forms(SECRET, b"Bearer ")),
)


@dataclass
class Judge:
    """
    Allows what is not below `/denied`, and remembers.
    """

    asked: list = field(default_factory=list)
    answers: list = field(default_factory=list)

    async def request(self, method, path, query, hops):
        self.asked.append((method, path, query, hops))
        if path.startswith("/denied"):
            raise Refused("GET /denied is not granted")
        if hops > 5:
            raise Refused("too many redirects")

    def answered(self, status, sent, received):
        self.answers.append((status, sent, received))


class End:
    """
    The test's end of a stream.
    """

    def __init__(self, connection):
        connection.setblocking(False)
        self.socket = connection
        self.seen = b""

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def until(self, mark):
        """
        What comes up to and with `mark`; what came behind it stays for the next call.
        """
        while mark not in self.seen:
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
            assert data, f"the stream ended without {mark!r}, behind {self.seen[-200:]!r}"
            self.seen += data
        at = self.seen.index(mark) + len(mark)
        found, self.seen = self.seen[:at], self.seen[at:]
        return found

    async def rest(self):
        """
        Everything up to the end of the stream.
        """
        while data := await asyncio.get_running_loop().sock_recv(self.socket, 65536):
            self.seen += data
        found, self.seen = self.seen, b""
        return found

    def close(self):
        self.socket.close()


@dataclass
class Link:
    """
    One connection under test; `ending` is how it ended, None for the wish of either side.
    """

    guest: End
    server: End
    judge: Judge
    account: Account
    task: asyncio.Task

    async def ending(self):
        try:
            await self.task
        except Ending as ending:
            return ending
        return None


@contextlib.asynccontextmanager
async def linked(origin=ORIGIN, *, exchange=None, budget=2**30, server=None, silence=60.0):
    """
    An exchange under way. `server` is the broker's end of a real connection, if there is one.
    """
    ours, guest = socket.socketpair()
    if server is None:
        theirs, far = socket.socketpair()
    else:
        theirs, far = server, socket.socket()
    judge, account = Judge(), Account(budget)
    streams = []
    for connection in (ours, theirs):
        connection.setblocking(False)
        streams.append(SocketStream(connection, Patience(silence, silence, "the other side")))

    async def serve():
        try:
            await (exchange or Exchange()).serve(*streams, judge, account, origin)
        finally:
            for stream in streams:
                await stream.close()

    task = asyncio.ensure_future(serve())
    link = Link(End(guest), End(far), judge, account, task)
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        guest.close()
        far.close()


def run(scenario):
    """
    Run a scenario; a task left behind, or an exception that nobody took, fails it.
    """

    async def whole():
        problems = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: problems.append(what))
        async with asyncio.timeout(30):
            await scenario()
        assert problems == []
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(whole())


def answered(answer, *, request=GET, origin=ORIGIN, end=False):
    """
    What the guest gets for `answer`, the ending, and the judge.
    """
    found = []

    async def scenario():
        async with linked(origin) as link:
            await link.guest.send(request)
            await link.server.until(END)
            # A broken answer may have closed the other end before all of it is sent.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await link.server.send(answer)
            if end:
                link.server.close()
            else:
                link.guest.socket.shutdown(socket.SHUT_WR)
            ending = await link.ending()
            found.extend((await link.guest.rest(), ending, link.judge))

    run(scenario)
    return found
