"""
Control groups: how much memory, how many tasks and how much of the processors a set of processes
may have, and its end.

A group is made below the one that this process is in, never beside it: what the host's
administrator (or a container) has set there keeps binding. Both versions are spoken, for hosts
exist where version 1 has the controllers and version 2 is mounted beside it without any: it then
still serves to kill a group at once.

Sources: cgroups(7), Linux `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`,
`cgroup-v1/pids.rst`, `scheduler/sched-bwc.rst`.
"""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from executor.linux import mounts, proc
from executor.linux.errors import MechanismFailed, MechanismMissing, asking

MECHANISM = "cgroups"

_CONTROLLERS = ("memory", "pids")
_UNIFIED = "unified"
_SHARE = "cpu"
_ACCOUNTING = "cpuacct"
_FREEZER = "freezer"
_PROCESSES = "cgroup.procs"
_TASKS = "tasks"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_USEFUL = frozenset({*_CONTROLLERS, _SHARE, _ACCOUNTING, _FREEZER})
# Each time that long a group gets its share anew, of new groups of both versions (microseconds). A
# shorter one would be below what the kernel takes (1 ms) for a twentieth of a processor.
_PERIOD = 100_000
_MAX, _QUOTA, _PERIOD_FILE = "cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"
_MEND = "run as root, or delegate a cgroup with the controllers memory and pids to this user"
# A group whose last process was reaped may count it for a moment longer.
_REMOVALS = 1000


@dataclass(frozen=True, slots=True)
class Allowance:
    """
    What the processes of a group may have together: `memory` bytes and `tasks`, 1 or more each;
    of processors `cpu_percent` hundredths of one (1 or more) where the host can share them.
    """

    memory: int
    tasks: int
    cpu_percent: int = 100


@dataclass(frozen=True, slots=True)
class Used:
    """
    What they had: the most memory at once (bytes; 0 where that is not counted), and how often the
    kernel killed one for it.
    """

    memory_peak: int
    out_of_memory: int


@dataclass(frozen=True, slots=True)
class WayIn:
    """
    What a process needs to be in a group from its beginning, opened by whoever made the group.

    `unified` is the directory of version 2, for clone3(2); `tasks` are the files of version 1.
    A process that is moved by another one waits for every processor to have looked up (10 ms and
    more); one that begins there, or moves itself as one thread, does not. Source: cgroups(7).
    """

    unified: int | None
    tasks: tuple[int, ...]

    def enter(self) -> None:
        """
        Move this process, which has one thread, into what version 1 has of the group.

        The rights that count are those of whoever opened the files.
        """
        with asking(MECHANISM, "moving itself", _MEND):
            for file in self.tasks:
                os.write(file, b"0")

    def close(self) -> None:
        """
        Close all of it, once.
        """
        for file in (*self.tasks, *(() if self.unified is None else (self.unified,))):
            os.close(file)


