"""
Paths of requests: what is refused before it is compared, and what the globs grant.
"""

import re
import string
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.http_paths import (
    _SIMPLE,
    MAX_PATH,
    MAX_SEGMENTS,
    _is_simple,
    normal_path,
    path_problem,
    query_problem,
)
from policy.path_globs import compile_glob, path_glob_problem


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/v1/prices",
            "/v1/prices/",
            "/a.b/..c/c..",
            "/...",
            "/a%20b",
            "/caf%C3%A9",
            "/%E2%82%AC",
        ),
        *(
            "/c%23",
            "/what%3F",
            "/100%25",
            "/a:b@c",
            "/~user",
            "/a,b",
            "/a=b&c",
            "/%7Euser",
            "/a%2Bb",
        ),
        *(
            "/*",
            "/(a)",
            "/!$'",
            "/%F0%9F%90%8D",
            "/a%2525",
            "/" + "a" * (MAX_PATH - 1),
            "/a" * MAX_SEGMENTS,
        ),
    ],
)
def test_a_plain_path_has_no_problem(path):
    assert path_problem(path) is None


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "does not begin with `/`"),
        ("v1", "does not begin with `/`"),
        ("*", "does not begin with `/`"),
        ("http://a/", "does not begin with `/`"),
        ("/" + "a" * MAX_PATH, "is longer than 8192 characters"),
        ("/a" * (MAX_SEGMENTS + 1), "has more than 256 segments"),
        ("/a b", "holds the character U+0020"),
        ("/a\r\nHost: x", "holds the character U+000D"),
        ("/a\tb", "holds the character U+0009"),
        ("/a\0", "holds the character U+0000"),
        ("/a\x7f", "holds the character U+007F"),
        ("/caf\u00e9", "holds the character U+00E9"),
        ("/\uff0e\uff0e/", "holds the character U+FF0E"),
        ("/a\udc80", "holds the character U+DC80"),
        ("/a?b", "holds `?`, at which the query begins"),
        ("/a#b", "holds `#`, at which a fragment begins"),
        ("/a;b", "holds `;`, at which servers cut a segment"),
        ("/a\\b", "holds `\\`, which servers take for `/`"),
        ("/a[1]", "holds `[`"),
        ('/a"', 'holds `"`'),
        ("//a", "holds an empty segment, `//`"),
        ("/a//b", "holds an empty segment, `//`"),
        ("/a//", "holds an empty segment, `//`"),
        ("/.", "holds a dot segment, `.` or `..`"),
        ("/a/../b", "holds a dot segment, `.` or `..`"),
        ("/a/..", "holds a dot segment, `.` or `..`"),
        ("/%", "holds a `%` without two hexadecimal digits"),
        ("/%2", "holds a `%` without two hexadecimal digits"),
        ("/%g0", "holds a `%` without two hexadecimal digits"),
        ("/%u002f", "holds a `%` without two hexadecimal digits"),
        ("/a%2fb", "holds an encoded `/`, once decoded"),
        ("/a%2Fb", "holds an encoded `/`, once decoded"),
        ("/a%252fb", "holds an encoded `/`, twice decoded"),
        ("/a%5cb", "holds `\\`, which servers take for `/`, once decoded"),
        ("/a%255Cb", "holds `\\`, which servers take for `/`, twice decoded"),
        ("/a%00", "holds the character U+0000, once decoded"),
        ("/a%2500", "holds the character U+0000, twice decoded"),
        ("/a%0d%0a", "holds the character U+000D, once decoded"),
        ("/a%c2%85", "holds the character U+0085, once decoded"),
        ("/a%3bb", "holds `;`, at which servers cut a segment, once decoded"),
        ("/a%253Bb", "holds `;`, at which servers cut a segment, twice decoded"),
        ("/%2e%2e/a", "holds a dot segment, `.` or `..`, once decoded"),
        ("/.%2e/a", "holds a dot segment, `.` or `..`, once decoded"),
        ("/%2E", "holds a dot segment, `.` or `..`, once decoded"),
        ("/%252e%252e/a", "holds a dot segment, `.` or `..`, twice decoded"),
        ("/%25%32%65/a", "holds a dot segment, `.` or `..`, twice decoded"),
        ("/%c0%af", "holds bytes that are not UTF-8, once decoded"),
        ("/%c0%ae%c0%ae/a", "holds bytes that are not UTF-8, once decoded"),
        ("/%25c0%25af", "holds bytes that are not UTF-8, twice decoded"),
        ("/%ff", "holds bytes that are not UTF-8, once decoded"),
    ],
)
def test_a_path_that_two_decoders_could_read_differently_is_refused(path, problem):
    assert path_problem(path) == problem


