"""
From a lock to a site-packages directory: fetch by hash, check, unpack.

A wheel may come from the store, from a directory, from Pyodide's distribution or from PyPI; the
lock says which bytes it must be, so it does not matter which of them had it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from executor.images import store
from executor.images.cache import Cache, write_new
from executor.images.errors import WheelRefusedError
from executor.images.guests import DEFAULT, GuestKind
from executor.images.lock import CORE_LOCK, Lock, LockedPackage, normalise, read_lock
from executor.images.manifest import Package
from executor.images.pins import sha256
from executor.images.process import Tick
from executor.images.pypi import PyPI
from executor.images.releases import Shelf
from executor.images.tags import holds
from executor.images.unpack import WheelContent, clash, read_wheel


@dataclass(frozen=True, slots=True)
class Wheel:
    """
    A wheel that was fetched, with the lock entry that allows it and its SHA-256 (hex).
    """

    package: LockedPackage
    sha256: str
    content: WheelContent

    def described(self) -> Package:
        """
        What the image's manifest says about it.
        """
        return Package(self.package.name, self.package.version, self.sha256)


@dataclass(frozen=True, slots=True)
class Sources:
    """
    Where an image's wheels may come from: shelves, asked in their order, then PyPI, if at all.
    """

    shelves: Sequence[Shelf] = ()
    pypi: PyPI | None = None


def gather(
    cache: Cache,
    chosen: tuple[LockedPackage, ...],
    sources: Sources,
    tick: Tick,
    kind: GuestKind = DEFAULT,
    later: tuple[LockedPackage, ...] = (),
) -> tuple[Wheel, ...]:
    """
    Get the wheels of `chosen`, each checked whole; what is sound is kept in the store.

    `later` are packages of the same image that are not fetched now.

    Raises ToolFailedError, ToolMissingError, SourceRefusedError and WheelRefusedError; the
    latter also where a wheel needs, in the guest, a package that was not chosen.
    """
    fetched = fetch(cache, chosen, sources, tick)
    wheels = []
    for package in chosen:
        data = fetched[package.name]
        content = read_wheel(data, package, kind)
        wheels.append(Wheel(package, store.keep(cache, data), content))
    _check_needs(wheels, {package.name for package in (*chosen, *later)}, kind)
    _check_overlap(wheels)
    return tuple(wheels)


def fetch(
    cache: Cache, packages: tuple[LockedPackage, ...], sources: Sources, tick: Tick
) -> dict[str, bytes]:
    """
    The bytes of locked wheels by name: from the store, then the shelves, then PyPI.

    Each has a hash of its lock entry; nothing else of it has been looked at, and nothing is
    kept. Raises SourceRefusedError where a shelf cannot be read, ToolFailedError where pip fails,
    and WheelRefusedError where no source has a wheel.
    """
    found = {package.name: _stored(cache, package) for package in packages}
    for package in packages:
        if found[package.name] is None:
            found[package.name] = _shelved(package, sources, tick)
    absent = tuple(package for package in packages if found[package.name] is None)
    if absent and sources.pypi is None:
        raise WheelRefusedError(_nowhere(absent[0]))
    if absent and sources.pypi is not None:
        target = sources.pypi.download(absent, tick)
        found |= {package.name: _downloaded(target, package) for package in absent}
    return {name: data for name, data in found.items() if data is not None}


def _stored(cache: Cache, package: LockedPackage) -> bytes | None:
    for digest in sorted(package.hashes):
        data = store.take(cache, digest)
        if data is not None:
            return data
    return None


def _shelved(package: LockedPackage, sources: Sources, tick: Tick) -> bytes | None:
    for shelf in sources.shelves:
        data = shelf.take(package, tick)
        if data is not None and sha256(data) in package.hashes:
            return data
    return None


def _nowhere(package: LockedPackage) -> str:
    return (
        f"No source of the image has the wheel of {package.name} {package.version} with a hash of "
        "its lock. Put it into a directory that `sources` names, or add a source that has it."
    )


def _downloaded(target: Path, package: LockedPackage) -> bytes:
    # By content: file names spell a project in more than one way.
    for path in sorted(target.iterdir()):
        if path.suffix == ".whl" and not path.is_symlink():
            data = path.read_bytes()
            if sha256(data) in package.hashes:
                return data
    found = ", ".join(sorted(path.name for path in target.iterdir())) or "nothing"
    raise WheelRefusedError(
        f"A wheel of {package.name} {package.version} with a hash of the lock was asked for, and "
        f"{found} was fetched. Only built wheels are installed; a source archive would run its "
        "own code."
    )


def _check_needs(wheels: list[Wheel], chosen: set[str], kind: GuestKind) -> None:
    for wheel in wheels:
        missing = sorted(_needs(wheel, kind) - chosen)
        if missing:
            raise WheelRefusedError(
                f"{wheel.package.name} {wheel.package.version} needs {', '.join(missing)}, which "
                "the lock does not tie to it. Lock them together: codecage image lock."
            )


def _needs(wheel: Wheel, kind: GuestKind) -> set[str]:
    """
    The packages that a wheel needs in the guest without any extra.
    """
    try:
        requirements = [Requirement(text) for text in wheel.content.requires]
    except InvalidRequirement as error:
        raise WheelRefusedError(
            f"The wheel of {wheel.package.name} {wheel.package.version} is refused: it has a "
            f"requirement that cannot be read ({error}). Choose another release of it."
        ) from error
    return {
        normalise(one.name)
        for one in requirements
        if one.marker is None or holds(kind, one.marker, ())
    }


def _check_overlap(wheels: list[Wheel]) -> None:
    problem = clash(
        name for wheel in wheels for name, _ in (*wheel.content.files, *wheel.content.natives)
    )
    if problem is not None:
        names = ", ".join(wheel.package.name for wheel in wheels)
        raise WheelRefusedError(
            f"The wheels of {names} do not fit into one image: {problem}. One would replace the "
            "other's code; use them apart."
        )


def install(wheels: tuple[Wheel, ...], site_packages: Path) -> None:
    """
    Write the checked files below `site_packages`, which must not exist yet.

    A native module is an empty file there: importers find it by its name, and its code is in
    the image as a compiled module.
    """
    site_packages.mkdir(mode=0o755)
    for wheel in wheels:
        for name, content in wheel.content.files:
            _write(site_packages / name, content)
        for name, _ in wheel.content.natives:
            _write(site_packages / name, b"")


def _write(path: Path, content: bytes) -> None:
    _make_directory(path.parent)
    write_new(path, content)


def _make_directory(path: Path) -> None:
    # Not mkdir's `parents`: it gives those the umask's mode, which may let a group write.
    if not path.exists():
        _make_directory(path.parent)
        path.mkdir(mode=0o755)


def native_files(wheels: tuple[Wheel, ...]) -> dict[str, bytes]:
    """
    The native modules of all wheels by their path below site-packages.
    """
    return {name: content for wheel in wheels for name, content in wheel.content.natives}


def select(lock: Lock, names: tuple[str, ...], kind: GuestKind) -> tuple[LockedPackage, ...]:
    """
    The packages of an image: what every image has, what was asked for, and what they need.

    What every image has comes from `lock` where it is there, else from the shipped one. Raises
    LockRefusedError.
    """
    own = {package.name for package in lock.packages}
    base = read_lock(CORE_LOCK).select(name for name in kind.always if name not in own)
    chosen = lock.select((*(name for name in kind.always if name in own), *names))
    return tuple(sorted((*base, *chosen), key=lambda package: package.name))