@dataclass(frozen=True, slots=True)
class Group:
    """
    One group, as its directory for each hierarchy: `memory`, `pids` and, if there, `cpu` and
    `unified`; without the last `cpuacct` and `freezer`, if there.

    What only reads works for other users than the one that made it.
    """

    directories: tuple[tuple[str, Path], ...]
    unified: bool

    def join(self, pid: int) -> None:
        """
        Move process `pid`, with all its threads, into the group.
        """
        for directory in self.distinct():
            _write(directory / _PROCESSES, str(pid))

    def way_in(self) -> WayIn:
        """
        Open a way into the group, for one process that is yet to be made.
        """
        unified = dict(self.directories).get(_UNIFIED)
        places = [str(place / _TASKS) for place in self.distinct() if place != unified]
        with asking(MECHANISM, "opening {} and {}", _MEND, unified, places), ExitStack() as undo:
            files = []
            for place in places:
                files.append(os.open(place, os.O_WRONLY | os.O_CLOEXEC))
                undo.callback(os.close, files[-1])
            there = None if unified is None else os.open(unified, _DIRECTORY)
            undo.pop_all()
        return WayIn(there, tuple(files))

    def kill(self) -> None:
        """
        End every process of the group: at once where the kernel can (Linux 5.14), else one by one
        while none of them runs, so that none can start another in between.

        Where neither can be, those that are there now are ended, and that has to be repeated.
        """
        unified = dict(self.directories).get(_UNIFIED)
        if unified is not None and (unified / "cgroup.kill").exists():
            _write(unified / "cgroup.kill", "1")
            return
        frozen = self.freeze()
        for pid in self.members():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if frozen:
            self.thaw()

    def freeze(self) -> bool:
        """
        Have every process of the group stand still, from within a moment on; whether that can be.
        """
        return self._be_frozen("1", "FROZEN")

    def thaw(self) -> bool:
        """
        Let them go on; whether that can be.
        """
        return self._be_frozen("0", "THAWED")

    def _be_frozen(self, value: str, word: str) -> bool:
        places = dict(self.directories)
        if _UNIFIED in places and (places[_UNIFIED] / "cgroup.freeze").exists():
            _write(places[_UNIFIED] / "cgroup.freeze", value)
        elif _FREEZER in places:
            _write(places[_FREEZER] / "freezer.state", word)
        else:
            return False
        return True

    def cpu_time(self) -> float | None:
        """
        The seconds of CPU time that the group's processes have used, those that ended among them.

        None where the host does not count them.
        """
        places = dict(self.directories)
        if _UNIFIED in places:
            return _fields(places[_UNIFIED] / "cpu.stat")["usage_usec"] / 1e6
        if _ACCOUNTING in places:
            return int(_read(places[_ACCOUNTING] / "cpuacct.usage")) / 1e9
        return None

    def cpu_percent(self) -> int | None:
        """
        What its processes may have of processors together, in hundredths of one, rounded up, as
        the kernel says now; None where that is as much as there are.
        """
        place = dict(self.directories).get(_SHARE)
        share = None if place is None else _share(place)
        return None if share is None else -(-share[0] * 100 // share[1])

    def members(self) -> frozenset[int]:
        """
        The processes that are in it; none of one that was removed.
        """
        there = (directory for directory in self.distinct() if directory.exists())
        texts = [_read(directory / _PROCESSES) for directory in there]
        return frozenset(int(word) for text in texts for word in text.split())

    def holds(self, pid: int) -> bool:
        """
        Whether process `pid` is in it, in each of its hierarchies.
        """
        word = b"%d" % pid
        return all(word in _bytes(place / _PROCESSES).split() for place in self.distinct())

    def used(self) -> Used:
        """
        What the group used until now.
        """
        memory = dict(self.directories)["memory"]
        if self.unified:
            events = _fields(memory / "memory.events")
            # Since Linux 5.19.
            told = memory / "memory.peak"
            return Used(int(_read(told)) if told.exists() else 0, events["oom_kill"])
        control = _fields(memory / "memory.oom_control")
        peak = int(_read(memory / "memory.max_usage_in_bytes"))
        return Used(peak, control.get("oom_kill", 0))

    def remove(self) -> None:
        """
        Remove the group, which has no process any more.

        Raises MechanismFailed when one is left. A directory that is gone already is none.
        """
        for directory in self.distinct():
            _remove(directory)

    def distinct(self) -> tuple[Path, ...]:
        """
        Its directories, each once: version 2 has one for everything.
        """
        return tuple(dict.fromkeys(directory for _, directory in self.directories))


def create(name: str, allowance: Allowance) -> Group:
    """
    A new group `name` (one path component) below this process's own, limited to `allowance`.

    Raises MechanismMissing when a controller is not there or not ours to use, MechanismFailed
    when a limit does not read back or the name is taken; nothing is then left.
    """
    if not name or "/" in name or name in {".", ".."}:
        raise MechanismFailed(MECHANISM, f"group name {name!r}; give one path component")
    parents = own()
    unified = parents["memory"] == parents.get(_UNIFIED)
    directories = tuple((key, parent / name) for key, parent in parents.items())
    group = Group(directories, unified)
    with ExitStack() as undo:
        for directory in group.distinct():
            _make(directory)
            # Only what was made here goes again: a name that is taken is another's group.
            undo.callback(_remove, directory)
        _limit(dict(directories), allowance, unified=unified)
        undo.pop_all()
    return group


def remove_left(prefix: str) -> None:
    """
    Remove groups named `prefix`PID-..., below our own, whose process PID is gone.

    For what a killed process could not remove. A group that still has processes stays. Raises
    MechanismMissing where there are no groups.
    """
    for parent in dict.fromkeys(own().values()):
        for directory in parent.glob(f"{prefix}*-*"):
            maker = directory.name.removeprefix(prefix).partition("-")[0]
            if maker.isdecimal() and not Path(f"/proc/{maker}").exists():
                with suppress(OSError):
                    directory.rmdir()


def _make(directory: Path) -> None:
    try:
        directory.mkdir()
    except FileExistsError as error:
        raise MechanismFailed(MECHANISM, f"{directory} exists; name a new group") from error
    except OSError as error:
        raise MechanismMissing(
            MECHANISM, f"making {directory}: {error.strerror}; {_MEND}"
        ) from error


def _limit(directories: dict[str, Path], allowance: Allowance, *, unified: bool) -> None:
    memory = directories["memory"]
    page = os.sysconf("SC_PAGE_SIZE")
    size = str(allowance.memory // page * page)
    _set(memory / ("memory.max" if unified else "memory.limit_in_bytes"), size)
    # Swap is accounted only where the kernel was told to.
    swap = memory / ("memory.swap.max" if unified else "memory.memsw.limit_in_bytes")
    if swap.exists():
        _set(swap, "0" if unified else size)
    _set(directories["pids"] / "pids.max", str(allowance.tasks))
    if _SHARE in directories:
        _limit_share(directories[_SHARE], allowance.cpu_percent)


def _limit_share(place: Path, percent: int) -> None:
    """
    Give it `percent` hundredths of a processor; less where version 1 has a group above with less,
    for a share that is larger than that is refused there. A kernel that shares nothing (without
    CONFIG_CFS_BANDWIDTH) has no such file.
    """
    quota = percent * _PERIOD // 100
    if (place / _MAX).exists():
        _set(place / _MAX, f"{quota} {_PERIOD}")
    elif (place / _QUOTA).exists():
        least = min((quota, *(had * _PERIOD // of for had, of in _shares_above(place))))
        _set(place / _QUOTA, str(least))


def _shares_above(place: Path) -> Iterator[tuple[int, int]]:
    while ((place := place.parent) / _QUOTA).exists():
        if share := _share(place):
            yield share


def _share(place: Path) -> tuple[int, int] | None:
    """
    The microseconds of CPU that a group has in each period, and those of the period; None for all.
    """
    if (place / _MAX).exists():
        quota, period = _read(place / _MAX).split()
        return None if quota == "max" else (int(quota), int(period))
    if not (place / _QUOTA).exists():
        return None
    had = int(_read(place / _QUOTA))
    return None if had < 0 else (had, int(_read(place / _PERIOD_FILE)))


def own() -> dict[str, Path]:
    """
    The directory of this process's own group in each hierarchy that we use.

    Keys are `memory`, `pids`, `cpu` where that is ours to share, and, where a writable version 2 is
    mounted, `unified`, else those of `cpuacct` and `freezer` that are writable. Raises
    MechanismMissing naming the controllers that are not there.
    """
    found = dict(_found(_read(Path("/proc/self/cgroup"))))
    _delegate(found)
    for controller in (_ACCOUNTING, _FREEZER):
        # Version 2 does the work of both, without a controller; else they are taken if ours.
        if _UNIFIED in found or not os.access(found.get(controller, ""), os.W_OK):
            found.pop(controller, None)
    if not os.access(found.get(_SHARE, ""), os.W_OK):
        found.pop(_SHARE, None)
    missing = sorted(set(_CONTROLLERS) - set(found))
    if missing:
        raise MechanismMissing(MECHANISM, f"no controller {' and '.join(missing)}; {_MEND}")
    return found


# As long as this process is not moved, its groups are where they were.
@lru_cache(maxsize=1)
def _found(memberships: str) -> tuple[tuple[str, Path], ...]:
    ours = dict(_parsed(memberships))
    found: dict[str, Path] = {}
    for mount in mounts.mounted():
        if mount.kind == "cgroup2":
            _add(found, _UNIFIED, mount, ours)
        elif mount.kind == "cgroup":
            for controller in _USEFUL & mount.super_options:
                _add(found, controller, mount, ours)
    return tuple(found.items())


def _parsed(memberships: str) -> Iterator[tuple[str, str]]:
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(",") if controllers else [_UNIFIED]:
            yield controller, path


def _add(found: dict[str, Path], key: str, mount: mounts.Mount, ours: dict[str, str]) -> None:
    own = PurePosixPath(ours.get(key, "/"))
    root = PurePosixPath(mount.root)
    if own.is_relative_to(root):
        found.setdefault(key, Path(mount.place, own.relative_to(root)))


def _delegate(found: dict[str, Path]) -> None:
    # A controller of version 2 serves us where our own group hands it on to groups below.
    unified = found.get(_UNIFIED)
    if unified is None:
        return
    handed = _read(unified / "cgroup.subtree_control").split()
    for controller in (*_CONTROLLERS, _SHARE):
        if controller in handed:
            found.setdefault(controller, unified)
    if not os.access(unified, os.W_OK):
        del found[_UNIFIED]


def _remove(directory: Path) -> None:
    for _ in range(_REMOVALS):
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise MechanismFailed(
                    MECHANISM, f"removing {directory}: {error.strerror}; {_MEND}"
                ) from error
            os.sched_yield()
        else:
            return
    raise MechanismFailed(MECHANISM, f"{directory} still has processes; end them first")


def _fields(path: Path) -> dict[str, int]:
    lines = [line.split() for line in _read(path).splitlines()]
    return {name: int(value) for name, value in lines}


def _set(path: Path, value: str) -> None:
    _write(path, value)
    found = _read(path).strip()
    if found != value:
        raise MechanismFailed(MECHANISM, f"{path} set to {value} reads {found}; {_MEND}")


def _read(path: Path) -> str:
    return _bytes(path).decode("ascii")


def _bytes(path: Path) -> bytes:
    with asking(MECHANISM, "reading {}", _MEND, path):
        return proc.read(str(path))


def _write(path: Path, value: str) -> None:
    with asking(MECHANISM, "writing {} to {}", _MEND, value, path):
        proc.write(str(path), value.encode("ascii"))
