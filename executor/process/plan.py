"""
What a box is to be: data, checked once, before anything of it exists.

A plan names every path of the host that the guest will see. There is no other way for one to
appear in the box, so what may not be shown is refused here, by name: the host's root, its
processes, its devices, its kernel's settings.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath

from executor.linux.errors import MechanismFailed

MECHANISM = "box"
HOME = "/home/agent"
WORK = "/work"
TEMPORARY = "/tmp"  # noqa: S108 - the guest's own, in its own file system
CHANNEL = 3
GUEST_ID = 1000
# Host ids of boxes that root makes: above what distributions and subuid(5) hand out by default.
FIRST_HOST_ID = 1 << 30
MAX_SLOTS = 1 << 20

_MIB = 1 << 20
_LARGEST = 1 << 40
# The guest's own mounts, and what only the kernel fills: nothing of the host may stand there.
_OURS = ("/dev", "/proc", "/sys", "/etc", WORK, TEMPORARY, HOME)
# What of the host is never shown, nor anything that would contain it.
_NEVER_SHOWN = ("/proc", "/sys", "/dev", "/run", "/var/run", "/boot", "/etc/shadow", "/etc/ssh")


class Level(Enum):
    """
    How much holds a box, by the name that policies and reports use.
    """

    P3 = "namespaces, Landlock, seccomp and resource limits"
    P4 = "namespaces, Landlock, seccomp, cgroups and a host user of its own"


class NewCode(Enum):
    """
    Whether the guest may make memory executable: compilers in a process need it, Python does not.
    """

    REFUSED = "refused"
    ALLOWED = "allowed"


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A user and a group of the host, both 1 or more, that a box runs as.
    """

    uid: int
    gid: int

    def __post_init__(self) -> None:
        """
        Raises MechanismFailed for uid or gid 0: the host's root is never inside a box.
        """
        if self.uid < 1 or self.gid < 1:
            raise MechanismFailed(
                MECHANISM, f"identity {self.uid}:{self.gid}; a box runs as 1 or more"
            )


@dataclass(frozen=True, slots=True)
class View:
    """
    A tree or file of the host, `source`, that the guest sees read-only at `mount`.

    Both are absolute and normal (no `..`, no doubled slash); no part of `source` is a link.
    """

    source: str
    mount: str


@dataclass(frozen=True, slots=True)
class Link:
    """
    A symbolic link at the guest's absolute path `mount` that says `target`.
    """

    mount: str
    target: str


@dataclass(frozen=True, slots=True)
class BoxPlan:
    """
    One box: what it sees, holds, may use, and the least that must hold it.

    `work_bytes` and `work_files` bound WORK; `tmp_bytes` bounds TEMPORARY and HOME, each. `memory`
    is the bytes that it may use beyond what it was cloned with; `cpu_seconds` all its CPU time;
    `open_files` is one past the highest descriptor; `tasks` its threads. `environment` is all
    of it. `identity` is a host user of its own, needed when the zygote is root and only possible
    then. `kept` are the descriptors that stay open besides the standard three; those of the
    standard three that are not in `kept` become /dev/null.
    """

    mounts: tuple[View, ...]
    links: tuple[Link, ...] = ()
    work_bytes: int = 256 * _MIB
    work_files: int = 20_000
    tmp_bytes: int = 64 * _MIB
    memory: int = 1024 * _MIB
    cpu_seconds: int = 3600
    open_files: int = 256
    tasks: int = 64
    environment: tuple[tuple[str, str], ...] = ()
    identity: Identity | None = None
    kept: frozenset[int] = frozenset({CHANNEL})
    minimum: Level = Level.P3
    new_code: NewCode = NewCode.REFUSED

    def __post_init__(self) -> None:
        """
        Raises MechanismFailed naming the first field that cannot be meant.
        """
        for view in self.mounts:
            _check_source(view.source)
        places = [view.mount for view in self.mounts] + [link.mount for link in self.links]
        for place in places:
            _check_mount(place)
        _check_disjoint(places)
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise MechanismFailed(MECHANISM, f"{name} is {value}; give {least} to {most}")
        _check_environment(self.environment)


def identity_of(slot: int) -> Identity:
    """
    The host identity of box number `slot` (0 to 2**20 - 1), which no other living box may have.

    Raises MechanismFailed outside that range.
    """
    if not 0 <= slot < MAX_SLOTS:
        raise MechanismFailed(MECHANISM, f"slot {slot}; there are 0 to {MAX_SLOTS - 1}")
    return Identity(FIRST_HOST_ID + slot, FIRST_HOST_ID + slot)


_RANGES = {
    "work_bytes": (4096, _LARGEST),
    "work_files": (16, 10**8),
    "tmp_bytes": (4096, _LARGEST),
    "memory": (_MIB, _LARGEST),
    "cpu_seconds": (1, 10**8),
    "open_files": (16, 65536),
    "tasks": (1, 4096),
}


def _check_source(path: str) -> None:
    _check_normal(path, "source")
    shown = PurePosixPath(path)
    for name in map(PurePosixPath, _NEVER_SHOWN):
        if shown == name or shown in name.parents or name in shown.parents:
            raise MechanismFailed(
                MECHANISM, f"the view of {path} would show {name}; name a tree beside it"
            )


def _check_mount(path: str) -> None:
    _check_normal(path, "mount")
    place = PurePosixPath(path)
    for name in map(PurePosixPath, _OURS):
        if place == name or place in name.parents or name in place.parents:
            raise MechanismFailed(
                MECHANISM, f"a view at {path} collides with the box's own {name}; mount elsewhere"
            )


def _check_normal(path: str, what: str) -> None:
    parts = path.split("/")[1:]
    plain = path.startswith("/") and path != "/" and "\0" not in path
    if not plain or any(part in {"", ".", ".."} for part in parts):
        raise MechanismFailed(
            MECHANISM, f"{what} {path!r}; give an absolute path below / without '.', '..' or '//'"
        )


def _check_disjoint(mounts: list[str]) -> None:
    for place in mounts:
        above = [other for other in mounts if place.startswith(f"{other}/")]
        if above or mounts.count(place) > 1:
            raise MechanismFailed(
                MECHANISM, f"{place} is mounted twice or lies below {above}; views may not nest"
            )


def _check_environment(environment: tuple[tuple[str, str], ...]) -> None:
    for name, value in environment:
        if not name or "=" in name or "\0" in name + value:
            raise MechanismFailed(MECHANISM, f"environment variable {name!r}; give name and text")
