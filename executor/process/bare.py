"""
Boxes on hosts that give no namespaces, as containers with their usual profile: level P2.

Landlock keeps other files closed (not unseen: names, sizes and times of the host's files can be
asked for), and a narrower filter keeps the process to itself: no sockets, no children, no signals
to others, nothing that changes rights or times of files by name. What needs a namespace is refused
before anything is made. The guest's own places are directories of the host, of this box alone.

Rejected: chroot(2) for an empty root. It needs the rights that such hosts take away.
"""

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from executor.linux import landlock, prctl, sealing
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.linux.landlock import Reach
from executor.linux.lock_steps import Step
from executor.process import steps_process
from executor.process.conversation import MEMORY
from executor.process.plan import HOME, MECHANISM, TEMPORARY, BoxPlan
from executor.process.site import Site
from executor.process.steps_mounts import READABLE_DEVICES, UMASK, WRITABLE_DEVICES

# The first that handles TRUNCATE: open(2) with O_RDONLY and O_TRUNC asks for no other right.
_LEAST_LANDLOCK = 3
_INSTEAD = "run where user namespaces can be made, or ask for less"
_MEMORY: Final = "/proc/self/mem"


def require_possible(plan: BoxPlan, landlock_abi: int) -> None:
    """
    See that `plan` can be had without namespaces. Raises MechanismMissing naming what cannot.
    """
    if landlock_abi < _LEAST_LANDLOCK:
        raise MechanismMissing(
            landlock.MECHANISM,
            f"ABI {landlock_abi} does not keep a file that may only be read from being emptied, and"
            f" without namespaces nothing else does; use Linux 6.2 or later, or {_INSTEAD}",
        )
    asked = {
        "served mounts": plan.served,
        "a network without a watch": plan.network and not plan.watched,
        "processes of its own": plan.fork,
        "programs": plan.programs,
    }
    wanted = [name for name, value in asked.items() if value]
    wanted += [f"{v.source} seen as {v.mount}" for v in plan.mounts if v.source != v.mount]
    wanted += [f"scratch at {s.mount}" for s in plan.scratch if s.mount != plan.directory]
    wanted += [f"a link {one.mount}" for one in plan.links if not _is_there(one.mount, one.target)]
    if wanted:
        raise MechanismMissing(
            MECHANISM, f"{', '.join(wanted)} cannot be had without namespaces; {_INSTEAD}"
        )
    _require_open(plan)


def _require_open(plan: BoxPlan) -> None:
    """
    See that a user of the box's own may look at what is shown, which lies where it lies.
    """
    if plan.identity is None or plan.identity.uid == os.geteuid():
        return
    for view in plan.mounts:
        closed = _closed(Path(view.source))
        if closed is not None:
            raise MechanismMissing(
                MECHANISM,
                f"without namespaces the box's own user reads {view.source} where it lies, and not"
                f" everybody may look into {closed}; have Python where everybody may read it",
            )


def _closed(place: Path) -> Path | None:
    """
    The first directory on the way to `place` that not everybody may look into.
    """
    with asking(MECHANISM, f"looking at {place}", "name a tree that is there"):
        way = [*reversed(place.parents), place]
        return next((one for one in way if not one.stat().st_mode & stat.S_IXOTH), None)


def _is_there(place: str, target: str) -> bool:
    path = Path(place)
    return path.is_symlink() and str(path.readlink()) == target


def place_of(site: Site, mount: str) -> str:
    """
    Where on the host the guest's own place `mount` is.
    """
    return dict(site.places)[mount]


def _lose_ways_back(_site: Site) -> None:
    prctl.drop_bounding_set()
    if prctl.may_set_capabilities():
        steps_process.lock_securebits()


def _be_the_user(site: Site) -> None:
    if site.plan.identity is not None:
        sealing.become(site.plan.identity.uid, site.plan.identity.gid)


def _lose_rights(_site: Site) -> None:
    prctl.drop_capabilities()


def _start_at_home(site: Site) -> None:
    start = place_of(site, site.plan.directory)
    with asking("working directory", f"chdir {start}", "see that it was made"):
        os.chdir(start)
    os.umask(UMASK)


def _grant_reach(site: Site) -> None:
    handled = landlock.handled_by(site.landlock_abi)
    for view in site.plan.mounts:
        _require_same(view.source, view.object)
    granted = (
        *((view.mount, Reach.READ) for view in site.plan.mounts),
        *((place, Reach.CHANGE) for _, place in site.places),
        *((device, Reach.UPDATE) for device in WRITABLE_DEVICES),
        *((device, Reach.READ) for device in READABLE_DEVICES),
    )
    rules = tuple(landlock.beneath(path, reach, handled) for path, reach in granted)
    landlock.restrict(rules, handled=handled)


def _require_same(source: str, wanted: tuple[int, int] | None) -> None:
    with asking(MECHANISM, f"looking at {source}", "name a tree that is there"):
        linked = os.path.realpath(source, strict=True) != source
        found = Path(source).stat()
    if linked or wanted not in {None, (found.st_dev, found.st_ino)}:
        raise MechanismFailed(
            MECHANISM, f"{source} is a link, or not what it was when it was granted; load it anew"
        )


def _have_environment(site: Site) -> None:
    steps_process.have_environment(site)
    os.environ.update(HOME=place_of(site, HOME), TMPDIR=place_of(site, TEMPORARY))
    # Or it is what the zygote has found.
    tempfile.tempdir = None


def _show_memory(site: Site) -> None:
    """
    Hand this process's memory on, to be read: where a guest connects to stands there.

    Here, where it is its own: later nobody may open it, whoever they are, short of the right to
    trace every process.
    """
    if not site.plan.network:
        return
    with asking(MECHANISM, f"opening {_MEMORY}", "mount /proc"):
        memory = os.open(_MEMORY, os.O_RDONLY | os.O_CLOEXEC)
    site.inside.hand(MEMORY, (memory,))


STEPS: Final[tuple[Step[Site], ...]] = (
    Step("signals", "no handler of the zygote runs here", steps_process.reset_signals),
    Step("facts", "what the limits start from; needs /proc", steps_process.note_facts),
    Step("personality", "or readable pages could be code", steps_process.be_plain_linux),
    Step("oom score", "needs /proc", steps_process.be_first_to_be_killed),
    Step("ways back", "while there are rights to give them up", _lose_ways_back),
    Step("user", "guest code is nobody of the host, where root makes the box", _be_the_user),
    Step("visible", "a change of user hides it from its parent", steps_process.visible_to_parent),
    Step("memory", "before its files in /proc are closed", _show_memory),
    Step("parent", "a change of user clears the signal", steps_process.die_with_parent),
    Step("session", "no terminal", steps_process.have_own_session),
    Step("start", "a directory of its own", _start_at_home),
    Step("descriptors", "before their number is limited", steps_process.keep_descriptors),
    Step("limits", "hard, so that they stay", steps_process.limit_resources),
    Step("rights", "all capabilities", _lose_rights),
    Step("no new privileges", "Landlock and seccomp need it", steps_process.gain_nothing),
    Step("no new code", "data never becomes code", steps_process.make_no_code),
    Step("Landlock", "files of the host are closed from here on", _grant_reach),
    Step("environment", "the zygote's is not told", _have_environment),
    Step("seccomp", "forbids all of the above, so it is last", steps_process.confine),
    Step("canaries", "a mechanism that does not refuse is none", steps_process.ask_canaries),
)
