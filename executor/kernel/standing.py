"""
How a session stands with its policy: what the policy says, less what is gone since something has
happened (`after`).

A right goes before the guest hears of what took it: when an act is granted and recorded, and before
it is done. What a session has written where others may read counts for them too: `Taints` tells
every session that may read there, those that run and those that are made later, as long as the
server runs.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from policy.decide import Decider
from policy.paths import is_within
from policy.ratchets import happens, is_of, revoked
from policy.requests import Request
from policy.types import Decision, Policy, Ratchet, Rule

_OF_THE_CELL: Final = Rule("narrow", "the cell")
Fired = Callable[[Ratchet], None]
"""Told of each ratchet once, at once; it must not wait."""


class Standing:
    """
    The decider of one session's life. Rights only shrink; `decide` may be called on any thread,
    all else belongs to the event loop.
    """

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._fired: tuple[Ratchet, ...] = ()
        self._listeners: list[Fired] = []
        self._without: frozenset[str] = frozenset()

    @property
    def policy(self) -> Policy:
        """
        The session's policy.
        """
        return self._decider.policy

    @property
    def fired(self) -> tuple[Ratchet, ...]:
        """
        What has happened so far.
        """
        return self._fired

    def decide(self, request: Request) -> Decision:
        """
        The answer now.
        """
        decision = self._decider.decide(request)
        if not decision.allowed or not (self._fired or self._without):
            return decision
        return revoked(self._fired, request) or self._narrowed(request) or decision

    def narrow(self, without: frozenset[str]) -> None:
        """
        A cell begins that does without these rights (those that a ratchet can revoke), or, with
        none of them, it is over.
        """
        self._without = without

    def _narrowed(self, request: Request) -> Decision | None:
        if not any(is_of(request, right) for right in self._without):
            return None
        said = ", ".join(sorted(self._without))
        remedy = "run the cell without `narrow`"
        return Decision(False, _OF_THE_CELL, f"the cell was run without {said}", remedy=remedy)

    def may_hide(self, path: str) -> bool:
        """
        As `Decider.may_hide`.
        """
        return self._decider.may_hide(path)

    def listen(self, listener: Fired) -> None:
        """
        Have `listener` told of what happens from now on.
        """
        self._listeners.append(listener)

    def observe(self, request: Request) -> None:
        """
        A request has been granted: what it takes away is gone before this returns.
        """
        for ratchet in self.policy.after:
            if ratchet not in self._fired and happens(ratchet, request):
                self.fire(ratchet)

    def fire(self, ratchet: Ratchet) -> None:
        """
        Take away what one of the policy's ratchets takes. The second time does nothing.
        """
        if ratchet in self._fired:
            return
        self._fired = (*self._fired, ratchet)
        for listener in self._listeners:
            listener(ratchet)


@dataclass(frozen=True, slots=True)
class Reach:
    """
    The host directories that a session may read, and those that it may write, where links lead.
    """

    readable: frozenset[str]
    writable: frozenset[str]


def reach_of(policy: Policy) -> Reach:
    """
    What sessions under the policy reach. It follows links, so it runs where that may take long.
    """
    grants = [(one, os.path.realpath(one.source)) for one in policy.filesystem if one.source]
    return Reach(
        frozenset(source for _, source in grants),
        frozenset(source for one, source in grants if one.access.writes),
    )


class Taints:
    """
    Which directories of the host hold what sessions may have written after an event, and the
    sessions that live.
    """

    def __init__(self) -> None:
        self._sources: dict[str, set[str]] = {}
        # A session that is over needs nothing from here.
        self._reaches: WeakKeyDictionary[Standing, Reach] = WeakKeyDictionary()

    def join(self, standing: Standing, reach: Reach) -> None:
        """
        A session begins: what has happened where it may read has happened in it.
        """
        self._reaches[standing] = reach
        standing.listen(lambda ratchet: self._spread(ratchet, reach))
        for ratchet in standing.policy.after:
            if self._is_tainted(reach, ratchet.event_text):
                standing.fire(ratchet)

    def _spread(self, ratchet: Ratchet, reach: Reach) -> None:
        event = ratchet.event_text
        self._sources.setdefault(event, set()).update(reach.writable)
        for standing, other in [*self._reaches.items()]:
            for one in standing.policy.after:
                if one.same_event(ratchet) and self._is_tainted(other, event):
                    standing.fire(one)

    def _is_tainted(self, reach: Reach, event: str) -> bool:
        tainted = self._sources.get(event, set())
        return any(
            is_within(one, other) or is_within(other, one)
            for one in reach.readable
            for other in tainted
        )
