"""
Feeds the broker's HTTP with broken requests and answers, and checks what comes out of it.

    python tests/fuzz/fuzz_http.py --seconds 60 [--seed N]

Whatever goes in: nothing but an Ending is raised; what the server gets is, read by h11 with its
own rules, exactly the requests that were judged, each for the one host; what the guest gets is
whole answers of HTTP/1.1 for these; and the secret is in nothing that the guest gets.
"""

import argparse
import asyncio
import base64
import random
import sys
import time
from dataclasses import dataclass, field

import h11

from executor.network.account import Account
from executor.network.errors import Ending, Refused
from executor.network.http.exchange import Exchange
from executor.network.http.hidden import hidden_forms
from executor.network.http.origin import Injected, Origin

SECRET = b"sk-Live_0123456789+abc/DEF:second-half"
ORIGIN = Origin(
    "api.example.com",
    443,
    tls=True,
    injected=Injected("X-Api-Key", SECRET, hidden_forms(SECRET)),
)

REQUESTS = (
    b"GET /v1/prices?a=1 HTTP/1.1\r\nHost: api.example.com\r\nAccept: */*\r\n\r\n",
    b"POST /v1 HTTP/1.1\r\nHost: api.example.com:443\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /x HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: API.example.com\r\nConnection: close, X-A\r\nX-A: 1\r\n\r\n",
    b"GET https://api.example.com/abs HTTP/1.1\r\nHost: api.example.com\r\nX_Api_Key: 1\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: api.example.com\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: 1\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end " + SECRET,
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Echo: " + SECRET + b"\r\nContent-Length: 38\r\n\r\n" + SECRET,
    b"HTTP/1.1 200 OK\r\nContent-Length: 52\r\n\r\n" + base64.b64encode(SECRET),
)
SPICE = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"\xff"),
    *(b"Host: evil.example\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"Transfer-Encoding: gzip\r\n", b"Upgrade: h2c\r\n", b"Connection: Host\r\n", b" folded\r\n"),
    *(
        b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"PRI * HTTP/2.0",
    ),
    *(
        b"Content_Length: 1\r\n",
        b"/../",
        b"%2f",
        b"%00",
        b"http://evil.example/",
        b"ffffffffff\r\n",
    ),
    *(
        SECRET,
        SECRET.hex().encode(),
        SECRET[:10],
        b"X-Api-Key: mine\r\n",
        b"HTTP/1.0",
        b"A" * 70000,
    ),
)


class Wrong(AssertionError):
    """
    What came out breaks a promise; the message says which.
    """


@dataclass(slots=True)
class Side:
    """
    A stream in memory: gives the pieces of a script once it is awake, and keeps what it is given.
    """

    pieces: list[bytes]
    awake: asyncio.Event
    written: bytearray = field(default_factory=bytearray)

    async def read(self, size):
        await self.awake.wait()
        if not self.pieces:
            return b""
        piece = self.pieces.pop(0)
        if len(piece) > size:
            self.pieces.insert(0, piece[size:])
        return piece[:size]

    async def write(self, data):
        self.written += data
        self.awake.set()


@dataclass(slots=True)
class Judging:
    """
    Remembers what was judged; refuses what is not below the paths it knows.
    """

    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    outcomes: int = 0

    async def request(self, method, path, query, _hops):
        if "refused" in path:
            raise Refused("refused")
        self.asked.append((method, path, query))

    def answered(self, _status, _sent, _received):
        self.outcomes += 1


def mutated(chance, seeds):
    data = bytearray(b"".join(chance.choices(seeds, k=chance.choice((1, 1, 2, 3)))))
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        at = chance.randrange(len(data) + 1)
        act = chance.randrange(4)
        if act == 0:
            data[at:at] = chance.choice(SPICE)
        elif act == 1:
            del data[at : at + chance.choice((1, 2, 10))]
        elif act == 2 and at < len(data):
            data[at] = chance.randrange(256)
        else:
            line = data.find(b"\r\n", at)
            data[line + 2 : line + 2] = chance.choice(SPICE)
    return bytes(data)


def pieces(chance, data):
    if chance.random() < 0.3:
        return [data[at : at + 1] for at in range(len(data))][:3000] if len(data) < 3000 else [data]
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(4)))
    found = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return [piece for piece in found if piece]


