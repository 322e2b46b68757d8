"""
For how long nobody has wanted something: a session, the boxes that wait for one, a broker.
"""

from collections.abc import Callable

from executor.alarm import Alarm


class IdleTime:
    """
    Calls `over` where something has been at rest for so many seconds on end. It belongs to one
    event loop, and begins at the first rest.
    """

    def __init__(self, seconds: float, over: Callable[[], None]) -> None:
        self._seconds = seconds
        self._over = over
        self._alarm = Alarm()
        self._ended = False

    @property
    def passes(self) -> bool:
        """
        Whether the time passes.
        """
        return self._alarm.is_set

    def rest(self) -> None:
        """
        Nothing is asked from now on: the time begins anew. Nothing after `end`.
        """
        if not self._ended:
            self._alarm.set(self._seconds, self._over)

    def stop(self) -> None:
        """
        Something is asked: no time passes until it rests again.
        """
        self._alarm.clear()

    def end(self) -> None:
        """
        All is over: no time passes any more.
        """
        self._ended = True
        self._alarm.end()