PIECES = st.sampled_from(
    [
        "a",
        ".",
        "..",
        "/",
        "//",
        "%2f",
        "%2F",
        "%5c",
        "%00",
        "%25",
        "25",
        "2f",
        "2e",
        "%2e",
        ";",
        "%3b",
        "\\",
        "%",
        "%C3%A9",
        "%c0",
        " ",
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=9).map(lambda parts: "/" + "".join(parts)))
def test_an_accepted_path_has_the_same_segments_however_often_it_is_decoded(path):
    if path_problem(path) is not None:
        return
    segments = path.count("/")
    for _ in range(2):
        path = unquote(path, errors="strict")
        assert path.count("/") == segments
        assert not re.search(r"//|[\\;\0-\x1f]|/\.\.?(/|$)", path)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("", None),
        ("a=b&c=%00%2f..//;\\?[]'\"<>", None),
        ("x" * MAX_PATH, None),
        ("x" * (MAX_PATH + 1), "is longer than 8192 characters"),
        ("a b", "holds the character U+0020"),
        ("a#b", "holds `#`, at which a fragment begins"),
        ("a\r\nX: y", "holds the character U+000D"),
        ("\u00fc", "holds the character U+00FC"),
    ],
)
def test_a_query_is_visible_ascii(query, problem):
    assert query_problem(query) == problem


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/v1/%70rices", "/v1/prices"),
        ("/%7euser/%C3%a9", "/~user/%C3%A9"),
        ("/a%2bb%20c", "/a%2Bb%20c"),
        ("/%2541", "/%2541"),
        ("/plain", "/plain"),
    ],
)
def test_equivalent_spellings_have_one_normal_form(path, normal):
    assert normal_path(path) == normal
    assert normal_path(normal) == normal


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("/", ["/"], ["/a", "/a/"]),
        ("/**", ["/", "/a", "/a/", "/a/b/c"], []),
        (
            "/v1/prices",
            ["/v1/prices"],
            ["/v1/prices/", "/v1/prices/x", "/v1/price", "/v1", "/V1/prices"],
        ),
        ("/v1/prices/", ["/v1/prices/"], ["/v1/prices", "/v1/prices/x"]),
        (
            "/v1/prices/**",
            ["/v1/prices", "/v1/prices/", "/v1/prices/a", "/v1/prices/a/b/"],
            ["/v1/pricesx", "/v1", "/x/v1/prices/a"],
        ),
        ("/v1/*", ["/v1/a", "/v1/a.b"], ["/v1/", "/v1", "/v1/a/", "/v1/a/b"]),
        ("/v1/*/", ["/v1/a/"], ["/v1/a", "/v1//", "/v1/"]),
        ("/v1/*/b", ["/v1/a/b"], ["/v1/b", "/v1/a/a/b", "/v1//b"]),
        ("/**/b", ["/b", "/a/b", "/a/a/b"], ["/a", "/ab", "/b/", "/b/c"]),
        ("/a/**/b/**", ["/a/b", "/a/b/", "/a/x/b/y", "/a/b/b"], ["/a", "/a/x", "/b"]),
        ("/**/**/a", ["/a", "/b/a", "/b/c/a"], ["/b"]),
        ("/a*", ["/a", "/ab"], ["/ba", "/a/", "/"]),
        ("/*a", ["/a", "/ba"], ["/ab"]),
        ("/a*b*c", ["/abc", "/aXbYc", "/abbcc"], ["/ac", "/abXcd", "/acb"]),
        ("/ab*ba", ["/abba", "/abXba"], ["/aba", "/ab"]),
        ("/a*bc*c", ["/abcc", "/aXbcXc"], ["/abc"]),
        ("/%70rices/%c3%a9", ["/prices/%C3%A9"], ["/prices/x"]),
        ("/x.json", ["/x.json"], ["/xajson"]),
        ("/(a+)$", ["/(a+)$"], ["/a"]),
    ],
)
def test_a_glob_grants_whole_paths_and_nothing_else(glob, matching, others):
    assert path_glob_problem(glob) is None
    compiled = compile_glob(glob)
    assert [path for path in matching if not compiled.matches(path)] == []
    assert [path for path in others if compiled.matches(path)] == []


