"""
Building an image, from names to a published directory.

    wait for the lock, sweep what dead builds left; an image with this key is used as it is
    fetch      npm by lock file, or nothing where the store has the pinned files
    translate  wasm-opt, trampoline; every byte compared with a pin
    wheels     pip by hash, each wheel checked whole before anything is written
    compile    in a limited process; skipped where another image holds the same code
    bytecode   the guest itself, booted from the draft, compiles library and packages
    publish    durable files, rename, index
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path

from executor.images import catalog, manifest, pyodide, wheels
from executor.images.cache import (
    Cache,
    default_cache,
    exclusive,
    prepare,
    sweep,
    tree_bytes,
    write_new,
)
from executor.images.errors import ImageRefusedError
from executor.images.host import require_platform
from executor.images.identity import Runtime, image_key, image_name, this_runtime
from executor.images.lock import SHIPPED_LOCK, LockedPackage, normalise, read_lock
from executor.images.manifest import FileEntry, Image, Manifest
from executor.images.node import find_node, run_module
from executor.images.pins import PYTHON_WASM, TRAMPOLINE_WASM, load_pins, require_wasmtime, sha256
from executor.images.process import Tick
from executor.images.sealed import read


class Step(Enum):
    """
    The steps of a build in their order; the value is what a person reads.
    """

    WAIT = "wait for another build"
    FETCH = "fetch pyodide and binaryen"
    TRANSLATE = "translate to current WebAssembly"
    WHEELS = "fetch and check wheels"
    COMPILE = "compile to machine code"
    BYTECODE = "compile Python to bytecode"
    PUBLISH = "write the image"


@dataclass(frozen=True, slots=True)
class Progress:
    """
    Where a build is: the step, seconds since it began, and bytes it has put on disk so far.
    """

    step: Step
    seconds: float
    size: int


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Declaration:
    """
    What is asked for: packages by name, from a lock, under a name (None: made of the packages).
    """

    packages: tuple[str, ...] = ()
    name: str | None = None
    lock: Path = SHIPPED_LOCK


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    key: str
    runtime: Runtime
    packages: tuple[LockedPackage, ...]


def silent(_progress: Progress) -> None:
    """
    A report that shows nothing.
    """


def build(
    declaration: Declaration | None = None, progress: Report = silent, cache: Cache | None = None
) -> Image:
    """
    Build an image, or return the one that is there if it verifies.

    `progress` is called at the start of each step and about five times a second during it.
    Builds of several processes take turns, and the later ones find the first one's result.
    Raises an ImageError; nothing that could be taken for an image is then left behind.
    """
    require_platform()
    require_wasmtime()
    plan = _plan(declaration or Declaration())
    cache = cache or default_cache()
    prepare(cache)
    with exclusive(cache, lambda: progress(Progress(Step.WAIT, 0.0, 0))):
        sweep(cache)
        catalog.remove_strays(cache, catalog.read_index(cache))
        found = _sound(plan.key, cache)
        return found if found is not None else _make(plan, cache, progress)


def _plan(declaration: Declaration) -> _Plan:
    names = tuple(normalise(name) for name in declaration.packages)
    name = image_name(declaration.name, names)
    packages = wheels.select(read_lock(declaration.lock), names)
    runtime = this_runtime()
    return _Plan(name, image_key(name, runtime, packages), runtime, packages)


def _sound(key: str, cache: Cache) -> Image | None:
    # An image that does not verify is built again: `publish` replaces it.
    try:
        image = catalog.find_key(key, cache)
        if image is not None:
            catalog.verify(image)
    except ImageRefusedError:
        return None
    return image


def _make(plan: _Plan, cache: Cache, progress: Report) -> Image:
    with _workspace(cache) as work:
        inputs = _inputs(cache, work, progress)
        gathered = _wheels(plan, cache, work, progress)
        draft = work / "image"
        draft.mkdir(mode=0o700)
        _compile(plan, inputs, cache, work, draft, progress)
        write_new(draft / manifest.STDLIB, inputs.stdlib_zip)
        wheels.install(gathered, draft / manifest.SITE_PACKAGES)
        _bytecode(draft, work, progress)
        with _step(Step.PUBLISH, draft, progress):
            return catalog.publish(cache, draft, _describe(plan, gathered, draft))


@contextmanager
def _workspace(cache: Cache) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="build-", dir=cache.staging))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _step(step: Step, work: Path, progress: Report) -> Iterator[Tick]:
    begun = time.monotonic()

    def tick() -> None:
        progress(Progress(step, time.monotonic() - begun, tree_bytes(work)))

    tick()
    yield tick
    tick()


def _inputs(cache: Cache, work: Path, progress: Report) -> pyodide.GuestInputs:
    pins = load_pins()
    kept = pyodide.from_store(cache, pins)
    if kept is not None:
        return kept
    room = work / "npm"
    room.mkdir(mode=0o700)
    with _step(Step.FETCH, room, progress) as tick:
        node = find_node(room)
        modules = pyodide.fetch(node, room, pins, tick)
    translated = work / "translate"
    translated.mkdir(mode=0o700)
    with _step(Step.TRANSLATE, translated, progress) as tick:
        return pyodide.translate(node, modules, translated, cache, pins, tick)


def _wheels(plan: _Plan, cache: Cache, work: Path, progress: Report) -> tuple[wheels.Wheel, ...]:
    room = work / "pip"
    room.mkdir(mode=0o700)
    with _step(Step.WHEELS, room, progress) as tick:
        return wheels.gather(cache, room, plan.packages, tick)


def _compile(
    plan: _Plan,
    inputs: pyodide.GuestInputs,
    cache: Cache,
    work: Path,
    draft: Path,
    progress: Report,
) -> None:
    made = _compiled_before(plan, cache) or _compile_now(inputs, work, progress)
    for name, data in zip((manifest.PYTHON, manifest.TRAMPOLINE), made, strict=True):
        write_new(draft / name, data)


def _compiled_before(plan: _Plan, cache: Cache) -> tuple[bytes, bytes] | None:
    # Another image of the same runtime has the same code; `read` checks it before it is copied.
    for entry in catalog.read_index(cache):
        if entry.runtime != plan.runtime.digest:
            continue
        try:
            image = catalog.load(cache, entry)
            return read(image, manifest.PYTHON), read(image, manifest.TRAMPOLINE)
        except ImageRefusedError:
            continue
    return None


def _compile_now(inputs: pyodide.GuestInputs, work: Path, progress: Report) -> tuple[bytes, bytes]:
    room = work / "compile"
    room.mkdir(mode=0o700)
    arguments = []
    for source, target, data in (
        (PYTHON_WASM, manifest.PYTHON, inputs.python_wasm),
        (TRAMPOLINE_WASM, manifest.TRAMPOLINE, inputs.trampoline_wasm),
    ):
        write_new(room / source, data)
        arguments += [str(room / source), str(room / target)]
    with _step(Step.COMPILE, room, progress) as tick:
        run_module("executor.images.compile", arguments, room, tick)
    return (room / manifest.PYTHON).read_bytes(), (room / manifest.TRAMPOLINE).read_bytes()


def _bytecode(draft: Path, work: Path, progress: Report) -> None:
    names = (manifest.PYTHON, manifest.TRAMPOLINE, manifest.STDLIB, manifest.SITE_PACKAGES)
    room = work / "bytecode"
    room.mkdir(mode=0o700)
    with _step(Step.BYTECODE, draft, progress) as tick:
        arguments = [str(draft / name) for name in names]
        run_module("executor.images.bytecode", arguments, room, tick)


def _describe(plan: _Plan, gathered: tuple[wheels.Wheel, ...], draft: Path) -> Manifest:
    runtime, pins = plan.runtime, load_pins()
    return Manifest(
        name=plan.name,
        key=plan.key,
        created=datetime.now(UTC).isoformat(timespec="microseconds"),
        versions=tuple(sorted(pins.versions.items())),
        config=runtime.config,
        machine=runtime.machine,
        cpu=runtime.cpu,
        pins=runtime.pins,
        packages=tuple(wheel.described() for wheel in gathered),
        files=tuple(_entries(draft)),
    )


def _entries(draft: Path) -> Iterator[FileEntry]:
    for path in sorted(path for path in draft.rglob("*") if path.is_file()):
        data = path.read_bytes()
        yield FileEntry(str(path.relative_to(draft)), sha256(data), len(data))
