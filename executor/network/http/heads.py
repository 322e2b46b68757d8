"""
Where a head ends, and what it says: the first reading of bytes that an attacker wrote.

A head is read twice. The first reading is the grammar below, which knows CRLF and nothing else
as the end of a line, one space where one space stands, and no folding. What passes is read again
by h11, which has rules of its own about Host, Content-Length and Transfer-Encoding; where the two
readings differ, the head is refused. Bodies are not given to h11: it takes chunk extensions and
bare LF in trailers, and makes an event of each chunk, so that a server that sends chunks of one
byte could keep the process busy for minutes within a budget of megabytes.

Sources: RFC 9112 2.2, 3, 4, 5 (grammar of heads), RFC 9110 5.5, 5.6.2 (values and tokens).
"""

import re
from dataclasses import dataclass
from typing import Final

import h11

from executor.network.http.errors import BadAnswer, BadRequest, Malformed
from executor.network.http.fields import Field

MAX_HEAD: Final = 65536
MAX_REQUEST_FIELDS: Final = 100
MAX_ANSWER_FIELDS: Final = 200

_REQUEST_LINE: Final = re.compile(rb"([A-Z][A-Z0-9_-]*) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_STATUS_LINE: Final = re.compile(
    rb"HTTP/(1\.[01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?"
)
_TOKEN: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+")
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_MAX_METHOD: Final = 16
# The first byte of every TLS connection: content type handshake (RFC 8446 5.1).
_TLS_HANDSHAKE: Final = 0x16
_SWITCHING: Final = 101


@dataclass(frozen=True, slots=True)
class RequestHead:
    """
    A request's head, well formed and not judged: `target` is the request target as written.
    """

    method: str
    target: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """
    An answer's head: `status` 100 to 999, `persistent` says that the server speaks HTTP/1.1.
    """

    status: int
    reason: bytes
    persistent: bool
    fields: tuple[Field, ...]

    @property
    def dropped(self) -> bool:
        """
        Whether it is an interim answer, behind which another comes. 101 is none.
        """
        return self.status < 200 and self.status != _SWITCHING


class HeadCutter:
    """
    Finds the end of a head in bytes that arrive in pieces, and looks at each byte once.
    """

    __slots__ = ("_error", "_request", "_seen")

    def __init__(self, error: type[Malformed]) -> None:
        self._error = error
        self._request = error is BadRequest
        self._seen = 0

    def cut(self, buffer: bytearray) -> bytes | None:
        """
        Take the head with its empty line off `buffer`, or None while it is not all there.

        Raises the error of this side for more than MAX_HEAD bytes, a bare LF, or a first byte
        with which no request begins: a client that waits for an answer would wait for ever.
        """
        if buffer and self._request:
            _check_first_byte(buffer[0])
        end = buffer.find(b"\r\n\r\n", max(0, self._seen - 3), MAX_HEAD)
        if _BARE_LF.search(buffer, max(0, self._seen - 1), end if end >= 0 else MAX_HEAD):
            raise self._error("a head has a line that ends with LF alone; lines end with CRLF")
        if end < 0:
            if len(buffer) >= MAX_HEAD:
                raise self._error(f"a head is longer than {MAX_HEAD} bytes, the most that is read")
            self._seen = len(buffer)
            return None
        self._seen = 0
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        return head


def _check_first_byte(byte: int) -> None:
    if byte == _TLS_HANDSHAKE:
        raise BadRequest(
            "TLS was begun on a connection whose requests are read: TLS to the server is spoken"
            " outside of the guest, send HTTP/1.1 in the clear, or ask for a `raw` grant"
        )
    if not 0x41 <= byte <= 0x5A:
        raise BadRequest(
            "what was sent does not begin with the name of a method in upper case: this"
            " connection takes HTTP/1.1 requests only, other protocols need a `raw` grant"
        )


def parse_request_head(head: bytes) -> RequestHead:
    """
    Read a request's head, from its first byte to its empty line.

    Raises BadRequest for whatever is not the strict grammar, for HTTP of another version than
    1.1, more than MAX_REQUEST_FIELDS fields, and what h11 reads otherwise.
    """
    line, fields = _lines(head, BadRequest, MAX_REQUEST_FIELDS)
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise BadRequest(
            "the request line is not `METHOD target HTTP/1.1`, with one space between them and"
            " the method in upper case"
        )
    method, target, version = found.groups()
    if version != b"1.1":
        raise BadRequest("the request's version is not HTTP/1.1, the only one that is spoken here")
    if len(method) > _MAX_METHOD:
        raise BadRequest(f"the method's name is longer than {_MAX_METHOD} characters")
    _check_single(fields, BadRequest)
    event = _second_reading(head, h11.SERVER, BadRequest)
    if not (
        isinstance(event, h11.Request)
        and (event.method, event.target) == (method, target)
        and tuple(event.headers.raw_items()) == fields
    ):
        raise BadRequest("the request's head can be read in two ways")
    return RequestHead(method.decode("ascii"), target.decode("ascii"), fields)


def parse_answer_head(head: bytes) -> AnswerHead:
    """
    Read an answer's head, from its first byte to its empty line; interim answers (1xx) as well.

    Raises BadAnswer as `parse_request_head` does; HTTP/1.0 is taken.
    """
    line, fields = _lines(head, BadAnswer, MAX_ANSWER_FIELDS)
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise BadAnswer("the server's answer does not begin with a status line of HTTP/1.x")
    version, status, reason = found.groups()
    _check_single(fields, BadAnswer)
    answer = AnswerHead(int(status), reason or b"", version == b"1.1", fields)
    if answer.status < 200:
        return answer
    event = _second_reading(head, h11.CLIENT, BadAnswer)
    if not (
        isinstance(event, h11.Response)
        and event.status_code == answer.status
        and tuple(event.headers.raw_items()) == fields
    ):
        raise BadAnswer("the head of the server's answer can be read in two ways")
    return answer


def _lines(head: bytes, error: type[Malformed], most: int) -> tuple[bytes, tuple[Field, ...]]:
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if len(lines) > most:
        raise error(f"a head has more than {most} fields, the most that are read")
    return first, tuple(_field(line, error) for line in lines)


def _field(line: bytes, error: type[Malformed]) -> Field:
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name):
        raise error(
            "a head has a line that is no `name: value`: folded lines, white space before the"
            " colon and other characters than RFC 9110 allows in a name are refused"
        )
    value = value.strip(b" \t")
    if not _VALUE.fullmatch(value):
        raise error("a head has a control character (CR, LF, NUL or another) in a field's value")
    # h11 lowers this one as well: its values are compared without regard to case.
    return name, value.lower() if name.lower() == b"transfer-encoding" else value


_SINGLE: Final = (b"host", b"content-length", b"transfer-encoding")


def _check_single(fields: tuple[Field, ...], error: type[Malformed]) -> None:
    names = [lower for name, _ in fields if (lower := name.lower()) in _SINGLE]
    if len(names) != len(set(names)):
        raise error("a head has Host, Content-Length or Transfer-Encoding more than once")
    if b"content-length" in names and b"transfer-encoding" in names:
        raise error("a head has Content-Length and Transfer-Encoding; only one can be true")


def _second_reading(
    head: bytes, role: type[h11.SERVER | h11.CLIENT], error: type[Malformed]
) -> object:
    connection = h11.Connection(role, max_incomplete_event_size=MAX_HEAD)
    connection.receive_data(head)
    try:
        return connection.next_event()
    except h11.RemoteProtocolError as found:
        raise error("a head breaks a rule of HTTP/1.1 about its fields or its framing") from found
