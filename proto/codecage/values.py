"""
Values that pass between a tool's function and the guest: one encoding, written here once.

The client, the server and the guest run this very file, each in its own Python, so it is one file,
however long, that imports the standard library alone, and numpy and Pillow only for a value that
is theirs. Nothing is looked up
by a name that came from the other side: a tag is a row of a table below, or the bytes are refused.

    document   VERSION node
    node       tag (a byte), length of what follows (LEB128), and so many bytes
    contents   of a scalar its bytes; of a container its nodes, one after another

Every length is known before anything is made of it, so that a reader may take a document apart
without looking into its parts, and whoever reads is bounded in size, depth and count (`Limits`)
whatever is in the bytes. Numbers of any size, texts with lone surrogates, NaN and the sign of a
zero come back as they were; a dataclass comes back as a `Record`.

Rejected: pickle, which is code; JSON, which has no bytes, no sets, no keys but texts, and no int
beyond what its other readers take; protobuf, which no guest has.
"""

import datetime as dt
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from importlib import import_module
from typing import Any, Final, NamedTuple

VERSION: Final = b"\x01"
CROSSING: Final = (
    "None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, date, time, "
    "datetime, timedelta, Decimal, Fraction, a dataclass, a numpy array of plain numbers or texts "
    "and a PIL image can"
)
MOST_PIXELS: Final = 2**24
"""Pixels of one image."""
_MOST_DIGITS: Final = 10_000
_MOST_AXES: Final = 32
_MOST_FIELDS: Final = 256
_LONGEST_ZONE: Final = 64
# Keys of one container that may collide: what so few can cost is little.
_FEW: Final = 1000
_DTYPE: Final = re.compile(r"[<>|][biufcSU][0-9]{1,6}|[<>][mM]8(\[[0-9]{0,6}[a-zA-Z]{1,2}\])?")
_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")
_MODES: Final = {
    "1": 0, "L": 1, "LA": 2, "P": 1, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "HSV": 3, "LAB": 3,
    "I": 4, "F": 4,
}  # fmt: skip


class Refused(ValueError):
    """
    Bytes that are no document within the limits, or a value too large for them.
    """


class CannotCross(TypeError):
    """
    A value of a type that does not pass.
    """


class Limits(NamedTuple):
    """
    What a document may be: `size` in bytes, `depth` of containers in each other, `count` of values.
    """

    size: int
    depth: int = 64
    count: int = 500_000


ARGUMENTS: Final = Limits(2**20)
"""What a call passes: 1 MiB."""
RESULT: Final = Limits(8 * 2**20)
"""What a call returns: 8 MiB."""
DEFAULT: Final = Limits(4096, depth=8, count=256)
"""The default of a tool's parameter: 4 KiB."""


class Record:
    """
    A dataclass that came from the other side: its class by name, its fields as attributes.

    Equal to another record, or a dataclass, of the same name with the same fields.
    """

    __slots__ = ("__dict__", "_class_name", "_names")

    def __init__(self, class_name: str, fields: dict[str, Any]) -> None:
        object.__setattr__(self, "_class_name", class_name)
        object.__setattr__(self, "_names", tuple(fields))
        self.__dict__.update(fields)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in record_fields(self).items())
        return f"{self._class_name}({shown})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record) and not is_dataclass(other):
            return NotImplemented
        return (record_name(self), record_fields(self)) == (
            record_name(other),
            record_fields(other),
        )

    # It can be changed, as most dataclasses can.
    __hash__ = None  # type: ignore[assignment]


def is_dataclass(value: object) -> bool:
    """
    Whether `value` is an instance of a dataclass.
    """
    return hasattr(type(value), "__dataclass_fields__") and not isinstance(value, type)


def record_name(value: Any) -> str:
    """
    The class of a record or a dataclass.
    """
    return value._class_name if isinstance(value, Record) else type(value).__name__  # noqa: SLF001 - of this module


def record_fields(value: Any) -> dict[str, Any]:
    """
    The fields of a record or a dataclass.
    """
    if isinstance(value, Record):
        return {name: value.__dict__[name] for name in value._names if name in value.__dict__}  # noqa: SLF001 - of this module
    return {
        field.name: getattr(value, field.name)
        for field in import_module("dataclasses").fields(value)
    }


def encode(value: object, limits: Limits = ARGUMENTS) -> bytes:
    """
    The document of `value`.

    Raises CannotCross for a type that does not pass, Refused for what is over the limits.
    """
    data = VERSION + _Writer(limits).node(value, 0)
    if len(data) > limits.size:
        raise Refused(
            f"the value takes {len(data):,} bytes and {limits.size:,} are allowed; "
            "pass less, or pass it as a file"
        )
    return data


