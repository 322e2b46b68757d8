"""
A10, A11: what is hashed means one thing only, and holds every text that Python can hold.
"""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.audit.encoding import MAX_ENCODED, Hashes, decode, encode
from executor.audit.errors import EncodingInvalid
from executor.audit.record import TEXT_CAP, Answer, Cut, Draft, Event, Origin, Record, bounded

ZERO = bytes(32)
ZEROS = Hashes(ZERO, ZERO, ZERO)
int64 = st.integers(-(2**63), 2**63 - 1)
any_text = st.text(st.characters(exclude_categories=()), max_size=40)
cuts = st.builds(
    Cut, any_text, st.integers(TEXT_CAP + 1, 2**63), st.binary(min_size=32, max_size=32)
)
texts = st.none() | any_text | cuts
details = st.dictionaries(any_text, any_text | cuts | int64, max_size=5).map(
    lambda pairs: tuple(sorted(pairs.items()))
)
records = st.builds(
    Record,
    event=st.sampled_from(Event),
    origin=st.sampled_from(Origin),
    session=st.none() | any_text,
    cell=st.none() | int64,
    refers=st.none() | int64,
    request=texts,
    answer=st.none() | st.sampled_from(Answer),
    rule=texts,
    rule_place=texts,
    policy_digest=st.none() | any_text,
    outcome=texts,
    size=st.none() | int64,
    digest=st.none() | st.binary(min_size=32, max_size=32),
    detail=details,
    sequence=int64,
    wall_ns=int64,
    monotonic_ns=int64,
    ordinal=st.none() | int64,
    previous=st.just(ZERO),
    root=st.just(ZERO),
    hash=st.just(ZERO),
)


def record(**fields):
    place = {"sequence": 1, "wall_ns": 2, "monotonic_ns": 3, "ordinal": None}
    return Record(event=Event.DECISION, previous=ZERO, hash=ZERO, root=ZERO, **place, **fields)


@given(records)
def test_every_record_comes_back_as_it_was(one):
    assert decode(encode(one), ZEROS) == one


@given(records, records)
def test_a11_two_records_have_the_same_bytes_only_when_they_are_equal(one, other):
    assert (encode(one) == encode(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"rule": "ab", "rule_place": "c"}, {"rule": "a", "rule_place": "bc"}),
        # The same bytes but for the lengths: `t` opens a text.
        ({"rule": "at", "rule_place": "b"}, {"rule": "a", "rule_place": "tb"}),
        ({"request": None}, {"request": ""}),
        ({"detail": (("a", 1),)}, {"detail": (("a", "1"),)}),
        ({"detail": ()}, {"detail": (("", ""),)}),
        ({"request": "\ud800\udc00"}, {"request": "\U00010000"}),
        ({"request": "-"}, {"request": None}),
        ({"size": 0}, {"size": None}),
        ({"request": "x" * 5000}, {"request": bounded("x" * 5000).start}),
        ({"session": "a", "cell": None}, {"session": None, "cell": None, "request": "a"}),
    ],
)
def test_a11_records_that_look_alike_have_different_bytes(one, other):
    assert encode(record(**one)) != encode(record(**other))
    assert encode(record(**one)) == encode(record(**one))


@given(records, st.data())
def test_altered_bytes_never_decode_to_the_same_record(one, data):
    encoded = bytearray(encode(one))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(bytes(encoded), ZEROS)
    except EncodingInvalid:
        return
    assert found != one
    assert encode(found) == bytes(encoded)


@given(st.binary(max_size=300))
def test_any_bytes_decode_canonically_or_are_refused(data):
    try:
        found = decode(b"\x01" + data, ZEROS)
    except EncodingInvalid:
        return
    assert encode(found) == b"\x01" + data


@given(records)
def test_a_record_that_lost_or_gained_a_byte_is_refused(one):
    encoded = encode(one)
    for damaged in (encoded[:-1], encoded + b"-", b"\x02" + encoded[1:], b""):
        with pytest.raises(EncodingInvalid):
            decode(damaged, ZEROS)


def test_a_long_text_keeps_its_start_length_and_digest():
    text = "é" * 6_000_000
    cut = bounded(text)
    assert cut == Cut("é" * (TEXT_CAP // 2), 12_000_000, hashlib.sha256(text.encode()).digest())
    assert decode(encode(record(request=text)), ZEROS).request == cut
    assert len(encode(record(request=text))) < TEXT_CAP + 300


@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=4), st.integers(0, 3))
def test_a_cut_never_splits_a_character(piece, shift):
    text = "a" * shift + piece * (2 * TEXT_CAP)
    cut = bounded(text)
    assert isinstance(cut, Cut)
    assert text.startswith(cut.start)
    assert TEXT_CAP - 4 < len(cut.start.encode("utf-8", "surrogatepass")) <= TEXT_CAP


def test_a_text_at_the_cap_is_whole_and_one_byte_over_it_is_cut():
    assert bounded("a" * TEXT_CAP) == "a" * TEXT_CAP
    assert isinstance(bounded("a" * (TEXT_CAP + 1)), Cut)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"size": 1.5}, TypeError),
        ({"size": True}, TypeError),
        ({"detail": (("a", 1.0),)}, TypeError),
        ({"detail": (("a", False),)}, TypeError),
        ({"detail": (("a", None),)}, TypeError),
        ({"detail": ((None, 1),)}, TypeError),
        ({"request": b"bytes"}, TypeError),
        ({"size": 2**63}, ValueError),
        ({"digest": b"short"}, ValueError),
        ({"session": "s" * 257}, ValueError),
        ({"detail": (("a", 1), ("a", 2))}, ValueError),
        ({"detail": tuple((str(n), n) for n in range(33))}, ValueError),
        ({"request": Cut("not long", 5, ZERO)}, ValueError),
    ],
)
def test_what_has_no_canonical_form_is_refused_when_it_is_encoded(fields, error):
    with pytest.raises(error):
        encode(record(**fields))


def test_details_have_one_order_whatever_order_they_were_given_in():
    assert encode(record(detail=(("b", 1), ("a", 2)))) == encode(
        record(detail=(("a", 2), ("b", 1)))
    )


def test_the_largest_record_is_within_the_limit_that_readers_accept():
    full = dict.fromkeys(("request", "rule", "rule_place", "outcome"), "é" * 5000)
    detail = tuple((f"{n:0>64}" * 4, "é" * 5000) for n in range(32))
    largest = record(session="é" * 256, policy_digest="é" * 256, detail=detail, **full)
    encoded = encode(largest)
    assert len(encoded) <= MAX_ENCODED
    assert encode(decode(encoded, ZEROS)) == encoded


def test_a_draft_says_who_speaks_and_leaves_out_what_does_not_apply():
    plain = Draft(event=Event.SERVER_START)
    assert plain.origin is Origin.SERVER
    assert (plain.session, plain.request, plain.answer, plain.detail) == (None, None, None, ())
