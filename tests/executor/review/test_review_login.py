"""
The token and the visits, by a clock of the test's own.
"""

import pytest

from executor.review.login import (
    LIFETIME,
    MOST_VISITS,
    MOST_WRONG,
    WINDOW,
    Login,
    TooMany,
    WrongToken,
    make_token,
)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def guess(login, times):
    for _ in range(times):
        with pytest.raises(WrongToken):
            login.check("not it")


def test_a_visit_ends_by_itself(clock):
    login = Login("t" * 40, clock)
    value, reader = login.enter("t" * 40)
    clock.now += LIFETIME - 1
    assert login.visitor(value) == reader
    clock.now += 1
    assert login.visitor(value) is None


def test_a_visit_that_was_left_is_over_and_the_others_are_not(clock):
    login = Login("t" * 40, clock)
    (first, _), (second, reader) = login.enter("t" * 40), login.enter("t" * 40)
    login.leave(first)
    assert login.visitor(first) is None
    assert login.visitor(second) == reader


def test_the_oldest_visit_makes_room(clock):
    login = Login("t" * 40, clock)
    values = [login.enter("t" * 40)[0] for _ in range(MOST_VISITS + 1)]
    assert [login.visitor(value) is None for value in values] == [True] + [False] * MOST_VISITS


def test_after_the_window_the_token_is_looked_at_again(clock):
    login = Login("t" * 40, clock)
    guess(login, MOST_WRONG)
    for _ in range(3):
        with pytest.raises(TooMany) as refused:
            login.check("t" * 40)
    assert refused.value.wait == int(WINDOW) + 1
    clock.now += WINDOW
    assert login.check("t" * 40).name == "bearer"
    assert (login.take_unseen(), login.take_unseen()) == (3, 0)


def test_fewer_wrong_tokens_cost_nobody_anything(clock):
    login = Login("t" * 40, clock)
    guess(login, MOST_WRONG - 1)
    assert login.check("t" * 40).name == "bearer"


@pytest.mark.parametrize("shown", ["", "t" * 39, "t" * 41, "T" * 40, "\ud800", "t" * 10_000_000])
def test_nothing_but_the_token_is_the_token(clock, shown):
    with pytest.raises(WrongToken):
        Login("t" * 40, clock).check(shown)


def test_no_two_tokens_or_cookies_are_alike(clock):
    assert make_token() != make_token()
    login = Login("t" * 40, clock)
    assert login.enter("t" * 40) != login.enter("t" * 40)
