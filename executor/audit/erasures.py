"""
Whether each text that is gone was erased on purpose: what `verify` gathers as it walks.

A session is erased after its end, and the record says so in a statement of its own, which comes
after all of the session's records. A record without its texts that no later statement is about was
blanked by somebody else.
"""

from dataclasses import dataclass

from executor.audit.chain import Fault, Finding
from executor.audit.record import Event, Record


@dataclass(frozen=True, slots=True)
class Erased:
    """
    A session that was erased: the statement's sequence and time, how many records of the session
    have no texts, and whether that is as many as the statement says.
    """

    session: str
    statement: int
    wall_ns: int
    records: int
    finished: bool


@dataclass(slots=True)
class _Blanked:
    first: int
    records: int


class Erasures:
    """
    The records without texts up to now, and the statements about them; memory grows with the
    sessions that were erased.
    """

    def __init__(self) -> None:
        self._blanked: dict[str, _Blanked] = {}
        self._erased: list[Erased] = []

    def pass_by(self, record: Record, first: int) -> None:
        """
        Take note of the next record of a walk that began with record `first`.
        """
        if record.session is None:
            return
        if record.erased:
            found = self._blanked.setdefault(record.session, _Blanked(record.sequence, 0))
            found.records += 1
        elif record.event is Event.SESSION_ERASED:
            self._erased.append(self._stated(record.session, record, first))

    def _stated(self, session: str, record: Record, first: int) -> Erased:
        found = self._blanked.pop(session, _Blanked(0, 0))
        said = dict(record.detail)
        since, count = said.get("first", 0), said.get("records", 0)
        # Of a session in files that are not here only the statement is left.
        elsewhere = isinstance(since, int) and since < first
        finished = elsewhere or found.records == count
        return Erased(session, record.sequence, record.wall_ns, found.records, finished)

    @property
    def erased(self) -> tuple[Erased, ...]:
        """
        What was erased on purpose.
        """
        return tuple(self._erased)

    def unexplained(self) -> Finding | None:
        """
        The first record whose texts are gone, and no statement says why.
        """
        if not self._blanked:
            return None
        session, found = min(self._blanked.items(), key=lambda one: one[1].first)
        message = (
            f"the texts of {found.records} records of session {session} are gone, and no record "
            "says that it was erased; of a closed file, verify the file that is written to"
        )
        return Finding(found.first, Fault.BLANKED, message)
