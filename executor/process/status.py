"""
Looking at a box from outside: what holds it is read from the kernel, not from what it says.

Landlock and the parent-death signal are not to be seen from outside; the box's own canaries are
all there is for those two. Sources: proc_pid_status(5), namespaces(7), proc_pid_mountinfo(5).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from executor.linux import mounts, namespaces, prctl
from executor.linux.cgroups import Group
from executor.linux.errors import MechanismFailed, asking
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


def verify(
    pid: int,
    plan: BoxPlan,
    level: Level,
    *,
    group: Group | None = None,
    descriptors: frozenset[int] | None = None,
) -> None:
    """
    See that process `pid` of this pid namespace is held as `plan` and `level` say.

    With `group`, also that it is in that control group. With `descriptors`, also that it holds
    none but these and the standard three: that is true before its guest runs and not later. For
    the process that made it, or root. Raises MechanismFailed naming everything that does not hold.
    """
    wrong = [
        *_wrong_status(pid, plan, level),
        *(() if level is Level.P2 else _wrong_namespaces(pid)),
        *(() if level is Level.P2 else _wrong_mounts(pid, plan)),
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


def _wrong_mounts(pid: int, plan: BoxPlan) -> Iterator[str]:
    seen = mounts.mounted(pid)
    roots = [mount.kind for mount in seen if mount.place == "/"]
    if roots != ["tmpfs"]:
        yield f"its root is {roots} and not one tmpfs"
    views = [view.mount for view in plan.mounts]
    own = [place.mount for place in plan.own_places]
    for mount in seen:
        yield from _wrong_mount(mount, views, [*own, *plan.served])
    for place in (*views, *own, *plan.served):
        if place not in {mount.place for mount in seen}:
            yield f"{place} is not mounted"


def _wrong_mount(mount: mounts.Mount, views: list[str], own: list[str]) -> Iterator[str]:
    place = mount.place
    shown = any(place == view or place.startswith(f"{view}/") for view in views)
    if place in own:
        wanted = {"rw", "nosuid", "nodev", "noexec"}
        if mount.kind not in {"tmpfs", "fuse"}:
            yield f"{place} is {mount.kind} and not the guest's own"
    elif shown and mount.kind in _OF_THE_KERNEL:
        yield f"{place} shows {mount.kind}"
        return
    elif place == "/" or shown:
        wanted = {"ro", "nosuid", "nodev"}
    elif place in MINORS:
        wanted = {"ro", "nosuid", "noexec"}
    else:
        yield f"{place} ({mount.kind}) is mounted and not of the plan"
        return
    lacking = sorted(wanted - mount.options)
    if lacking:
        yield f"{place} is not mounted {','.join(lacking)}"


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
    lines = _lines(Path(f"/proc/{pid}/limits"))
    return {line[:26].strip(): line[47:68].strip() for line in lines}


def _wrong_group(pid: int, group: Group) -> Iterator[str]:
    if pid not in group.members():
        yield "it is not in its control group"


def _wrong_descriptors(pid: int, kept: frozenset[int]) -> Iterator[str]:
    path = Path(f"/proc/{pid}/fd")
    with asking(MECHANISM, f"listing {path}", "look at a box of your own"):
        found = {int(entry.name) for entry in path.iterdir()}
    extra = sorted(found - kept - _STANDARD)
    if extra:
        yield f"it holds descriptors {extra}"


def _status(pid: int) -> dict[str, str]:
    pairs = (line.partition(":") for line in _lines(Path(f"/proc/{pid}/status")))
    return {name: " ".join(value.split()) for name, _, value in pairs}


def _lines(path: Path) -> list[str]:
    with asking(MECHANISM, f"reading {path}", "see whether it has ended"):
        return path.read_text(encoding="ascii", errors="replace").splitlines()
