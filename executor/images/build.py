"""
Building an image, from a declaration and its lock to a published directory.

    wait for the lock, sweep what dead builds left; an image with this key is used as it is
    wheels     by hash, each wheel checked whole before anything is written
    fetch      the guest: by npm's lock file, or its wheel by hash; nothing if the store has it
    translate  wasm-opt, trampoline; every byte compared with a pin
    compile    in a limited process; skipped where another image holds the same code
    native     shared libraries of wheels, translated and compiled like the guest itself
    bytecode   the guest itself, booted from the draft, compiles library and packages, or is
               asked where its interpreter keeps what an interrupt must set
    trial      the image is booted as a zygote boots it, with all that it imports; what that comes
               to is a file of the image, where zygotes can go on from it
    publish    durable files, rename, index

Nothing is resolved here: what the lock does not name is not installed. A build that is refused
leaves the images that are there as they are.

Steps that read wheels, or boot what strangers wrote, run in processes that can change nothing of
the draft: each leaves its result in a directory of its own, and the build copies it. Otherwise a
wheel that takes its compiler over would put its code in the place of the guest, and from there
into other images, which take compiled guests from each other. For the same reason only an image
without native parts lends its code.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement

from executor.images import catalog, manifest, native, pyc, wheels
from executor.images.cache import Cache, default_cache, exclusive, prepare, sweep, write_new
from executor.images.declaration import Declaration, load
from executor.images.errors import ImageRefusedError, LockRefusedError, ToolFailedError
from executor.images.guests import GuestKind, Origin
from executor.images.host import require_platform
from executor.images.identity import PLAIN_NAME, Runtime, image_key, this_runtime
from executor.images.inputs import GuestParts, guest_parts, own_package, shipped_distribution
from executor.images.lock import Lock, LockedPackage, normalise, read_lock
from executor.images.manifest import FileEntry, Image, Manifest, NativeModule, Package
from executor.images.node import run_module
from executor.images.opened import open_sources
from executor.images.outcome import taken
from executor.images.pins import installed_wasmtime, load_pins, require_wasmtime, sha256
from executor.images.progress import Progress, Report, Step, reported, silent
from executor.images.pyodide import translator
from executor.images.sealed import read
from executor.kernel.errors import InternalError
from executor.wasm.snapshot import Snapshot

# Bounds of what a step leaves: the compiled guest and bytecode (no tool writes a larger file
# than `ToolLimits.file`), and a few numbers.
_LARGEST = 2**29
_LARGEST_FACTS = 2**16


@dataclass(frozen=True, slots=True)
class Order:
    """
    What is to be built: a declaration, which packages of its lock (None: all of them), and the
    address of Pyodide's distribution, if it is configured.
    """

    declaration: Declaration
    only: tuple[str, ...] | None = None
    base: str | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    order: Order
    key: str
    runtime: Runtime
    packages: tuple[LockedPackage, ...]

    @property
    def kind(self) -> GuestKind:
        return self.order.declaration.guest

    @property
    def installed(self) -> tuple[LockedPackage, ...]:
        return tuple(package for package in self.packages if package.name != self.kind.own)


@dataclass(frozen=True, slots=True)
class _Room:
    """
    Where one build works, and whom it tells.
    """

    cache: Cache
    work: Path
    progress: Report

    def make(self, name: str) -> Path:
        path = self.work / name
        path.mkdir(mode=0o700)
        return path


def build(
    order: Order | None = None, progress: Report = silent, cache: Cache | None = None
) -> Image:
    """
    Build an image (`core` where nothing is ordered), or return the one that is there and sound.

    `progress` is called at the start of each step and about five times a second during it.
    Builds of several processes take turns, and the later ones find the first one's result.
    Raises an ImageError; nothing that could be taken for an image is then left behind.
    """
    require_platform()
    require_wasmtime()
    plan = _plan(order or Order(load(PLAIN_NAME)))
    cache = cache or default_cache()
    prepare(cache)
    with exclusive(cache, lambda: progress(Progress(Step.WAIT, 0.0, 0))):
        sweep(cache)
        catalog.remove_strays(cache, catalog.read_index(cache))
        found = _sound(plan.key, cache)
        return found if found is not None else _make(plan, cache, progress)


def _plan(order: Order) -> _Plan:
    declaration = order.declaration
    lock = read_lock(declaration.lock)
    if order.only is None:
        packages = lock.packages
        _require_current(declaration, lock)
    else:
        packages = wheels.select(lock, order.only, declaration.guest)
    runtime = this_runtime(declaration.guest)
    key = image_key(declaration.name, runtime, packages, declaration.warm)
    return _Plan(order, key, runtime, packages)


def _require_current(declaration: Declaration, lock: Lock) -> None:
    """
    Raise LockRefusedError unless the lock is of these packages: all of them, and no leftovers.
    """
    kind = declaration.guest
    own = (kind.own,) if kind.own else ()
    asked = [Requirement(name) for name in (*declaration.packages, *kind.always, *own)]
    there = {package.name: package for package in lock.packages}
    for one in asked:
        package = there.get(normalise(one.name))
        if package is None or not one.specifier.contains(package.version, prereleases=True):
            raise _outdated(lock, f"{one} is declared, and it has {_have(package)}")
    if kind.own and there[kind.own] != own_package(kind):
        raise _outdated(lock, f"its {kind.own} is not the one that this release is made for")
    roots = {normalise(one.name) for one in asked}
    for package in lock.packages:
        if package.name not in roots and not package.via & there.keys():
            raise _outdated(lock, f"nothing declared needs its {package.name}")


def _have(package: LockedPackage | None) -> str:
    return "no such package" if package is None else f"version {package.version}"


def _outdated(lock: Lock, why: str) -> LockRefusedError:
    return LockRefusedError(
        f"The lock {lock.file} is not of this declaration: {why}. "
        "Write it again: codecage image lock DECLARATION"
    )


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
        room = _Room(cache, work, progress)
        gathered = _wheels(plan, room)
        parts = guest_parts(plan.kind, cache, room.make("guest"), progress)
        draft = work / "image"
        draft.mkdir(mode=0o700)
        made = _compile(plan, parts, room, draft)
        write_new(draft / manifest.STDLIB, parts.stdlib)
        _write_extra(parts.extra, draft)
        wheels.install(gathered, draft / manifest.SITE_PACKAGES)
        modules = _native(plan, gathered, room, draft)
        facts = _asked(plan, room, draft)
        described = _describe(plan, gathered, modules, facts, draft)
        _require_unchanged(described, made)
        described = _tried(described, room, draft)
        with reported(Step.PUBLISH, draft, progress):
            return catalog.publish(cache, draft, described)


@contextmanager
def _workspace(cache: Cache) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix="build-", dir=cache.staging))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _wheels(plan: _Plan, room: _Room) -> tuple[wheels.Wheel, ...]:
    work = room.make("wheels")
    with reported(Step.WHEELS, work, room.progress) as tick:

        def shipped() -> bytes:
            return shipped_distribution(plan.kind, room.cache, work, tick)

        pip = work / "pip"
        pip.mkdir(mode=0o700)
        order = plan.order
        sources = open_sources(order.declaration, pip, order.base, shipped).sources
        return wheels.gather(room.cache, plan.installed, sources, tick, plan.kind)


def _compile(plan: _Plan, parts: GuestParts, room: _Room, draft: Path) -> dict[str, str]:
    """
    Write the compiled modules of the guest. Returns the SHA-256 of each by its file's name.
    """
    wanted = parts.modules()
    made = _compiled_before(plan, wanted, room.cache) or _compile_now(wanted, room)
    for name, data in made.items():
        write_new(draft / name, data)
    return {name: sha256(data) for name, data in made.items()}


def _compiled_before(
    plan: _Plan, wanted: Mapping[str, bytes], cache: Cache
) -> dict[str, bytes] | None:
    # Another image of the same runtime has the same code; `read` checks it before it is copied.
    for entry in catalog.read_index(cache):
        if entry.runtime != plan.runtime.digest:
            continue
        try:
            image = catalog.load(cache, entry)
            # Its build compiled what strangers wrote; it may be less than its manifest says.
            if image.manifest.modules:
                continue
            return {name: read(image, name) for name in wanted}
        except ImageRefusedError:
            continue
    return None


def _compile_now(wanted: Mapping[str, bytes], room: _Room) -> dict[str, bytes]:
    work = room.make("compile")
    arguments = []
    for name, data in wanted.items():
        source = work / f"{name}.wasm"
        write_new(source, data)
        arguments += [str(source), str(work / name)]
    with reported(Step.COMPILE, work, room.progress) as tick:
        run_module("executor.images.compile", arguments, work, tick)
    return {name: taken(work / name, _LARGEST) for name in wanted}


def _write_extra(extra: Mapping[str, bytes], draft: Path) -> None:
    for name, data in extra.items():
        path = draft / manifest.EXTRA / PurePosixPath(name).relative_to("/")
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_new(path, data)


def _native(
    plan: _Plan, gathered: tuple[wheels.Wheel, ...], room: _Room, draft: Path
) -> tuple[NativeModule, ...]:
    files = wheels.native_files(gathered)
    if not files:
        return ()
    work, tools = room.make("native"), room.make("tools")
    with reported(Step.NATIVE, work, room.progress) as tick:
        tool = translator(plan.kind, room.cache, tools, tick)
        job = native.NativeJob(
            guest=plan.kind.name,
            python=draft / manifest.PYTHON,
            files=files,
            translate=lambda source, target: tool.translate(source, target, tick),
            work=work,
            draft=draft,
        )
        return native.build(job, tick)


def _asked(plan: _Plan, room: _Room, draft: Path) -> dict[str, int]:
    """
    What the guest itself is booted for: bytecode, or facts about its interpreter.
    """
    work = room.make("booted")
    with reported(Step.BYTECODE, work, room.progress) as tick:
        if plan.kind.origin is Origin.NPM:
            arguments = _bytecode(plan, draft, work)
            run_module("executor.images.bytecode", arguments, work, tick, (draft,))
            _place_bytecode(plan, draft, work)
            return {}
        answer = work / "facts.json"
        names = (manifest.PYTHON, manifest.STDLIB, manifest.EXTRA)
        arguments = [plan.kind.name, *(str(draft / name) for name in names), str(answer)]
        run_module("executor.images.facts", arguments, work, tick, (draft,))
        found: dict[str, int] = json.loads(taken(answer, _LARGEST_FACTS))
        return found


def _place_bytecode(plan: _Plan, draft: Path, work: Path) -> None:
    library = taken(work / manifest.STDLIB, _LARGEST)
    packages = taken(work / pyc.PACKED, _LARGEST)
    (draft / manifest.STDLIB).unlink()
    write_new(draft / manifest.STDLIB, library)
    write_new(draft / manifest.RUNTIME, taken(work / manifest.RUNTIME, _LARGEST))
    pyc.install(packages, draft / manifest.SITE_PACKAGES, plan.kind.layout.cache_tag)


def _tried(described: Manifest, room: _Room, draft: Path) -> Manifest:
    """
    Boot the image as a zygote does, with all that it imports, and add the snapshot of what that
    came to, if there is one. Raises ImageRefusedError.
    """
    work = room.make("trial")
    text = work / manifest.MANIFEST
    write_new(text, manifest.to_json(described))
    with reported(Step.TRIAL, draft, room.progress) as tick:
        try:
            arguments = [str(draft), str(text), str(work)]
            run_module("executor.images.trial", arguments, work, tick, (draft,))
        except ToolFailedError as error:
            raise ImageRefusedError(
                f"The image {described.name} does not boot: {str(error).splitlines()[-1]}. "
                "Mend its `warm` list or its packages; the image that was there stays."
            ) from error
    if not os.path.lexists(work / manifest.SNAPSHOT):
        return described
    data = taken(work / manifest.SNAPSHOT, _LARGEST)
    _check_snapshot(data, described.name)
    write_new(draft / manifest.SNAPSHOT, data)
    entry = FileEntry(manifest.SNAPSHOT, sha256(data), len(data))
    return replace(described, files=(*described.files, entry))


def _check_snapshot(data: bytes, name: str) -> None:
    # Foreign code ran where it was made, and its digest stands in records.
    try:
        Snapshot.decoded(data).check()
    except InternalError as error:
        raise ImageRefusedError(f"The image {name} is not published: {error}.") from error


def _bytecode(plan: _Plan, draft: Path, work: Path) -> list[str]:
    names = (
        manifest.PYTHON,
        manifest.TRAMPOLINE,
        manifest.CLOSURES,
        manifest.STDLIB,
        manifest.SITE_PACKAGES,
    )
    return [plan.kind.name, *(str(draft / name) for name in names), str(work)]


def _describe(
    plan: _Plan,
    gathered: tuple[wheels.Wheel, ...],
    modules: tuple[NativeModule, ...],
    facts: Mapping[str, int],
    draft: Path,
) -> Manifest:
    runtime, declaration = plan.runtime, plan.order.declaration
    versions = dict(load_pins(plan.kind.name).versions) | {"wasmtime": installed_wasmtime()}
    own = [package for package in plan.packages if package.name == plan.kind.own]
    return Manifest(
        name=declaration.name,
        key=plan.key,
        created=datetime.now(UTC).isoformat(timespec="microseconds"),
        guest=plan.kind.name,
        warm=declaration.warm,
        versions=tuple(sorted(versions.items())),
        config=runtime.config,
        machine=runtime.machine,
        cpu=runtime.cpu,
        pins=runtime.pins,
        packages=(
            *(Package(one.name, one.version, min(one.hashes)) for one in own),
            *(wheel.described() for wheel in gathered),
        ),
        modules=modules,
        facts=tuple(sorted(facts.items())),
        files=tuple(_entries(draft)),
    )


def _entries(draft: Path) -> Iterator[FileEntry]:
    for path in sorted(path for path in draft.rglob("*") if path.is_file()):
        data = path.read_bytes()
        yield FileEntry(str(path.relative_to(draft)), sha256(data), len(data))


def _require_unchanged(described: Manifest, made: Mapping[str, str]) -> None:
    """
    Raise ImageRefusedError unless the guest's modules are those that were compiled.
    """
    for name, digest in made.items():
        found = described.entry(name).sha256
        if found != digest:
            raise ImageRefusedError(
                f"{name} of the image {described.name} was compiled with SHA-256 {digest} and now "
                f"has {found}: a later step of the build, or somebody else, changed it. Nothing "
                "was published; one of the packages is hostile, or the cache is not yours alone."
            )
