"""
Boxes as a native zygote makes them: a plan from an order, and a host user for each living box.

A user of its own is what keeps two boxes apart where everything else fails, so no two may have
the same. Who has which is said by names of unix sockets, in the kernel's own table: binding a
name that is taken fails, and the names of a zygote that ends are free. (Rejected: a file with
locks, which outlives everybody and has to be owned by somebody; the number of the process, which
is known too late.) Source: unix(7), "Abstract sockets".
"""

import errno
import os
import secrets
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from resource import struct_rusage
from typing import Final, NoReturn

from executor.kernel.boxing import BoxExited, BoxSignal, BoxSpawned, HeldItem, Holding
from executor.kernel.orders import BoxOrder
from executor.linux.cgroups import Used
from executor.linux.errors import MechanismError, MechanismFailed
from executor.process import selftest
from executor.process.isolation import Vector
from executor.process.jail import Box, clone_box
from executor.process.plan import (
    MAX_SLOTS,
    MECHANISM,
    BoxPlan,
    Level,
    Link,
    NewCode,
    Scratch,
    View,
    identity_of,
)
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
    claim: socket.socket

    @property
    def pid(self) -> int:
        """
        Its number, as the zygote counts processes.
        """
        return self.box.pid

    def spawned(self, number: int) -> tuple[BoxSpawned, tuple[int, ...]]:
        """
        What is told of it as box `number`, and the descriptors that go along.
        """
        box, group = self.box, self.box.group
        said = BoxSpawned(
            number,
            box.pid,
            holding_of(box.vector),
            group=() if group is None else group.directories,
            unified=group is not None and group.unified,
            listener=box.listener is not None,
            served=len(box.served),
            listeners=len(box.listeners),
            names=box.names is not None,
        )
        return said, (box.pidfd, *box.handed())

    def told(self) -> None:
        """
        The pidfd stays: the box is ended by it.
        """
        self.box.close_handed()

    def send(self, wanted: BoxSignal) -> None:
        """
        Send its first process a signal; killing ends all of it, by its control group if there is
        one that can.
        """
        if wanted is BoxSignal.KILL and self.box.group is not None:
            with suppress(MechanismError):  # its first process is killed in any case
                self.box.group.kill()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.box.pidfd, wanted.value)

    def ended(self, number: int, status: int, usage: struct_rusage) -> BoxExited:
        """
        Kill what is left of it, and let go of its control group and its user; what it used, as the
        group counted or, where there is none, its first process and the children it waited for.
        """
        used, cpu = Used(0, 0), usage.ru_utime + usage.ru_stime
        try:
            if self.box.group is not None:
                used = self.box.group.used()
                cpu = self.box.group.cpu_time() or cpu
            self.box.end()
        finally:
            self.claim.close()
        return BoxExited(number, status, used.out_of_memory, int(cpu * 1e6), used.memory_peak)


class Boxes:
    """
    Makes boxes that show `image`; under root each with a host user of its own.
    """

    def __init__(self, image: NativeImage) -> None:
        self._image = plan_of(image)

    def attacked(self) -> Holding:
        """
        Make a box, attack it from inside and end it; how boxes are held here.

        Raises MechanismMissing, MechanismFailed naming what was not refused.
        """
        plan, claim = self._owned(BoxOrder(minimum=Level.P2.name))
        with claim:
            selftest.run(plan)
            box = clone_box(replace(plan, kept=frozenset(), watched=True), lambda: os._exit(0))
            box.close_handed()
            box.end()
        return holding_of(box.vector)

    def make(
        self, order: BoxOrder, connection: socket.socket, run: Callable[[], NoReturn]
    ) -> Owned:
        """
        Clone this process into a new box that keeps `connection` and calls `run`.

        Raises MechanismMissing, MechanismFailed.
        """
        plan, claim = self._owned(order)
        try:
            return Owned(
                clone_box(replace(plan, kept=frozenset({connection.fileno()})), run), claim
            )
        except BaseException:
            claim.close()
            raise

    def _owned(self, order: BoxOrder) -> tuple[BoxPlan, socket.socket]:
        """
        The order's plan with a host user of its own, where this process can give one, and the
        claim to it; else any socket.
        """
        plan = ordered(self._image, order)
        if os.geteuid() != 0:
            return plan, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        slot, claim = _claim()
        return replace(plan, identity=identity_of(slot)), claim


def holding_of(vector: Vector) -> Holding:
    """
    What holds a box, as it is told.
    """
    items = (HeldItem(one.part.value, one.hold.value, one.how) for one in vector.findings)
    return Holding(vector.level.name, vector.level.value, tuple(items))


def ordered(image: BoxPlan, order: BoxOrder) -> BoxPlan:
    """
    The plan of the image's boxes with what the order adds and allows.

    Raises MechanismFailed for what cannot be meant, or cannot be had.
    """
    shown = (View(one.source, one.mount, (one.device, one.inode)) for one in order.shown)
    scratch = (Scratch(one.mount, one.size, one.files) for one in order.scratch)
    return replace(
        image,
        mounts=(*image.mounts, *shown),
        scratch=tuple(scratch),
        served=order.served,
        directory=order.directory,
        tmp_bytes=order.tmp_bytes,
        tmp_files=order.tmp_files,
        memory=order.memory,
        cpu_seconds=order.cpu_seconds,
        open_files=order.open_files,
        tasks=order.tasks,
        ports=order.ports,
        names=order.names,
        watched=order.watched,
        fork=order.fork,
        programs=order.programs,
        new_code=NewCode.ALLOWED if order.new_code else NewCode.REFUSED,
        minimum=_level(order.minimum),
    )


def _level(name: str) -> Level:
    try:
        return Level[name]
    except KeyError as error:
        raise MechanismFailed(MECHANISM, f"there is no level {name!r}") from error


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
