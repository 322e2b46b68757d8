"""
Boxes as a native zygote makes them: a plan from an order, and a host user for each living box.

What an order names is read in the box alone: this process is forked into boxes of other policies,
which have all its memory.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from resource import struct_rusage
from typing import Final

from executor.kernel.boxing import (
    BoxExited,
    BoxSignal,
    BoxSpawned,
    HeldItem,
    Holding,
    SealedBox,
)
from executor.kernel.orders import BoxOrder
from executor.kernel.spawn import NUDGE_SIGNAL
from executor.linux.cgroups import Used
from executor.linux.errors import MechanismError, MechanismFailed
from executor.process import selftest
from executor.process.isolation import Vector
from executor.process.jail import Box, clone_box, divide
from executor.process.native_image import NativeImage
from executor.process.plan import (
    MECHANISM,
    BoxPlan,
    Identity,
    Level,
    Link,
    NewCode,
    Scratch,
    View,
)
from executor.process.slots import Slots
from executor.process.zygote_world import ENVIRONMENT, STDLIB

# Where the host has the libraries that Python's own modules and packages are linked with, and the
# zones of time; what is not there is not shown.
_LIBRARIES: Final = ("/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")
# A host with merged directories has these as links (hier(7)); where they are not, they are shown.
_ROOTS: Final = ("/lib", "/lib64")


def send(pidfd: int, wanted: BoxSignal) -> None:
    """
    Send a native worker what the server wants, and the nudge that makes C code look for it.

    Raises ProcessLookupError when it has ended.
    """
    signal.pidfd_send_signal(pidfd, wanted.value)
    if wanted is not BoxSignal.KILL:
        signal.pidfd_send_signal(pidfd, NUDGE_SIGNAL)


@dataclass(frozen=True, slots=True)
class Owned:
    """
    A box, and what gives its host user back when it has ended.
    """

    box: Box
    give_back: Callable[[], None]

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
            memory=box.memory is not None,
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
            send(self.box.pidfd, wanted)

    def ended(self, number: int, status: int, usage: struct_rusage) -> BoxExited:
        """
        Kill what is left of it, and let go of its control group and its user; what it used, as the
        group counted or, where there is none, the kernel says of its first process and of the
        children that it waited for.
        """
        used, cpu = Used(0, 0), usage.ru_utime + usage.ru_stime
        try:
            if self.box.group is not None:
                used = self.box.group.used()
                cpu = self.box.group.cpu_time() or cpu
            self.box.end()
        finally:
            self.give_back()
        peak = used.memory_peak or usage.ru_maxrss * 1024
        return BoxExited(number, status, used.out_of_memory, int(cpu * 1e6), peak)


class Boxes:
    """
    Makes boxes that show `image`; under root each with a host user of its own.
    """

    def __init__(self, image: NativeImage, slots: Slots | None) -> None:
        self._image = plan_of(image)
        self._slots = slots

    def attacked(self) -> Holding:
        """
        Make a box, attack it from inside and end it; how boxes are held here.

        Raises MechanismMissing, MechanismFailed naming what was not refused.
        """
        identity = self._identity()
        plan = ordered(self._image, BoxOrder(minimum=Level.P2.name), identity, frozenset())
        try:
            selftest.run(plan)
            box = clone_box(replace(plan, watched=True), lambda: os._exit(0))
            box.close_handed()
            box.end()
        finally:
            self._give_back(identity)
        return holding_of(box.vector)

    def make(self, sealed: SealedBox, connection: int) -> Owned | str:
        """
        Clone this process into a new box that keeps the descriptor `connection`; in the box, where
        its guest works.

        Raises MechanismMissing, MechanismFailed, and in the box nothing.
        """
        identity = self._identity()
        read: list[BoxOrder] = []
        try:
            plan = ordered(self._image, sealed.told, identity, frozenset({connection}))

            def whole() -> BoxPlan:
                read.append(_opened(sealed))
                return ordered(self._image, read[0], plan.identity, plan.kept)

            box = divide(plan, whole, lambda message: read[0].hidden(message) if read else message)
        except BaseException:
            self._give_back(identity)
            raise
        if box is None:
            return read[0].directory
        return Owned(box, lambda: self._give_back(identity))

    def _identity(self) -> Identity | None:
        """
        A host user for one box, where this process can give one.
        """
        return None if self._slots is None else self._slots.take()

    def _give_back(self, identity: Identity | None) -> None:
        if self._slots is not None and identity is not None:
            self._slots.give_back(identity)


def _opened(sealed: SealedBox) -> BoxOrder:
    try:
        return sealed.opened()
    except ValueError as error:
        raise MechanismFailed(MECHANISM, f"no order of a box: {error}") from error


def holding_of(vector: Vector) -> Holding:
    """
    What holds a box, as it is told.
    """
    items = (HeldItem(one.part.value, one.hold.value, one.how) for one in vector.findings)
    return Holding(vector.level.name, vector.level.value, tuple(items))


def ordered(
    image: BoxPlan, order: BoxOrder, identity: Identity | None, kept: frozenset[int]
) -> BoxPlan:
    """
    The plan of the image's boxes with what the order adds and allows, and the two of one box.

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
        cpu_percent=order.cpu_percent,
        open_files=order.open_files,
        tasks=order.tasks,
        ports=order.ports,
        names=order.names,
        watched=order.watched,
        fork=order.fork,
        programs=order.programs,
        new_code=NewCode.ALLOWED if order.new_code else NewCode.REFUSED,
        minimum=_level(order.minimum),
        identity=identity,
        kept=kept,
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
