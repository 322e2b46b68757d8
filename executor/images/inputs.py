"""
A guest's own parts before they are compiled, whatever it comes in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from executor.images import pyodide, store, wasi
from executor.images.cache import Cache
from executor.images.guests import GuestKind, Origin
from executor.images.lock import LockedPackage
from executor.images.manifest import CLOSURES, PYTHON, TRAMPOLINE
from executor.images.node import find_node
from executor.images.pins import PYODIDE_LOCK, load_pins
from executor.images.process import Tick
from executor.images.progress import Report, Step, reported
from executor.images.pypi import PyPI
from executor.images.wheels import Sources, fetch
from executor.wasm.closures import adapter_module


@dataclass(frozen=True, slots=True)
class GuestParts:
    """
    WebAssembly modules, the standard library's zip, and further files by absolute guest path.

    `trampoline` is empty where the guest needs none, and so are then its closures.
    """

    python: bytes
    trampoline: bytes
    stdlib: bytes
    extra: Mapping[str, bytes] = field(default_factory=dict)

    def modules(self) -> dict[str, bytes]:
        """
        What is to be compiled, by the name of the image's file.
        """
        if not self.trampoline:
            return {PYTHON: self.python}
        closures = adapter_module()
        return {PYTHON: self.python, TRAMPOLINE: self.trampoline, CLOSURES: closures}


def guest_parts(kind: GuestKind, cache: Cache, work: Path, progress: Report) -> GuestParts:
    """
    Get the parts of a guest, each with the SHA-256 that the package pins; `work` is empty.

    Raises ToolMissingError, ToolFailedError, PinMismatchError, WheelRefusedError.
    """
    if kind.origin is Origin.NPM:
        made = _from_npm(kind, cache, work, progress)
        return GuestParts(made.python_wasm, made.trampoline_wasm, made.stdlib_zip)
    with reported(Step.FETCH, work, progress) as tick:
        found = wasi.inputs(own_wheel(kind, cache, work, tick))
        return GuestParts(found.python_wasm, b"", found.stdlib_zip, found.extra)


def own_package(kind: GuestKind) -> LockedPackage:
    """
    The wheel that a guest comes in, as the package pins it.
    """
    pins = load_pins(kind.name)
    hashes = frozenset({pins.fetched[kind.own]})
    return LockedPackage(kind.own, pins.versions[kind.own], hashes, frozenset())


def own_wheel(kind: GuestKind, cache: Cache, work: Path, tick: Tick) -> bytes:
    """
    The bytes of that wheel, from the store or else from PyPI, whose own requirements are left.

    It is fetched once and kept; the cache's lock must be held. `work` is a directory to work in.
    """
    package = own_package(kind)
    room = work / "own"
    room.mkdir(mode=0o700)
    data = fetch(cache, (package,), Sources(pypi=PyPI(kind, room)), tick)[package.name]
    store.keep(cache, data)
    return data


def _from_npm(kind: GuestKind, cache: Cache, work: Path, progress: Report) -> pyodide.GuestInputs:
    pins = load_pins(kind.name)
    kept = pyodide.from_store(cache, pins)
    if kept is not None:
        return kept
    room, translated = work / "npm", work / "translate"
    for made in (room, translated):
        made.mkdir(mode=0o700)
    with reported(Step.FETCH, room, progress) as tick:
        node = find_node(room)
        modules = pyodide.fetch(node, kind, room, pins, cache, tick)
    with reported(Step.TRANSLATE, translated, progress) as tick:
        return pyodide.translate(node, kind, modules, translated, cache, pins, tick)


def shipped_distribution(kind: GuestKind, cache: Cache, work: Path, tick: Tick) -> bytes:
    """
    The `pyodide-lock.json` of the guest's npm package; `work` is a directory to work in.
    """
    return pyodide.kept(kind, PYODIDE_LOCK, cache, work, tick)
