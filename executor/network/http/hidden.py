"""
The spellings of a secret that are looked for in answers.

What a server may honestly do with a field that it was sent is show it: as it is, in JSON, in a
page, in a URL, in a dump, or as the base64 of a message that contains it. Those spellings are
here. What is left: a server that encrypts, hashes, compresses, reverses or transposes the secret,
writes it in another base, or splits it by other bytes, gives it to the guest. A grant with
`credentials` trusts its server that far.
"""

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

MIN_PART: Final = 8
"""Parts of a secret, and spellings of it, that are shorter are not looked for: they occur."""

MOST_PARTS: Final = 64
"""A secret of more parts cannot be looked for while its broker serves others."""

_SEPARATORS: Final = re.compile(r"[\s:]+")


def hidden_forms(secret: bytes, prefix: bytes = b"") -> tuple[bytes, ...]:
    """
    Every byte string to hide for `secret` (printable ASCII, 1 byte or more), which is sent behind
    `prefix`: the secret, its parts of MIN_PART characters or more between white space and colons,
    what it is the base64 of, and every spelling of these.

    Sorted, the longest first. Letters' case and the two alphabets of base64 need no forms of
    their own: `scrub.py` compares without regard to them.
    """
    forms = {secret}
    for text in _texts(secret.decode("ascii"), prefix.decode("ascii")):
        forms |= {form for form in _spellings(text) if len(form) >= MIN_PART}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def count_parts(secret: bytes) -> int:
    """
    How many texts are looked for, each in all its spellings, for `secret` (printable ASCII).
    """
    return len(_texts(secret.decode("ascii"), ""))


def _texts(secret: str, prefix: str) -> set[str]:
    wholes = {secret}
    if prefix:
        wholes.add(prefix + secret)
    if (plain := _decoded(secret)) is not None:
        wholes.add(plain)
    parts = {part for whole in wholes for part in _SEPARATORS.split(whole)}
    return wholes | {part for part in parts if len(part) >= MIN_PART}


def _decoded(secret: str) -> str | None:
    """
    The text that `secret` is the base64 of, as with `Basic` (RFC 7617), or None.
    """
    try:
        plain = base64.b64decode(secret, validate=True)
    except binascii.Error:
        return None
    return plain.decode("ascii") if plain.isascii() and plain else None


def _spellings(text: str) -> Iterator[bytes]:
    for spelling in _SPELLINGS:
        yield spelling(text).encode("ascii")
    data = text.encode("ascii")
    yield from _base64(data)
    # UTF-16 of either byte order has this in it.
    yield b"\0".join(data[index : index + 1] for index in range(len(data)))


def _each(pattern: str) -> Callable[[str], str]:
    return lambda text: "".join(pattern % ord(char) for char in text)


def _all_but_alphanumerics(pattern: str) -> Callable[[str], str]:
    return lambda text: "".join(char if char.isalnum() else pattern % ord(char) for char in text)


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_with_slashes(text: str) -> str:
    return _json(text).replace("/", "\\/")


def _json_for_pages(text: str) -> str:
    # As Go and Rails write it, so that no page can read a tag in it.
    return _json(text).translate({ord(char): f"\\u{ord(char):04x}" for char in "<>&"})


def _html_text(text: str) -> str:
    return html.escape(text, quote=False)


def _html_decimal(text: str) -> str:
    return html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _html_without_apostrophe(text: str) -> str:
    return html.escape(text).replace("&#x27;", "'")


_SPELLINGS: Final[tuple[Callable[[str], str], ...]] = (
    str,
    quote,
    quote_plus,
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    _each("%%%02x"),
    _all_but_alphanumerics("%%%02x"),
    _each("%02x"),
    _each("\\x%02x"),
    _json,
    _json_with_slashes,
    _json_for_pages,
    _each("\\u%04x"),
    _all_but_alphanumerics("\\u%04x"),
    html.escape,
    _html_text,
    _html_decimal,
    _html_without_apostrophe,
    _each("&#%d;"),
    _each("&#x%x;"),
    _all_but_alphanumerics("&#%d;"),
    _all_but_alphanumerics("&#x%x;"),
)


def _base64(data: bytes) -> Iterator[bytes]:
    """
    What the base64 of any message holds that contains `data` at an offset of 0, 1 and 2: the
    characters that depend on bytes of `data` alone, and at the ends also on none (RFC 4648 4).
    """
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).rstrip(b"=")
        # A character is ours alone where all of its six bits come from `data`.
        first = -(-before * 8 // 6)
        last = (before + len(data)) * 8 // 6
        yield encoded[first:last]
