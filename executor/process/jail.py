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

import _signal  # type: ignore[import-not-found]  # see steps_process.py
import functools
import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import NoReturn

from executor.linux import (
    cgroups,
    clone,
    fork_handlers,
    landlock,
    namespaces,
    prctl,
    seccomp,
    userns,
)
from executor.linux.errors import MechanismError, MechanismFailed, MechanismMissing, asking
from executor.linux.filters import Prepared
from executor.linux.filters import prepare as prepare_filter
from executor.linux.lock_steps import require_landlock
from executor.linux.sealing import require_one_thread
from executor.process import (
    bare,
    executables,
    isolation,
    private_places,
    status,
    steps_mounts,
)
from executor.process.conversation import (
    LISTENER,
    LISTENERS,
    MEMORY,
    NAMES,
    SERVED,
    Inside,
    Outside,
)
from executor.process.filter import Variant, box_filter
from executor.process.isolation import Vector
from executor.process.plan import GUEST_ID, MECHANISM, BoxPlan, Identity, Level, NewCode
from executor.process.private_places import Private
from executor.process.site import Site
from executor.process.steps import STEPS

_GROUP_PREFIX = "codecage-"
_PLANNING = "plan"
_GROUP_NUMBERS = count(1)
_ALL_SIGNALS = frozenset(map(int, signal.valid_signals()))
_BLOCK, _SETMASK = int(signal.SIG_BLOCK), int(signal.SIG_SETMASK)


