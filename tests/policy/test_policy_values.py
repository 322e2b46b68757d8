"""
One value of a policy file: the last that is taken, the first that is not, and what a refusal says.
"""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from policy.units import parse_size, parse_time, show_size, show_time
from policy.values import (
    Section,
    at_most,
    count_in,
    one_of,
    present,
    refuse,
    said,
    share_in,
    size_in,
    some,
    text_like,
    time_in,
)

KIB = 1024


# A check is made within the test that uses it: what makes it is what is tested.


def taken(check: object, value: object, kind: Any = Any) -> object:
    class Holder(BaseModel):
        model_config = ConfigDict(strict=True)
        value: Annotated[kind, check]

    return Holder(value=value).value


def refusal(check: object, value: object, kind: Any = Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        taken(check, value, kind)
    (error,) = caught.value.errors()
    assert error["type"] == "policy"
    return error["ctx"]["message"], error["ctx"]["hint"]


def test_a_refusal_has_its_message_and_its_hint():
    with pytest.raises(ValueError, match="cannot be so") as caught:
        refuse("cannot be so", "write it so")
    assert caught.value.context == {"message": "cannot be so", "hint": "write it so"}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        (True, "true"),
        (False, "false"),
        ("a", "`a`"),
        ([], "a list"),
        ({}, "a mapping"),
        (3, "the number 3"),
        (0.5, "the number 0.5"),
    ],
)
def test_a_message_names_a_value_as_the_file_has_it(value, words):
    assert said(value) == words


@pytest.mark.parametrize("length", [58, 59, 60, 61, 200])
def test_a_message_shows_no_more_than_sixty_characters_of_a_text(length):
    told = said("x" * length)
    assert (told == f"`{'x' * length}`") == (length <= 60)
    assert len(told) <= 65  # with its marks and the three dots


def test_a_word_is_one_of_those_listed():
    assert taken(one_of("a", "b", "c"), "b") == "b"
    assert taken(one_of("a", "b"), "b") == "b"
    assert refusal(one_of("a", "b", "c"), "d") == ("cannot be `d`", "write a, b or c")
    assert refusal(one_of("a", "b"), True) == ("cannot be true", "write a or b")


def a_size():
    return size_in(KIB, 4 * KIB)


@pytest.mark.parametrize(
    ("value", "size"), [("1Ki", KIB), (1024, 1024), ("4096", 4096), ("4Ki", 4096), (1025, 1025)]
)
def test_a_size_is_read_up_to_both_ends(value, size):
    assert taken(a_size(), value) == size


@pytest.mark.parametrize("value", ["1023", 1023, 4097, "5Ki", 0])
def test_a_size_beyond_an_end_is_refused(value):
    message, hint = refusal(a_size(), value)
    assert message == f"{said(value)} is out of range"
    assert hint == "allowed are 1Ki to 4Ki"


@pytest.mark.parametrize("value", [True, 2048.0, -2048, "2KB", None, [2048]])
def test_what_is_no_size_is_refused_as_such(value):
    assert refusal(a_size(), value)[0] == f"{said(value)} is not a size"


def a_time():
    return time_in(0.5, 60.0)


@pytest.mark.parametrize(("value", "seconds"), [("500ms", 0.5), ("0.5s", 0.5), ("1m", 60.0)])
def test_a_time_is_read_up_to_both_ends(value, seconds):
    assert taken(a_time(), value) == seconds


@pytest.mark.parametrize("value", ["499ms", "60.001s", "0s", "2m"])
def test_a_time_beyond_an_end_is_refused(value):
    assert refusal(a_time(), value) == (f"`{value}` is out of range", "allowed are 500ms to 1m")


@pytest.mark.parametrize("value", [5, 5.0, "5", "5S", None, True])
def test_what_is_no_time_is_refused_as_such(value):
    assert refusal(a_time(), value)[0] == f"{said(value)} is not a time"


def a_count():
    return count_in(2, 5)


@pytest.mark.parametrize("value", [2, 3, 5])
def test_a_count_is_read_up_to_both_ends(value):
    assert taken(a_count(), value) == value


@pytest.mark.parametrize("value", [1, 6, -3])
def test_a_count_beyond_an_end_is_refused(value):
    assert refusal(a_count(), value) == (
        f"the number {value} is out of range",
        "allowed are 2 to 5",
    )


@pytest.mark.parametrize("value", [True, 3.0, "3", None])
def test_what_is_no_whole_number_is_refused_as_such(value):
    message, hint = refusal(a_count(), value)
    assert message == f"{said(value)} is not a whole number"
    assert hint == "write a whole number, 2 to 5"


def a_share():
    return share_in(0.25, 4)


@pytest.mark.parametrize("value", [0.25, 0.26, 1, 2.5, 4])
def test_a_share_is_read_up_to_both_ends_as_a_float(value):
    found = taken(a_share(), value)
    assert (found, type(found)) == (value, float)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (0.24, "is out of range"),
        (4.01, "is out of range"),
        (float("inf"), "is out of range"),
        (float("nan"), "is out of range"),
        (0.255, "is finer than hundredths"),
        (2.501, "is finer than hundredths"),
        (True, "is not a number"),
        ("1", "is not a number"),
        (None, "is not a number"),
    ],
)
def test_a_share_that_is_none_is_refused_with_its_reason(value, why):
    message, hint = refusal(a_share(), value)
    assert message == f"{said(value)} {why}"
    assert hint.endswith("at most two decimals, 0.25 to 4: 1, 0.5, 2.25")


def test_a_text_is_matched_as_a_whole_and_in_ascii():
    digits = text_like("[a-z]\\d+", "a letter and digits")
    assert taken(digits, "a12", str) == "a12"
    for wrong in ("a12b", "ba12", "a12\n", "a\u0661"):
        assert refusal(digits, wrong, str)[1] == "a letter and digits"


def test_a_list_has_as_many_entries_as_are_allowed_and_no_more():
    assert taken(at_most(2), ["a", "b"], list[str]) == ["a", "b"]
    assert refusal(at_most(2), ["a"] * 3, list[str]) == ("has 3 entries", "at most 2 are allowed")


def test_a_list_that_is_there_has_an_entry():
    assert some(["a"]) == ["a"]
    assert some(None) is None
    with pytest.raises(ValueError, match="must have an entry"):
        some([])


def test_a_mapping_that_is_there_is_not_nothing():
    assert present({}) == {}
    with pytest.raises(ValueError, match="not nothing"):
        present(None)


def test_a_section_knows_its_keys_and_is_not_changed():
    class Known(Section):
        key: int = 0

    with pytest.raises(ValidationError):
        Known(other=1)
    with pytest.raises(ValidationError):
        Known(key="1")
    with pytest.raises(ValidationError):
        Known().key = 1


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("1023", 1023),
        ("1Ki", 1024),
        ("1025", 1025),
        ("1023Ki", 1023 * 1024),
        ("1Mi", 1024**2),
        ("1536Mi", 1536 * 1024**2),
        ("3Gi", 3 * 1024**3),
    ],
)
def test_a_size_is_shown_as_the_shortest_text_that_says_it(text, size):
    assert (parse_size(text), show_size(size)) == (size, text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0ms", 0),
        ("1ms", 0.001),
        ("999ms", 0.999),
        ("1s", 1),
        ("1001ms", 1.001),
        ("59s", 59),
        ("1m", 60),
        ("61s", 61),
        ("59m", 3540),
        ("2h", 7200),
    ],
)
def test_a_time_is_shown_as_the_shortest_text_that_says_it(text, seconds):
    assert (parse_time(text), show_time(seconds)) == (seconds, text)
