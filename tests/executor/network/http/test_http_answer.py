import pytest

from executor.network.http.answer import Framing, read_answer, write_answer
from executor.network.http.errors import BadAnswer
from executor.network.http.heads import parse_answer_head


def answer(*lines, status="200 OK", version="1.1", method="GET", guarded=False):
    text = "\r\n".join((f"HTTP/{version} {status}", *lines, "\r\n"))
    return read_answer(parse_answer_head(text.encode("latin-1")), method, guarded=guarded)


@pytest.mark.parametrize(
    ("lines", "options", "framing", "length"),
    [
        (["Content-Length: 5"], {}, Framing.COUNTED, 5),
        (["Content-Length: 0"], {}, Framing.COUNTED, 0),
        (["Transfer-Encoding: Chunked"], {}, Framing.CHUNKED, None),
        ([], {}, Framing.CLOSE, None),
        (["Content-Length: 5"], {"method": "HEAD"}, Framing.NONE, 5),
        ([], {"method": "HEAD"}, Framing.NONE, None),
        (["Transfer-Encoding: chunked"], {"method": "HEAD"}, Framing.NONE, None),
        (["Content-Length: 5"], {"status": "204 x"}, Framing.NONE, None),
        (["Content-Length: 5"], {"status": "304 x"}, Framing.NONE, 5),
        (["Content-Length: 5"], {"status": "205 x"}, Framing.COUNTED, 5),
    ],
)
def test_the_framing_is_that_of_rfc_9112(lines, options, framing, length):
    found = answer(*lines, **options)
    assert (found.framing, found.length) == (framing, length)
    assert found.body().done is (framing is Framing.NONE or length == 0)


def test_an_answer_keeps_its_status_reason_and_fields():
    found = answer(
        *("Content-Type: text/plain", "Set-Cookie: a", "Set-Cookie: b", "Content-Length: 3"),
        *("Connection: X-Hop", "X-Hop: 1", "Keep-Alive: x", "Upgrade: h2", "Trailer: T"),
        *("Proxy-Authenticate: x", "TE: x"),
        status="404 Not here",
    )
    assert write_answer(found, closes=found.closes) == (
        b"HTTP/1.1 404 Not here\r\nContent-Type: text/plain\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
        b"Content-Length: 3\r\nConnection: keep-alive\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("lines", "version", "closes"),
    [
        (["Content-Length: 1"], "1.1", False),
        (["Content-Length: 1", "Connection: keep-alive, CLOSE"], "1.1", True),
        (["Content-Length: 1"], "1.0", True),
        (["Content-Length: 1", "Connection: keep-alive"], "1.0", True),
        ([], "1.1", True),
    ],
)
def test_who_ends_the_connection_is_told(lines, version, closes):
    found = answer(*lines, version=version)
    assert found.closes is closes


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], "101 Switching"),
        (["Transfer-Encoding: gzip, chunked"], "200 x"),
        (["Transfer-Encoding: identity"], "200 x"),
        (["Content-Length: -1"], "200 x"),
        (["Content-Length: 1, 1"], "200 x"),
        (["Content-Length: 1x"], "204 x"),
        (["Content-Length: " + "9" * 19], "200 x"),
    ],
)
def test_answers_without_one_end_are_refused(lines, status):
    with pytest.raises(BadAnswer):
        answer(*lines, status=status)


@pytest.mark.parametrize(
    "line",
    [
        *("Content-Encoding: gzip", "content-encoding: identity, br", "Content-Encoding: X"),
        *("Content-Type: multipart/byteranges; boundary=x", "content-type: Multipart/ByteRanges"),
    ],
)
def test_n14_what_cannot_be_searched_is_refused_where_a_secret_was_sent(line):
    with pytest.raises(BadAnswer, match="secret"):
        answer(line, guarded=True)
    assert answer(line, guarded=False).status == 200


def test_identity_is_no_encoding():
    assert answer("Content-Encoding: identity", guarded=True).status == 200


def test_a_location_counts_in_redirects_only():
    assert answer("Location: /a", status="302 x").location == "/a"
    assert answer("Location: /a", status="201 x").location is None
    assert answer(status="302 x").location is None