@dataclass(frozen=True, slots=True)
class Box:
    """
    A box that holds: its process, by number and by a descriptor that `end` closes.

    `vector` is what holds it. The rest are descriptors of this process that belong to whoever
    acts for the box: the `listener` of its refused calls, the other ends of its `served` mounts and
    its TCP `listeners` in the order of the plan, and the UDP socket that `names` are asked at; or,
    in a box without namespaces, its `memory`, where the addresses lie that it connects to.
    `private` are the guest's own places where it has no mounts of its own.
    """

    pid: int
    pidfd: int
    group: cgroups.Group | None
    vector: Vector
    listener: int | None = None
    served: tuple[int, ...] = ()
    listeners: tuple[int, ...] = ()
    names: int | None = None
    memory: int | None = None
    private: Private | None = None

    def handed(self) -> tuple[int, ...]:
        """
        The descriptors to be handed on, as far as there are: listener, served, listeners, names,
        memory.
        """
        first = () if self.listener is None else (self.listener,)
        last = tuple(one for one in (self.names, self.memory) if one is not None)
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
    Compile the usual filter and find the usual rights now, in the zygote: its boxes need not then.

    Also removes the control groups of boxes whose maker was killed, for others may need their
    number, and their directories.
    """
    _prepared(Variant())
    _handlers()
    if abi := landlock.abi():
        steps_mounts.grants(abi)
    with suppress(MechanismMissing):
        cgroups.remove_left(_GROUP_PREFIX)
    private_places.remove_left()


def clone_box(plan: BoxPlan, run: Callable[[], NoReturn]) -> Box:
    """
    A copy of this process in a box as `plan` says, which then calls `run`.

    To be called in a process with one thread. Returns when the box holds and was verified from
    outside. Raises MechanismMissing naming what this host lacks for the plan's level,
    MechanismFailed naming the step and what did not hold; nothing is then left of the box.
    """
    box = divide(plan, lambda: plan)
    if box is None:
        try:
            run()
        finally:
            os._exit(1)
    return box


def divide(
    plan: BoxPlan, whole: Callable[[], BoxPlan], told: Callable[[str], str] = str
) -> Box | None:
    """
    As `clone_box`, but returns in the copy as well: None there, a box that holds.

    Whoever calls it has to return as far as it can in the copy, so that nothing is left there of
    what only the maker needs, and never to go on as the maker does. All descriptors that the plan
    does not keep are closed by then, whatever Python objects there are for them.

    `plan` may have other names than the box is to have, for a maker that is not to know them:
    `whole` is called in the copy, and gives the same plan with its names; `told` then makes of a
    message what the maker may know of it. Raises as `clone_box`.
    """
    seccomp.require_machine()
    identity = _identity(plan)
    abi = require_landlock("every level of the process cage needs it")
    with ExitStack() as undo:
        group = _group(plan)
        if group is not None:
            undo.callback(group.remove)
        level = _level(plan, group)
        work = _Work(plan, whole, told, level, identity, abi, group)
        try:
            box = _made(work)
        except MechanismMissing:
            if plan.minimum is not Level.P2:
                raise
            box = _made(replace(work, level=Level.P2))
        undo.pop_all()
    return box


@dataclass(frozen=True, slots=True)
class _Work:
    """
    A box that is to be made, and what was found out for it; `whole` and `told` are for the box
    alone.
    """

    plan: BoxPlan
    whole: Callable[[], BoxPlan]
    told: Callable[[str], str]
    level: Level
    identity: Identity
    landlock_abi: int
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


def _made(work: _Work) -> Box | None:
    with ExitStack() as undo:
        private = None
        if work.level is Level.P2:
            private = private_places.make(work.plan, work.identity)
            undo.callback(private_places.remove, private)
        box = _cloned(work, private)
        undo.pop_all()
    return box


def _cloned(work: _Work, private: Private | None) -> Box | None:
    program = _prepared(work.variant)
    with ExitStack() as undo, ExitStack() as theirs:
        inside, outside = _ends(undo, theirs)
        way_in = _way_in(work, theirs)
        cloned = _unsignalled(_forked if private else lambda: _in_namespaces(way_in))
        if cloned.pid == 0:
            # The parent's ends go first: a parent that ends is seen by that alone.
            outside.close()
            _inside(work, inside, lambda: _site(work, program, inside, private, way_in))
            # What is to be undone is the maker's.
            undo.pop_all()
            theirs.pop_all()
            return None
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
    elif work.group is not None:
        work.group.join(pid)
    outside.let_go_on()
    outside.until_ready()
    # With children there are two: the one that waits, and the guest's, which has just spoken.
    told = outside.places
    status.verify(outside.pid, work.plan, work.level, told, group=work.group, descriptors=kept)
    if outside.pid != pid:
        status.verify(pid, work.plan, work.level, told, group=work.group)
    outside.let_go_on()


def _box(
    work: _Work, cloned: clone.Cloned, handed: dict[str, tuple[int, ...]], private: Private | None
) -> Box:
    (listener,) = handed.get(LISTENER) or (None,)
    (names,) = handed.get(NAMES) or (None,)
    (memory,) = handed.get(MEMORY) or (None,)
    return Box(
        cloned.pid,
        cloned.pidfd,
        work.group,
        isolation.found(work.plan, work.level, work.landlock_abi, work.group),
        listener=listener,
        served=handed.get(SERVED, ()),
        listeners=handed.get(LISTENERS, ()),
        names=names,
        memory=memory,
        private=private,
    )


def _unsignalled(make: Callable[[], clone.Cloned]) -> clone.Cloned:
    """
    As `make`; in the child all signals are blocked.

    A signal that raised an exception there would carry it into the zygote's code.
    """
    before = _signal.pthread_sigmask(_BLOCK, _ALL_SIGNALS)
    cloned = None
    try:
        cloned = make()
    finally:
        if cloned is None or cloned.pid:
            _signal.pthread_sigmask(_SETMASK, before)
    return cloned


def _way_in(work: _Work, undo: ExitStack) -> cgroups.WayIn | None:
    """
    How a box with namespaces comes into its control group; one without is moved by its maker.
    """
    if work.group is None or work.level is Level.P2:
        return None
    way_in = work.group.way_in()
    undo.callback(way_in.close)
    return way_in


def _in_namespaces(way_in: cgroups.WayIn | None) -> clone.Cloned:
    # Whoever makes boxes has one thread; a box gets chance of its own as a step.
    with fork_handlers.left_out(_handlers()):
        return clone.clone(namespaces.ALL, None if way_in is None else way_in.unified)


@functools.cache
def _handlers() -> fork_handlers.Lists:
    return fork_handlers.find()


def _forked() -> clone.Cloned:
    # Containers that give no namespaces refuse clone3 altogether.
    require_one_thread()
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


def _group(plan: BoxPlan) -> cgroups.Group | None:
    """
    A control group for the box; None where there can be none and the plan does without.
    """
    name = f"{_GROUP_PREFIX}{os.getpid()}-{next(_GROUP_NUMBERS)}"
    try:
        allowance = cgroups.Allowance(plan.memory, plan.processes, plan.cpu_percent)
        return cgroups.create(name, allowance)
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


def _inside(work: _Work, inside: Inside, planned: Callable[[], Site]) -> None:
    """
    All that the copy does until it holds. It ends here when anything goes wrong.
    """
    holds = False
    try:
        _take_away(work, inside, planned)
        inside.close()
        holds = True
    finally:
        if not holds:
            os._exit(1)


def _take_away(work: _Work, inside: Inside, planned: Callable[[], Site]) -> None:
    # The parent has to see and map it.
    prctl.set_dumpable()
    inside.begin()
    inside.wait()
    try:
        inside.at(_PLANNING)
        site = planned()
        for step in bare.STEPS if site.level is Level.P2 else STEPS:
            inside.at(step.name)
            step.act(site)
    except MechanismError as error:
        # The mechanism's name is put before the message by whoever raises it again.
        message = work.told(str(error).removeprefix(f"{error.mechanism}: "))
        inside.failed(type(error).__name__, error.mechanism, message)
        os._exit(1)
    inside.ready(sorted(status.places_of(site.plan)))
    inside.wait()
    # It was looked at. From here on it is for nobody to see: a crash, which a guest can have at
    # will, would have the host's own program for core dumps, root's, read what the guest has made.
    prctl.set_not_dumpable()


def _site(
    work: _Work,
    program: Prepared,
    inside: Inside,
    private: Private | None,
    way_in: cgroups.WayIn | None,
) -> Site:
    plan = work.whole()
    found, shown = executables.of(plan), plan
    if found.views or found.links:
        shown = replace(plan, mounts=plan.mounts + found.views, links=plan.links + found.links)
    site = Site(shown, work.level, program, work.landlock_abi, inside, found, way_in)
    if private is not None:
        bare.require_possible(shown, work.landlock_abi)
        own = (place.mount for place in plan.own_places)
        site.places = tuple(zip(own, (place for _, place in private.places), strict=True))
    return site