async def one(chance):
    """
    One connection with broken sides. Raises Wrong; returns whether anything was passed on.
    """
    awake = asyncio.Event()
    awake.set()
    guest = Side(pieces(chance, mutated(chance, REQUESTS)), awake)
    server = Side(pieces(chance, mutated(chance, ANSWERS)), asyncio.Event())
    judge = Judging()
    account = Account(2**20)
    serving = Exchange().serve(guest, server, judge, account, ORIGIN)
    try:
        await asyncio.wait_for(serving, 20)
        ended = True
    except Ending:
        ended = False
    check_server_side(bytes(server.written), judge, ended=ended)
    check_guest_side(bytes(guest.written), judge)
    if judge.outcomes != len(judge.asked):
        raise Wrong("a request that was allowed has no outcome, or two")
    return bool(judge.asked), bool(guest.written)


def check_server_side(data, judge, *, ended):
    """
    `data` is a prefix of the judged requests, and all of them where the connection ended well.
    """
    seen = []
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=2**17)
    reader.receive_data(data)
    while data:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError as error:
            raise Wrong(f"the server gets what h11 refuses: {error}") from error
        if isinstance(event, h11.Request):
            seen.append(checked(event))
        if event is h11.PAUSED:
            reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            reader.send(h11.EndOfMessage())
            reader.start_next_cycle()
        if event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            break
    if seen != judge.asked[: len(seen)] or len(judge.asked) - len(seen) > (0 if ended else 1):
        raise Wrong(f"the server gets {seen}, judged were {judge.asked}")


def checked(event):
    names = [name for name, _ in event.headers]
    hosts = [value for name, value in event.headers if name == b"host"]
    keys = [value for name, value in event.headers if name.replace(b"_", b"-") == b"x-api-key"]
    if hosts != [b"api.example.com"]:
        raise Wrong(f"the server gets the hosts {hosts}")
    if keys != [SECRET]:
        raise Wrong("the server gets another credential than ours, or two")
    if {b"upgrade", b"te", b"expect", b"range", b"x-http-method"} & set(names):
        raise Wrong(f"the server gets {names}")
    path, mark, query = event.target.decode().partition("?")
    return event.method.decode(), path, query if mark else None


def check_guest_side(data, judge):
    """
    `data` is a sequence of answers, the last of which may be cut off, without the secret.
    """
    folded = data.lower().replace(b"-", b"+").replace(b"_", b"/")
    for form in ORIGIN.injected.hidden:
        if form.lower().replace(b"-", b"+").replace(b"_", b"/") in folded:
            raise Wrong(f"the guest gets the secret in a form of {len(form)} bytes")
    rest = data
    for method, _, _ in judge.asked:
        rest = answer_taken(rest, method)
    if rest:
        raise Wrong(f"the guest gets {len(rest)} bytes that are no answer to a judged request")


def answer_taken(data, method):
    """
    What follows the first answer in `data`, read by h11 as a client.
    """
    if not data:
        return b""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**17)
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    try:
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                return b""
            if isinstance(event, h11.EndOfMessage):
                return client.trailing_data[0]
    except h11.RemoteProtocolError as error:
        raise Wrong(f"the guest gets what h11 refuses: {error}") from error


async def run(seed, *, seconds=None, count=None):
    """
    Fuzz until the time or the number is over; how many ran, reached the server, reached the guest.
    """
    until = None if seconds is None else time.monotonic() + seconds
    ran = judged = answered = 0
    while (count is None or ran < count) and (until is None or time.monotonic() < until):
        number = seed + ran
        try:
            reached, returned = await one(random.Random(number))
        except Exception:
            print(f"seed {number} (once more: --seed {number} --count 1)", file=sys.stderr)
            raise
        ran, judged, answered = ran + 1, judged + reached, answered + returned
    return ran, judged, answered


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.seconds is None and asked.count is None:
        asked.seconds = 60.0
    ran, judged, answered = asyncio.run(run(asked.seed, seconds=asked.seconds, count=asked.count))
    print(f"{ran} connections, {judged} with judged requests, {answered} with bytes for the guest")


if __name__ == "__main__":
    main()
