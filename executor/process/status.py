"""
Looking at a box from outside: what holds it is read from the kernel, not from what it says.

Landlock and the parent-death signal are not to be seen from outside; the box's own canaries are
all there is for those two. No name of a mount is read: whoever looks makes other boxes later, and
they have its memory. Sources: proc_pid_status(5), namespaces(7), proc_pid_mountinfo(5).
"""

import os
from collections.abc import Iterator

from executor.linux import mounts_seen, namespaces, prctl, proc
from executor.linux.cgroups import Group
from executor.linux.errors import MechanismFailed, asking
from executor.linux.mounts_seen import Seen, digest_of
from executor.process.plan import MECHANISM, BoxPlan, Identity, Level
from executor.process.scenery import MINORS

_NO_RIGHTS = "0000000000000000"
_FILTERED = "2"
_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
# What a tree of the host may have mounted below it, and what no guest may look into.
_OF_THE_KERNEL = frozenset(
    {"proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "debugfs", "tracefs", "securityfs"}
    | {"bpf", "configfs", "fusectl", "pstore", "efivarfs", "mqueue", "binfmt_misc", "autofs"}
)
_STANDARD = frozenset({0, 1, 2})
# What a place is, before its digest.
_SHOWN, _OWN = "s", "o"
_ROOT = digest_of("/")
_DEVICES = frozenset(map(digest_of, MINORS))


def verify(
    pid: int,
    plan: BoxPlan,
    level: Level,
    places: frozenset[str],
    *,
    group: Group | None = None,
    descriptors: frozenset[int] | None = None,
) -> None:
    """
    See that process `pid` of this pid namespace is held as `plan` and `level` say.

    `places` are those of the box's mounts (`places_of`), whose names `plan` need not have. With
    `group`, also that it is in that control group. With `descriptors`, also that it holds none but
    these and the standard three: that is true before its guest runs and not later. For the process
    that made it, or root. Raises MechanismFailed naming everything that does not hold.
    """
    wrong = [
        *_wrong_status(pid, plan, level),
        *(() if level is Level.P2 else _wrong_namespaces(pid)),
        *(() if level is Level.P2 else _wrong_mounts(pid, places)),
        *_wrong_limits(pid, plan, level),
        *(_wrong_group(pid, group) if group is not None else ()),
        *(_wrong_descriptors(pid, descriptors) if descriptors is not None else ()),
    ]
    if wrong:
        raise MechanismFailed(MECHANISM, f"process {pid} is not held: {'; '.join(wrong)}; kill it")


def _wrong_status(pid: int, plan: BoxPlan, level: Level) -> Iterator[str]:
    found = _status(pid)
    identity = plan.identity or Identity(os.geteuid(), os.getegid())
    wanted = {
        **dict.fromkeys(_SETS, _NO_RIGHTS),
        "NoNewPrivs": "1",
        "Seccomp": _FILTERED,
        "Uid": " ".join([str(identity.uid)] * 4),
        "Gid": " ".join([str(identity.gid)] * 4),
    }
    if plan.identity is not None:
        wanted["Groups"] = ""
    if level is Level.P2 and not prctl.may_set_capabilities():
        # Without that right it stays as it is, and with no_new_privs it is of no use.
        del wanted["CapBnd"]
    for name, value in wanted.items():
        said = found.get(name, "nothing")
        if said != value:
            yield f"{name} is {said!r} and not {value!r}"


def _wrong_namespaces(pid: int) -> Iterator[str]:
    common = namespaces.shared(pid)
    if common:
        yield f"it shares {common!r} with this process"


def places_of(plan: BoxPlan) -> frozenset[str]:
    """
    Where a plan's mounts are, as digests: those that show something, and the guest's own.
    """
    own = [*(place.mount for place in plan.own_places), *plan.served]
    return frozenset(
        (
            *(_SHOWN + digest_of(view.mount) for view in plan.mounts),
            *(_OWN + digest_of(one) for one in own),
        )
    )


def _wrong_mounts(pid: int, places: frozenset[str]) -> Iterator[str]:
    seen = mounts_seen.look(pid)
    roots = [mount.kind for mount in seen if mount.place == _ROOT]
    if roots != ["tmpfs"]:
        yield f"its root is {roots} and not one tmpfs"
    for mount in seen:
        yield from _wrong_mount(mount, places)
    there = {mount.place for mount in seen}
    lacking = sum(place[1:] not in there for place in places)
    if lacking:
        yield f"{lacking} of its {len(places)} places are not mounted"


def _wrong_mount(mount: Seen, places: frozenset[str]) -> Iterator[str]:
    shown = any(_SHOWN + place in places for place in (mount.place, *mount.above))
    if _OWN + mount.place in places:
        wanted = {"rw", "nosuid", "nodev", "noexec"}
        if mount.kind not in {"tmpfs", "fuse"}:
            yield f"a place of the guest's own is {mount.kind}"
    elif shown and mount.kind in _OF_THE_KERNEL:
        yield f"a tree that is shown has {mount.kind} in it"
        return
    elif mount.place == _ROOT or shown:
        wanted = {"ro", "nosuid", "nodev"}
    elif mount.place in _DEVICES:
        wanted = {"ro", "nosuid", "noexec"}
    else:
        yield f"a mount of {mount.kind} is not of the plan"
        return
    lacking = sorted(wanted - mount.options)
    if lacking:
        yield f"a mount of {mount.kind} is not {','.join(lacking)}"


def _wrong_limits(pid: int, plan: BoxPlan, level: Level) -> Iterator[str]:
    most = {
        "Max core file size": 0,
        "Max locked memory": 0,
        "Max open files": plan.open_files,
        "Max cpu time": plan.cpu_seconds,
        "Max file size": plan.largest_file,
    }
    if level is not Level.P2 or plan.identity is not None:
        most["Max processes"] = plan.processes
    found = _hard_limits(pid)
    for name, limit in most.items():
        said = found.get(name, "nothing")
        if not said.isdecimal() or int(said) > limit:
            yield f"{name} is {said} and not {limit} at most"


def _hard_limits(pid: int) -> dict[str, str]:
    # Columns of fixed width: name, soft, hard, unit. Source: proc_pid_limits(5).
    lines = _lines(f"/proc/{pid}/limits")
    return {line[:26].strip(): line[47:68].strip() for line in lines}


def _wrong_group(pid: int, group: Group) -> Iterator[str]:
    if not group.holds(pid):
        yield "it is not in its control group"


def _wrong_descriptors(pid: int, kept: frozenset[int]) -> Iterator[str]:
    path = f"/proc/{pid}/fd"
    with asking(MECHANISM, "listing {}", "look at a box of your own", path):
        found = set(map(int, os.listdir(path)))  # noqa: PTH208 - see proc.py
    extra = sorted(found - kept - _STANDARD)
    if extra:
        yield f"it holds descriptors {extra}"


def _status(pid: int) -> dict[str, str]:
    pairs = (line.partition(":") for line in _lines(f"/proc/{pid}/status"))
    return {name: " ".join(value.split()) for name, _, value in pairs}


def _lines(path: str) -> list[str]:
    with asking(MECHANISM, "reading {}", "see whether it has ended", path):
        return proc.read(path).decode("ascii", "replace").splitlines()
