"""
A time at which something is looked at, which is moved far more often than it comes.

Each cell of a session has limits of time, and after it the session's idle time begins anew. A timer
of the event loop for each would be an object in its heap, found and taken out again: together a
twentieth of the calls that a short cell costs the server. So a timer that has been set stays, and
looks when it ends whether the time has been moved.
"""

import asyncio
from collections.abc import Callable


class Alarm:
    """
    Calls what it was last set to call, once its time has come. It belongs to one event loop.
    """

    def __init__(self) -> None:
        self._at = 0.0
        self._act: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """
        Whether it will call something.
        """
        return self._act is not None

    def set(self, seconds: float, act: Callable[[], None]) -> None:
        """
        Call `act` in so many seconds, in place of what it was set to.
        """
        loop = asyncio.get_running_loop()
        self._at, self._act = loop.time() + seconds, act
        if self._timer is None or self._at < self._timer.when():
            self._set_timer(loop)

    def clear(self) -> None:
        """
        Call nothing. The timer stays, and with it this object, until its time or `end`.
        """
        self._act = None

    def end(self) -> None:
        """
        Call nothing, and leave nothing with the loop.
        """
        self._act = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._at, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        if (act := self._act) is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._at:
            self._set_timer(loop)
            return
        self._act = None
        act()
