"""
Making a box: the ordered list of what is taken away before native Python runs a guest.

`clone_box` copies the zygote into new namespaces, and the copy goes through `STEPS`: each holds
or raises, and whoever sees an exception ends the process. There is no weaker way on. The parent
maps the user, moves the copy into its control group, and looks at the result from outside
before the copy may go on; until then it has learnt nothing of a session. A host that gives no
namespaces gets `bare.STEPS` instead, if the plan does with level P2.

The order matters. What needs the zygote's rights (opening what will be seen) comes first; the
change of user keeps the rights inside the namespace, for id 0 is not mapped there, so the mounts
follow it; limits and descriptors next; then rights are given up for good; Landlock needs
no_new_privs and the final root; seccomp, which forbids all of these, is last.

Rejected: a helper with the set-id bit for hosts without user namespaces. It would be the most
privileged program of all, for the hosts that are least protected.
"""

import functools
import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import NoReturn

from executor.linux import cgroups, clone, landlock, namespaces, seccomp, userns
from executor.linux.errors import MechanismError, MechanismFailed, MechanismMissing, asking
from executor.linux.filters import Prepared
from executor.linux.filters import prepare as prepare_filter
from executor.process import bare, executables, isolation, private_places, status
from executor.process.conversation import (
    LISTENER,
    LISTENERS,
    NAMES,
    SERVED,
    Inside,
    Outside,
)
from executor.process.executables import Executables
from executor.process.filter import Variant, box_filter
from executor.process.isolation import Vector
from executor.process.plan import GUEST_ID, MECHANISM, BoxPlan, Identity, Level, NewCode
from executor.process.private_places import Private
from executor.process.site import Site
from executor.process.steps import STEPS
from executor.process.steps_process import become_visible

_GROUP_PREFIX = "codecage-"
_GROUP_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Box:
    """
    A box that holds: its process, by number and by a descriptor that `end` closes.

    `vector` is what holds it. The rest are descriptors of this process that belong to whoever
    acts for the box: the `listener` of its refused calls, the other ends of its `served` mounts and
    its TCP `listeners` in the order of the plan, and the UDP socket that `names` are asked at.
    `private` are the guest's own places where it has no mounts of its own.
    """

    pid: int
    pidfd: int
    level: Level
    group: cgroups.Group | None
    vector: Vector
    listener: int | None = None
    served: tuple[int, ...] = ()
    listeners: tuple[int, ...] = ()
    names: int | None = None
    private: Private | None = None

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """
        Where on the host each of the guest's own places is; none for a box with mounts.
        """
        return () if self.private is None else self.private.places

    def handed(self) -> tuple[int, ...]:
        """
        The descriptors to be handed on: listener, served, listeners, names, as far as there are.
        """
        first = () if self.listener is None else (self.listener,)
        last = () if self.names is None else (self.names,)
        return (*first, *self.served, *self.listeners, *last)

    def close_handed(self) -> None:
        """
        Close those; once, when they were handed on or will never be.
        """
        for descriptor in self.handed():
            os.close(descriptor)

    def end(self) -> None:
        """
        Kill all of it, wait until nothing is left, and let go of its control group and directory.

        For the process that made it, once. What `handed` names stays open. Raises
        MechanismFailed when one of the two cannot go.
        """
        _end(self.pidfd)
        with ExitStack() as going:
            going.callback(os.close, self.pidfd)
            if self.private is not None:
                going.callback(private_places.remove, self.private)
            if self.group is not None:
                going.callback(self.group.remove)


def prepare() -> None:
    """
    Compile the usual filter now, in the zygote, so that its boxes need not.

    Also removes control groups that a killed zygote has left.
    """
    _prepared(Variant())
    remove_left()


def remove_left() -> None:
    """
    Remove the control groups of boxes whose maker was killed; others may need their number.

    For whoever starts a zygote, when the one before has ended.
    """
    with suppress(MechanismMissing):
        cgroups.remove_left(_GROUP_PREFIX)


