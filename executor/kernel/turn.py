"""
One thing at a time with a session's files, and their end when nothing is done with them any more.

The session may end while an ask is under way, perhaps on a host's file system that does not answer.
Nothing is closed under a thread that uses it: that is done when the ask ends.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from executor.kernel.errors import InternalError


class Turn:
    """
    Whose turn it is; `let_go` closes the files.
    """

    def __init__(self, let_go: Callable[[], None]) -> None:
        self._let_go = let_go
        self._lock = asyncio.Lock()
        self._over = False

    def taken(self, what: str) -> "_Taken":
        """
        A block in which `what` is done alone. Raises InternalError after the session's end.
        """
        return _Taken(self, what)

    async def take(self, what: str) -> None:
        """
        Wait for the turn, which `give_back` ends. Raises as `taken`.
        """
        await self._lock.acquire()
        if self._over:
            self._lock.release()
            raise InternalError(f"{what!r} was asked for after its session's end")

    def give_back(self) -> None:
        """
        What was done is over.
        """
        try:
            if self._over:
                self._let_go()
        finally:
            self._lock.release()

    async def passed(self, seconds: float) -> None:
        """
        Wait until what is under way has ended, so long at most.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._lock:
                return

    def end(self) -> None:
        """
        The session is over: let go now, or when what is under way ends.
        """
        self._over = True
        if not self._lock.locked():
            self._let_go()


class _Taken:
    # Not a generator: the loop would keep a list of those, and every ask about a file makes one.
    __slots__ = ("_turn", "_what")

    def __init__(self, turn: Turn, what: str) -> None:
        self._turn = turn
        self._what = what

    async def __aenter__(self) -> None:
        await self._turn.take(self._what)

    async def __aexit__(self, *_: object) -> None:
        self._turn.give_back()
