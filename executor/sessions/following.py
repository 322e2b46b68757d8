"""
The stream of a client's that waits between two cells of a session, for the next one.

There is one at a time, and it ends with the session: however many streams clients open, no more of
them wait than there are sessions, and none keeps a server from ending.
"""

import asyncio
from collections.abc import AsyncIterator

from codecage.v1 import codecage_pb2 as wire


class Following:
    """
    Whoever waits for a session's next cell. It belongs to one event loop.
    """

    def __init__(self) -> None:
        self._waiting: asyncio.Timeout | None = None
        self._over = False

    async def next(
        self, requests: AsyncIterator[wire.ExecuteRequest]
    ) -> wire.ExecuteRequest | None:
        """
        The next message of a stream, in place of who has waited so far; None where its client has
        closed its side, another waits in its place, or the session is over.
        """
        self._send_away()
        if self._over:
            return None
        # A timer that is set once somebody wants it over, and costs nothing until then.
        waiting = self._waiting = asyncio.timeout(None)
        try:
            async with waiting:
                return await anext(aiter(requests), None)
        except TimeoutError:
            return None
        finally:
            if self._waiting is waiting:
                self._waiting = None

    def end(self) -> None:
        """
        The session is over: nobody waits any more, now or later.
        """
        self._over = True
        self._send_away()

    def _send_away(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.reschedule(asyncio.get_running_loop().time())
