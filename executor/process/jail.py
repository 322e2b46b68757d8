"""
Making a box: the ordered list of what is taken away before native Python runs a guest.

`clone_box` copies the zygote into new namespaces, and the copy goes through `STEPS`: each holds
or raises, and whoever sees an exception ends the process. There is no weaker way on. The parent
maps the user, moves the copy into its control group, and looks at the result from outside
before the copy may go on; until then it has learnt nothing of a session.

The order matters. What needs the zygote's rights (opening what will be seen) comes first; the
change of user keeps the rights inside the namespace, for id 0 is not mapped there, so the mounts
follow it; limits and descriptors next; then rights are given up for good; Landlock needs
no_new_privs and the final root; seccomp, which forbids all of these, is last.

Rejected: a helper with the set-id bit for hosts without user namespaces. It would be the most
privileged program of all, for the hosts that are least protected.
"""

import functools
import json
import os
import select
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import count
from typing import NoReturn

from executor.linux import cgroups, clone, landlock, namespaces, seccomp, userns
from executor.linux.errors import MechanismError, MechanismFailed, MechanismMissing, asking
from executor.linux.filters import Prepared
from executor.linux.filters import prepare as prepare_filter
from executor.process import status
from executor.process.filter import BOX_FILTER
from executor.process.plan import GUEST_ID, MECHANISM, BoxPlan, Identity, Level
from executor.process.steps import STEPS, Site, become_visible

_PATIENCE_MS = 20_000
_LONGEST_REPORT = 4096
_GO = b"go on"
_KINDS = {kind.__name__: kind for kind in (MechanismFailed, MechanismMissing)}
_READY = "ready"
_AT = "at"
_BEGINNING = "beginning"
_GROUP_PREFIX = "codecage-"
_GROUP_NUMBERS = count(1)


@dataclass(frozen=True, slots=True)
class Box:
    """
    A box that holds: its process, by number and by a descriptor that `end` closes.
    """

    pid: int
    pidfd: int
    level: Level
    group: cgroups.Group | None

    def end(self) -> None:
        """
        Kill all of it, wait until nothing is left, and let go of its control group.

        For the process that made it, once. Raises MechanismFailed when the group cannot go.
        """
        _end(self.pidfd)
        os.close(self.pidfd)
        if self.group is not None:
            self.group.remove()


def prepare() -> None:
    """
    Compile the filter now, in the zygote, so that its boxes need not.

    Also removes control groups that a killed zygote has left.
    """
    _prepared()
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
    program = _prepared()
    with ExitStack() as undo:
        group = _group(plan)
        if group is not None:
            undo.callback(group.remove)
        level = _level(plan, group)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.enter_context(ours)
        undo.enter_context(theirs)
        cloned = _cloned()
        if cloned.pid == 0:
            # The parent's end goes first: a parent that ends is seen by that alone.
            ours.close()
            _inside(Site(plan, program, abi, theirs), run)
        undo.callback(os.close, cloned.pidfd)
        undo.callback(_end, cloned.pidfd)
        inner = theirs.fileno()
        theirs.close()
        _until_visible(ours)
        userns.map_one(cloned.pid, GUEST_ID, identity.uid, identity.gid)
        if group is not None:
            group.join(cloned.pid)
        _let_go_on(ours)
        _until_ready(ours)
        status.verify(cloned.pid, plan, group=group, descriptors=plan.kept | {inner})
        _let_go_on(ours)
        undo.pop_all()
        ours.close()
    return Box(cloned.pid, cloned.pidfd, level, group)


def _cloned() -> clone.Cloned:
    """
    As `clone.clone`; in the child all signals are blocked.

    A signal that raised an exception there would carry it into the zygote's code.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    cloned = None
    try:
        cloned = clone.clone(namespaces.ALL)
    finally:
        if cloned is None or cloned.pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return cloned


@functools.cache
def _prepared() -> Prepared:
    return prepare_filter(BOX_FILTER)


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
        return cgroups.create(name, cgroups.Allowance(plan.memory, plan.tasks))
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


def _let_go_on(ours: socket.socket) -> None:
    with asking(MECHANISM, "telling the box to go on", "see why it ended"):
        ours.sendall(_GO)


def _until_visible(ours: socket.socket) -> None:
    _report(ours, _BEGINNING)


def _until_ready(ours: socket.socket) -> None:
    """
    Follow the box through its steps. Raises what it raised, or where it ended without a word.
    """
    at = _BEGINNING
    while True:
        kind, *said = _report(ours, at)
        if kind == _READY:
            return
        if kind == _AT:
            (at,) = said
            continue
        mechanism, message = said
        raise _KINDS[kind](mechanism, f"at step {at!r}: {message}")


def _report(ours: socket.socket, at: str) -> list[str]:
    waiting = select.poll()
    waiting.register(ours, select.POLLIN)
    if not waiting.poll(_PATIENCE_MS):
        raise MechanismFailed(MECHANISM, f"it stands still at step {at!r}; it is given up")
    with asking(MECHANISM, f"hearing of the box at step {at!r}", "see why it ended"):
        data = ours.recv(_LONGEST_REPORT)
    if not data:
        raise MechanismFailed(MECHANISM, f"it ended at step {at!r} without a word")
    words: list[str] = json.loads(data)
    return words


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
        site.channel.close()
        run()
    finally:
        os._exit(1)


def _take_away(site: Site) -> None:
    become_visible()
    _say(site, _AT, _BEGINNING)
    site.wait()
    try:
        for step in STEPS:
            _say(site, _AT, step.name)
            step.act(site)
    except MechanismError as error:
        # The mechanism's name is put before the message by whoever raises it again.
        message = str(error).removeprefix(f"{error.mechanism}: ")
        _say(site, type(error).__name__, error.mechanism, message[: _LONGEST_REPORT // 8])
        os._exit(1)
    _say(site, _READY)
    site.wait()


def _say(site: Site, *words: str) -> None:
    site.channel.send(json.dumps(words).encode())
