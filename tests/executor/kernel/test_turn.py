"""
Nothing is closed under an ask, and nothing is asked of what is closed.
"""

import asyncio

import pytest

from executor.kernel.errors import InternalError
from executor.kernel.turn import Turn


def test_what_is_at_rest_is_let_go_at_once():
    done = []
    Turn(lambda: done.append("let go")).end()
    assert done == ["let go"]


def test_what_is_in_use_is_let_go_when_that_ends_and_is_not_used_again():
    done = []
    turn = Turn(lambda: done.append("let go"))

    async def use(what):
        async with turn.taken(what):
            done.append(what)

    async def scenario():
        async with turn.taken("first"):
            waiting = asyncio.ensure_future(use("second"))
            await asyncio.sleep(0)  # it waits for its turn
            turn.end()
            done.append("first")
        with pytest.raises(InternalError, match="'second' was asked for after"):
            await waiting

    asyncio.run(scenario())
    assert done == ["first", "let go"]


def test_what_fails_while_the_session_ends_is_let_go_too():
    done = []
    turn = Turn(lambda: done.append("let go"))

    async def scenario():
        async with turn.taken("first"):
            turn.end()
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - the very one
        asyncio.run(scenario())
    assert done == ["let go"]
