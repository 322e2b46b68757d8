"""
Which sources a commit is being applied to: other sessions wait before they look there.

A session that looks at several files should not see some from before a commit and some from after
it. So whoever is about to resolve a path below a source waits while a commit is being applied to
it, to what lies in it or around it. What was under way already goes on; so do programs of the host
and sessions of other servers, which know nothing of this.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

from executor.kernel.walk import covers


class MountLocks:
    """
    The sources that are being committed to, for all sessions of one server. It belongs to one loop.
    Where `committing` is empty nobody needs to wait.
    """

    def __init__(self) -> None:
        self.committing: Final[list[str]] = []
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def alone(self, source: str) -> AsyncIterator[None]:
        """
        Hold `source`, an absolute path of the host, against every other commit and every look.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_free((source,)))
            self.committing.append(source)
        try:
            yield
        finally:
            self.committing.remove(source)
            async with self._changed:
                self._changed.notify_all()

    async def free(self, sources: Iterable[str]) -> None:
        """
        Wait until nothing is being committed to any of `sources`.
        """
        wanted = tuple(sources)
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_free(wanted))

    def _is_free(self, sources: tuple[str, ...]) -> bool:
        return not any(
            covers(one, other) or covers(other, one) for one in self.committing for other in sources
        )
