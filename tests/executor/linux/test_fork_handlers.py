"""
Leaving out of one copy of this process what libraries have Python do around a fork.
"""

import os
import threading

import pytest

from executor.linux import fork_handlers

CALLED = []
os.register_at_fork(
    before=lambda: CALLED.append("before"),
    after_in_child=lambda: CALLED.append("child"),
    after_in_parent=lambda: CALLED.append("parent"),
)


@pytest.fixture
def lists():
    CALLED.clear()
    return fork_handlers.find()


def forked(act=lambda: None):
    """
    What was called in a child that then does `act`, as it says.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os.write(writing, " ".join(CALLED).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        found = said.read().split()
    os.waitpid(pid, 0)
    return found


def test_the_lists_are_those_of_this_interpreter(lists):
    assert len(lists) == 3
    assert sum(threading._after_fork in one for one in lists) == 1
    assert all(callable(handler) for one in lists for handler in one)


def test_a_fork_calls_them_and_one_that_leaves_them_out_calls_none(lists):
    assert forked() == ["before", "child"]
    assert CALLED == ["before", "parent"]
    CALLED.clear()
    with fork_handlers.left_out(lists):
        assert forked() == []
    assert CALLED == []


def test_they_are_there_again_behind_it_in_child_and_parent(lists):
    def fork_again():
        with fork_handlers.left_out(lists):
            pass
        CALLED[:] = forked()

    assert forked(fork_again)[-2:] == ["before", "child"]
    with pytest.raises(ValueError, match="inside"), fork_handlers.left_out(lists):
        raise ValueError("inside")
    assert forked()[-2:] == ["before", "child"]


def test_without_lists_nothing_is_left_out(lists):
    with fork_handlers.left_out(()):
        assert forked() == ["before", "child"]
