"""
What a box is to be: data, checked once, before anything of it exists.

A plan names every path of the host that the guest will see. There is no other way for one to
appear in the box, so what may not be shown is refused here, by name: the host's root, its
processes, its devices, its kernel's settings.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from executor.linux.errors import MechanismFailed
from executor.process.supervisor_attach import MAX_SERVED

MECHANISM = "box"
HOME = "/home/agent"
WORK = "/work"
TEMPORARY = "/tmp"  # noqa: S108 - the guest's own, in its own file system
# libc's semaphores and multiprocessing's, in boxes that may have children.
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the guest's own
CHANNEL = 3
GUEST_ID = 1000
# Host ids of boxes that root makes: above what distributions and subuid(5) hand out by default.
FIRST_HOST_ID = 1 << 30
MAX_SLOTS = 1 << 20

MAX_PORTS = 64
LEAST_BYTES, LEAST_FILES = 4096, 16
MOST_SECONDS = 10**8
MOST_PERCENT = 102_400

_MIB = 1 << 20
_LARGEST = 1 << 40
_MOST_FILES = 10**8
# The guest's own mounts, and what only the kernel fills: nothing of a plan may stand there.
_OURS = ("/dev", "/proc", "/sys", "/etc", TEMPORARY, HOME)
# What of the host is never shown, nor anything that would contain it.
_NEVER_SHOWN = ("/proc", "/sys", "/dev", "/run", "/var/run", "/boot", "/etc/shadow", "/etc/ssh")


class Level(Enum):
    """
    How much holds a box, by the name that policies and reports use; from least to most.
    """

    P2 = "Landlock, a narrower seccomp filter and resource limits; no namespaces"
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

    Both are absolute and normal (no `..`, no doubled slash); no part of `source` is a link. With
    `object`, its device and inode, another object that stands there by now is not shown.
    """

    source: str
    mount: str
    object: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Scratch:
    """
    A file system in memory that the guest may write, empty at first, at the guest's path `mount`.

    It takes `bytes` (4096 to 2**40) and `files` (16 to 10**8), which the kernel enforces.
    """

    mount: str
    bytes: int
    files: int


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

    Files. `mounts` are shown read-only; `scratch` are the guest's own, besides TEMPORARY and HOME
    of `tmp_bytes` and `tmp_files` each, and SHARED_MEMORY where there are children; at each path of
    `served` a FUSE file system is mounted, whose other end whoever made the box gets and serves.
    Mounts may lie in scratch, and in nothing else. `directory` is where the guest starts: HOME,
    TEMPORARY or a scratch mount; the first scratch mount, else HOME, unless it is said.

    Use. `memory` is the bytes that it may use beyond what it was cloned with; `cpu_seconds` all its
    CPU time, `cpu_percent` what it may have of processors at a time, in hundredths of one;
    `open_files` is one past the highest descriptor; `tasks` its threads and processes.
    `environment` is all of it.

    Network. On each TCP port of `ports`, connections to every address whatever arrive at a listener
    that whoever made the box gets; with `names`, so do queries to 127.0.0.1:53.

    Calls. With `watched`, a refused system call waits for whoever made the box to answer it. With
    `fork` there may be child processes; `programs` are absolute paths of files or directories
    that may be executed, shown where the host has them; `new_code` is about memory.

    `identity` is a host user of its own, needed when the zygote is root and only possible then.
    `kept` are the descriptors that stay open besides the standard three; those of the standard
    three that are not in `kept` become /dev/null. `minimum` is the least level that will do.
    """

    mounts: tuple[View, ...]
    links: tuple[Link, ...] = ()
    scratch: tuple[Scratch, ...] = ()
    served: tuple[str, ...] = ()
    directory: str = ""
    tmp_bytes: int = 64 * _MIB
    tmp_files: int = 20_000
    memory: int = 1024 * _MIB
    cpu_seconds: int = 3600
    cpu_percent: int = 100
    open_files: int = 256
    tasks: int = 64
    ports: tuple[int, ...] = ()
    names: bool = False
    watched: bool = False
    fork: bool = False
    programs: tuple[str, ...] = ()
    new_code: NewCode = NewCode.REFUSED
    environment: tuple[tuple[str, str], ...] = ()
    identity: Identity | None = None
    kept: frozenset[int] = frozenset({CHANNEL})
    minimum: Level = Level.P3

    def __post_init__(self) -> None:
        """
        Raises MechanismFailed naming the first field that cannot be meant.
        """
        _check_places(self)
        for name, (least, most) in _RANGES.items():
            _check_range(name, getattr(self, name), least, most)
        for scratch in self.scratch:
            _check_range(f"bytes of {scratch.mount}", scratch.bytes, LEAST_BYTES, _LARGEST)
            _check_range(f"files of {scratch.mount}", scratch.files, LEAST_FILES, _MOST_FILES)
        _check_ports(self.ports)
        _check_environment(self.environment)
        if not self.directory:
            # Frozen for its users; here it is still being made.
            object.__setattr__(self, "directory", self._first_directory())
        _check_directory(self)

    @property
    def own_places(self) -> tuple[Scratch, ...]:
        """
        All that the guest may write and nobody serves, TEMPORARY and HOME among them.
        """
        named = (TEMPORARY, HOME, SHARED_MEMORY) if self.children else (TEMPORARY, HOME)
        own = (Scratch(place, self.tmp_bytes, self.tmp_files) for place in named)
        return (*self.scratch, *own)

    @property
    def children(self) -> bool:
        """
        Whether it may have processes besides its first: a program is started in one.
        """
        return self.fork or bool(self.programs)

    @property
    def processes(self) -> int:
        """
        How many threads and processes the kernel has to let it have, those of ours among them.
        """
        return self.tasks + 1 if self.children else self.tasks

    @property
    def largest_file(self) -> int:
        """
        The bytes that a file may have; of what is served, whoever serves it decides.
        """
        return _LARGEST if self.served else max(own.bytes for own in self.own_places)

    @property
    def network(self) -> bool:
        """
        Whether it may make sockets of the internet families, all of which end in its listeners.
        """
        return bool(self.ports) or self.names

    def _first_directory(self) -> str:
        return self.scratch[0].mount if self.scratch else HOME


def identity_of(slot: int) -> Identity:
    """
    The host identity of box number `slot` (0 to 2**20 - 1), which no other living box may have.

    Raises MechanismFailed outside that range.
    """
    if not 0 <= slot < MAX_SLOTS:
        raise MechanismFailed(MECHANISM, f"slot {slot}; there are 0 to {MAX_SLOTS - 1}")
    return Identity(FIRST_HOST_ID + slot, FIRST_HOST_ID + slot)


_RANGES = {
    "tmp_bytes": (LEAST_BYTES, _LARGEST),
    "tmp_files": (LEAST_FILES, _MOST_FILES),
    "memory": (_MIB, _LARGEST),
    "cpu_seconds": (1, MOST_SECONDS),
    "cpu_percent": (5, MOST_PERCENT),
    "open_files": (16, 65536),
    "tasks": (1, 4096),
}


def _check_places(plan: BoxPlan) -> None:
    for view in plan.mounts:
        _check_source(view.source)
    for program in plan.programs:
        _check_source(program)
    places = [view.mount for view in plan.mounts] + [link.mount for link in plan.links]
    scratch = [scratch.mount for scratch in plan.scratch]
    places += scratch + list(plan.served)
    for place in places:
        _check_mount(place)
    _check_disjoint(places, scratch)
    _check_range("number of served mounts", len(plan.served), 0, MAX_SERVED)


def _check_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise MechanismFailed(MECHANISM, f"{name} is {value}; give {least} to {most}")


def _check_ports(ports: tuple[int, ...]) -> None:
    for port in ports:
        _check_range("port", port, 1, 65535)
    if len(set(ports)) != len(ports) or len(ports) > MAX_PORTS:
        raise MechanismFailed(MECHANISM, f"ports {ports}; give each once and {MAX_PORTS} at most")


def _check_directory(plan: BoxPlan) -> None:
    possible = [scratch.mount for scratch in plan.own_places]
    if plan.directory not in possible:
        raise MechanismFailed(
            MECHANISM, f"the guest would start in {plan.directory!r}; give one of {possible}"
        )


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


# Whoever makes boxes names the same paths again and again.
@lru_cache(maxsize=4096)
def _check_source(path: str) -> None:
    _check_normal(path, "source")
    for name in _NEVER_SHOWN:
        if _overlap(path, name):
            raise MechanismFailed(
                MECHANISM, f"the view of {path} would show {name}; name a tree beside it"
            )


@lru_cache(maxsize=4096)
def _check_mount(path: str) -> None:
    _check_normal(path, "mount")
    for name in _OURS:
        if _overlap(path, name):
            raise MechanismFailed(
                MECHANISM, f"a mount at {path} collides with the box's own {name}; mount elsewhere"
            )


def _check_normal(path: str, what: str) -> None:
    parts = path.split("/")[1:]
    plain = path.startswith("/") and path != "/" and "\0" not in path
    if not plain or any(part in {"", ".", ".."} for part in parts):
        raise MechanismFailed(
            MECHANISM, f"{what} {path!r}; give an absolute path below / without '.', '..' or '//'"
        )


def _check_disjoint(mounts: list[str], scratch: list[str]) -> None:
    # What is empty at first can have mounts in it: nothing of the host is hidden by them.
    for place in mounts:
        above = [o for o in mounts if place.startswith(f"{o}/") and o not in scratch]
        if above or mounts.count(place) > 1:
            raise MechanismFailed(
                MECHANISM,
                f"{place} is mounted twice or lies below {above}; mounts nest in scratch alone",
            )


def _check_environment(environment: tuple[tuple[str, str], ...]) -> None:
    for name, value in environment:
        if not name or "=" in name or "\0" in name + value:
            raise MechanismFailed(MECHANISM, f"environment variable {name!r}; give name and text")
