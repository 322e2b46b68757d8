"""
Independent sessions, two at a time: a machine of two cores is otherwise half idle.

A list of programs that have nothing to do with each other is run by a fixture with `answers`, and
each test asserts what its own one gave: an error is raised in the test whose question failed. What
runs ahead ends with the fixture, so nothing goes on while other tests count processes.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import pytest

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")
AT_ONCE = 2


@contextmanager
def answers(
    questions: Iterable[Question], answer: Callable[[Question], Answer]
) -> Iterator[Callable[[Question], Answer]]:
    """
    Ask all questions, in order; what is made waits for the answer to one of them.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = {question: pool.submit(answer, question) for question in questions}
        try:
            yield lambda question: asked[question].result()
        finally:
            pool.shutdown(cancel_futures=True)


def selected(request: pytest.FixtureRequest, argument: str, **same: object) -> list[object]:
    """
    The values of `argument` in those tests of this module that are to run, in order, each once;
    of those alone whose other parameters are the `same`.
    """
    here = (item for item in request.session.items if item.path == request.path)
    of_tests = [getattr(getattr(item, "callspec", None), "params", {}) for item in here]
    fitting = [one for one in of_tests if argument in one and same.items() <= one.items()]
    return [*dict.fromkeys(one[argument] for one in fitting)]