def decode(data: bytes, limits: Limits = ARGUMENTS) -> Any:
    """
    The value of a document, made of nothing but plain types. Raises Refused.
    """
    return _Reader(data, limits).whole()


def parts(data: bytes, most: int) -> list[bytes]:
    """
    The documents of which a list, tuple or dict is made, keys and values in turn, not looked into.

    Raises Refused for another value, and for more than `most` parts.
    """
    reader = _Reader(data, Limits(len(data), count=most + 2))
    tag, at, end = reader.head(len(VERSION), len(data))
    if tag not in b"ltd" or end != len(data):
        raise Refused("the document is no sequence")
    found = []
    while at < end:
        _, _, after = reader.head(at, end)
        found.append(VERSION + data[at:after])
        at = after
    return found


def tag_of(data: bytes) -> str:
    """
    The tag of a document's value; "" where it has none.
    """
    return chr(data[len(VERSION)]) if len(data) > len(VERSION) else ""


# ---- writing -------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _node(tag: bytes, data: bytes) -> bytes:
    return tag + _varint(len(data)) + data


class _Writer:
    """
    One document being written; it counts what it has written.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._left = limits.count
        self._room = limits.size

    def node(self, value: Any, depth: int) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise Refused(f"the value has more than {self._limits.count:,} values in it")
        if depth > self._limits.depth:
            raise Refused(
                f"the value is nested deeper than {self._limits.depth}, or contains itself"
            )
        write = _WRITERS.get(type(value)) or _writer_of(value)
        found = write(self, value, depth)
        if len(found) > self._room:
            raise Refused(
                f"the value takes more than the {self._limits.size:,} bytes that are allowed; "
                "pass less, or pass it as a file"
            )
        return found

    def nodes(self, tag: bytes, values: Any, depth: int) -> bytes:
        return _node(tag, b"".join([self.node(value, depth + 1) for value in values]))


_Write = Callable[[_Writer, Any, int], bytes]


def _int(_: _Writer, value: int, __: int) -> bytes:
    return _node(b"i", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _float(_: _Writer, value: float, __: int) -> bytes:
    return b"f\x08" + struct.pack("<d", value)


def _complex(_: _Writer, value: complex, __: int) -> bytes:
    return b"c\x10" + struct.pack("<dd", value.real, value.imag)


def _str(_: _Writer, value: str, __: int) -> bytes:
    return _node(b"s", value.encode("utf-8", "surrogatepass"))


def _bytes(_: _Writer, value: bytes, __: int) -> bytes:
    return _node(b"b", bytes(value))


def _dict(writer: _Writer, value: dict[Any, Any], depth: int) -> bytes:
    return writer.nodes(b"d", (one for pair in value.items() for one in pair), depth)


def _date(_: _Writer, value: dt.date, __: int) -> bytes:
    return _node(b"D", struct.pack("<HBB", value.year, value.month, value.day))


def _clock(value: Any) -> bytes:
    return struct.pack(
        "<BBBIB", value.hour, value.minute, value.second, value.microsecond, value.fold
    )


def _zone(zone: dt.tzinfo | None, offset: dt.timedelta | None) -> bytes:
    """
    A zone of the world by its name, and with it the offset, for who does not know it.
    """
    if zone is None:
        return b""
    if offset is None and not getattr(zone, "key", None):
        raise CannotCross(f"a time zone {type(zone).__name__} without a fixed offset cannot cross")
    micros = 0 if offset is None else offset // dt.timedelta(microseconds=1)
    name = getattr(zone, "key", None)
    return struct.pack("<q", micros) + (name.encode() if isinstance(name, str) else b"")


def _time(_: _Writer, value: dt.time, __: int) -> bytes:
    return _node(b"h", _clock(value) + _zone(value.tzinfo, value.utcoffset()))


def _datetime(_: _Writer, value: dt.datetime, __: int) -> bytes:
    day = struct.pack("<HBB", value.year, value.month, value.day)
    return _node(b"m", day + _clock(value) + _zone(value.tzinfo, value.utcoffset()))


def _timedelta(_: _Writer, value: dt.timedelta, __: int) -> bytes:
    return _node(b"q", struct.pack("<iII", value.days, value.seconds, value.microseconds))


def _decimal(_: _Writer, value: Decimal, __: int) -> bytes:
    if len(value.as_tuple().digits) > _MOST_DIGITS:
        raise Refused(f"a Decimal has more than {_MOST_DIGITS:,} digits")
    return _node(b"e", str(value).encode("ascii"))


def _fraction(writer: _Writer, value: Fraction, depth: int) -> bytes:
    return writer.nodes(b"r", (value.numerator, value.denominator), depth)


def _record(writer: _Writer, value: Any, depth: int) -> bytes:
    fields = record_fields(value)
    if len(fields) > _MOST_FIELDS:
        raise Refused(f"a dataclass has more than {_MOST_FIELDS} fields")
    named = (one for pair in fields.items() for one in pair)
    return writer.nodes(b"o", (record_name(value), *named), depth)


def _array(_: _Writer, value: Any, __: int) -> bytes:
    kind = value.dtype.str
    if not _DTYPE.fullmatch(kind):
        raise CannotCross(
            f"a numpy array of dtype {value.dtype} cannot cross; give one of plain numbers or "
            "texts, or a list"
        )
    shape = struct.pack(f"<B{value.ndim}Q", value.ndim, *value.shape)
    return _node(b"a", _node(b"s", kind.encode()) + shape + value.tobytes())


def _number(writer: _Writer, value: Any, depth: int) -> bytes:
    return b"g" + _array(writer, value, depth)[1:]


def _image(_: _Writer, value: Any, __: int) -> bytes:
    width, height = value.size
    if value.mode not in _MODES:
        raise CannotCross(f"an image of mode {value.mode} cannot cross; convert it to RGB or RGBA")
    if width * height > MOST_PIXELS:
        raise Refused(
            f"the image has {width * height:,} pixels and {MOST_PIXELS:,} are allowed; make it "
            "smaller with Image.thumbnail"
        )
    palette = bytes(value.getpalette() or b"") if value.mode == "P" else b""
    head = struct.pack("<IIH", width, height, len(palette)) + palette
    packed = zlib.compress(value.tobytes(), 1)
    return _node(b"I", _node(b"s", value.mode.encode()) + head + packed)


_WRITERS: Final[dict[type, _Write]] = {
    type(None): lambda _, __, ___: b"N\x00",
    bool: lambda _, value, __: b"T\x00" if value else b"F\x00",
    int: _int,
    float: _float,
    complex: _complex,
    str: _str,
    bytes: _bytes,
    bytearray: _bytes,
    list: lambda writer, value, depth: writer.nodes(b"l", value, depth),
    tuple: lambda writer, value, depth: writer.nodes(b"t", value, depth),
    set: lambda writer, value, depth: writer.nodes(b"S", value, depth),
    frozenset: lambda writer, value, depth: writer.nodes(b"Z", value, depth),
    dict: _dict,
    dt.date: _date,
    dt.time: _time,
    dt.datetime: _datetime,
    dt.timedelta: _timedelta,
    Decimal: _decimal,
    Fraction: _fraction,
    Record: _record,
}
# What a subclass passes as, the closer first: a named tuple is a tuple there, a Counter a dict.
_BASES: Final = (
    int, float, complex, str, bytes, list, tuple, set, frozenset, dict, dt.datetime,
    dt.date, dt.time, dt.timedelta, Decimal, Fraction,
)  # fmt: skip


def _writer_of(value: object) -> _Write:
    numpy, image = sys.modules.get("numpy"), sys.modules.get("PIL.Image")
    if numpy is not None and isinstance(value, getattr(numpy, "ndarray", ())):
        return _array
    if numpy is not None and isinstance(value, getattr(numpy, "generic", ())):
        return _number
    if image is not None and isinstance(value, getattr(image, "Image", ())):
        return _image
    if is_dataclass(value):
        return _record
    for base in _BASES:
        if isinstance(value, base):
            return _WRITERS[base]
    raise CannotCross(
        f"a value of type {type(value).__name__} cannot pass between the session and its tools; "
        f"{CROSSING}"
    )


# ---- reading -------------------------------------------------------------------------------------


class _Reader:
    """
    One document being read: every length is checked against what encloses it.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        if len(data) > limits.size:
            raise Refused(
                f"a value of {len(data):,} bytes came, and {limits.size:,} are allowed; "
                "pass less, or pass it as a file"
            )
        if data[: len(VERSION)] != VERSION:
            raise Refused("the bytes are no document of this version")
        self._data = data
        self._limits = limits
        self._left = limits.count

    def whole(self) -> Any:
        value, end = self.node(len(VERSION), len(self._data), 0)
        if end != len(self._data):
            raise Refused("bytes follow after the value")
        return value

    def head(self, at: int, end: int) -> tuple[int, int, int]:
        """
        The tag of the node at `at`, where its contents begin, and where they end.
        """
        self._left -= 1
        if self._left < 0:
            raise Refused(f"the value has more than {self._limits.count:,} values in it")
        data, length, shift = self._data, 0, 0
        if at >= end:
            raise Refused("a value is missing")
        tag, at = data[at], at + 1
        while True:
            if at >= end or shift > 28:
                raise Refused("a length is cut off")
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if length > end - at:
            raise Refused("a value is longer than what it is in")
        return tag, at, at + length

    def node(self, at: int, end: int, depth: int) -> tuple[Any, int]:
        tag, at, end = self.head(at, end)
        if depth > self._limits.depth:
            raise Refused(f"the value is nested deeper than {self._limits.depth}")
        plain = _READERS.get(tag)
        if plain is not None:
            return _made(plain, self._data[at:end]), end
        holder = _HOLDERS.get(tag)
        if holder is None:
            raise Refused(f"a value with the unknown tag {tag}")
        return _made(holder, [*self._nodes(at, end, depth + 1)]), end

    def _nodes(self, at: int, end: int, depth: int) -> Iterator[Any]:
        while at < end:
            value, at = self.node(at, end, depth)
            yield value


