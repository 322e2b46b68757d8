"""
The canonical bytes of a record: the bytes that are hashed are the bytes that are stored.

Format 1: one version byte, then seventeen fields in fixed order. Format 2: the same fields in two
parts. The *frame* begins with the version and says who, when, and what kind of event it was; the
*texts* are what one session asked for and was told, and can be erased without the frame (see
`leaf.py`). Stores are written in format 2; format 1 is what earlier ones hold, and the one string
of bytes that a capture has a digest of. Every field opens with a tag
that gives its type, and whatever can vary in length is preceded by that length, so two different
records never have the same bytes: ("ab", "c") is not ("a", "bc"), a missing field is not an empty
one, 1 is not "1". There are no floats. Text is UTF-8 with lone surrogates kept (Python's
surrogatepass), which is injective on every Python string. Decoding accepts only what encoding
makes: it encodes again and compares.

    -                    missing
    i <8>                integer, two's complement, big endian
    t <4 length> bytes   text
    x <8 length> <32 sha256> <4 length> bytes   text that was cut: length and digest of the whole
    b <4 length> bytes   bytes
    d <4 count> pairs    detail: each a text and a text, cut text or integer, keys ascending
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from operator import itemgetter
from typing import Final, TypeVar

from executor.audit.errors import EncodingInvalid
from executor.audit.record import TEXT_CAP, Answer, Cut, Detail, Draft, Event, Origin, Record, Text
from executor.audit.record import bounded as bounded_text

WHOLE = 1
PARTED = 2
MAX_DETAILS = 32
MAX_IDENTIFIER = 256
# Every text at its cap, with room for the tags; larger bytes are no record of ours.
MAX_ENCODED = 64 * 1024 + MAX_DETAILS * (TEXT_CAP + MAX_IDENTIFIER + 64)

# The version, then sequence and times as `_integer` writes them.
_PLACE: Final = struct.Struct(">BBqBqBq")
_INTEGER: Final = ord("i")
# The same few words are in most records: kinds, sessions, rules, keys of details.
_WORDS: Final = 1024
_NO_DETAIL: Final = b"d" + bytes(4)

_E = TypeVar("_E", bound=Enum)
_Encoded = TypeVar("_Encoded")


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where in the tree and when: what the store adds to a draft.
    """

    sequence: int
    wall_ns: int
    monotonic_ns: int
    ordinal: int | None


@dataclass(frozen=True, slots=True)
class Parts:
    """
    A record, or what a caller gave of it, in format 2.
    """

    frame: bytes
    texts: bytes


Fields = tuple[bytes, ...]


def fields_of(draft: Draft) -> Fields:
    """
    The fields that the caller gave; ValueError or TypeError names the one that cannot be kept.

    It runs before the draft is queued, so that the writer cannot fail on a caller's mistake.
    """
    return (
        # `value` is two calls of Python each time.
        _word(draft.origin._value_),
        _word(draft.event._value_),
        _identifier("session", draft.session),
        _integer(draft.cell),
        _integer(draft.refers),
        _maybe_text(draft.request),
        _word(draft.answer._value_) if draft.answer else b"-",
        _rule(draft.rule),
        _rule(draft.rule_place),
        _identifier("policy_digest", draft.policy_digest),
        _maybe_text(draft.outcome),
        _integer(draft.size),
        _digest(draft.digest),
        _detail(draft.detail) if draft.detail else _NO_DETAIL,
    )


def encode_draft(draft: Draft) -> bytes:
    """
    What the caller gave, as one string of bytes. Raises as `fields_of`.
    """
    return b"".join(fields_of(draft))


def parted(place: Place, fields: Fields) -> Parts:
    """
    A record in format 2, from its place and what `fields_of` has made.
    """
    frame = (_place(PARTED, place), *fields[:5], fields[6], fields[9])
    texts = (fields[5], fields[7], fields[8], *fields[10:])
    return Parts(b"".join(frame), b"".join(texts))


def parts_of(record: Record) -> Parts:
    """
    The canonical parts of a whole record, without its hashes.
    """
    return parted(_place_of(record), fields_of(record))


def _place(version: int, place: Place) -> bytes:
    wall, monotonic = place.wall_ns, place.monotonic_ns
    when = _PLACE.pack(version, _INTEGER, place.sequence, _INTEGER, wall, _INTEGER, monotonic)
    return when + _integer(place.ordinal)


