import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.network.http.errors import BadRequest
from executor.network.http.fields import FROM_GUEST, WITH_CREDENTIAL
from executor.network.http.origin import Injected, Origin
from executor.network.http.request import read_request, write_request

ORIGIN = Origin("api.example.com", 443, tls=True)
PLAIN = Origin("api.example.com", 8080, tls=False)
GUARDED = Origin(
    "api.example.com", 443, tls=True, injected=Injected("X-Api-Key", b"Key s3cret", (b"s3cret",))
)


def head(*lines, method="GET", target="/", host="api.example.com"):
    start = (f"{method} {target} HTTP/1.1", f"Host: {host}")
    return "\r\n".join((*start, *lines, "\r\n")).encode("latin-1")


def written(*lines, origin=ORIGIN, **request):
    return write_request(read_request(head(*lines, **request), origin), origin)


def test_a_request_is_written_anew_with_our_host_and_framing():
    out = written(
        "User-Agent: x", "Accept: */*", "content-length: 007", method="POST", target="/a?b=c"
    )
    assert out == (
        b"POST /a?b=c HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: x\r\nAccept: */*\r\n"
        b"Content-Length: 7\r\nConnection: keep-alive\r\n\r\n"
    )


def test_a_chunked_request_stays_chunked_and_close_stays_close():
    out = written("Transfer-Encoding: chunked", "Connection: Close", method="PUT")
    assert out == (
        b"PUT / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("origin", "named", "sent"),
    [
        (ORIGIN, "api.example.com", "api.example.com"),
        (ORIGIN, "api.example.com:443", "api.example.com"),
        (ORIGIN, "API.Example.COM.", "api.example.com"),
        (PLAIN, "api.example.com", "api.example.com:8080"),
        (PLAIN, "api.example.com:8080", "api.example.com:8080"),
        (Origin("2001:db8::1", 443, tls=True), "[2001:DB8:0::1]", "[2001:db8::1]"),
        (Origin("192.0.2.1", 80, tls=False), "192.0.2.1:80", "192.0.2.1"),
    ],
)
def test_every_spelling_of_the_origin_becomes_one(origin, named, sent):
    out = written(origin=origin, host=named)
    assert out.split(b"\r\n")[1] == f"Host: {sent}".encode()


@pytest.mark.parametrize(
    "named",
    [
        *(
            "evil.example",
            "api.example.com.evil.example",
            "xapi.example.com",
            "api.example.com:444",
        ),
        *("api.example.com@evil.example", "evil.example@api.example.com", "api.example.com:", ""),
        *(
            "api.example.com,evil.example",
            "api.example.com/",
            "api.example.com:0443x",
            "[::1]",
            "[api.example.com]",
        ),
        *("api.example.com:443:443", "api.example.com#", "api example.com", "api.example.com\xa0"),
    ],
)
def test_n09_a_host_field_that_names_another_server_is_refused(named):
    with pytest.raises(BadRequest, match="Host"):
        read_request(head(host=named), ORIGIN)


@pytest.mark.parametrize(
    ("target", "sent"),
    [
        ("https://api.example.com/a?b", "/a?b"),
        ("HTTPS://API.example.com:443/a", "/a"),
        ("https://api.example.com", "/"),
        ("https://api.example.com?q", "/?q"),
    ],
)
def test_an_absolute_target_of_the_origin_becomes_a_path(target, sent):
    assert written(target=target).split(b" ")[1] == sent.encode()


@pytest.mark.parametrize(
    "target",
    [
        *("http://api.example.com/", "https://evil.example/", "https://api.example.com:444/"),
        *("https://u:p@api.example.com/", "https://api.example.com@evil.example/", "https:///x"),
        *("ftp://api.example.com/", "file:///etc/passwd", "https://api.example.com\\@evil/"),
        *("api.example.com:443", "*", "evil", "?x", "https:/api.example.com/", "https://[::1"),
    ],
)
def test_n09_another_target_than_a_path_of_the_origin_is_refused(target):
    with pytest.raises(BadRequest, match="target"):
        read_request(head(target=target), ORIGIN)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "TRACK", "PRI"])
