"""
What resolving a declaration works with: what is wanted, what was found, and who can find it.
"""

from dataclasses import dataclass
from typing import Protocol

from packaging.specifiers import SpecifierSet

from executor.images.lock import LockedPackage
from executor.images.process import Tick


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    A project by its normalised name, with the versions that everybody who needs it accepts.
    """

    name: str
    versions: SpecifierSet


@dataclass(frozen=True, slots=True)
class Release:
    """
    One wheel that was found: version, SHA-256 (hex), requirements as PEP 508 writes them.
    """

    name: str
    version: str
    sha256: str
    requires: tuple[str, ...]


class Index(Protocol):
    """
    A source of wheels that can be asked.
    """

    def find(self, wanted: Wanted, tick: Tick) -> Release | None:
        """
        The best wheel for the guest that fits, or None where this source has none.
        """


class Shelf(Protocol):
    """
    A source that knows by hash what it has.
    """

    def take(self, package: LockedPackage, tick: Tick) -> bytes | None:
        """
        The wheel of a lock entry, or None where this source does not have it.
        """
