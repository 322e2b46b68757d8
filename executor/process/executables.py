"""
The programs that a plan grants, as what has to be shown and what may be executed.

The kernel follows more than one name when it starts a program: links on the way to it, the
interpreter that a script names, the dynamic loader that an ELF file names. All of these have to be
there in the box under the names by which they are looked up, and all may be executed. A loader
that may be executed runs any ELF file that it can map, so with a program come the other programs
of the trees that are shown (none of them can be written, and all are held by the same box).
"""

import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from executor.linux import programs
from executor.linux.errors import MechanismFailed, asking
from executor.process.plan import BoxPlan, Link, View

MECHANISM = "program"

_SEARCH = "/usr/bin:/bin"
# MAXSYMLINKS of the kernel: path_resolution(7).
_MOST_LINKS = 40
_MEND = "name programs that are there and that the server may read"


@dataclass(frozen=True, slots=True)
class Executables:
    """
    `views` and `links` that a box needs besides its plan's; `paths` of the guest to be executed.
    """

    views: tuple[View, ...] = ()
    links: tuple[Link, ...] = ()
    paths: tuple[str, ...] = ()


def of(plan: BoxPlan) -> Executables:
    """
    Look up the plan's programs on this host.

    Raises MechanismFailed for one that is not there, is neither a file nor a directory, or that
    this process cannot read.
    """
    if not plan.programs:
        return Executables()
    named = [name for program in plan.programs for name in _started_by(program)]
    real = tuple(dict.fromkeys(_real(name) for name in named))
    shown = [view.mount for view in plan.mounts if view.mount == view.source]
    views = tuple(View(path, path) for path in _outermost(real) if not _is_below(path, shown))
    told = {link.mount for link in plan.links}
    below = [*shown, *(view.mount for view in views)]
    links = {
        link.mount: link
        for name in named
        for link in _links_on(name)
        if link.mount not in told and not _is_below(link.mount, below)
    }
    return Executables(views, tuple(links.values()), real)


def _started_by(program: str) -> tuple[str, ...]:
    """
    The program and what the kernel loads for it, each by the name that it is looked up by.
    """
    mode = _mode(program)
    if stat.S_ISREG(mode):
        return tuple(map(str, programs.named_by(Path(program), _SEARCH)))
    if stat.S_ISDIR(mode):
        # What is in it is linked as this interpreter is: by one libc, with one loader.
        loaders = programs.named_by(Path(_real(sys.executable or "/proc/self/exe")), _SEARCH)
        return (program, *map(str, loaders[1:]))
    raise MechanismFailed(MECHANISM, f"{program} is {stat.filemode(mode)}; {_MEND}")


def _mode(path: str) -> int:
    with asking(MECHANISM, f"looking at {path}", _MEND):
        return Path(path).stat().st_mode


def _real(path: str) -> str:
    with asking(MECHANISM, f"looking for {path}", _MEND):
        return os.path.realpath(path, strict=True)


def _outermost(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path for path in paths if not _is_below(path, [o for o in paths if o != path]))


def _is_below(path: str, places: list[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _links_on(path: str) -> Iterator[Link]:
    """
    Every symbolic link that is followed on the way to `path`, where it stands.
    """
    current, waiting, followed = PurePosixPath("/"), list(PurePosixPath(path).parts[1:]), 0
    while waiting:
        part = waiting.pop(0)
        if part == "..":
            current = current.parent
            continue
        step = current / part
        with asking(MECHANISM, f"looking at {step}", _MEND):
            linked = stat.S_ISLNK(os.lstat(step).st_mode)
            target = os.readlink(step) if linked else ""  # noqa: PTH115 - as text, unresolved
        if not linked:
            current = step
            continue
        followed += 1
        if followed > _MOST_LINKS:
            raise MechanismFailed(MECHANISM, f"{path} has {followed} links; name what it means")
        yield Link(str(step), target)
        parts = PurePosixPath(target).parts
        current = PurePosixPath("/") if target.startswith("/") else current
        waiting = [*(parts[1:] if target.startswith("/") else parts), *waiting]
