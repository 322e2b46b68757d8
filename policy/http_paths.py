"""
Which paths of HTTP requests are refused before anybody compares them with a glob.

What is compared here is decoded again by a server, by rules of its own. So whatever two decoders
could split or shorten differently is refused: separators, dot segments and controls, written
plainly, encoded once or encoded twice. What is left has one normal form.

Sources: RFC 3986 3.3 (path), 5.2.4 (dot segments), 6.2.2 (equivalent spellings); RFC 3629 (UTF-8).
"""

from urllib.parse import unquote_to_bytes

MAX_PATH = 8192
"""Longest path and longest query, in characters; RFC 9110 4.1 asks servers to take 8000."""
MAX_SEGMENTS = 256
"""Most segments of a path: what a glob's work is bounded by."""

METHODS = frozenset(
    {
        *("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "QUERY"),
        # WebDAV and its kin (RFC 4918, RFC 3253, RFC 5323). COPY and MOVE name a second path in a
        # field, which nobody would judge.
        *("LOCK", "MKCOL", "PROPFIND", "PROPPATCH", "REPORT", "SEARCH", "UNLOCK"),
    }
)
"""The methods that can be granted. CONNECT, TRACE and PRI make something else of a connection."""


def path_problem(path: str) -> str | None:
    """
    Why `path` is not acceptable, continuing "the path ", or None where it is.
    """
    if _is_simple(path):
        return None
    if not path.startswith("/"):
        return "does not begin with `/`"
    if len(path) > MAX_PATH:
        return f"is longer than {MAX_PATH} characters"
    if not _PLAIN.issuperset(path):
        return f"holds {_named(next(char for char in path if char not in _PLAIN))}"
    if path.count("/") > MAX_SEGMENTS:
        return f"has more than {MAX_SEGMENTS} segments"
    if _broken_escape(path):
        return "holds a `%` without two hexadecimal digits"
    data, slashes = path.encode("ascii"), path.count("/")
    for when in ("", ", once decoded", ", twice decoded"):
        if problem := _decoded_problem(data, slashes):
            return problem + when
        data = unquote_to_bytes(data)
    return None


def _is_simple(path: str) -> bool:
    """
    Whether a path is segments of unreserved characters that do not begin with a dot, as most are:
    there is nothing in it to decode, and nothing of what is looked for below.
    """
    if path[:1] != "/" or "//" in path or "/." in path or len(path) > _SIMPLE or path == "/":
        return path == "/"
    letters = path.replace("/", "").replace("-", "").replace("_", "").replace(".", "")
    return letters.isascii() and letters.isalnum()


_SIMPLE = MAX_SEGMENTS
"""Longest path of which nothing has to be counted."""
# pchar and `/` of RFC 3986; `;` is missing because servers cut segments at it.
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PLAIN = _UNRESERVED | frozenset("!$&'()*+,=:@%/")
_REASONS = {
    ";": ", at which servers cut a segment",
    "\\": ", which servers take for `/`",
    "?": ", at which the query begins",
    "#": ", at which a fragment begins",
}


def _named(char: str) -> str:
    visible = char.isascii() and char.isprintable() and char != " "
    name = f"`{char}`" if visible else f"the character U+{ord(char):04X}"
    return name + _REASONS.get(char, "")


def _broken_escape(text: str) -> bool:
    return any(
        len(part) < 2 or not _HEXADECIMAL.issuperset(part[:2]) for part in text.split("%")[1:]
    )


_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


def _decoded_problem(data: bytes, slashes: int) -> str | None:
    """
    What is wrong with a path at one depth of decoding; `slashes` is how many it had as it came.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # An overlong `/` is a separator to a careless decoder.
        return "holds bytes that are not UTF-8"
    if not _DANGEROUS.isdisjoint(text):
        return f"holds {_named(next(char for char in text if char in _DANGEROUS))}"
    if text.count("/") != slashes:
        return "holds an encoded `/`"
    if "//" in text:
        return "holds an empty segment, `//`"
    if not _DOTS.isdisjoint(text.split("/")):
        return "holds a dot segment, `.` or `..`"
    return None


_DOTS = frozenset({".", ".."})
# Separators of some servers, and the controls of C0 and C1.
_DANGEROUS = frozenset("\\;") | set(map(chr, [*range(32), *range(127, 160)]))


def query_problem(query: str) -> str | None:
    """
    Why `query`, the part after the `?`, is not acceptable, or None where it is: up to 8192
    visible ASCII characters, of which none is `#`.
    """
    if len(query) > MAX_PATH:
        return f"is longer than {MAX_PATH} characters"
    if not (query.isascii() and query.isprintable() and " " not in query and "#" not in query):
        return f"holds {_named(next(char for char in query if char not in _IN_QUERY))}"
    return None


_IN_QUERY = frozenset(map(chr, range(33, 127))) - {"#"}


def normal_path(path: str) -> str:
    """
    The normal form of a path that has no problem: what need not be encoded is not, and hexadecimal
    digits are in upper case. Paths with equal normal forms ask for the same thing.
    """
    if "%" not in path:
        return path
    first, *parts = path.split("%")
    return first + "".join(_normal_escape(part[:2]) + part[2:] for part in parts)


def _normal_escape(digits: str) -> str:
    char = chr(int(digits, 16))
    return char if char in _UNRESERVED else f"%{digits.upper()}"
