import base64
import binascii
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from executor.network.http.hidden import hidden_forms
from executor.network.http.scrub import Needles, Scrubber

LETTERS = b"abAB-+_/."


def slowly(data, hidden):
    """
    Every byte that some hidden string covers, letter by letter.
    """

    def same(one, other):
        table = {ord("-"): ord("+"), ord("_"): ord("/")}
        return all(
            table.get(a, ord(chr(a).lower()) if a < 128 else a)
            == table.get(b, ord(chr(b).lower()) if b < 128 else b)
            for a, b in zip(one, other, strict=True)
        )

    out = bytearray(data)
    for form in hidden:
        for at in range(len(data) - len(form) + 1):
            if same(data[at : at + len(form)], form):
                out[at : at + len(form)] = b"*" * len(form)
    return bytes(out)


TEXTS = st.lists(st.sampled_from(list(LETTERS)), min_size=1, max_size=6).map(bytes)
DATA = st.lists(st.sampled_from(list(LETTERS)), max_size=60).map(bytes)


@given(st.lists(TEXTS, max_size=4), DATA)
def test_a_whole_text_is_covered_as_the_slow_way_covers_it(hidden, data):
    assert Needles(hidden).cover(data) == slowly(data, hidden)


@given(st.lists(TEXTS, max_size=4), st.lists(st.tuples(DATA, st.booleans()), max_size=6))
@example([b"abab"], [(b"aba", False), (b"bab", False)])
def test_a_stream_in_pieces_is_covered_as_the_whole(hidden, pieces):
    scrubber = Scrubber(Needles(hidden))
    out = b"".join(scrubber.feed(data) for data, _ in pieces) + scrubber.release()
    assert out == slowly(b"".join(data for data, _ in pieces), hidden)


@given(st.lists(TEXTS, max_size=4), st.lists(st.tuples(DATA, st.booleans()), max_size=6))
@example([b"abab"], [(b"ab", True), (b"a", False), (b"b", False)])
def test_after_a_pause_only_what_was_let_go_can_be_seen(hidden, pieces):
    """
    What a pause lets go is compared with what follows, which is covered as if nothing had paused.
    """
    scrubber = Scrubber(Needles(hidden))
    out, open_to = b"", set()
    for data, pause in pieces:
        out += scrubber.feed(data)
        if pause:
            reserve = range(max(0, len(out)), len(out) + 100)
            out += scrubber.release()
            open_to |= set(reserve) & set(range(len(out)))
    out += scrubber.release()
    covered = slowly(b"".join(data for data, _ in pieces), hidden)
    assert len(out) == len(covered)
    assert all(
        a == b for at, (a, b) in enumerate(zip(out, covered, strict=True)) if at not in open_to
    )


@given(st.lists(TEXTS, min_size=1, max_size=4), DATA, DATA)
def test_how_much_is_held_back_tells_nothing_of_what_it_is(hidden, data, other):
    """
    Were only what looks like a secret held back, its length would answer a guest's guesses.
    """
    one, two = Scrubber(Needles(hidden)), Scrubber(Needles(hidden))
    other = (other * 60)[: len(data)].ljust(len(data), b".")
    assert len(one.feed(data)) == len(two.feed(other))
    assert one.holds == two.holds


def test_without_hidden_strings_nothing_is_held():
    scrubber = Scrubber(Needles(()))
    assert scrubber.feed(b"abc") == b"abc"
    assert not scrubber.holds


SECRETS = st.text("abcXYZ019-_.~+/=\"'<>&\\ %:$", min_size=8, max_size=40).filter(
    lambda text: len(text.strip()) == len(text)
)
SPELLED = {
    "as it is": str.encode,
    "upper case": lambda text: text.upper().encode(),
    "URL": lambda text: quote(text).encode(),
    "URL, every reserved": lambda text: quote(text, safe="").encode(),
    "URL, lower case": lambda text: quote(text, safe="").lower().encode(),
    "URL, twice": lambda text: quote(quote(text, safe=""), safe="").encode(),
    "form": lambda text: quote_plus(text).encode(),
    "JSON": lambda text: json.dumps(text)[1:-1].encode(),
    "JSON, slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/").encode(),
    "JSON, escaped": lambda text: "".join(f"\\u{ord(char):04X}" for char in text).encode(),
    "JSON, for pages": lambda text: (
        json.dumps(text)[1:-1]
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .encode()
    ),
    "HTML": lambda text: html.escape(text).encode(),
    "HTML, no quotes": lambda text: html.escape(text, quote=False).encode(),
    "hexadecimal": lambda text: binascii.hexlify(text.encode()),
    "UTF-16-LE": lambda text: text.encode("utf-16-le")[:-1],
    "UTF-16-BE": lambda text: text.encode("utf-16-be")[1:],
}


@pytest.mark.parametrize("spelling", SPELLED.values(), ids=SPELLED.keys())
@given(secret=SECRETS)
def test_n14_a_secret_is_hidden_in_every_spelling(spelling, secret):
    spelled = spelling(secret)
    covered = Needles(hidden_forms(secret.encode())).cover(b"<" + spelled + b">")
    assert covered == b"<" + b"*" * len(spelled) + b">"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@given(secret=SECRETS, before=st.binary(max_size=5), behind=st.binary(max_size=5))
def test_n14_base64_shows_no_character_that_is_the_secret_s_alone(encode, secret, before, behind):
    whole = encode(before + secret.encode() + behind)
    covered = Needles(hidden_forms(secret.encode())).cover(whole)
    first = -(-len(before) * 8 // 6)
    last = (len(before) + len(secret)) * 8 // 6
    assert covered[first:last] == b"*" * (last - first)


def test_n14_basic_credentials_are_hidden_decoded_and_by_their_parts():
    secret = base64.b64encode(b"somebody:correct-horse")
    needles = Needles(hidden_forms(secret, b"Basic "))
    for shown in (
        b"Basic " + secret,
        secret,
        b"somebody:correct-horse",
        b"correct-horse",
        b"somebody",
    ):
        assert needles.cover(b"(" + shown + b")") == b"(" + b"*" * len(shown) + b")"
    assert needles.cover(b"Basic auth, correct") == b"Basic auth, correct"


def test_a_short_part_is_not_hidden_and_the_whole_is():
    needles = Needles(hidden_forms(b"abc:0123456"))
    assert needles.cover(b"abc 0123456 abc:0123456") == b"abc 0123456 ***********"


def test_a_secret_of_the_longest_length_is_still_fast_to_prepare():
    forms = hidden_forms(bytes(33 + (index * 7919) % 94 for index in range(8192)), b"Bearer ")
    assert max(map(len, forms)) < 2**17
