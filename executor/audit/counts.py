"""
How many records each open session has: the ordinals that `session.end` seals.
"""

from executor.audit.record import Event

_ENDED = 0


class Counts:
    """
    Numbers records within their sessions; numbers given since the last `keep` can be taken back.

    A session is counted from `session.create` to `session.end`. A record that names a session
    outside that time (a worker's death noticed late) has no number.
    """

    __slots__ = ("_fresh", "_open")

    def __init__(self, counts: dict[str, int]) -> None:
        self._open = counts
        self._fresh: dict[str, int] = {}

    @property
    def open(self) -> int:
        """
        How many sessions are open.
        """
        return len(self._open)

    def number(self, session: str | None, event: Event) -> int | None:
        """
        The number of the session's next record, or None outside an open session.
        """
        if session is None:
            return None
        last = self._fresh.get(session, self._open.get(session, _ENDED))
        if last == _ENDED and event is not Event.SESSION_CREATE:
            return None
        self._fresh[session] = _ENDED if event is Event.SESSION_END else last + 1
        return last + 1

    def keep(self) -> None:
        """
        The records numbered since then are written.
        """
        for session, number in self._fresh.items():
            if number == _ENDED:
                self._open.pop(session, None)
            else:
                self._open[session] = number
        self._fresh.clear()

    def forget(self) -> None:
        """
        The records numbered since then were not written.
        """
        self._fresh.clear()
