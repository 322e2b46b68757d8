"""
The encoding of what passes between the guest and the client's tools: it comes back, or is refused.

Green says that no bytes of hypothesis's, and none of those below, get past the bounds. It does not
say that numpy and Pillow are right about sound values.
"""

import datetime as dt
import math
import struct
import zlib
import zoneinfo
from collections import Counter, OrderedDict
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codecage import values
from codecage.values import CannotCross, Limits, Record, Refused, decode, encode

KEYS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(st.characters()),
    st.binary(),
    st.dates(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.tuples(st.integers(), st.text()),
)
PLAIN = st.one_of(
    KEYS,
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones(), st.just(dt.UTC))),
    st.times(),
    st.timedeltas(),
    st.sets(KEYS, max_size=5),
    st.frozensets(KEYS, max_size=5),
)
ANY = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=5),
    ),
    max_leaves=20,
)


@dataclass
class Order:
    number: int
    total: object = None


class Point(NamedTuple):
    x: int
    y: int


def alike(one, other):
    """
    Equal, and of the same types all the way down: 1, 1.0 and True are not alike.
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return alike([*one.items()], [*other.items()])
    return one == other


@settings(deadline=None)
@given(ANY)
def test_every_value_comes_back_equal_and_of_its_type(value):
    assert alike(decode(encode(value)), value)


@pytest.mark.parametrize(
    "value",
    [
        "\ud800 and \udfff", 2**100_000, -(2**100_000), -0.0, math.inf, -math.inf, b"\0" * 1000,
        Decimal("1.2300"), Decimal("-0"), Decimal("Infinity"), Decimal("1E+999999"),
        dt.datetime(2026, 3, 29, 2, 30, fold=1),  # noqa: DTZ001 - a time without a zone
        dt.time(23, 59, 59, 999_999, dt.UTC),
        dt.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-11, seconds=7))),
        dt.timedelta.min, dt.timedelta.max, Order(1, [2]), {(1, None): {frozenset({2}): 3}},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_edges_of_each_type_come_back(value):
    found = decode(encode(value))
    assert found == value
    assert math.copysign(1, found) == math.copysign(1, value) if value == 0 else True
    assert getattr(found, "fold", 0) == getattr(value, "fold", 0)


def test_a_nan_comes_back_as_one_with_its_bits():
    (bits,) = struct.unpack("<Q", struct.pack("<d", decode(encode(math.nan))))
    assert bits == struct.unpack("<Q", struct.pack("<d", math.nan))[0]
    assert decode(encode(Decimal("sNaN"))).is_snan()


def test_subclasses_come_back_as_what_they_are_made_of():
    assert decode(encode([Point(1, 2), OrderedDict(a=1), Counter("aa")])) == [
        (1, 2),
        {"a": 1},
        {"a": 2},
    ]


def test_a_dataclass_comes_back_as_a_record_that_equals_it():
    found = decode(encode(Order(1, Order(2))))
    assert isinstance(found, Record)
    assert (found, found.number, found.total) == (Order(1, Order(2)), 1, Order(2))
    assert repr(found) == "Order(number=1, total=Order(number=2, total=None))"
    assert found != Order(2)
    assert decode(encode(found)) == found


def test_arrays_come_back_with_their_type_and_shape():
    numpy = pytest.importorskip("numpy")
    for array in (
        numpy.arange(12, dtype=">i2").reshape(3, 4)[:, ::2],
        numpy.array([True, False]),
        numpy.array(["a", "längst"]),
        numpy.array(2.5),
        numpy.zeros((0, 3)),
        numpy.array(["2026-01-01"], dtype="M8[D]"),
    ):
        found = decode(encode(array))
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert (found == array).all()
    assert type(decode(encode(numpy.float32(2.5)))) is numpy.float32
    with pytest.raises(CannotCross, match="object"):
        encode(numpy.array([object()]))


def test_images_come_back_with_their_mode_and_pixels():
    image = pytest.importorskip("PIL.Image")
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "I", "F"):
        made = image.new(mode, (13, 7), 1)
        found = decode(encode(made))
        assert (found.mode, found.size, found.tobytes()) == (mode, (13, 7), made.tobytes())
    with pytest.raises(Refused, match="pixels"):
        encode(image.new("1", (5000, 5000)))


class Colour(Enum):
    RED = 1


@pytest.mark.parametrize(
    "value", [object(), len, type, Colour.RED, [print], {1: range(3)}, iter([])]
)
def test_what_is_no_data_does_not_cross(value):
    with pytest.raises(CannotCross, match="cannot pass between the session and its tools"):
        encode(value)


def test_what_is_too_large_deep_or_many_is_refused_before_it_is_built():
    itself: list[object] = []
    itself.append(itself)
    with pytest.raises(Refused, match="contains itself"):
        encode(itself)
    with pytest.raises(Refused, match="1,048,576 bytes"):
        encode(b"x" * 2**20)
    with pytest.raises(Refused, match="more than 10 values"):
        encode([0] * 10, Limits(1000, count=10))


def nested(depth):
    data = b"N\0"
    for _ in range(depth):
        data = b"l" + values._varint(len(data)) + data
    return values.VERSION + data


def image_of(packed, width=1, height=1):
    """
    A grey image.
    """
    body = b"s\x01L" + struct.pack("<IIH", width, height, 0) + packed
    return values.VERSION + b"I" + values._varint(len(body)) + body


HOSTILE = {
    "nothing": b"",
    "no version": b"N\0",
    "another version": b"\x02N\0",
    "an unknown tag": b"\x01z\0",
    "a pickle": b"\x80\x04K\x01.",
    "a length beyond the end": b"\x01b\x05abc",
    "a length without end": b"\x01b\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    "a part beyond its whole": b"\x01l\x02b\x05abcdef",
    "bytes after the value": b"\x01N\0N\0",
    "a None with contents": b"\x01N\x01x",
    "an int without bytes": b"\x01i\0",
    "half a float": b"\x01f\x04\0\0\0\0",
    "a text that is none": b"\x01s\x02\xff\xff",
    "a day that is none": b"\x01D\x04\xea\x07\x0d\x01",
    "a zone that is a path": values.encode(dt.time(1, tzinfo=dt.UTC))[:2] + b"\x1a" + bytes(8) + bytes(8) + b"../../etc/",
    "a Decimal that is none": b"\x01e\x03abc",
    "a Decimal of a million digits": encode(b"9" * 10**6).replace(b"b", b"e", 1),
    "a Fraction of nothing": b"\x01r\x06i\x01\x01i\x01\x00",
    "a Fraction of texts": b"\x01r\x06s\x011s\x012",
    "a key without a value": b"\x01d\x02N\0",
    "a key that has no hash": b"\x01d\x04l\0N\0",
    "a member that has no hash": b"\x01S\x02l\0",
    "a record without a name": b"\x01o\0",
    "a record called __class__": encode(Order(1)).replace(b"s\x05Order", b"s\x05__cl_"),
    "a field called __class__": encode(Order(1)).replace(b"s\x06number", b"s\x06__dic_"),
    "an array of objects": b"\x01a\x0ds\x02|O\x01" + (1).to_bytes(8, "little"),
    "an array larger than its bytes": b"\x01a\x0es\x03<i8\x01" + (2**61).to_bytes(8, "little"),
    "an image that unpacks to more": image_of(zlib.compress(bytes(2**20))),
    "an image that unpacks to less": image_of(b""),
    "an image of two billion rows without pixels": image_of(zlib.compress(b""), 0, 2**31),
    "nested 2,000 deep": nested(2000),
}  # fmt: skip
REASONS = {
    "nothing": "no document of this version",
    "no version": "no document of this version",
    "another version": "no document of this version",
    "an unknown tag": "unknown tag 122",
    "a pickle": "no document of this version",
    "a length beyond the end": "longer than what it is in",
    "a length without end": "a length is cut off",
    "a part beyond its whole": "longer than what it is in",
    "bytes after the value": "bytes follow after the value",
    "a None with contents": "no contents has some",
    "an int without bytes": "an int has no bytes",
    "half a float": "malformed: error: unpack",
    "a text that is none": "malformed: UnicodeDecodeError",
    "a day that is none": "malformed: ValueError: month",
    "a zone that is a path": "a time zone has no name of one",
    "a Decimal that is none": "a Decimal is malformed",
    "a Decimal of a million digits": "more than 10,000 digits",
    "a Fraction of nothing": "malformed: ZeroDivisionError",
    "a Fraction of texts": "not made of two ints",
    "a key without a value": "a key without a value",
    "a key that has no hash": "malformed: TypeError: unhashable",
    "a member that has no hash": "malformed: TypeError: unhashable",
    "a record without a name": "a record is malformed",
    "a record called __class__": "a record has a name that is none",
    "a field called __class__": "a record has a name that is none",
    "an array of objects": "which does not pass",
    "an array larger than its bytes": "another size than its shape says|numpy is not installed",
    "an image that unpacks to more": "another size than it says",
    "an image that unpacks to less": "another size than it says",
    "an image of two billion rows without pixels": "more than 16,777,216 pixels",
    "nested 2,000 deep": "nested deeper than 64",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused_for_what_they_are(name):
    with pytest.raises(Refused, match=REASONS[name]):
        decode(HOSTILE[name])


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(data):
    try:
        found = decode(values.VERSION + data)
    except Refused:
        return
    assert encode(found)


@settings(deadline=None, max_examples=300)
@given(ANY, st.data())
def test_a_document_with_a_byte_changed_is_a_value_or_refused(value, data):
    document = bytearray(encode(value))
    at = data.draw(st.integers(0, len(document) - 1))
    document[at] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(document))
    except Refused:
        return
    assert encode(found)


MODULUS = 2**61 - 1  # ints that are this far apart have one hash
COLLIDING = {
    "all of them": [number * MODULUS for number in range(1, 40_000)],
    "half of them": [
        *range(1, 20_001), *(number * MODULUS for number in range(1, 20_000)),
    ],
    "a thousand and one": [*range(20_000), *(number * MODULUS for number in range(1, 1002))],
}  # fmt: skip


def containers(keys):
    """
    A dict and a set as documents, written here: to make the real ones would take minutes.
    """
    nodes = [encode(key)[1:] for key in keys]
    for tag, body in ((b"d", b"N\0".join([*nodes, b""])), (b"S", b"".join(nodes))):
        yield values.VERSION + tag + values._varint(len(body)) + body


@pytest.mark.parametrize("keys", COLLIDING)
def test_keys_that_were_made_to_collide_are_refused(keys):
    for document in containers(COLLIDING[keys]):
        with pytest.raises(Refused, match="made to collide"):
            decode(document)


def test_keys_that_do_not_collide_are_taken_and_so_are_a_thousand_that_do():
    keys = [*range(20_000), *(number * MODULUS for number in range(1, 1001))]
    mapping, members = (decode(document) for document in containers(keys))
    assert (mapping, members) == (dict.fromkeys(keys), set(keys))


class Key:
    """
    A key that collides with all others of its class, and counts how often it is compared.
    """

    compared = 0

    def __hash__(self):
        return 7

    def __eq__(self, other):
        Key.compared += 1
        return self is other


def test_colliding_keys_are_refused_before_any_is_compared_with_another():
    keys = [Key() for _ in range(1002)]
    for tag, held in (
        ("d", [one for key in keys for one in (key, None)]),
        ("S", keys),
        ("Z", keys),
    ):
        with pytest.raises(Refused, match="made to collide"):
            values._HOLDERS[ord(tag)](held)
    assert Key.compared == 0
    assert len(values._HOLDERS[ord("S")](keys[1:])) == 1001
    assert Key.compared > 1000


def test_the_parts_of_a_document_are_documents_and_are_not_looked_into():
    document = encode((("a", 1), {"b": [object] and [2]}))
    first, second = values.parts(document, 2)
    assert (decode(first), decode(second)) == (("a", 1), {"b": [2]})
    assert values.parts(encode({"x": 1}), 2) == [encode("x"), encode(1)]
    broken = values.VERSION + b"l\x03b\x01z"
    assert values.parts(broken, 1) == [values.VERSION + b"b\x01z"]
    with pytest.raises(Refused):
        values.parts(encode([1] * 10), 3)
    with pytest.raises(Refused):
        values.parts(encode("ab"), 3)
