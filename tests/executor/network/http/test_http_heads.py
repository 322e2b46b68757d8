import re
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.network.http.errors import BadAnswer, BadRequest
from executor.network.http.heads import (
    MAX_HEAD,
    HeadCutter,
    parse_answer_head,
    parse_request_head,
)

GOOD = b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-Y: 1 2\t3\r\nEmpty:\r\nOws: \t v \t\r\n\r\n"


def test_a_well_formed_head_is_read_whole():
    head = parse_request_head(GOOD)
    assert (head.method, head.target) == ("GET", "/a?b")
    assert head.fields == (
        (b"Host", b"h"),
        (b"X-Y", b"1 2\t3"),
        (b"Empty", b""),
        (b"Ows", b"v"),
    )


REFUSED = {
    "folded line": b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
    "folded host": b"GET / HTTP/1.1\r\nHost: h\r\n h2\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
    "space before first field": b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
    "NUL in value": b"GET / HTTP/1.1\r\nHost: h\0.evil\r\n\r\n",
    "NUL in target": b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
    "bare CR in value": b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n",
    "bare CR in the request line": b"GET /\r HTTP/1.1\r\nHost: h\r\n\r\n",
    "control in value": b"GET / HTTP/1.1\r\nHost: h\r\nA: \x01\r\n\r\n",
    "DEL in value": b"GET / HTTP/1.1\r\nHost: h\r\nA: \x7f\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "tab for space": b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "space behind the version": b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
    "space in target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "non-ASCII target": b"GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n",
    "no version": b"GET /\r\nHost: h\r\n\r\n",
    "version 0.9": b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
    "version 1.0": b"GET / HTTP/1.0\r\nHost: h\r\n\r\n",
    "version 1.2": b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
    "version in lower case": b"GET / http/1.1\r\nHost: h\r\n\r\n",
    "method in lower case": b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
    "method with a slash": b"GE/T / HTTP/1.1\r\nHost: h\r\n\r\n",
    "long method": b"A" * 17 + b" / HTTP/1.1\r\nHost: h\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\nA: b\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    "a list of lengths": b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n",
    "signed length": b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n",
    "length in hexadecimal": b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\n",
    "two codings": b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n",
    "coding and length": b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 1\r\n\r\n",
    "another coding": b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "identity": b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n",
    "too many fields": b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 100 + b"\r\n",
    "leading empty line": b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "leading space": b" GET / HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("head", REFUSED.values(), ids=REFUSED.keys())
def test_what_two_parsers_may_read_differently_is_refused(head):
    with pytest.raises(BadRequest):
        parse_request_head(head)


def test_a_hundred_fields_pass():
    head = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 99 + b"\r\n"
    assert len(parse_request_head(head).fields) == 100


ALPHABET = st.sampled_from(
    [*(bytes([byte]) for byte in b"GET /H1.:aZ-_,;\r\n\t \0\x7f\xff\x0b"), b"\r\n", b"Host: h\r\n"]
)


@given(st.lists(ALPHABET, max_size=40).map(b"".join))
def test_a_head_passes_if_and_only_if_the_slow_grammar_takes_it(middle):
    head = b"GET / HTTP/1.1\r\nHost: h\r\n" + middle + b"\r\n\r\n"
    head = head[: head.index(b"\r\n\r\n") + 4]
    try:
        fields = parse_request_head(head).fields
    except BadRequest:
        fields = None
    assert fields == slow_fields(head)


def slow_fields(head):
    """
    The grammar of RFC 9112 letter by letter, and no regular expression of ours.
    """
    text = head.decode("latin-1")
    lines, rest = [], text
    while rest:
        line, _, rest = rest.partition("\r\n")
        lines.append(line)
    fields = []
    for line in lines[1:-1]:
        name, colon, value = line.partition(":")
        token = name and all(
            char.isascii() and (char.isalnum() or char in "!#$%&'*+-.^_`|~") for char in name
        )
        value = value.strip(" \t")
        if (
            not colon
            or not token
            or any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in value)
        ):
            return None
        fields.append((name.encode("latin-1"), value.encode("latin-1")))
    return None if [n.lower() for n, _ in fields].count(b"host") != 1 else tuple(fields)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_a_head_is_cut_where_it_ends_however_it_arrives(body, cuts):
    cutter, buffer, found = HeadCutter(BadRequest), bytearray(), None
    data = GOOD + body
    places = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(places):
        buffer += data[start:end]
        found = found or cutter.cut(buffer)
    assert found == GOOD
    assert bytes(buffer) == body


