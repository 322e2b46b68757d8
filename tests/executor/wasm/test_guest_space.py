"""
The counter of what a session holds: it is all or nothing, along the whole way up.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.wasm.abi import Errno, GuestFault
from executor.wasm.space import NODE_BYTES, Space


def test_taking_counts_here_and_above_and_giving_undoes_it():
    total = Space(1000, 10)
    quota = Space(500, 5, total)
    quota.take(300)
    assert (quota.used, total.used) == (300, 300)
    quota.give(300)
    assert (quota.used, total.used, total.peak) == (0, 0, 300)


@pytest.mark.parametrize(("amount", "errno"), [(500, None), (501, Errno.ENOSPC)])
def test_the_limit_itself_is_allowed_and_one_byte_more_is_not(amount, errno):
    space = Space(500, 5)
    if errno is None:
        space.take(amount)
        return
    with pytest.raises(GuestFault) as caught:
        space.take(amount)
    assert (caught.value.errno, space.used) == (errno, 0)


def test_a_full_space_above_refuses_and_leaves_everything_as_it_was():
    total = Space(100, 10)
    quota = Space(500, 5, total)
    with pytest.raises(GuestFault):
        quota.take(101)
    assert (quota.used, total.used, total.peak) == (0, 0, 0)


def test_nodes_are_counted_and_cost_bytes():
    space = Space(10 * NODE_BYTES, 2)
    space.take_node()
    space.take_node()
    with pytest.raises(GuestFault) as caught:
        space.take_node()
    assert (caught.value.errno, space.files_used, space.used) == (
        Errno.ENOSPC, 2, 2 * NODE_BYTES,
    )  # fmt: skip
    space.give_node()
    space.take_node()


def test_a_node_that_finds_no_bytes_is_not_counted():
    space = Space(NODE_BYTES - 1, 5)
    with pytest.raises(GuestFault):
        space.take_node()
    assert (space.files_used, space.used) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 600))))
def test_no_sequence_takes_more_than_any_limit(wishes):
    total = Space(1000, 10)
    quotas = (Space(700, 5, total), Space(800, 5, total))
    for index, amount in wishes:
        quota = quotas[index]
        before = (quota.used, total.used)
        fits = quota.used + amount <= quota.limit and total.used + amount <= total.limit
        assert quota.fits(amount) == fits
        if fits:
            quota.take(amount)
            assert (quota.used, total.used) == (before[0] + amount, before[1] + amount)
        else:
            with pytest.raises(GuestFault):
                quota.take(amount)
            assert (quota.used, total.used) == before
    assert total.used == sum(quota.used for quota in quotas)