@pytest.mark.parametrize(
    ("glob", "problem"),
    [
        ("", "has to have 1 to 1024 characters"),
        ("/" + "a" * 1024, "has to have 1 to 1024 characters"),
        ("v1/**", "does not begin with `/`"),
        ("/a/**b", "holds `**` beside other characters of a segment"),
        ("/***", "holds `**` beside other characters of a segment"),
        ("/a?", "holds `?`, at which the query begins"),
        ("/a/../b", "holds a dot segment, `.` or `..`"),
        ("/a//b", "holds an empty segment, `//`"),
        ("/{a,b}", "holds `{`"),
        ("/caf\u00e9", "holds the character U+00E9"),
        ("/a%2fb", "holds an encoded `/`, once decoded"),
        ("/a" * 33, "has more than 32 segments"),
    ],
)
def test_what_no_path_could_match_is_no_glob(glob, problem):
    assert path_glob_problem(glob) == problem


def expression(glob: str) -> re.Pattern[str]:
    """
    The same language as a regular expression over `/segment/segment`.
    """
    parts = []
    for segment in glob[1:].split("/"):
        if segment == "**":
            parts.append("(?:/[^/]*)*")
        elif segment == "*":
            parts.append("/[^/]+")
        else:
            parts.append("/" + re.escape(segment).replace(r"\*", "[^/]*"))
    return re.compile("".join(parts))


SEGMENTS = st.sampled_from(["**", "*", "a", "b", "a*", "*b", "a*b", "*a*", "a*a*", "ab", ""])
NAMES = st.text("ab", max_size=4)


@settings(max_examples=600, deadline=None)
@given(st.lists(SEGMENTS, min_size=1, max_size=4), st.lists(NAMES, min_size=1, max_size=5))
def test_globs_agree_with_expressions(glob, path):
    glob, path = "/" + "/".join(glob), "/" + "/".join(path)
    assert compile_glob(glob).matches(path) == bool(expression(glob).fullmatch(path))


@given(st.text(string.printable, max_size=30))
def test_a_path_that_is_no_problem_has_a_normal_form_that_is_none_either(text):
    path = f"/{text}"
    if path_problem(path) is None:
        assert path_problem(normal_path(path)) is None


# To the last character


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("/*a*", "/ab", True),
        ("/*a*", "/b", False),
        ("/*ab*ba*", "/aba", False),
        ("/*ab*ba*", "/abba", True),
        ("/a*a", "/a", False),
        ("/a*a", "/aa", True),
        ("/a/**/**/b", "/a/b", True),
        ("/a/**/**/b", "/a/x/y/b", True),
        ("/**/**", "/", True),
    ],
)
def test_the_pieces_of_a_segment_stand_beside_each_other(glob, path, fits):
    assert compile_glob(glob).matches(path) is fits


def test_two_crossings_are_one():
    assert compile_glob("/a/**/**/b") == compile_glob("/a/**/b")


@pytest.mark.parametrize(
    ("path", "simple"),
    [
        ("/", True),
        ("/v1/list-a_b.c", True),
        ("/" + "a" * (_SIMPLE - 1), True),
        ("/" + "a" * _SIMPLE, False),
        ("/a//b", False),
        ("/.a", False),
        ("a", False),
        ("", False),
        ("/%61", False),
        ("/caf\u00e9", False),
        ("/a~b", False),
    ],
)
def test_a_path_is_simple_where_there_is_nothing_to_look_for(path, simple):
    assert _is_simple(path) is simple
