"""
Header fields by name: which are never passed on, which end the connection, and why.

Names are compared folded, in lower case and with `-` for all that is no letter or digit: servers
that hand fields to a program as variables (RFC 3875 4.1.18) make one of `X-Token` and `X_Token`,
and some of them also of `X.Token` and `X~Token`, so a rule about the first has to hold for all.

Sources: RFC 9110 7.6.1 (fields of one connection), RFC 9112 6 (framing), RFC 7540 3.2 (h2c).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from executor.network.http.errors import BadRequest

Field = tuple[bytes, bytes]
"""A name as it was written, and a value without white space around it."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """
    A field that is not passed on: its folded name, or the start of it with `starts`.
    """

    name: bytes
    why: str
    starts: bool = False


_ONE_CONNECTION: Final = (
    Dropped(b"connection", "speaks of one connection; ours is written by us"),
    Dropped(b"keep-alive", "speaks of one connection"),
    Dropped(b"proxy-", "speaks to a proxy, and there is none to configure", starts=True),
    Dropped(b"te", "asks for trailers and transfer codings, which are not passed on"),
    Dropped(b"trailer", "announces trailers, which are not passed on"),
    Dropped(b"transfer-encoding", "the framing is written by us"),
    Dropped(b"content-length", "the framing is written by us"),
    Dropped(b"upgrade", "another protocol could not be judged"),
)
FROM_GUEST: Final = (
    *_ONE_CONNECTION,
    Dropped(b"host", "ours names the host that was judged"),
    Dropped(b"expect", "answered here, once the request is allowed"),
    Dropped(b"x-http-method", "another method than the judged one", starts=True),
    Dropped(b"x-method-override", "another method than the judged one"),
    Dropped(b"x-original-", "another path than the judged one (IIS, Symfony)", starts=True),
    Dropped(b"x-rewrite-", "another path than the judged one", starts=True),
    Dropped(b"x-envoy-original-", "another path than the judged one", starts=True),
    Dropped(b"forwarded", "claims to come from a trusted proxy"),
    Dropped(b"x-forwarded-", "claims to come from a trusted proxy, host or path", starts=True),
    Dropped(b"x-host", "another host than the judged one"),
    Dropped(b"destination", "a second path, which nobody has judged (RFC 4918 10.3)"),
    Dropped(b"x-real-ip", "claims to come from a trusted proxy"),
    Dropped(b"early-data", "claims to come from a TLS terminator"),
)
FROM_SERVER: Final = _ONE_CONNECTION
WITH_CREDENTIAL: Final = (
    Dropped(b"accept-encoding", "an encoded answer could not be searched for the secret"),
    Dropped(b"range", "a part of an answer could hold a part of the secret"),
    Dropped(b"if-range", "a part of an answer could hold a part of the secret"),
)
FRAMING: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""A server that reads one of these differently than we do reads another request than we judged."""


def fold(name: bytes) -> bytes:
    """
    `name` as rules compare it.
    """
    return name.translate(_FOLDED)


_FOLDED: Final = bytes(
    ord(chr(byte).lower()) if chr(byte).isascii() and chr(byte).isalnum() else ord("-")
    for byte in range(256)
)


def values(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """
    The values of every field named `name` (in lower case), in their order.
    """
    return [value for found, value in fields if found.lower() == name]


def tokens(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """
    The members of the comma-separated lists in the fields named `name`, in lower case.
    """
    members = b",".join(values(fields, name)).split(b",")
    return [member.strip(b" \t").lower() for member in members if member.strip(b" \t")]


def refuse_disguised(fields: Iterable[Field]) -> None:
    """
    Raises BadRequest for a field that some servers take for one that frames the request.
    """
    for name, _ in fields:
        if fold(name) in FRAMING - {name.lower()}:
            raise BadRequest(
                "the request has a field that only differs by `_` or the like from one of Host,"
                " Content-Length and Transfer-Encoding; servers may take it for that one"
            )


class Sieve:
    """
    Lets the fields through that no row names.
    """

    __slots__ = ("_names", "_starts")

    def __init__(self, rows: Iterable[Dropped]) -> None:
        rows = tuple(rows)
        self._names = frozenset(row.name for row in rows if not row.starts)
        self._starts = tuple(row.name for row in rows if row.starts)

    def kept(self, fields: Iterable[Field]) -> list[Field]:
        """
        The fields that may be passed on; what Connection nominates is dropped as well.
        """
        fields = tuple(fields)
        nominated = {fold(name) for name in tokens(fields, b"connection")}
        gone = self._names | nominated if nominated else self._names
        return [
            field
            for field in fields
            if (name := fold(field[0])) not in gone and not name.startswith(self._starts)
        ]