def _place_of(record: Record) -> Place:
    return Place(record.sequence, record.wall_ns, record.monotonic_ns, record.ordinal)


def encode(record: Record) -> bytes:
    """
    The canonical bytes of a whole record in format 1, without its hashes.
    """
    return _place(WHOLE, _place_of(record)) + encode_draft(record)


def _integer(value: int | None) -> bytes:
    if value is None:
        return b"-"
    if type(value) is not int:
        raise TypeError(f"{value!r} is not an integer; records hold no floats and no booleans")
    try:
        return b"i" + value.to_bytes(8, "big", signed=True)
    except OverflowError:
        raise ValueError(f"{value} does not fit in 64 bits") from None


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"t" + len(data).to_bytes(4, "big") + data


@lru_cache(_WORDS)
def _word(value: str) -> bytes:
    """
    The text of one of our own words, which comes again; never what a guest has asked for.
    """
    return _text(value)


def _rule(value: Text | None) -> bytes:
    if type(value) is str and len(value) <= MAX_IDENTIFIER:
        return _word(value)
    return _maybe_text(value)


def _maybe_text(value: Text | None) -> bytes:
    return b"-" if value is None else _some_text(value)


def _some_text(value: Text) -> bytes:
    if type(value) is str and len(value) <= TEXT_CAP // 4:  # most are, and short enough for sure
        return _text(value)
    if not isinstance(value, str | Cut):
        raise TypeError(f"{value!r} is not a text")
    value = bounded_text(value)
    return _cut(value) if isinstance(value, Cut) else _text(value)


def _cut(value: Cut) -> bytes:
    data = value.start.encode("utf-8", "surrogatepass")
    if not len(data) <= TEXT_CAP < value.length or len(value.sha256) != 32:
        raise ValueError(f"a cut text of {len(data)} of {value.length} bytes is not a cut text")
    length = value.length.to_bytes(8, "big")
    return b"x%b%b%b%b" % (length, value.sha256, len(data).to_bytes(4, "big"), data)


def _identifier(name: str, value: str | None) -> bytes:
    if value is None:
        return b"-"
    if len(value) > MAX_IDENTIFIER:
        raise ValueError(f"{name} has {len(value)} characters; at most {MAX_IDENTIFIER} are kept")
    return _word(value)


def _digest(value: bytes | None) -> bytes:
    if value is None:
        return b"-"
    if len(value) != 32:
        raise ValueError(f"a digest has 32 bytes, not {len(value)}")
    return b"b" + len(value).to_bytes(4, "big") + value


def _detail(detail: Detail) -> bytes:
    pairs = sorted(detail, key=itemgetter(0))
    keys = [key for key, _ in pairs]
    if len(pairs) > MAX_DETAILS or len(set(keys)) != len(keys):
        raise ValueError(f"detail keys {keys}: at most {MAX_DETAILS}, each once")
    parts = [b"d" + len(pairs).to_bytes(4, "big")]
    for key, value in pairs:
        parts.append(_key(key))
        parts.append(_integer(value) if isinstance(value, int) else _some_text(value))
    return b"".join(parts)


def _key(key: str) -> bytes:
    if not isinstance(key, str):
        raise TypeError(f"{key!r} is not a detail's key")
    return _identifier("a detail's key", key)


@dataclass(frozen=True, slots=True)
class Hashes:
    """
    What a record's bytes do not say: see `Record`.
    """

    previous: bytes
    hash: bytes
    root: bytes


def decode(data: bytes, hashes: Hashes) -> Record:
    """
    The record that `data` encodes in format 1; its hashes are taken as given.

    Raises EncodingInvalid for every byte string that `encode` does not make.
    """
    _check_beginning(data, WHOLE)
    reader = _Reader(data, 1)
    record = _read(reader, reader, hashes)
    reader.end()
    if _again(encode, record) != data:
        raise EncodingInvalid(_NOT_CANONICAL)
    return record


def decode_parts(parts: Parts, hashes: Hashes) -> Record:
    """
    The record that the parts encode in format 2; its hashes are taken as given.

    Raises EncodingInvalid for all that `parts_of` does not make.
    """
    _check_beginning(parts.frame, PARTED)
    if len(parts.texts) > MAX_ENCODED:
        raise EncodingInvalid(f"texts of {len(parts.texts)} bytes; {MAX_ENCODED} are the most")
    frame, texts = _Reader(parts.frame, 1), _Reader(parts.texts, 0)
    record = _read(frame, texts, hashes)
    frame.end()
    texts.end()
    if _again(parts_of, record) != parts:
        raise EncodingInvalid(_NOT_CANONICAL)
    return record


