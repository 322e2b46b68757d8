"""
Pages of a server that means harm: endless, oversized, slow, and ambiguous answers.
"""

import gzip
import itertools
import zlib
from collections.abc import Iterator

from tests.servers.sites import Answer, HttpServer, Page, Seen, answer

# What surplus bytes and smuggled answers say; no client may ever take it for its own.
SMUGGLED = b"smuggled-7f3a"
_SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + SMUGGLED
_MIB = 2**20


def _raw(*pieces: bytes, goes_on: bool = False) -> Answer:
    return Answer(pieces, goes_on)


def _ambiguous(*lines: str, body: bytes = b"") -> Page:
    head = "".join(f"{line}\r\n" for line in lines)
    data = f"HTTP/1.1 200 OK\r\n{head}\r\n".encode("latin-1") + body
    return lambda _, __: _raw(data)


_CHUNKED = b"4\r\nfour\r\n0\r\n\r\n"
SMUGGLING: dict[str, Page] = {
    "cl-te": _ambiguous("Content-Length: 4", "Transfer-Encoding: chunked", body=_CHUNKED + _SECOND),
    "two-cls": _ambiguous("Content-Length: 4", "Content-Length: 40", body=b"four" + _SECOND),
    "cl-list": _ambiguous("Content-Length: 4, 40", body=b"four" + _SECOND),
    "negative": _ambiguous("Content-Length: -1", body=b"four"),
    "plus": _ambiguous("Content-Length: +4", body=b"four"),
    "huge-cl": _ambiguous("Content-Length: 99999999999999999999", body=b"four"),
    "te-odd": _ambiguous("Transfer-Encoding: xchunked", body=_CHUNKED),
    "te-twice": _ambiguous(
        "Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=_CHUNKED
    ),
    "te-space": _ambiguous("Transfer-Encoding : chunked", body=_CHUNKED),
    "fold": _ambiguous("X-Long: one", " two", "Content-Length: 4", body=b"four"),
    "bad-chunk": _ambiguous("Transfer-Encoding: chunked", body=b"-4\r\nfour\r\n0\r\n\r\n"),
    "chunk-overflow": _ambiguous(
        "Transfer-Encoding: chunked", body=b"10000000000000004\r\nfour\r\n0\r\n\r\n"
    ),
    "nul": _ambiguous("X-Nul: a\x00b", "Content-Length: 4", body=b"four"),
}


def smuggle(seen: Seen, server: HttpServer) -> Answer:
    """
    `/smuggle/NAME`: an answer that two readers would read in two ways.
    """
    return SMUGGLING[seen.path.split("/")[2]](seen, server)


def surplus(_: Seen, __: HttpServer) -> Answer:
    """
    A whole answer and then another that nobody asked for, on a connection that stays open.
    """
    return Answer([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour" + _SECOND])


def informed(_: Seen, __: HttpServer) -> Answer:
    """
    `100 Continue` until somebody has enough.
    """
    flood = itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
    return Answer(flood, goes_on=False)


def switch(_: Seen, __: HttpServer) -> Answer:
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    return _raw(head + SMUGGLED)


def endless(_: Seen, __: HttpServer) -> Answer:
    """
    Chunks of 64 KiB that never end.
    """
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Answer(itertools.chain([head], itertools.repeat(chunk)), goes_on=False)


def endless_plain(_: Seen, __: HttpServer) -> Answer:
    """
    Neither a length nor an end.
    """
    return Answer(
        itertools.chain([b"HTTP/1.1 200 OK\r\n\r\n"], itertools.repeat(b"x" * 65_536)),
        goes_on=False,
    )


def many_fields(_: Seen, __: HttpServer) -> Answer:
    lines = (f"X-{number}: {number}\r\n".encode() for number in range(100_000))
    return Answer(itertools.chain([b"HTTP/1.1 200 OK\r\n"], lines, [b"\r\n"]), goes_on=False)


def long_field(_: Seen, __: HttpServer) -> Answer:
    return _raw(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * _MIB, b"\r\nContent-Length: 0\r\n\r\n")


def no_line_end(_: Seen, __: HttpServer) -> Answer:
    return Answer(itertools.repeat(b"x" * 65_536), goes_on=False)


def gzip_bomb(seen: Seen, _: HttpServer) -> Answer:
    """
    `?mib=N`: so many MiB of zeros, a thousandth of that on the wire.
    """
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(_MIB)
    packed = b"".join(packer.compress(block) for _ in range(int(seen.query["mib"])))
    return answer(packed + packer.flush(), fields={"Content-Encoding": "gzip"})


def slow(seen: Seen, server: HttpServer) -> Answer:
    """
    `?every=S&bytes=N`: a body of N bytes, one each S seconds.
    """
    count = int(seen.query["bytes"])
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n".encode()
    drops = _drops(server, float(seen.query["every"]), count)
    return Answer(itertools.chain([head], drops))


def slow_head(seen: Seen, server: HttpServer) -> Answer:
    """
    `?every=S`: a head without an end, one byte each S seconds.
    """
    return Answer(_drops(server, float(seen.query["every"]), _MIB), goes_on=False)


def _drops(server: HttpServer, every: float, count: int) -> Iterator[bytes]:
    for _ in range(count):
        if not server.wait(every):
            return
        yield b"x"


def silent(_: Seen, server: HttpServer) -> Answer:
    """
    Nothing, for as long as the server runs.
    """
    server.listener.closing.wait()
    return Answer([], goes_on=False)


def cut(_: Seen, __: HttpServer) -> Answer:
    """
    Ten bytes of a hundred, then the end.
    """
    return _raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 10)


def packed(seen: Seen, _: HttpServer) -> Answer:
    return answer(gzip.compress(seen.raw), fields={"Content-Encoding": "gzip"})


def sized(seen: Seen, _: HttpServer) -> Answer:
    """
    `/bytes/N`: a body of N bytes.
    """
    return answer(b"x" * int(seen.path.split("/")[2]))


def cookie(seen: Seen, _: HttpServer) -> Answer:
    return answer(b"ok", fields={"Set-Cookie": f"who={seen.query['who']}; Path=/"})


PAGES: dict[str, Page] = {
    "smuggle": smuggle,
    "surplus": surplus,
    "informed": informed,
    "switch": switch,
    "endless": endless,
    "endless-plain": endless_plain,
    "many-fields": many_fields,
    "long-field": long_field,
    "no-line-end": no_line_end,
    "gzip-bomb": gzip_bomb,
    "slow": slow,
    "slow-head": slow_head,
    "silent": silent,
    "cut": cut,
    "packed": packed,
    "bytes": sized,
    "cookie": cookie,
}