def test_methods_that_change_a_connection_or_show_it_are_refused(method):
    with pytest.raises(BadRequest, match=method):
        read_request(head(method=method), ORIGIN)


def test_the_star_of_options_is_refused_and_options_of_a_path_is_not():
    with pytest.raises(BadRequest, match="target"):
        read_request(head(method="OPTIONS", target="*"), ORIGIN)
    assert read_request(head(method="OPTIONS", target="/a"), ORIGIN).path == "/a"


@pytest.mark.parametrize(
    "path",
    [
        *("//x", "/a//b", "/../a", "/a/..", "/./a", "/a%2fb", "/a%2Fb", "/a%252fb", "/%2e%2e/a"),
        *("/%252e/a", "/a%5cb", "/a\\b", "/a;b", "/a%3bb", "/a%00", "/a%0d%0aX:", "/a%", "/a%zz"),
        *("/a#b", "/%ff", "/a|b"),
    ],
)
def test_paths_that_servers_may_read_differently_are_refused(path):
    with pytest.raises(BadRequest, match=r"the path|fragment"):
        read_request(head(target=path), ORIGIN)


def test_a_path_is_judged_and_sent_in_its_normal_form():
    request = read_request(head(target="/%61%7e/%c3%a4?%61"), ORIGIN)
    assert (request.path, request.query) == ("/a~/%C3%A4", "%61")
    assert write_request(request, ORIGIN).startswith(b"GET /a~/%C3%A4?%61 HTTP/1.1\r\n")


def test_no_query_and_an_empty_one_are_told_apart():
    assert read_request(head(target="/a"), ORIGIN).query is None
    assert read_request(head(target="/a?"), ORIGIN).query == ""
    assert written(target="/a?").startswith(b"GET /a? HTTP/1.1")


def test_a_long_query_is_refused_and_one_at_the_limit_is_not():
    assert read_request(head(target="/?" + "a" * 8192), ORIGIN).query == "a" * 8192
    with pytest.raises(BadRequest, match="the query is longer"):
        read_request(head(target="/?" + "a" * 8193), ORIGIN)


# Written anew or refused: other tests show it.
NOT_ONLY_DROPPED = {b"host", b"content-length", b"transfer-encoding", b"upgrade"}


@pytest.mark.parametrize(
    "row",
    [row for row in FROM_GUEST if row.name not in NOT_ONLY_DROPPED],
    ids=lambda row: row.name.decode(),
)
def test_every_row_of_the_table_drops_its_field(row):
    name = row.name.decode() + ("anything" if row.starts else "")
    value = "100-continue" if name == "expect" else "v"
    spellings = {name.replace("-", mark) for mark in ("-", "_", ".", "~", "!")}
    for spelling in {*spellings, name.title(), name.upper()}:
        assert written(f"{spelling}: {value}") == written()
    assert b"X-Kept: v" in written("X-Kept: v")


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("framing", ["Content-Length: 3", "Transfer-Encoding: chunked"])
def test_n09_behind_a_body_that_a_server_may_not_read_comes_no_other_request(method, framing):
    assert b"Connection: close\r\n" in written(framing, method=method)
    assert b"Connection: keep-alive\r\n" in written(framing, method="POST")
    assert b"Connection: keep-alive\r\n" in written("Content-Length: 0", method=method)


def test_n09_a_second_path_is_not_passed_on_with_the_judged_one():
    out = written("Destination: /private/b", "X-Kept: v", method="MOVE", target="/open/a")
    assert out.startswith(b"MOVE /open/a HTTP/1.1\r\n")
    assert b"X-Kept: v" in out
    assert b"private" not in out


def test_what_connection_nominates_is_dropped_however_it_is_spelled():
    assert written("Connection: X-A, x_b,close", "X-A: 1", "X-B: 2", "X_A: 3") == written(
        "Connection: close"
    )


@pytest.mark.parametrize("name", ["Host", "Content-Length", "transfer_encoding"])
def test_connection_cannot_nominate_what_frames_a_request(name):
    with pytest.raises(BadRequest, match="nominates"):
        read_request(head(f"Connection: {name}"), ORIGIN)