def decode_erased(frame: bytes, hashes: Hashes) -> Record:
    """
    The record whose texts are no longer there, as far as its frame tells. Raises as `decode_parts`.
    """
    return replace(decode_parts(Parts(frame, _NO_TEXTS), hashes), erased=True)


_NOT_CANONICAL = "bytes that decode, but are not the canonical encoding"
_NO_TEXTS = b"------" + _NO_DETAIL


def _check_beginning(data: bytes, version: int) -> None:
    if len(data) > MAX_ENCODED or not data or data[0] != version:
        raise EncodingInvalid(f"{len(data)} bytes that are not a record of format {version}")


def _again(encoder: Callable[[Record], _Encoded], record: Record) -> _Encoded:
    try:
        return encoder(record)
    except (ValueError, TypeError) as error:
        raise EncodingInvalid(f"a record that could not have been written: {error}") from error


def _read(frame: "_Reader", texts: "_Reader", hashes: Hashes) -> Record:
    """
    Read one field after another; in format 1 both readers are the same one.
    """
    return Record(
        sequence=frame.needed(frame.integer()),
        wall_ns=frame.needed(frame.integer()),
        monotonic_ns=frame.needed(frame.integer()),
        ordinal=frame.integer(),
        origin=frame.word(Origin, frame.needed(frame.plain())),
        event=frame.word(Event, frame.needed(frame.plain())),
        session=frame.plain(),
        cell=frame.integer(),
        refers=frame.integer(),
        request=texts.text(),
        answer=frame.answer(frame.plain()),
        rule=texts.text(),
        rule_place=texts.text(),
        policy_digest=frame.plain(),
        outcome=texts.text(),
        size=texts.integer(),
        digest=texts.digest(),
        detail=texts.detail(),
        previous=hashes.previous,
        hash=hashes.hash,
        root=hashes.root,
    )


class _Reader:
    """
    Reads fields one after another from bytes that may be an attacker's.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def end(self) -> None:
        if self._at != len(self._data):
            raise EncodingInvalid(f"{len(self._data) - self._at} bytes follow the record")

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) != count:
            raise EncodingInvalid(f"the record ends {count - len(piece)} bytes short")
        self._at += count
        return piece

    def _tag(self, allowed: bytes) -> bytes:
        tag = self._take(1)
        if tag not in allowed:
            raise EncodingInvalid(
                f"tag {tag!r} at byte {self._at - 1}; here stands one of {allowed!r}"
            )
        return tag

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "big")

    def integer(self) -> int | None:
        return None if self._tag(b"-i") == b"-" else self._signed()

    def _signed(self) -> int:
        return int.from_bytes(self._take(8), "big", signed=True)

    def _characters(self) -> str:
        try:
            return self._take(self._number(4)).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise EncodingInvalid(f"text that is not UTF-8: {error.reason}") from error

    def _cut(self) -> Cut:
        length, digest = self._number(8), self._take(32)
        return Cut(self._characters(), length, digest)

    def plain(self) -> str | None:
        return None if self._tag(b"-t") == b"-" else self._characters()

    def text(self) -> Text | None:
        tag = self._tag(b"-tx")
        if tag == b"-":
            return None
        return self._cut() if tag == b"x" else self._characters()

    def digest(self) -> bytes | None:
        return None if self._tag(b"-b") == b"-" else self._take(self._number(4))

    def detail(self) -> Detail:
        self._tag(b"d")
        count = self._number(4)
        if count > MAX_DETAILS:
            raise EncodingInvalid(f"{count} details; at most {MAX_DETAILS} are written")
        return tuple((self.needed(self.plain()), self._value()) for _ in range(count))

    def _value(self) -> Text | int:
        tag = self._tag(b"itx")
        if tag == b"i":
            return self._signed()
        return self._cut() if tag == b"x" else self._characters()

    @staticmethod
    def needed(value: "_T | None") -> "_T":
        if value is None:
            raise EncodingInvalid("a field that every record has is missing")
        return value

    @staticmethod
    def word(words: type[_E], value: str) -> _E:
        try:
            return words(value)
        except ValueError:
            raise EncodingInvalid(f"{value!r} is no {words.__name__}") from None

    def answer(self, value: str | None) -> Answer | None:
        return None if value is None else self.word(Answer, value)


_T = TypeVar("_T")