@pytest.mark.parametrize(
    "begin", [b"GET / HTTP/1.1\nHost: h\n\n", b"GET / HTTP/1.1\r\nA: b\n\r\n\r\n"]
)
def test_a_bare_lf_is_refused_as_soon_as_it_is_there(begin):
    """
    A guest that ends lines with LF alone waits for its answer, so nobody may wait for its CRLF.
    """
    with pytest.raises(BadRequest, match="LF alone"):
        HeadCutter(BadRequest).cut(bytearray(begin))


def test_a_bare_lf_in_pieces_is_refused_and_a_crlf_in_pieces_is_not():
    cutter, buffer = HeadCutter(BadRequest), bytearray(b"GET / HTTP/1.1\r")
    assert cutter.cut(buffer) is None
    buffer += b"\nA: b"
    assert cutter.cut(buffer) is None
    buffer += b"\n"
    with pytest.raises(BadRequest, match="LF alone"):
        cutter.cut(buffer)


def test_an_lf_behind_the_head_is_the_body_s():
    assert HeadCutter(BadRequest).cut(bytearray(GOOD + b"\n\n")) == GOOD


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"\x16\x03\x01", "TLS"), (b"SSH-2.0".lower(), "raw"), (b"\r\n", "raw"), (b" GET", "raw")],
)
def test_another_protocol_is_refused_at_its_first_byte(data, reason):
    with pytest.raises(BadRequest, match=reason):
        HeadCutter(BadRequest).cut(bytearray(data))


def test_a_head_of_the_longest_length_passes_and_one_byte_more_does_not():
    base = b"GET / HTTP/1.1\r\nHost: h\r\nA: "
    longest = base + b"x" * (MAX_HEAD - len(base) - 4) + b"\r\n\r\n"
    assert len(longest) == MAX_HEAD
    assert parse_request_head(HeadCutter(BadRequest).cut(bytearray(longest))).fields[1][0] == b"A"
    with pytest.raises(BadRequest, match="longer than 65536"):
        HeadCutter(BadRequest).cut(bytearray(base + b"x" * MAX_HEAD))


# ---- answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK"),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.0 404 Not \xe4 Found", 404, b"Not \xe4 Found"),
        (b"HTTP/1.1 999 x", 999, b"x"),
    ],
)
def test_status_lines_in_use_are_read(line, status, reason):
    head = parse_answer_head(line + b"\r\nA: b\r\n\r\n")
    assert (head.status, head.reason, head.fields) == (status, reason, ((b"A", b"b"),))


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 O\rK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 201 + b"\r\n",
    ],
)
def test_a_broken_answer_is_refused(head):
    with pytest.raises(BadAnswer):
        parse_answer_head(head)


@given(st.binary(max_size=80))
def test_reasons_quote_nothing_that_a_server_sent(data):
    secret = b"sk-0123456789"
    with pytest.raises(BadAnswer) as caught:
        parse_answer_head(
            b"HTTP/1.1 200 OK\r\n" + secret + b" " + data.replace(b"\n", b"") + b"\r\n\r\n"
        )
    assert secret.decode() not in caught.value.reason
    assert re.fullmatch(r"[ -~]+", caught.value.reason)


def test_h11_alone_would_take_what_is_refused_here():
    """
    The first reading is not an echo of the second: h11 folds lines and takes a bare LF.
    """
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(b"GET / HTTP/1.1\nHost: h\r\nA: b\r\n c\r\n\r\n")
    assert isinstance(reader.next_event(), h11.Request)
