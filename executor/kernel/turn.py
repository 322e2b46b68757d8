"""
One thing at a time with a session's files, and their end when nothing is done with them any more.

The session may end while an ask is under way, perhaps on a host's file system that does not answer.
Nothing is closed under a thread that uses it: that is done when the ask ends.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from executor.kernel.errors import InternalError


class Turn:
    """
    Whose turn it is; `let_go` closes the files.
    """

    def __init__(self, let_go: Callable[[], None]) -> None:
        self._let_go = let_go
        self._lock = asyncio.Lock()
        self._over = False

    @asynccontextmanager
    async def taken(self, what: str) -> AsyncIterator[None]:
        """
        Do `what` alone. Raises InternalError after the session's end.
        """
        async with self._lock:
            if self._over:
                raise InternalError(f"{what!r} was asked for after its session's end")
            try:
                yield
            finally:
                if self._over:
                    self._let_go()

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
