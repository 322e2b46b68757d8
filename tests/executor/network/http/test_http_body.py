from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.network.http.body import LAST_CHUNK, Chunked, Counted, UntilClose, chunk, framed
from executor.network.http.errors import BadAnswer, BadRequest, Malformed


def fed(body, data, cuts=()):
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    out, surplus = b"", b""
    for start, end in pairwise(places):
        if body.done:
            surplus += data[start:end]
        else:
            out += body.feed(data[start:end])
            surplus += body.surplus
    return out, surplus


CUTS = st.lists(st.integers(0, 400), max_size=8)


@given(st.lists(st.binary(max_size=40), max_size=6), st.binary(max_size=20), CUTS)
def test_chunks_are_read_as_they_were_written_however_they_arrive(parts, behind, cuts):
    data = b"".join(map(chunk, parts)) + LAST_CHUNK + behind
    body = Chunked(BadRequest)
    assert fed(body, data, cuts) == (b"".join(parts), behind)
    assert body.done


@given(st.integers(0, 60), st.binary(max_size=60), CUTS)
def test_a_counted_body_ends_at_its_length(length, data, cuts):
    body = Counted(length)
    assert fed(body, data, cuts) == (data[:length], data[length:])
    assert body.done is (len(data) >= length)


@given(st.binary(max_size=60), CUTS)
def test_a_body_until_the_end_never_ends_by_itself(data, cuts):
    body = UntilClose()
    assert fed(body, data, cuts) == (data, b"")
    assert not body.done
    assert body.ends_with_stream


PIECES = st.sampled_from(
    [
        b"5\r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b"1 \r\nx\r\n",
        b"A\r\n",
        b"0\r\n",
        b"\r\n",
        b"x",
        b"T: 1\r\n",
        b"\n",
        b"0",
        b"5\r\nhelloX",
        b"-1\r\n",
        b"+1\r\nx\r\n",
        b"0x1\r\nx\r\n",
        b"1_0\r\n",
    ]
)


@given(st.lists(PIECES, max_size=8).map(b"".join), CUTS)
def test_what_is_taken_is_what_h11_reads(data, cuts):
    """
    h11 takes more than we do; where both take a body, they take the same one.
    """
    body = Chunked(BadAnswer)
    try:
        out, surplus = fed(body, data, cuts)
    except Malformed:
        return
    if body.done:
        assert (out, surplus) == h11_reads(data)


def h11_reads(data):
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
    out = b""
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        assert event is not h11.NEED_DATA
        out += bytes(event.data) if isinstance(event, h11.Data) else b""
    return out, reader.trailing_data[0]


@given(st.lists(PIECES, max_size=8).map(b"".join), CUTS, CUTS)
def test_the_cuts_do_not_matter(data, one, other):
    assert outcome(data, one) == outcome(data, other)


def outcome(data, cuts):
    body = Chunked(BadRequest)
    try:
        return (*fed(body, data, cuts), body.done)
    except BadRequest:
        return None


@pytest.mark.parametrize(
    "data",
    [
        *(b"g\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"\r\n", b" 1\r\nx\r\n", b"1\nx\n", b"1\rx"),
        *(b"1" * 16 + b"\r\n", b"1\r\nxy", b"1\r\nx\n", b"1\r\nx\r\r", b"1_0\r\n", b"1" * 5000),
        *(b"0\r\n folded\r\n", b"0\r\nno colon\r\n", b"0\r\nA: \0\r\n"),
    ],
)
@pytest.mark.parametrize("error", [BadRequest, BadAnswer])
def test_broken_chunks_are_refused(data, error):
    if data == b"1\rx":
        data += b"\r\n"
    with pytest.raises(error):
        Chunked(error).feed(data)


@pytest.mark.parametrize(
    "data", [b"1;a=b\r\nx\r\n0\r\n\r\n", b"1 \r\nx\r\n0\r\n\r\n", b"1\r\nx\r\n0\r\nT: 1\r\n\r\n"]
)
def test_extensions_and_trailers_are_a_server_s_to_send_and_are_dropped(data):
    with pytest.raises(BadRequest):
        Chunked(BadRequest).feed(data)
    body = Chunked(BadAnswer)
    assert body.feed(data) == b"x"
    assert (body.done, body.surplus) == (True, b"")


def test_endless_trailers_are_refused():
    body = Chunked(BadAnswer)
    body.feed(b"0\r\n")
    with pytest.raises(BadAnswer, match="trailers"):
        body.feed((b"A: " + b"x" * 100 + b"\r\n") * 1000)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_pieces_framed_one_by_one_make_one_body(parts):
    out = b"".join(
        framed(part, chunked=True, done=index == len(parts) - 1) for index, part in enumerate(parts)
    )
    assert fed(Chunked(BadRequest), out) == (b"".join(parts), b"")