@pytest.mark.parametrize(
    "name", ["Content_Length", "transfer_Encoding", "transfer_encoding", "Content.Length"]
)
def test_a_disguised_framing_field_is_refused(name):
    with pytest.raises(BadRequest, match="differs by `_`"):
        read_request(head(f"{name}: 1"), ORIGIN)


@pytest.mark.parametrize(
    "line", ["Upgrade: websocket", "upgrade: h2c", "HTTP2-Settings: AAAA", "HTTP2_SETTINGS: A"]
)
def test_n09_another_protocol_is_refused(line):
    with pytest.raises(BadRequest, match="another protocol"):
        read_request(head(line, "Connection: Upgrade"), ORIGIN)


@pytest.mark.parametrize("value", ["200-ok", "100-continue, x", "x"])
def test_another_expectation_is_refused(value):
    with pytest.raises(BadRequest, match="Expect"):
        read_request(head(f"Expect: {value}"), ORIGIN)


def test_100_continue_is_ours_to_answer():
    request = read_request(head("Expect: 100-Continue", "Content-Length: 1", method="POST"), ORIGIN)
    assert request.waits
    assert b"xpect" not in write_request(request, ORIGIN)


@pytest.mark.parametrize("value", ["-1", "", "1 1", "\u00b2", "9" * 19])
def test_a_length_that_is_no_number_is_refused(value):
    with pytest.raises(BadRequest):
        read_request(head(f"Content-Length: {value}", method="POST"), ORIGIN)


# ---- credentials ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["X-Api-Key", "x-api-key", "X_API_KEY", "x-Api_kEy", "X.Api.Key", "x!api~key"]
)
def test_n14_the_guest_s_own_credential_gives_way_to_ours(name):
    out = written(f"{name}: mine", origin=GUARDED)
    assert out == written(origin=GUARDED)
    assert out.count(b"Key s3cret") == 1
    assert b"mine" in written(f"{name}: mine")


def test_n14_a_nominated_credential_is_sent_all_the_same():
    assert b"X-Api-Key: Key s3cret\r\n" in written("Connection: X-Api-Key", origin=GUARDED)


@pytest.mark.parametrize("row", WITH_CREDENTIAL, ids=lambda row: row.name.decode())
def test_n14_with_a_credential_nothing_asks_for_bytes_that_cannot_be_searched(row):
    line = f"{row.name.decode()}: v"
    assert written(line, origin=GUARDED) == written(origin=GUARDED)
    assert f"{row.name.decode()}: v".encode() in written(line)
    assert b"Accept-Encoding: identity\r\n" in written(line, origin=GUARDED)


# ---- whatever is passed ---------------------------------------------------------------------

LINES = st.lists(
    st.sampled_from(
        [
            *("Accept: a", "X_Api_Key: 1", "Connection: x-b, close", "X-B: 1", "TE: trailers"),
            *("Content-Length: 3", "Transfer-Encoding: chunked", "Expect: 100-continue"),
            *(
                "Proxy-Authorization: x",
                "X-HTTP-Method-Override: DELETE",
                "Cookie: a=b",
                "Range: 1",
            ),
        ]
    ),
    max_size=6,
)


@given(
    LINES,
    st.sampled_from(["GET", "POST", "M-SEARCH", "DELETE"]),
    st.text("/ab%2Fe.~?=&", max_size=12).map(lambda text: f"/{text}"),
    st.sampled_from([ORIGIN, PLAIN, GUARDED]),
)
def test_what_is_written_is_what_was_judged_and_reads_as_itself(lines, method, target, origin):
    try:
        request = read_request(head(*lines, method=method, target=target), origin)
    except BadRequest:
        return
    out = write_request(request, origin)
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(out)
    event = reader.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method.decode(), event.target.decode()) == (request.method, request.target)
    assert [value for name, value in event.headers if name == b"host"] == [
        origin.authority.encode()
    ]
    again = read_request(out, origin)
    assert write_request(again, origin) == out
