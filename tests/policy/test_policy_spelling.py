"""
What is meant by a word that is none.
"""

import pytest

from policy.spelling import closest, did_you_mean

WORDS = ["memory", "network", "networks"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("memry", "memory"),
        ("networ", "network"),
        ("networkss", "networks"),
        ("x", None),
        ("", None),
    ],
)
def test_the_likest_word_is_meant_or_none(word, meant):
    assert closest(word, WORDS) == meant
    assert did_you_mean(word, WORDS) == (f"; did you mean `{meant}`?" if meant else "")


def test_how_alike_a_word_has_to_be_can_be_said():
    assert closest("memxxx", WORDS) is None
    assert closest("memxxx", WORDS, cutoff=0.5) == "memory"


def test_no_more_of_a_word_is_compared_than_a_name_may_have():
    name = "x" * 64
    assert closest(name + "y" * 10**6, [name]) == name
