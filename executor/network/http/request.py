"""
A guest's request: what it asks for, and how we write it anew.

Nothing of the guest's head is copied but the fields that no row of `fields.py` names: the request
line, Host, the framing and the credential are ours.

Sources: RFC 9112 3.2 (request targets), 6.1 and 6.2 (framing), 9.6 (close); RFC 9110 10.1.1
(Expect).
"""

import re
from dataclasses import dataclass
from typing import Final

from executor.network.http.body import BodyReader, Chunked, Counted
from executor.network.http.errors import BadRequest
from executor.network.http.fields import (
    FRAMING,
    FROM_GUEST,
    WITH_CREDENTIAL,
    Field,
    Sieve,
    fold,
    refuse_disguised,
    tokens,
    values,
)
from executor.network.http.heads import parse_request_head
from executor.network.http.origin import Origin
from policy.http_paths import normal_path, path_problem, query_problem

_ABSOLUTE: Final = re.compile(r"(https?)://([^/?#]+)([/?].*)?", re.IGNORECASE)
# They make something else of a connection than requests and answers, or show what was sent.
_NO_METHODS: Final = frozenset({"CONNECT", "TRACE", "TRACK", "PRI"})
# A body means nothing to them (RFC 9110 9.3.1, 9.3.2, 9.3.5), so some servers do not read it, and
# then take it for the next request, which nobody has judged. None follows one that asks to close.
_NO_BODY: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_OTHER_PROTOCOLS: Final = frozenset({b"upgrade", b"http2-settings"})
_MAX_LENGTH_DIGITS: Final = 18
_GUEST: Final = Sieve(FROM_GUEST)
_GUEST_WITH_CREDENTIAL: Final = Sieve((*FROM_GUEST, *WITH_CREDENTIAL))


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request that may be asked about. `path`, in its normal form, and `query` are sent as they
    are judged.

    `length` is the body's, None where it comes in chunks; `counted` that the guest named it.
    `waits` says that the guest waits for 100 Continue before its body, `closes` that there is no
    other request on this connection: the guest wants none, or none could be told from the body.
    """

    method: str
    path: str
    query: str | None
    fields: tuple[Field, ...]
    length: int | None
    counted: bool
    waits: bool
    closes: bool

    @property
    def target(self) -> str:
        """
        The request target in origin form (RFC 9112 3.2.1).
        """
        return self.path if self.query is None else f"{self.path}?{self.query}"

    def body(self) -> BodyReader:
        """
        The reader of the request's body.
        """
        return Chunked(BadRequest) if self.length is None else Counted(self.length)


def read_request(head: bytes, origin: Origin) -> Request:
    """
    Read the head of a request to `origin`.

    Raises BadRequest for what is refused whatever the policy says.
    """
    parsed = parse_request_head(head)
    if parsed.method in _NO_METHODS:
        raise BadRequest(f"the method {parsed.method} is never passed on")
    path, query = _target(parsed.target, origin)
    _check_host(parsed.fields, origin)
    _check_connection(parsed.fields)
    refuse_disguised(parsed.fields)
    length = _length(parsed.fields)
    closes = b"close" in tokens(parsed.fields, b"connection")
    return Request(
        parsed.method,
        path,
        query,
        _kept(parsed.fields, origin),
        length,
        bool(values(parsed.fields, b"content-length")),
        _waits(parsed.fields),
        closes or (length != 0 and parsed.method in _NO_BODY),
    )


def write_request(request: Request, origin: Origin) -> bytes:
    """
    The head that is sent to `origin` in the request's place.
    """
    lines = [
        f"{request.method} {request.target} HTTP/1.1\r\nHost: {origin.authority}".encode("ascii"),
        *(b"%b: %b" % field for field in request.fields),
    ]
    if origin.injected is not None:
        lines.append(b"Accept-Encoding: identity")
        lines.append(b"%b: %b" % (origin.injected.header.encode("ascii"), origin.injected.value))
    if request.length is None:
        lines.append(b"Transfer-Encoding: chunked")
    elif request.counted:
        lines.append(b"Content-Length: %d" % request.length)
    lines.append(b"Connection: close" if request.closes else b"Connection: keep-alive")
    return b"\r\n".join((*lines, b"\r\n"))


def _target(target: str, origin: Origin) -> tuple[str, str | None]:
    if not target.startswith("/"):
        target = _origin_form(target, origin)
    path, mark, query = target.partition("?")
    if problem := path_problem(path):
        raise BadRequest(f"the path {problem}")
    if problem := query_problem(query):
        raise BadRequest(f"the query {problem}")
    return normal_path(path), query if mark else None


def _origin_form(target: str, origin: Origin) -> str:
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise BadRequest(
            "the request's target is neither a path that begins with `/` nor an absolute URL"
        )
    scheme, authority, rest = found.groups()
    if scheme.lower() != origin.scheme or not origin.named_by(authority):
        raise BadRequest(
            f"the request's target names another server than {origin.scheme}://{origin.authority},"
            " to which this connection was made"
        )
    rest = rest or "/"
    return rest if rest.startswith("/") else f"/{rest}"


def _check_host(fields: tuple[Field, ...], origin: Origin) -> None:
    hosts = values(fields, b"host")
    if len(hosts) != 1 or not origin.named_by(hosts[0].decode("latin-1")):
        raise BadRequest(
            f"the Host field does not name {origin.authority}, to which this connection was made"
        )


def _check_connection(fields: tuple[Field, ...]) -> None:
    if any(fold(name) in _OTHER_PROTOCOLS for name, _ in fields):
        raise BadRequest(
            "the request asks for another protocol (Upgrade); WebSocket and HTTP/2 are not"
            " spoken here, a `raw` grant carries what nobody reads"
        )
    if any(fold(name) in FRAMING for name in tokens(fields, b"connection")):
        raise BadRequest(
            "the Connection field nominates Host, Content-Length or Transfer-Encoding, without"
            " which a request is another one"
        )


def _length(fields: tuple[Field, ...]) -> int | None:
    codings = values(fields, b"transfer-encoding")
    if codings:
        if codings != [b"chunked"]:
            raise BadRequest("the Transfer-Encoding of a request is `chunked` or absent")
        return None
    lengths = values(fields, b"content-length")
    if not lengths:
        return 0
    if not lengths[0].isdigit() or len(lengths[0]) > _MAX_LENGTH_DIGITS:
        raise BadRequest(f"Content-Length is no number of at most {_MAX_LENGTH_DIGITS} digits")
    return int(lengths[0])


def _waits(fields: tuple[Field, ...]) -> bool:
    wanted = tokens(fields, b"expect")
    if wanted not in ([], [b"100-continue"]):
        raise BadRequest("the Expect field asks for something else than `100-continue`")
    return bool(wanted)


def _kept(fields: tuple[Field, ...], origin: Origin) -> tuple[Field, ...]:
    if origin.injected is None:
        return tuple(_GUEST.kept(fields))
    own = fold(origin.injected.header.encode("ascii"))
    return tuple(field for field in _GUEST_WITH_CREDENTIAL.kept(fields) if fold(field[0]) != own)
