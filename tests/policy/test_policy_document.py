import re
import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import document as document_module
from policy.document import _HIDDEN, MAX_BYTES, MAX_DEPTH, Place, read_document
from policy.errors import PolicyError
from policy.parse import parse

FRAGMENTS = st.sampled_from(
    [
        *("version: 1\n", "name: a\n", "filesystem:\n", "  - {mount: /data, source: ./d, "),
        *("access: read}\n", "limits: ", "{memory: 64Mi}", "&a ", "*a", "!t ", "<<: ", "? ", ": "),
        *("- ", "[", "]", "{", "}", ", ", "\n", "\t", "---\n", "...\n", "%YAML 1.2\n", '"', "'"),
        *("|\n", ">\n", "#", "\\U0fffffff", "\\x", "no", "0o7", ".inf", "1e999", "null", "~", ""),
        *(
            "environment: ",
            "random: ",
            "seed: 1",
            "\u202e",
            "\ud800",
            "\x00",
            "\r",
            "\x85",
            "=",
            "@",
        ),
    ]
)


def plain(word: str) -> object:
    document = read_document(f"key: {word}\n", "f")
    assert document.problems == []
    assert isinstance(document.data, dict)
    return document.data["key"]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        *(("true", True), ("false", False), ("null", None), ("~", None), ("", None), ("0", 0)),
        *(("-7", -7), ("9" * 19, 10**19 - 1), ("1.5", 1.5), ("1e3", 1000.0), ("-.inf", -1e999)),
        *(("64Mi", "64Mi"), ('"no"', "no"), ("'017'", "017"), ("noon", "noon"), ("1:x", "1:x")),
    ],
)
def test_a_plain_word_means_what_yaml_1_2_says(word, value):
    assert plain(word) == value
    assert type(plain(word)) is type(value)


DISPUTED = (
    "y n Y N yes Yes no NO on ON off Off True TRUE False Null NULL 017 0o17 0x1F 0b1 1_000 +5 "
    "1:30 12:30:45 2025-01-01 2025-01-01T00:00:00Z = 00 99999999999999999999"
)


@pytest.mark.parametrize("word", DISPUTED.split())
def test_a_word_that_readers_disagree_about_is_refused(word):
    (problem,) = read_document(f"key: {word}\n", "f").problems
    assert problem.message == f"`{word}` means different things to different readers of YAML"
    assert plain(f'"{word}"') == word


def test_every_key_and_value_knows_its_place():
    document = read_document("a:\n  - {b: 1}\nc: x\n", "f")
    places = {path: (place.line, place.column) for path, place in document.values.items()}
    assert places[("a",)] == (2, 3)
    assert places[("a", 0, "b")] == (2, 9)
    assert places[("c",)] == (3, 4)
    keys = {path: (place.line, place.column) for path, place in document.keys.items()}
    assert keys == {("a",): (1, 1), ("a", 0, "b"): (2, 6), ("c",): (3, 1)}


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_count_alike_whatever_ends_them(ending):
    document = read_document(ending.join(["a: 1", "", "b: no", ""]), "f")
    (problem,) = document.problems
    assert (problem.line, problem.column, problem.text) == (3, 4, "b: no")


def test_a_byte_order_mark_moves_nothing():
    document = read_document("\ufeffa: no\n", "f")
    (problem,) = document.problems
    assert (problem.line, problem.column, problem.text) == (1, 4, "a: no")


def test_hidden_characters_are_the_control_and_format_categories():
    listed = {chr(code) for code in range(0x110000) if _HIDDEN.fullmatch(chr(code))}
    kinds = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    hidden = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in kinds}
    assert hidden - listed <= set("\t\n\r") | set("\u0890\u0891\U00013439")
    assert all(unicodedata.category(char) in {*kinds, "Cn"} for char in listed)


@given(st.lists(FRAGMENTS | st.text(string.printable, max_size=4), max_size=25).map("".join))
def test_no_text_raises_anything_but_a_policy_error(text):
    try:
        parse(text, file="f", base="/srv")
    except PolicyError as error:
        caught = error
    else:
        return
    assert caught.problems
    assert all(problem.message and problem.file == "f" for problem in caught.problems)
    assert re.fullmatch(r"[^\x00-\x08\x0b-\x1f\x7f\x85\u202e\ud800-\udfff]*", str(caught))


@given(st.text(max_size=60))
def test_no_text_at_all_does(text):
    with pytest.raises(PolicyError):
        parse(text, file="f", base="/srv")


# Bounds, and where what is wrong is shown


def problems_of(text: str) -> list[tuple[str, int, int]]:
    return [(one.message, one.line, one.column) for one in read_document(text, "f").problems]


def test_a_document_of_256_kib_is_read_and_a_larger_one_is_not():
    most = "a: 1 #" + "x" * (MAX_BYTES - 6)
    assert (len(most), MAX_BYTES) == (256 * 1024, 256 * 1024)
    assert read_document(most, "f").data == {"a": 1}
    larger = read_document(most + "x", "f")
    assert problems_of(most + "x") == [("the file is larger than 256 KiB", 0, 0)]
    assert (larger.data, larger.closed) == (None, False)


def test_a_document_is_nested_twenty_deep_and_no_deeper():
    assert problems_of("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []
    deeper = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)
    assert problems_of(deeper) == [(f"nested deeper than {MAX_DEPTH}", 1, MAX_DEPTH + 1)]


def test_a_document_has_so_many_values_and_no_more(monkeypatch):
    monkeypatch.setattr(document_module, "MAX_VALUES", 5)
    assert read_document("[1, 2, 3, 4]", "f").data == [1, 2, 3, 4]
    assert problems_of("[1, 2, 3, 4]") == []
    assert problems_of("[1, 2, 3, 4, 5]") == [("more than 5 values", 1, 14)]


@pytest.mark.parametrize("lines", [2, 199, 200, 201])
def test_of_very_many_problems_the_first_are_told(lines):
    hidden = "the invisible character U+0001 is not allowed"
    found = problems_of("# \x01\n" * lines)
    assert found == [(hidden, line, 3) for line in range(1, min(lines, 200) + 1)]


def test_a_problem_shows_its_line_also_the_last():
    assert [one.text for one in read_document("a: no\nb: off", "f").problems] == ["a: no", "b: off"]
    assert read_document("a: 1", "f").problem(Place(2, 1), "m").text == ""


def test_an_error_of_the_first_word_stands_at_the_start():
    ((message, line, column),) = problems_of('"\\Uffffffff"')
    assert message.startswith("this is not YAML")
    assert (line, column) == (1, 1)


def test_an_alias_is_no_value_and_what_follows_is_read():
    document = read_document("a: *x\nb: no\nc: 1\n", "f")
    assert [one.message.split()[:2] for one in document.problems] == [
        ["the", "alias"],
        ["`no`", "means"],
    ]
    assert document.data == {"a": None, "b": None, "c": 1}
    assert document.broken == {("a",), ("b",)}
    assert document.is_broken(("a",))
    assert document.is_broken(("a", "below"))
    assert not document.is_broken(("c",))


def test_a_key_is_no_alias_and_no_collection():
    assert [one[0] for one in problems_of("*x : 1\nb: no\n")] == ["the alias `*x` is not allowed"]
    assert problems_of("? [a]\n: 1\n") == [("a key must be one word", 1, 3)]
