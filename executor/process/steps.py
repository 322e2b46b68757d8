"""
The steps that turn a copy of the zygote into a box, in their order; `jail.py` says why in it.

Each step does one thing and fails loudly. What a step leaves for a later one is in `Site`.
"""

import errno
import os
import random
import resource
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from executor.linux import descriptors, landlock, mounts, oom, prctl, rlimits, seccomp
from executor.linux.errors import MechanismFailed, MechanismMissing, asking
from executor.linux.filters import Prepared
from executor.linux.landlock import PathRule, Reach
from executor.linux.libc import call
from executor.linux.mounts import Attribute
from executor.linux.rlimits import Limit
from executor.process import canaries, scenery
from executor.process.plan import (
    GUEST_ID,
    HOME,
    TEMPORARY,
    WORK,
    BoxPlan,
    NewCode,
)

_PR_SET_DUMPABLE = 4
_PR_SET_SECUREBITS = 28
_PR_SET_MDWE = 65
_PR_MDWE_REFUSE_EXEC_GAIN = 1
# NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE and the lock of each; the lock of KEEP_CAPS.
_NO_WAY_BACK = 0b1110_1111
_PER_LINUX = 0
_READ_PERSONALITY = 0xFFFF_FFFF
_GO_BYTES = 16
_PENDING_SIGNALS = 64
_STACK = 8 << 20
_UMASK = 0o022
_HOST_NAME = "codecage"
_SHOWN = Attribute.READ_ONLY | Attribute.NO_SET_ID | Attribute.NO_DEVICES
_OWN = Attribute.NO_SET_ID | Attribute.NO_DEVICES | Attribute.NO_EXECUTION
_DEVICE = Attribute.READ_ONLY | Attribute.NO_SET_ID | Attribute.NO_EXECUTION
_ROOT_BYTES = 1 << 20
_ROOT_FILES = 4096
_WRITABLE_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
_READABLE_DEVICES = ("/dev/random", "/dev/urandom")
# Every Linux has it, and nothing is looked up below it once all trees are open.
_BUILDING_PLACE = "/proc"


@dataclass(slots=True)
class Site:
    """
    A box while it is being made: what it is to be, and what one step leaves for the next.
    """

    plan: BoxPlan
    program: Prepared
    landlock_abi: int
    channel: socket.socket
    trees: list[tuple[str, int]] = field(default_factory=list)
    devices: list[tuple[str, int]] = field(default_factory=list)
    data_in_use: int = 0
    root: int = -1

    def wait(self) -> None:
        """
        Wait until the parent lets this process go on; end it when the parent has ended.
        """
        if not self.channel.recv(_GO_BYTES):
            os._exit(1)


@dataclass(frozen=True, slots=True)
class Step:
    """
    One thing that is taken away, and why at this place.
    """

    name: str
    reason: str
    act: Callable[[Site], None]


def _signals(_site: Site) -> None:
    with asking("signals", "resetting handlers", "make the box in the thread that was cloned"):
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _facts(site: Site) -> None:
    site.data_in_use = rlimits.data_in_use()


def _personality(_site: Site) -> None:
    with asking("personality", "setting it to that of Linux", "allow personality(2)"):
        call("personality", _PER_LINUX)
        found = call("personality", _READ_PERSONALITY)
    if found != _PER_LINUX:
        raise MechanismFailed("personality", f"set to 0, and it reads {found:#x}; do not run here")


def _first_to_be_killed(_site: Site) -> None:
    oom.require_highest()


def _trees(site: Site) -> None:
    for view in site.plan.mounts:
        tree = mounts.copy_tree(view.source)
        mounts.restrict(tree, _SHOWN)
        site.trees.append((view.mount, tree))
    for path in (*_WRITABLE_DEVICES, *_READABLE_DEVICES):
        device = mounts.copy_tree(path)
        scenery.require_device(device, path)
        mounts.restrict(device, _DEVICE)
        site.devices.append((path, device))


