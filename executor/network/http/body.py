"""
Where a body ends, and how one is written: framing without I/O.

A reader takes bytes as they come and gives the body's own; what lies behind the end of the body
is its `surplus`. Chunks are joined, extensions and trailers never passed on: from the guest both
are refused, from a server, where some are in use, they are checked and dropped.

Sources: RFC 9112 6 (message body length), 7.1 (chunked transfer coding).
"""

import re
from typing import ClassVar, Final, Protocol

from executor.network.http.errors import BadAnswer, BadRequest, Malformed

_PLAIN_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})")
# White space behind the size is no grammar, but servers in use pad sizes with it.
_SIZE_AND_MORE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+:[\t\x20-\x7e\x80-\xff]*")
_MAX_LINE: Final = 4096
_MAX_TRAILERS: Final = 16384

LAST_CHUNK: Final = b"0\r\n\r\n"


class BodyReader(Protocol):
    """
    What reads one body; `surplus` is complete once `done` is true. `ends_with_stream` says
    whether the end of the stream is the end of the body.
    """

    ends_with_stream: ClassVar[bool]
    done: bool
    surplus: bytes

    def feed(self, data: bytes) -> bytes:
        """
        The bytes of the body in `data`. Raises Malformed.
        """


class Counted:
    """
    A body of `length` bytes (0 or more).
    """

    ends_with_stream: ClassVar[bool] = False
    __slots__ = ("_left", "done", "surplus")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.surplus = b""

    def feed(self, data: bytes) -> bytes:
        """
        As `BodyReader.feed`.
        """
        if len(data) > self._left:
            data, self.surplus = data[: self._left], data[self._left :]
        self._left -= len(data)
        self.done = self._left == 0
        return data


class UntilClose:
    """
    A body that ends with its stream, as servers of HTTP/1.0 send it.
    """

    ends_with_stream: ClassVar[bool] = True
    __slots__ = ("done", "surplus")

    def __init__(self) -> None:
        self.done = False
        self.surplus = b""

    def feed(self, data: bytes) -> bytes:
        """
        As `BodyReader.feed`.
        """
        return data


class Chunked:
    """
    A body in chunks. `error` says whose it is; the guest's have neither extensions nor trailers.
    """

    ends_with_stream: ClassVar[bool] = False
    __slots__ = ("_error", "_left", "_rest", "_size", "_trailers", "done", "surplus")

    def __init__(self, error: type[Malformed]) -> None:
        self._error = error
        self._size = _PLAIN_SIZE if error is BadRequest else _SIZE_AND_MORE
        self._rest = b""
        # Bytes of the chunk that are still to come, with the CRLF behind it; 0: a size is next.
        self._left = 0
        self._trailers = -1
        self.done = False
        self.surplus = b""

    def feed(self, data: bytes) -> bytes:
        """
        As `BodyReader.feed`.
        """
        data = self._rest + data if self._rest else data
        self._rest = b""
        pieces: list[bytes] = []
        at = 0
        while not self.done and at < len(data):
            if self._left:
                at = self._chunk(data, at, pieces)
            elif (end := self._line_end(data, at)) < 0:
                break
            else:
                self._line(data[at:end])
                at = end + 2
        if self.done:
            self.surplus = data[at:]
        else:
            self._rest = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _chunk(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        if self._left > 2:
            piece = data[at : at + self._left - 2]
            pieces.append(piece)
            self._left -= len(piece)
            at += len(piece)
        while self._left in {1, 2} and at < len(data):
            if data[at] != b"\r\n"[2 - self._left]:
                raise self._error("a chunk of a body is longer than its size says")
            self._left -= 1
            at += 1
        return at

    def _line_end(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at, at + _MAX_LINE)
        if end < 0 and len(data) - at >= _MAX_LINE:
            raise self._error(f"a chunked body has a line of more than {_MAX_LINE} bytes")
        if end < 0 and b"\n" in data[at:]:
            raise self._error("a chunked body has a line that ends with LF alone")
        return end

    def _line(self, line: bytes) -> None:
        if self._trailers >= 0:
            self._trailer(line)
        elif (found := self._size.fullmatch(line)) is None:
            raise self._error("a chunk of a body has a size that is no hexadecimal number")
        elif size := int(found[1], 16):
            self._left = size + 2
        else:
            self._trailers = 0

    def _trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if not line:
            self.done = True
        elif self._error is BadRequest:
            raise BadRequest("a chunked body has trailers; they are not passed on")
        elif not _TRAILER.fullmatch(line) or self._trailers > _MAX_TRAILERS:
            raise BadAnswer(f"an answer's trailers are no fields, or over {_MAX_TRAILERS} bytes")


def chunk(data: bytes) -> bytes:
    """
    `data` as one chunk; nothing at all where it is empty, which would end the body.
    """
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def framed(data: bytes, *, chunked: bool, done: bool) -> bytes:
    """
    The next piece of a body as it is written; with `done` it is the last one.
    """
    if not chunked:
        return data
    return chunk(data) + LAST_CHUNK if done else chunk(data)