def _made(make: Callable[[Any], Any], given: Any) -> Any:
    """
    What a constructor makes of contents that may be anybody's.
    """
    try:
        return make(given)
    except Refused:
        raise
    except (ValueError, TypeError, OverflowError, ArithmeticError, struct.error, zlib.error) as why:
        raise Refused(f"a value is malformed: {type(why).__name__}: {why}") from None


def _empty(value: object) -> Callable[[bytes], object]:
    def make(data: bytes) -> object:
        if data:
            raise Refused("a value that has no contents has some")
        return value

    return make


def _read_int(data: bytes) -> int:
    if not data:
        raise Refused("an int has no bytes")
    return int.from_bytes(data, "little", signed=True)


def _read_decimal(data: bytes) -> Decimal:
    if len(data) > _MOST_DIGITS + 32:
        raise Refused(f"a Decimal has more than {_MOST_DIGITS:,} digits")
    try:
        return Decimal(data.decode("ascii"))
    except InvalidOperation:
        raise Refused("a Decimal is malformed") from None


def _read_date(data: bytes) -> dt.date:
    return dt.date(*struct.unpack("<HBB", data))


def _read_zone(data: bytes) -> dt.tzinfo | None:
    if not data:
        return None
    (micros,) = struct.unpack("<q", data[:8])
    name = data[8:].decode("ascii")
    if name:
        if len(name) > _LONGEST_ZONE or not _ZONE.fullmatch(name):
            raise Refused("a time zone has no name of one")
        zone: dt.tzinfo | None = _known_zone(name)
        if zone is not None:
            return zone
    return dt.timezone(dt.timedelta(microseconds=micros))