def _user(site: Site) -> None:
    mend = "see that the parent maps the user and that nothing forbids setresuid"
    with asking("identity", f"becoming {GUEST_ID} inside", mend):
        if site.plan.identity is not None:
            os.setgroups([])
        os.setresgid(GUEST_ID, GUEST_ID, GUEST_ID)
        os.setresuid(GUEST_ID, GUEST_ID, GUEST_ID)
    if (os.getresuid(), os.getresgid()) != ((GUEST_ID,) * 3, (GUEST_ID,) * 3):
        raise MechanismFailed("identity", f"not wholly {GUEST_ID}; do not run here")


def become_visible() -> None:
    """
    Let the parent see and map this process, whatever the zygote has forbidden for itself.
    """
    with asking("dumpable", "setting it to 1", "allow prctl"):
        call("prctl", _PR_SET_DUMPABLE, 1)


def _die_with_parent(site: Site) -> None:
    prctl.set_parent_death_signal(signal.SIGKILL)
    # Only now: a parent that ended before the signal was set would never be missed.
    waiting = select.poll()
    waiting.register(site.channel, 0)
    if waiting.poll(0):
        raise MechanismFailed("parent-death signal", "the parent has ended; make a new box")


def _own_session(_site: Site) -> None:
    with asking("session", "setsid", "make the box in a new process"):
        os.setsid()


def _apart(_site: Site) -> None:
    mounts.isolate()


def _root(site: Site) -> None:
    site.root = mounts.memory_file_system(
        _ROOT_BYTES, _ROOT_FILES, 0o755, Attribute.NO_SET_ID | Attribute.NO_DEVICES
    )
    mounts.attach(site.root, None, _BUILDING_PLACE)


def _places(site: Site) -> None:
    for place, tree in (*site.trees, *site.devices):
        scenery.place_for(site.root, place, tree)
        mounts.attach(tree, site.root, place.lstrip("/"))
        os.close(tree)


def _own_places(site: Site) -> None:
    plan = site.plan
    for place, size, mode in (
        (WORK, plan.work_bytes, 0o755),
        (TEMPORARY, plan.tmp_bytes, 0o1777),
        (HOME, plan.tmp_bytes, 0o755),
    ):
        tree = mounts.memory_file_system(size, plan.work_files, mode, _OWN)
        scenery.directory_for(site.root, place)
        mounts.attach(tree, site.root, place.lstrip("/"))
        os.close(tree)


def _written_files(site: Site) -> None:
    scenery.write_system_files(site.root)
    for link in site.plan.links:
        scenery.link(site.root, link.mount, link.target)


def _enter(site: Site) -> None:
    mounts.enter(site.root)
    mounts.restrict_alone(site.root, Attribute.READ_ONLY)
    os.close(site.root)
    with asking("working directory", f"chdir {WORK}", "see that it was mounted"):
        os.chdir(WORK)
    os.umask(_UMASK)


def _name(_site: Site) -> None:
    with asking("host name", "setting it", "make the box in a uts namespace of its own"):
        socket.sethostname(_HOST_NAME)


def _limits(site: Site) -> None:
    plan = site.plan
    rlimits.lower(
        {
            Limit.CORE: 0,
            Limit.LOCKED_MEMORY: 0,
            Limit.MESSAGE_QUEUES: 0,
            Limit.FILE_SIZE: max(plan.work_bytes, plan.tmp_bytes),
            Limit.DESCRIPTORS: plan.open_files,
            Limit.STACK: _STACK,
            Limit.DATA: site.data_in_use + plan.memory,
            Limit.CPU: plan.cpu_seconds,
        }
    )
    _lower(resource.RLIMIT_SIGPENDING, _PENDING_SIGNALS)
    # Counted within the box's own user namespace (Linux 5.14), so boxes do not starve each other.
    _lower(resource.RLIMIT_NPROC, plan.tasks)


