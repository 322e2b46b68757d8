"""
Connections that a guest's own TCP has made, and what became of those it has asked for.

A guest with a network stack of its own cannot be told why: its connection is reset, its resolver
hears that there is no such name. The sentence waits here until the guest's half asks for it; what
is kept is bounded, the oldest is forgotten first, and nothing depends on it.
"""

import socket
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from executor.kernel.connection import End

KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    A connection of the guest's own: where to, as its side of the handshake says (an address and a
    port), from which port, and our end of it.
    """

    address: str
    port: int
    own_port: int
    stream: socket.socket


@dataclass(frozen=True, slots=True)
class Place:
    """
    What the guest knows a connection by: the host by name, its port, and the guest's own port. A
    name that is only looked up has port 0.
    """

    host: str
    port: int = 0
    own_port: int = 0


class Arrivals:
    """
    Which of them are open, and how the last KEPT others ended.
    """

    __slots__ = ("_ends", "_open")

    def __init__(self) -> None:
        self._open: set[Place] = set()
        self._ends: OrderedDict[Place, End] = OrderedDict()

    def is_open(self, place: Place) -> bool:
        """
        Whether it was granted and has not ended.
        """
        return place in self._open

    def knows(self, place: Place) -> bool:
        """
        Whether it is decided.
        """
        return place in self._open or place in self._ends

    def begin(self, place: Place) -> None:
        """
        It is granted. How an earlier one from the same port ended nobody wants to know any more.
        """
        self._ends.pop(place, None)
        self._open.add(place)

    def end(self, place: Place, end: End) -> None:
        """
        It is refused, or over.
        """
        self._open.discard(place)
        self._ends[place] = end
        self._ends.move_to_end(place)
        if len(self._ends) > KEPT:
            self._ends.popitem(last=False)

    def take(self, place: Place) -> End | None:
        """
        How it ended; a reason is told once, and then it is a plain end. None where nothing is
        known. Without a port of the guest's own it is the latest to that host and port that was
        refused or broke.
        """
        if place.port and not place.own_port:
            place = next(
                filter(lambda other: self._is_latest(other, place), reversed(self._ends)), place
            )
        end = self._ends.get(place)
        if end is not None:
            self._ends[place] = End()
        return end

    def _is_latest(self, other: Place, place: Place) -> bool:
        same = (other.host, other.port) == (place.host, place.port)
        return same and bool(self._ends[other].errno)
