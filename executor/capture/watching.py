"""
The audit store as a captured session has it: what is recorded is captured too, and sealed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from executor.audit.errors import AuditError
from executor.audit.record import Answer, Detail, Draft, Event, Head, Text
from executor.audit.store import MAX_WAITING, AuditStore
from executor.capture.recording import REDACTED as LOST_AS_REDACTED
from executor.capture.recording import UNRECORDED, Capture
from policy.requests import REDACTED

_HIDDEN: Final = REDACTED.encode()


@dataclass(frozen=True, slots=True)
class Incomplete:
    """
    In place of a capture, where there is none: `why`.
    """

    why: str

    @property
    def status(self) -> str:
        """
        `incomplete (why)`.
        """
        return f"incomplete ({self.why})"

    def record(self, encoded: bytes, *, decides: bool) -> None:
        """
        Nothing is kept.
        """

    def lose(self, why: str) -> None:
        """
        Nothing can be lost.
        """

    def seal(self) -> Detail:
        """
        Nothing is sealed.
        """
        return ()

    async def finish(self) -> Detail:
        """
        That there is none.
        """
        return (("capture", self.status),)


class WatchedStore:
    """
    Appends to the store what is appended here, in the same order. The end of each cell has the
    seal of what was captured until then; the end of the session also says whether that is all.
    """

    def __init__(self, store: AuditStore, capture: Capture | Incomplete) -> None:
        self._store = store
        self._capture = capture
        self._lost = store.lost

    async def append(self, draft: Draft, *, durable: bool = False) -> Head:
        """
        As the store's.
        """
        self._look_for_lost()
        if draft.event is Event.SESSION_END:
            draft = replace(draft, detail=(*draft.detail, *await self._capture.finish()))
            return await self._store.append(draft, durable=durable)
        if draft.event is Event.CELL_END:
            draft = replace(draft, detail=(*draft.detail, *self._capture.seal()))
        told = self._told(draft if draft.event is Event.DECISION else None)
        try:
            head = await self._store.append(draft, durable=durable, told=told)
        except AuditError:
            self._capture.lose(UNRECORDED)
            raise
        self._look_for_lost()
        return head

    def append_at_once(self, draft: Draft) -> Head | None:
        """
        As the store's; the start of a cell is what is written so.
        """
        return self._store.append_at_once(draft, told=self._told())

    def append_nowait(self, draft: Draft, *, most: int = MAX_WAITING) -> None:
        """
        As the store's.
        """
        self._store.append_nowait(draft, most=most, told=self._told())

    def _look_for_lost(self) -> None:
        """
        Say that a record is missing where nobody waited for it: this session's, or another's.
        """
        if self._store.lost != self._lost:
            self._capture.lose(UNRECORDED)

    def _told(self, decision: Draft | None = None) -> Callable[[bytes], None]:
        """
        What takes a record's bytes. What is asked for and not told is not captured either.
        """

        def told(encoded: bytes) -> None:
            if decision is not None and _is_hidden(decision.request, encoded):
                self._capture.lose(LOST_AS_REDACTED)
            decides = decision is not None and _tells_arguments(decision)
            self._capture.record(encoded, decides=decides)

        return told


def _is_hidden(request: Text | None, encoded: bytes) -> bool:
    """
    Whether something is withheld of it; of a long request the record has the beginning alone.
    """
    return _HIDDEN in encoded or (isinstance(request, str) and REDACTED in request)


def _tells_arguments(decision: Draft) -> bool:
    """
    Whether the record tells with what a tool is called, by name: not of a call that fits no tool,
    whose arguments nobody could compare with the names that are withheld.
    """
    return decision.answer is Answer.ALLOW or not str(decision.request).endswith("()")
