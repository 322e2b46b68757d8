"""
Pages that give a client its own credential back, in every dress that a real server might use.
"""

import base64
import binascii
import gzip
import html
import json
import urllib.parse
from collections.abc import Callable, Iterator
from itertools import chain

from tests.servers.sites import Answer, HttpServer, Page, Seen, answer

Dress = Callable[[bytes], bytes]


def _json_escaped(value: bytes) -> bytes:
    """
    Each character as JSON's escape, as nobody has to write it but everybody may.
    """
    return "".join(f"\\u{char:04x}" for char in value).encode()


def _percent(value: bytes) -> bytes:
    return "".join(f"%{char:02X}" for char in value).encode()


DRESSES: dict[str, Dress] = {
    "plain": lambda value: value,
    "json": lambda value: json.dumps({"you sent": value.decode("latin-1")}).encode(),
    "json-escaped": lambda value: b'{"v": "' + _json_escaped(value) + b'"}',
    "html": lambda value: html.escape(value.decode("latin-1")).encode(),
    "quoted": lambda value: urllib.parse.quote(value).encode(),
    "quoted-plus": lambda value: urllib.parse.quote_plus(value).encode(),
    "percent": _percent,
    "percent-lower": lambda value: _percent(value).lower(),
    "base64": base64.b64encode,
    "base64-url": base64.urlsafe_b64encode,
    "base64-shifted-1": lambda value: base64.b64encode(b"x" + value + b"tail"),
    "base64-shifted-2": lambda value: base64.b64encode(b"xy" + value + b"tail"),
    "hex": binascii.hexlify,
    "hex-upper": lambda value: binascii.hexlify(value).upper(),
}


def _credential(seen: Seen) -> bytes:
    """
    What came in the field that `?header=` names, the whole of it.
    """
    return ", ".join(seen.all(seen.query.get("header", "Authorization"))).encode("latin-1")


def reflect(seen: Seen, _: HttpServer) -> Answer:
    """
    `/reflect/DRESS`: in the body.
    """
    return answer(DRESSES[seen.path.split("/")[2]](_credential(seen)))


def reflect_field(seen: Seen, _: HttpServer) -> Answer:
    """
    `/reflect-field/DRESS`: as the value of a field.
    """
    value = DRESSES[seen.path.split("/")[2]](_credential(seen)).decode("latin-1")
    return answer(b"see the head", fields={"X-You-Sent": value, "Set-Cookie": f"sent={value}"})


def reflect_name(seen: Seen, _: HttpServer) -> Answer:
    """
    As the name of a field, and as the words behind the status.
    """
    value = _credential(seen).decode("latin-1").split(" ")[-1]
    return answer(b"", status=f"200 {value}", fields={f"X-{value}": "1"})


def reflect_location(seen: Seen, _: HttpServer) -> Answer:
    """
    `?to=URL`: a redirect that carries it away.
    """
    value = urllib.parse.quote(_credential(seen))
    to = seen.query.get("to", "/echo")
    return answer(b"", status="302 Found", fields={"Location": f"{to}?stolen={value}"})


def reflect_bytewise(seen: Seen, _: HttpServer) -> Answer:
    """
    In chunks of one byte, each sent alone.
    """
    value = _credential(seen)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Answer(chain([head], _chunks(value), [b"0\r\n\r\n"]))


def _chunks(value: bytes) -> Iterator[bytes]:
    for byte in value:
        yield b"1\r\n" + bytes([byte]) + b"\r\n"


def reflect_gzip(seen: Seen, _: HttpServer) -> Answer:
    """
    Packed, whether the client said that it takes that or not.
    """
    return answer(gzip.compress(_credential(seen)), fields={"Content-Encoding": "gzip"})


def reflect_range(seen: Seen, _: HttpServer) -> Answer:
    """
    The part of it that `Range: bytes=A-B` asks for.
    """
    value = _credential(seen)
    if asked := seen.all("Range"):
        first, last = asked[0].removeprefix("bytes=").split("-")
        part = value[int(first) : int(last) + 1]
        place = {"Content-Range": f"bytes {first}-{last}/{len(value)}"}
        return answer(part, status="206 Partial Content", fields=place)
    return answer(value)


def reflect_trailer(seen: Seen, _: HttpServer) -> Answer:
    trailer = b"X-Sent: " + _credential(seen) + b"\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sent\r\n\r\n"
    return Answer([head + b"2\r\nok\r\n0\r\n" + trailer])


def reflect_extension(seen: Seen, _: HttpServer) -> Answer:
    """
    As an extension of a chunk, which no client shows but some keep.
    """
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Answer([head + b'2;v="' + _credential(seen) + b'"\r\nok\r\n0\r\n\r\n'])


def reflect_informed(seen: Seen, _: HttpServer) -> Answer:
    """
    In an answer before the answer.
    """
    early = b"HTTP/1.1 103 Early Hints\r\nLink: <" + _credential(seen) + b">\r\n\r\n"
    return Answer([early + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])


PAGES: dict[str, Page] = {
    "reflect": reflect,
    "reflect-field": reflect_field,
    "reflect-name": reflect_name,
    "reflect-location": reflect_location,
    "reflect-bytewise": reflect_bytewise,
    "reflect-gzip": reflect_gzip,
    "reflect-range": reflect_range,
    "reflect-trailer": reflect_trailer,
    "reflect-extension": reflect_extension,
    "reflect-informed": reflect_informed,
}