def _lower(limit: int, value: int) -> None:
    with asking(rlimits.MECHANISM, f"lowering {limit} to {value}", "allow setrlimit"):
        hard = resource.getrlimit(limit)[1]
        wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (wanted, wanted))


def _descriptors(site: Site) -> None:
    descriptors.keep_only(site.plan.kept | {site.channel.fileno()})


def _no_rights(_site: Site) -> None:
    prctl.drop_bounding_set()
    with asking("securebits", "locking them", "allow prctl to give up rights"):
        call("prctl", _PR_SET_SECUREBITS, _NO_WAY_BACK)
    prctl.drop_capabilities()


def _no_new_privileges(_site: Site) -> None:
    prctl.set_no_new_privs()


def _no_new_code(site: Site) -> None:
    if site.plan.new_code is NewCode.ALLOWED:
        return
    try:
        call("prctl", _PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN)
    except OSError as error:
        raise MechanismMissing(
            "memory-deny-write-execute",
            f"answered {errno.errorcode.get(error.errno or 0)}; use Linux 6.3 or later, or allow"
            " new code in the policy",
        ) from error


def _landlock(site: Site) -> None:
    handled = landlock.handled_by(site.landlock_abi)
    granted = (
        ("/", Reach.LIST),
        ("/etc", Reach.READ),
        *((view.mount, Reach.READ) for view in site.plan.mounts),
        *((place, Reach.CHANGE) for place in (WORK, TEMPORARY, HOME)),
        *((device, Reach.UPDATE) for device in _WRITABLE_DEVICES),
        *((device, Reach.READ) for device in _READABLE_DEVICES),
    )
    rules: tuple[PathRule, ...] = tuple(
        landlock.beneath(path, reach, handled) for path, reach in granted
    )
    landlock.restrict(rules, handled=handled)


def _visible_to_parent(_site: Site) -> None:
    become_visible()


def _environment(site: Site) -> None:
    os.environ.clear()
    os.environ.update(site.plan.environment)
    random.seed()


def _seccomp(site: Site) -> None:
    seccomp.install(site.program.for_process(os.getpid()), tsync=True)


def _canaries(site: Site) -> None:
    canaries.ask(site.plan)


STEPS = (
    Step("signals", "no handler of the zygote runs here", _signals),
    Step("facts", "what the limits start from; needs the host's /proc", _facts),
    Step("personality", "or readable pages could be code, and addresses known", _personality),
    Step("oom score", "needs /proc; the box goes before its zygote", _first_to_be_killed),
    Step("apart", "nothing that follows may reach the host's mounts", _apart),
    Step("trees", "opened with the zygote's rights, in this mount namespace", _trees),
    Step("user", "guest code is nobody of the host; rights inside are kept until later", _user),
    Step("visible", "a change of user hides the process from its parent", _visible_to_parent),
    Step("parent", "a change of user clears the parent-death signal", _die_with_parent),
    Step("session", "no terminal, and no signals for its process group", _own_session),
    Step("root", "an empty one, in memory", _root),
    Step("places", "the plan's trees and five devices", _places),
    Step("own places", "what the guest may write", _own_places),
    Step("written files", "names of users and hosts, and links", _written_files),
    Step("enter", "the host's files are gone from here on", _enter),
    Step("host name", "the host's is not told", _name),
    Step(
        "descriptors",
        "nothing of the zygote stays open; before their number is limited",
        _descriptors,
    ),
    Step("limits", "hard, so that they stay", _limits),
    Step("rights", "all capabilities, and every way back to them", _no_rights),
    Step("no new privileges", "Landlock and seccomp need it", _no_new_privileges),
    Step("no new code", "data never becomes code", _no_new_code),
    Step("Landlock", "needs the final root", _landlock),
    Step("environment", "the zygote's is not told", _environment),
    Step("seccomp", "forbids all of the above, so it is last", _seccomp),
    Step("canaries", "a mechanism that does not refuse is none", _canaries),
)
