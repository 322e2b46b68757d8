"""
A directory of wheels as a source: a mirror that was carried in, or wheels that a user built.

Nothing but file names and bytes is believed: a wheel is offered only after it was checked whole,
as it will be checked again when an image is built.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from executor.images.errors import LockRefusedError, SourceRefusedError
from executor.images.guests import GuestKind
from executor.images.lock import LockedPackage, normalise
from executor.images.pins import sha256
from executor.images.process import Tick
from executor.images.releases import Release, Wanted
from executor.images.tags import preference
from executor.images.unpack import MAX_BYTES, read_wheel

_SUFFIX: Final = ".whl"


class Directory:
    """
    The wheels in one directory, not in those below it, for one kind of guest.
    """

    def __init__(self, path: Path, kind: GuestKind) -> None:
        self._path = path
        self._kind = kind

    def find(self, wanted: Wanted, tick: Tick) -> Release | None:
        """
        The newest fitting wheel; of one version, the one whose tags the guest likes best.
        """
        best: tuple[Version, int, Path] | None = None
        for version, rank, path in self._named(wanted.name):
            tick()
            if rank is not None and wanted.versions.contains(version, prereleases=True):
                found = (version, -rank, path)
                best = found if best is None or found[:2] > best[:2] else best
        return None if best is None else self._release(wanted.name, best[0], best[2])

    def _release(self, name: str, version: Version, path: Path) -> Release:
        data = _read(path)
        digest = sha256(data)
        package = LockedPackage(name, str(version), frozenset({digest}), frozenset())
        content = read_wheel(data, package, self._kind)
        return Release(name, str(version), digest, content.requires)

    def take(self, package: LockedPackage, tick: Tick) -> bytes | None:
        """
        The wheel with a hash of the lock, found by its name and then by its content.
        """
        for _, _, path in self._named(package.name):
            tick()
            data = _read(path)
            if sha256(data) in package.hashes:
                return data
        return None

    def _named(self, name: str) -> Iterator[tuple[Version, int | None, Path]]:
        for path in self._wheels():
            try:
                project, version, _, tags = parse_wheel_filename(path.name)
                found = normalise(project)
            except (InvalidWheelFilename, LockRefusedError):
                continue
            if found == name:
                yield version, preference(self._kind, tags), path

    def _wheels(self) -> list[Path]:
        try:
            return sorted(path for path in self._path.iterdir() if path.suffix == _SUFFIX)
        except OSError as error:
            raise SourceRefusedError(
                f"The directory of wheels {self._path} cannot be read: {error.strerror}. "
                "Give one that exists, or leave it out of `sources`."
            ) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceRefusedError(f"The wheel {path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise SourceRefusedError(f"The wheel {path} has more than the {MAX_BYTES} bytes allowed.")
    return data