def _known_zone(name: str) -> dt.tzinfo | None:
    zoneinfo = import_module("zoneinfo")
    try:
        found: dt.tzinfo = zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return None
    return found


_CLOCK: Final = struct.calcsize("<BBBIB")


def _read_time(data: bytes) -> dt.time:
    hour, minute, second, micro, fold = struct.unpack("<BBBIB", data[:_CLOCK])
    return dt.time(hour, minute, second, micro, _read_zone(data[_CLOCK:]), fold=fold)


def _read_datetime(data: bytes) -> dt.datetime:
    return dt.datetime.combine(_read_date(data[:4]), _read_time(data[4:]))


def _read_timedelta(data: bytes) -> dt.timedelta:
    days, seconds, micros = struct.unpack("<iII", data)
    return dt.timedelta(days, seconds, micros)


def _inner_text(data: bytes) -> tuple[str, bytes]:
    if len(data) < 2 or data[0] != ord("s") or data[1] >= 0x80 or len(data) < 2 + data[1]:
        raise Refused("a name is missing")
    return data[2 : 2 + data[1]].decode("ascii"), data[2 + data[1] :]


def _read_array(data: bytes) -> Any:
    kind, rest = _inner_text(data)
    if not _DTYPE.fullmatch(kind):
        raise Refused(f"an array has the dtype {kind!r}, which does not pass")
    axes = rest[0] if rest else _MOST_AXES + 1
    if axes > _MOST_AXES:
        raise Refused("an array has too many axes")
    shape = struct.unpack(f"<{axes}Q", rest[1 : 1 + 8 * axes])
    numpy = _library("numpy", "a numpy array")
    dtype, content = numpy.dtype(kind), rest[1 + 8 * axes :]
    size = dtype.itemsize
    for length in shape:
        size *= length
    if dtype.itemsize == 0 or size != len(content):
        raise Refused("an array has another size than its shape says")
    _require_sound(numpy, dtype, content)
    return numpy.frombuffer(content, dtype).reshape(shape).copy()


