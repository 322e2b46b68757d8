"""
A server's answer: how long it is, and how it is written for the guest.

A server is as hostile as a guest: its head is read by the same grammar, and the guest gets one
that we wrote, so that both see the same answer end at the same byte.

Sources: RFC 9112 6.3 (message body length), 9.3 (persistence); RFC 9110 15 (status codes), 14.6
(multipart/byteranges).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from executor.network.http.body import BodyReader, Chunked, Counted, UntilClose
from executor.network.http.errors import BadAnswer
from executor.network.http.fields import FROM_SERVER, Field, Sieve, tokens, values
from executor.network.http.heads import AnswerHead

_SERVER: Final = Sieve(FROM_SERVER)
_MAX_LENGTH_DIGITS: Final = 18
_SWITCHING: Final = 101
_NO_CONTENT: Final = 204
_NOT_MODIFIED: Final = 304


class Framing(Enum):
    """
    What ends an answer's body on the server's side.
    """

    NONE = "none"
    COUNTED = "counted"
    CHUNKED = "chunked"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Answer:
    """
    An answer that may be passed on. `length` is what its Content-Length says, None without one;
    `closes` that the server takes no other request on this connection.
    """

    status: int
    reason: bytes
    fields: tuple[Field, ...]
    framing: Framing
    length: int | None
    closes: bool

    @property
    def location(self) -> str | None:
        """
        Where a redirect leads, as the server wrote it; None for other answers.
        """
        found = values(self.fields, b"location") if 300 <= self.status < 400 else []
        return found[0].decode("latin-1") if found else None

    @property
    def rechunked(self) -> bool:
        """
        Whether the guest gets the body in chunks of ours.
        """
        return self.framing in {Framing.CHUNKED, Framing.CLOSE}

    def body(self) -> BodyReader:
        """
        The reader of the answer's body.
        """
        if self.framing is Framing.CHUNKED:
            return Chunked(BadAnswer)
        if self.framing is Framing.CLOSE:
            return UntilClose()
        return Counted(self.length or 0 if self.framing is Framing.COUNTED else 0)


def read_answer(head: AnswerHead, method: str, *, guarded: bool) -> Answer:
    """
    What `head` answers to a request with `method`; `guarded` where a secret was sent with it.

    Raises BadAnswer for framing that can be read in two ways, and in a guarded answer for bytes
    that could not be searched.
    """
    if head.status == _SWITCHING:
        raise BadAnswer("the server switches to another protocol, which nobody asked for")
    if guarded:
        _check_searchable(head)
    framing, length = _framing(head, method)
    closing = b"close" in tokens(head.fields, b"connection")
    return Answer(
        head.status,
        head.reason,
        tuple(_SERVER.kept(head.fields)),
        framing,
        length,
        closing or not head.persistent or framing is Framing.CLOSE,
    )


def write_answer(answer: Answer, *, closes: bool) -> bytes:
    """
    The head that the guest gets; `closes` says that the connection ends behind this answer.
    """
    lines = [
        b"HTTP/1.1 %d %b" % (answer.status, answer.reason),
        *(b"%b: %b" % field for field in answer.fields),
    ]
    if answer.rechunked:
        lines.append(b"Transfer-Encoding: chunked")
    elif answer.length is not None:
        lines.append(b"Content-Length: %d" % answer.length)
    lines.append(b"Connection: close" if closes else b"Connection: keep-alive")
    return b"\r\n".join((*lines, b"\r\n"))


def _check_searchable(head: AnswerHead) -> None:
    if set(tokens(head.fields, b"content-encoding")) - {b"identity"}:
        raise BadAnswer(
            "the server compressed its answer to a request that carries a credential and asked"
            " for identity: it cannot be searched for the secret"
        )
    for value in values(head.fields, b"content-type"):
        if value.lower().startswith(b"multipart/byteranges"):
            raise BadAnswer(
                "the server answers in byte ranges to a request that carries a credential: they"
                " cannot be searched for the secret"
            )


def _framing(head: AnswerHead, method: str) -> tuple[Framing, int | None]:
    codings = values(head.fields, b"transfer-encoding")
    if codings and codings != [b"chunked"]:
        raise BadAnswer("the server's answer has another Transfer-Encoding than `chunked`")
    length = _length(head)
    if head.status == _NO_CONTENT:
        return Framing.NONE, None
    if method == "HEAD" or head.status == _NOT_MODIFIED:
        return Framing.NONE, length
    if codings:
        return Framing.CHUNKED, None
    return (Framing.CLOSE, None) if length is None else (Framing.COUNTED, length)


def _length(head: AnswerHead) -> int | None:
    lengths = values(head.fields, b"content-length")
    if not lengths:
        return None
    if not lengths[0].isdigit() or len(lengths[0]) > _MAX_LENGTH_DIGITS:
        raise BadAnswer(f"Content-Length is no number of at most {_MAX_LENGTH_DIGITS} digits")
    return int(lengths[0])