def clone_box(plan: BoxPlan, run: Callable[[], NoReturn]) -> Box:
    """
    A copy of this process in a box as `plan` says, which then calls `run`.

    To be called in a process with one thread. Returns when the box holds and was verified from
    outside. Raises MechanismMissing naming what this host lacks for the plan's level,
    MechanismFailed naming the step and what did not hold; nothing is then left of the box.
    """
    seccomp.require_machine()
    identity = _identity(plan)
    abi = _landlock_abi()
    clone.require_one_thread()
    found = executables.of(plan)
    shown = replace(plan, mounts=(*plan.mounts, *found.views), links=(*plan.links, *found.links))
    with ExitStack() as undo:
        group = _group(plan)
        if group is not None:
            undo.callback(group.remove)
        level = _level(plan, group)
        work = _Work(shown, level, identity, abi, found, group)
        try:
            box = _made(work, run)
        except MechanismMissing:
            if plan.minimum is not Level.P2:
                raise
            bare.require_possible(shown)
            box = _made(replace(work, level=Level.P2), run)
        undo.pop_all()
    return box


@dataclass(frozen=True, slots=True)
class _Work:
    """
    A box that is to be made, and what was found out for it.
    """

    plan: BoxPlan
    level: Level
    identity: Identity
    landlock_abi: int
    executables: Executables
    group: cgroups.Group | None

    @property
    def variant(self) -> Variant:
        """
        What its filter has to let through.
        """
        return Variant(
            network=self.plan.network,
            children=self.plan.children,
            programs=bool(self.plan.programs),
            new_code=self.plan.new_code is NewCode.ALLOWED,
            watched=self.plan.watched,
            bare=self.level is Level.P2,
        )


def _made(work: _Work, run: Callable[[], NoReturn]) -> Box:
    with ExitStack() as undo:
        private = None
        if work.level is Level.P2:
            private = private_places.make(work.plan, work.identity)
            undo.callback(private_places.remove, private)
        box = _cloned(work, private, run)
        undo.pop_all()
    return box


def _cloned(work: _Work, private: Private | None, run: Callable[[], NoReturn]) -> Box:
    program = _prepared(work.variant)
    with ExitStack() as undo, ExitStack() as theirs:
        inside, outside = _ends(undo, theirs)
        cloned = _unsignalled(_forked if private else _in_namespaces)
        if cloned.pid == 0:
            # The parent's ends go first: a parent that ends is seen by that alone.
            outside.close()
            site = Site(work.plan, work.level, program, work.landlock_abi, inside, work.executables)
            site.places = private.places if private else ()
            _inside(site, run)
        undo.callback(os.close, cloned.pidfd)
        undo.callback(_end, cloned.pidfd)
        kept = work.plan.kept | inside.descriptors
        theirs.close()
        _accompany(work, cloned.pid, outside, kept)
        box = _box(work, cloned, outside.handed, private)
        undo.pop_all()
        outside.close()
    return box


def _ends(undo: ExitStack, theirs: ExitStack) -> tuple[Inside, Outside]:
    """
    Both halves of a conversation; `theirs` closes the one that the parent does not need.
    """
    ours, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reading, writing = os.pipe()
    inside, outside = Inside(channel, writing), Outside(ours, reading)
    undo.callback(outside.close)
    undo.callback(outside.close_handed)
    theirs.callback(inside.close)
    return inside, outside


def _accompany(work: _Work, pid: int, outside: Outside, kept: frozenset[int]) -> None:
    """
    Give the box what only its parent can, follow it until it holds, look at it, and let it go.
    """
    outside.until_begun()
    if work.level is not Level.P2:
        userns.map_one(pid, GUEST_ID, work.identity.uid, work.identity.gid)
    if work.group is not None:
        work.group.join(pid)
    outside.let_go_on()
    outside.until_ready()
    # With children there are two: the one that waits, and the guest's, which has just spoken.
    status.verify(outside.pid, work.plan, work.level, group=work.group, descriptors=kept)
    if outside.pid != pid:
        status.verify(pid, work.plan, work.level, group=work.group)
    outside.let_go_on()


