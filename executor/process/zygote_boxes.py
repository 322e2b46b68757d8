"""
Boxes as a native zygote makes them: one plan for an image, and a host user for each living box.

A user of its own is what keeps two boxes apart where everything else fails, so no two may have
the same. Who has which is said by names of unix sockets, in the kernel's own table: binding a
name that is taken fails, and the names of a zygote that ends are free. (Rejected: a file with
locks, which outlives everybody and has to be owned by somebody; the number of the process, which
is known too late.) Source: unix(7), "Abstract sockets".
"""

import errno
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NoReturn

from executor.linux.errors import MechanismFailed
from executor.process.jail import Box, clone_box
from executor.process.plan import MAX_SLOTS, MECHANISM, BoxPlan, Link, View, identity_of
from executor.process.zygote_world import ENVIRONMENT, STDLIB, NativeImage

# Where the host has the libraries that Python's own modules and packages are linked with, and the
# zones of time; what is not there is not shown.
_LIBRARIES: Final = ("/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")
# A host with merged directories has these as links (hier(7)); where they are not, they are shown.
_ROOTS: Final = ("/lib", "/lib64")
_NAME: Final = "\0codecage-box-{}"
_TRIES: Final = 64


@dataclass(frozen=True, slots=True)
class Owned:
    """
    A box, and the claim to its host user, which is given up when the box has ended.
    """

    box: Box
    claim: socket.socket | None

    @property
    def pid(self) -> int:
        """
        Its number, as the zygote counts processes.
        """
        return self.box.pid

    @property
    def pidfd(self) -> int:
        """
        A pidfd of it, open until `end`.
        """
        return self.box.pidfd

    def end(self) -> None:
        """
        Kill what is left of it, and let go of its control group and its user.
        """
        try:
            self.box.end()
        finally:
            if self.claim is not None:
                self.claim.close()


class Boxes:
    """
    Makes boxes after `plan`; under root each with a host user of its own.
    """

    def __init__(self, plan: BoxPlan) -> None:
        self._plan = plan

    def make(self, connection: socket.socket, run: Callable[[], NoReturn]) -> Owned:
        """
        Clone this process into a new box that keeps `connection` and calls `run`.

        Raises MechanismMissing, MechanismFailed.
        """
        kept = frozenset({connection.fileno()})
        if os.geteuid() != 0:
            return Owned(clone_box(replace(self._plan, kept=kept), run), None)
        slot, claim = _claim()
        try:
            plan = replace(self._plan, kept=kept, identity=identity_of(slot))
            return Owned(clone_box(plan, run), claim)
        except BaseException:
            claim.close()
            raise


def plan_of(image: NativeImage) -> BoxPlan:
    """
    What every box of the image shows: the standard library, the image's packages, and the host's
    libraries, each where the zygote has it, for modules are loaded from there later as well.
    """
    places = [str(STDLIB), *image.site_packages]
    places += [place for place in (*_LIBRARIES, *_ROOTS) if _is_directory(place)]
    shown = tuple(View(place, place) for place in places if not _is_below(place, places))
    links = tuple(
        Link(place, os.readlink(place))  # noqa: PTH115 - as text, unresolved
        for place in _ROOTS
        if Path(place).is_symlink()
    )
    return BoxPlan(shown, links=links, environment=tuple(ENVIRONMENT.items()))


def _is_directory(place: str) -> bool:
    return Path(place).is_dir() and not Path(place).is_symlink()


def _is_below(place: str, others: list[str]) -> bool:
    return any(place.startswith(f"{other}/") for other in others)


def _claim() -> tuple[int, socket.socket]:
    """
    A number that no living box of this host has, and what holds it.
    """
    for _ in range(_TRIES):
        slot = secrets.randbelow(MAX_SLOTS)
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(_NAME.format(slot))
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return slot, claim
    raise MechanismFailed(MECHANISM, f"{_TRIES} host users at random are all taken; end some boxes")
