"""
For how long nobody has wanted something: a session, the boxes that wait for one, a broker.
"""

import asyncio
from collections.abc import Callable


class IdleTime:
    """
    Calls `over` where something has been at rest for so many seconds on end. It belongs to one
    event loop, and begins at the first rest.
    """

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self._seconds = seconds
        self._over = over
        self._timer: asyncio.TimerHandle | None = None

    def rest(self) -> None:
        """
        Nothing is asked from now on: the time begins anew.
        """
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._over)

    def stop(self) -> None:
        """
        Something is asked, or all is over: no time passes.
        """
        if self._timer is not None:
            self._timer.cancel()
