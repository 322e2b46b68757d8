"""
The sources of a declaration, opened: what asks and fetches in place of the words that name it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from executor.images.declaration import Declaration, Source, SourceKind
from executor.images.directory import Directory
from executor.images.distribution import (
    Distribution,
    check_with_pyodide_lock,
    read_entries,
    read_lock_file,
)
from executor.images.errors import SourceRefusedError
from executor.images.guests import Origin
from executor.images.pypi import PyPI
from executor.images.wheels import Sources


@dataclass(frozen=True, slots=True)
class Opened:
    """
    The opened sources in the declaration's order.
    """

    indexes: tuple[PyPI | Directory | Distribution, ...]

    @property
    def sources(self) -> Sources:
        """
        The same for fetching: those that know hashes first, as they can say what they have.
        """
        shelves = tuple(index for index in self.indexes if not isinstance(index, PyPI))
        pypi = next((index for index in self.indexes if isinstance(index, PyPI)), None)
        return Sources(shelves, pypi)

    def distributions(self) -> tuple[Distribution, ...]:
        """
        Those that are a Pyodide distribution.
        """
        return tuple(index for index in self.indexes if isinstance(index, Distribution))


def open_sources(
    declaration: Declaration, room: Path, base: str | None, shipped: Callable[[], bytes]
) -> Opened:
    """
    Open each source of a declaration; `room` is an empty directory for pip to work in.

    `base` is the address of Pyodide's distribution or None, and `shipped` gets the lock file
    that the guest's npm package carries. Raises SourceRefusedError.
    """
    return Opened(
        tuple(_open(source, declaration, room, base, shipped) for source in declaration.sources)
    )


def _open(
    source: Source,
    declaration: Declaration,
    room: Path,
    base: str | None,
    shipped: Callable[[], bytes],
) -> PyPI | Directory | Distribution:
    kind = declaration.guest
    if source.kind is SourceKind.PYPI:
        return PyPI(kind, room)
    if source.kind is SourceKind.DIRECTORY and source.path is not None:
        return Directory(source.path, kind)
    if kind.origin is not Origin.NPM:
        raise SourceRefusedError(
            f"{kind.name} cannot load packages of Pyodide's distribution. Leave `pyodide` out of "
            "the sources, or declare a Pyodide guest."
        )
    text = shipped() if source.path is None else read_lock_file(source.path)
    name = "pyodide-lock.json" if source.path is None else source.path.name
    check_with_pyodide_lock(text, name)
    return Distribution(read_entries(text, kind, name), base)