def _box(
    work: _Work, cloned: clone.Cloned, handed: dict[str, tuple[int, ...]], private: Private | None
) -> Box:
    (listener,) = handed.get(LISTENER) or (None,)
    (names,) = handed.get(NAMES) or (None,)
    return Box(
        cloned.pid,
        cloned.pidfd,
        work.level,
        work.group,
        isolation.found(work.plan, work.level, work.landlock_abi, work.group),
        listener=listener,
        served=handed.get(SERVED, ()),
        listeners=handed.get(LISTENERS, ()),
        names=names,
        private=private,
    )


def _unsignalled(make: Callable[[], clone.Cloned]) -> clone.Cloned:
    """
    As `make`; in the child all signals are blocked.

    A signal that raised an exception there would carry it into the zygote's code.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    cloned = None
    try:
        cloned = make()
    finally:
        if cloned is None or cloned.pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return cloned


def _in_namespaces() -> clone.Cloned:
    return clone.clone(namespaces.ALL)


def _forked() -> clone.Cloned:
    # Containers that give no namespaces refuse clone3 altogether.
    with asking("fork", "a copy of the zygote", "allow it more processes"):
        pid = os.fork()
        return clone.Cloned(pid, os.pidfd_open(pid) if pid else -1)


@functools.cache
def _prepared(variant: Variant) -> Prepared:
    return prepare_filter(box_filter(variant))


def _identity(plan: BoxPlan) -> Identity:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        if plan.identity is None:
            raise MechanismFailed(
                MECHANISM, "asked to run guest code as the host's root; give an `identity`"
            )
        return plan.identity
    own = Identity(uid, gid)
    if plan.identity not in {None, own}:
        raise MechanismMissing(
            MECHANISM, f"asked for {plan.identity} as uid {uid}; only root can give another user"
        )
    return own


def _landlock_abi() -> int:
    abi = landlock.abi()
    if not abi:
        raise MechanismMissing(
            landlock.MECHANISM,
            "this kernel does not offer it and every level of the process cage needs it; enable"
            " it (CONFIG_SECURITY_LANDLOCK, lsm=landlock)",
        )
    return abi


def _group(plan: BoxPlan) -> cgroups.Group | None:
    """
    A control group for the box; None where there can be none and the plan does without.
    """
    name = f"{_GROUP_PREFIX}{os.getpid()}-{next(_GROUP_NUMBERS)}"
    try:
        return cgroups.create(name, cgroups.Allowance(plan.memory, plan.processes))
    except MechanismMissing:
        if plan.minimum is Level.P4:
            raise
        return None


def _level(plan: BoxPlan, group: cgroups.Group | None) -> Level:
    if group is not None and os.geteuid() == 0:
        return Level.P4
    if plan.minimum is Level.P4:
        raise MechanismMissing(
            MECHANISM, "level P4 needs a host user for each box; run the server as root, or ask P3"
        )
    return Level.P3


def _end(pidfd: int) -> None:
    # Its pid namespace ends with its first process, and waiting for that one waits for all.
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:
        return


def _inside(site: Site, run: Callable[[], NoReturn]) -> NoReturn:
    """
    All that the copy does. It never returns into the zygote's code, whatever happens.
    """
    try:
        _take_away(site)
        site.inside.close()
        run()
    finally:
        os._exit(1)


def _take_away(site: Site) -> None:
    become_visible()
    site.inside.begin()
    site.inside.wait()
    try:
        for step in bare.STEPS if site.level is Level.P2 else STEPS:
            site.inside.at(step.name)
            step.act(site)
    except MechanismError as error:
        # The mechanism's name is put before the message by whoever raises it again.
        message = str(error).removeprefix(f"{error.mechanism}: ")
        site.inside.failed(type(error).__name__, error.mechanism, message)
        os._exit(1)
    site.inside.ready()
    site.inside.wait()
