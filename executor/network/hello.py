"""
What a guest that speaks TLS itself begins with: its ClientHello, read and checked before anything
is done for it, and passed on byte for byte.

Only the name of the server is wanted (SNI), but all of the message is read: what is read by half
might mean another server to who reads the whole. So lengths have to add up exactly, no extension
may come twice, and nothing may follow the message in its record. A ClientHello that hides another
one (ECH) is refused: its outer name says nothing about where it leads.

A parser of our own, because none is at hand that reads this message alone: OpenSSL's, by way of
Python's `sni_callback`, wants a certificate and a version in common first, and shows neither a
second name nor that the real one is hidden. A test holds the two against each other.

What is left: what the guest asks for inside of TLS (a `Host` that is another's), and a second
ClientHello that a server of TLS 1.3 asks for. Both end at the granted host, which has to refuse
what it does not want to serve.

Sources: RFC 8446 4.1.2, 5.1; RFC 5246 7.4.1.2; RFC 6066 3; RFC 9849 (ECH).
"""

import errno
import struct
from typing import Final

from executor.network.errors import Ending

# One that has keys of two post-quantum groups and a ticket is below 8 KiB.
HELLO_MAX: Final = 2**14
_RECORD: Final = struct.Struct("!BBBH")
_RECORD_MAX: Final = 2**14
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_TLS: Final = 3
_SERVER_NAME: Final = 0
# `encrypted_client_hello`, and what it was called in drafts that were deployed.
_HIDING: Final = frozenset({0xFE0D, 0xFFCE, 0xFE08, 0xFE09, 0xFE0A})
_RANDOM: Final = 32
_SESSION_MAX: Final = 32


class _Broken(Exception):
    """
    The bytes are no ClientHello; the message says where.
    """


class HelloReader:
    """
    Takes a stream's first bytes until they hold a ClientHello. `taken` is all of them.
    """

    __slots__ = ("_message", "_read", "taken")

    def __init__(self) -> None:
        self.taken = bytearray()
        self._message = bytearray()
        self._read = 0

    def feed(self, data: bytes) -> str | None:
        """
        The name of the server, empty where none is named; None while the message is not whole.

        Raises Ending EPROTO for everything else that a stream may begin with.
        """
        self.taken += data
        try:
            while (record := self._record()) is not None:
                self._message += record
                if (end := self._end()) is not None:
                    return _server_name(bytes(self._message[4:end]))
        except _Broken as error:
            raise Ending(
                errno.EPROTO,
                f"TLS was expected first, as the policy grants it here, and {error}",
            ) from error
        return None

    def _record(self) -> bytes | None:
        """
        The next record's part of the message, once it is whole.
        """
        rest = memoryview(self.taken)[self._read :]
        kinds = bytes(rest[:2])
        if not bytes((_HANDSHAKE, _TLS)).startswith(kinds):
            raise _Broken("what came is no record of a TLS handshake")
        if len(rest) < _RECORD.size:
            return None
        size = _RECORD.unpack_from(rest)[3]
        if not 1 <= size <= _RECORD_MAX:
            raise _Broken(f"what came has a record of {size} bytes")
        if len(self._message) + size > HELLO_MAX:
            raise _Broken(f"its ClientHello has more than {HELLO_MAX} bytes")
        if len(rest) < _RECORD.size + size:
            return None
        self._read += _RECORD.size + size
        return bytes(rest[_RECORD.size : _RECORD.size + size])

    def _end(self) -> int | None:
        """
        Where the message ends, once it is whole: there the record has to end as well.
        """
        if self._message[0] != _CLIENT_HELLO:
            raise _Broken("what came is no ClientHello")
        if len(self._message) < 4:
            return None
        end = 4 + int.from_bytes(self._message[1:4], "big")
        if end > HELLO_MAX:
            raise _Broken(f"its ClientHello has more than {HELLO_MAX} bytes")
        if len(self._message) > end:
            raise _Broken("something follows its ClientHello in the same record")
        return end if len(self._message) == end else None


class _Fields:
    """
    A message's fields, in order; each `take` has to find what it names.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int, what: str) -> bytes:
        if size > self.left:
            raise _Broken(f"its ClientHello ends in the middle of {what}")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int, what: str) -> int:
        return int.from_bytes(self.take(size, what), "big")

    def vector(self, size: int, what: str) -> bytes:
        """
        What stands behind its own length, a number of `size` bytes.
        """
        return self.take(self.number(size, what), what)


def _server_name(message: bytes) -> str:
    fields = _Fields(message)
    if fields.take(2, "the version")[0] != _TLS:
        raise _Broken("its ClientHello is of no version of TLS")
    fields.take(_RANDOM, "the random bytes")
    if len(fields.vector(1, "the session")) > _SESSION_MAX:
        raise _Broken("its ClientHello has a session of more than 32 bytes")
    suites = fields.vector(2, "the cipher suites")
    if not suites or len(suites) % 2:
        raise _Broken("its ClientHello has no list of cipher suites")
    if 0 not in fields.vector(1, "the compression methods"):
        raise _Broken("its ClientHello does without the null compression")
    if not fields.left:
        return ""
    extensions = _extensions(fields)
    if _HIDING & {*extensions}:
        raise _Broken("its ClientHello hides the name of the server (ECH); switch that off")
    named = extensions.get(_SERVER_NAME)
    return "" if named is None else _only_name(named)


def _extensions(fields: _Fields) -> dict[int, bytes]:
    inner = _Fields(fields.vector(2, "the extensions"))
    if fields.left:
        raise _Broken("its ClientHello goes on behind the extensions")
    found: dict[int, bytes] = {}
    while inner.left:
        kind = inner.number(2, "an extension")
        if kind in found:
            raise _Broken(f"its ClientHello has the extension {kind} twice")
        found[kind] = inner.vector(2, "an extension")
    return found


def _only_name(extension: bytes) -> str:
    fields = _Fields(extension)
    names = _Fields(fields.vector(2, "the server name"))
    if names.number(1, "the server name") != 0:
        raise _Broken("its ClientHello names a server by something else than a host name")
    name = names.vector(2, "the server name")
    if names.left or fields.left or not name:
        raise _Broken("its ClientHello names no server, or several")
    try:
        return name.decode("ascii")
    except UnicodeDecodeError as error:
        raise _Broken("its ClientHello names a server in other letters than ASCII") from error
