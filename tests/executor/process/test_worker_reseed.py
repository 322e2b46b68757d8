"""
What a zygote holds of chance besides the usual, renewed for a session.
"""

import sys
import uuid

import pytest

from executor.process import reseed


def test_without_numpy_there_is_nothing_to_remember(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "numpy.random", raising=False)
    assert reseed.remember() == ()


class Words:
    """
    A bit generator as numpy has them: made from words, with a state that can be set.
    """

    def __init__(self, words: list[int] | None = None) -> None:
        self.state = tuple(words or [0] * 16)


def test_every_generator_has_a_state_of_its_own_and_of_the_seed() -> None:
    first, second = Words(), Words()
    reseed.renew((first, second), b"s" * 64)
    before = first.state, second.state
    assert before[0] != before[1]
    reseed.renew((first, second), b"s" * 64)
    assert (first.state, second.state) == before
    reseed.renew((first, second), b"t" * 64)
    assert first.state != before[0]


def test_the_node_of_uuid1_is_forgotten() -> None:
    uuid.getnode()
    reseed.renew((), b"s" * 64)
    assert vars(uuid)["_node"] is None