def _require_sound(numpy: Any, dtype: Any, content: bytes) -> None:
    """
    Bytes that numpy would take for a truth or a character, and that are none.
    """
    if not content:
        return
    if dtype.kind == "b" and numpy.frombuffer(content, "u1").max() > 1:
        raise Refused("an array of truths has a value that is none")
    if dtype.kind == "U":
        order = ">" if dtype.str[0] == ">" else "<"
        if numpy.frombuffer(content, f"{order}u4").max() > sys.maxunicode:
            raise Refused("an array of texts has a character that is none")


def _read_number(data: bytes) -> Any:
    array = _read_array(data)
    if array.shape != ():
        raise Refused("a numpy number has axes")
    return array[()]


def _read_image(data: bytes) -> Any:
    mode, rest = _inner_text(data)
    if mode not in _MODES:
        raise Refused(f"an image has the mode {mode!r}, which does not pass")
    width, height, colours = struct.unpack("<IIH", rest[:10])
    if max(width, 1) * max(height, 1) > MOST_PIXELS:  # rows without pixels take memory, too
        raise Refused(f"an image has more than {MOST_PIXELS:,} pixels")
    row = (width + 7) // 8 if mode == "1" else width * _MODES[mode]
    palette, packed = rest[10 : 10 + colours], rest[10 + colours :]
    unpacking = zlib.decompressobj()
    raw = unpacking.decompress(packed, row * height + 1)
    if len(raw) != row * height or not unpacking.eof or unpacking.unused_data:
        raise Refused("an image has another size than it says")
    image = _library("PIL.Image", "an image").frombytes(mode, (width, height), raw)
    if palette:
        image.putpalette(palette)
    return image


def _library(name: str, what: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        package = {"PIL.Image": "Pillow"}.get(name, name)
        raise Refused(f"{what} came, and {package} is not installed here to take it") from None


_READERS: Final[dict[int, Callable[[bytes], Any]]] = {
    ord("N"): _empty(None),
    ord("T"): _empty(True),
    ord("F"): _empty(False),
    ord("i"): _read_int,
    ord("f"): lambda data: struct.unpack("<d", data)[0],
    ord("c"): lambda data: complex(*struct.unpack("<dd", data)),
    ord("s"): lambda data: data.decode("utf-8", "surrogatepass"),
    ord("b"): bytes,
    ord("D"): _read_date,
    ord("h"): _read_time,
    ord("m"): _read_datetime,
    ord("q"): _read_timedelta,
    ord("e"): _read_decimal,
    ord("a"): _read_array,
    ord("g"): _read_number,
    ord("I"): _read_image,
}


def _require_spread(keys: Sequence[Any]) -> None:
    """
    Keys that were chosen to have one hash would make a table of them in quadratic time, whatever
    others are beside them.
    """
    if len(keys) - len(set(map(hash, keys))) > _FEW:
        raise Refused("the keys of a container were made to collide")


def _read_set(make: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    def made(values: list[Any]) -> Any:
        _require_spread(values)
        return make(values)

    return made


def _read_dict(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2:
        raise Refused("a dict has a key without a value")
    _require_spread(values[::2])
    return dict(zip(values[::2], values[1::2], strict=True))


def _read_fraction(values: list[Any]) -> Fraction:
    above, below = values
    if type(above) is not int or type(below) is not int:
        raise Refused("a Fraction is not made of two ints")
    return Fraction(above, below)


def _read_record(values: list[Any]) -> Record:
    if len(values) % 2 != 1 or len(values) > 2 * _MOST_FIELDS + 1:
        raise Refused("a record is malformed")
    name, fields = values[0], dict(zip(values[1::2], values[2::2], strict=True))
    for text in (name, *fields):
        if type(text) is not str or not text.isidentifier() or text.startswith("__"):
            raise Refused("a record has a name that is none")
    if fields.keys() & {"_class_name", "_names"}:
        raise Refused("a record has a field of a name that is taken")
    return Record(name, fields)


_HOLDERS: Final[dict[int, Callable[[list[Any]], Any]]] = {
    ord("l"): list,
    ord("t"): tuple,
    ord("S"): _read_set(set),
    ord("Z"): _read_set(frozenset),
    ord("d"): _read_dict,
    ord("r"): _read_fraction,
    ord("o"): _read_record,
}
