"""
The native parts of an image's packages: translated, compiled, and described for the linker.

Each file of a wheel that holds WebAssembly becomes a compiled module of the image, and the wheel's
own file is not installed: the guest sees an empty one in its place. What the linker must know of
it stands in the manifest, so nothing of a wheel is parsed in a session.

Translator and compiler read what strangers wrote. Each works in a directory of its own, and the
build copies the code from there into the draft, which neither can change. So a wheel that takes
one of them over decides what the native parts of this image are, and no more.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from executor.images.cache import write_new
from executor.images.errors import ToolFailedError, WheelRefusedError
from executor.images.manifest import NativeModule
from executor.images.node import run_module
from executor.images.outcome import taken
from executor.images.pins import sha256
from executor.images.process import Tick
from executor.wasm.dylink import DylinkError, read_dylink

FOLDER = "native"
# Bounds of what the tools leave: code (no tool writes a larger file than `ToolLimits.file`), and
# the compiler's answer.
_LARGEST = 2**29
_LARGEST_ANSWER = 2**24


@dataclass(frozen=True, slots=True)
class NativeJob:
    """
    What is to be built: for which guest, against which compiled main module, from which files
    (by path below site-packages), with which translator (source, target), and where.

    `work` is an empty directory; the compiled code is put below `draft`, the image to be.
    """

    guest: str
    python: Path
    files: Mapping[str, bytes]
    translate: Callable[[Path, Path], None]
    work: Path
    draft: Path


def build(job: NativeJob, tick: Tick) -> tuple[NativeModule, ...]:
    """
    Build all native parts of an image. Raises WheelRefusedError for one that does not fit.
    """
    if not job.files:
        return ()
    room = job.work / "compile"
    room.mkdir(mode=0o700)
    digests = {path: sha256(data) for path, data in sorted(job.files.items())}
    # Wheels may hold the same library twice; it is translated once.
    for digest, path in {digest: path for path, digest in digests.items()}.items():
        write_new(room / f"{digest}.wasm", _translated(job, path, digest))
        write_new(room / f"{digest}.source", job.files[path])
    adapted = _compile(job, digests, room, tick)
    folder = job.draft / FOLDER
    folder.mkdir(mode=0o755)
    for digest in sorted(set(digests.values())):
        for name in _code(digest, adapter=digest in adapted):
            write_new(folder / name, taken(room / name, _LARGEST))
    return tuple(_described(job, path, digest, adapted) for path, digest in digests.items())


def _translated(job: NativeJob, path: str, digest: str) -> bytes:
    room = job.work / digest
    room.mkdir(mode=0o700)
    source, target = room / "source.wasm", room / "target.wasm"
    write_new(source, job.files[path])
    try:
        job.translate(source, target)
        return taken(target, _LARGEST)
    except ToolFailedError as error:
        raise WheelRefusedError(
            f"{path} is refused: it is not WebAssembly that can be translated. {error}"
        ) from error


def _compile(job: NativeJob, digests: Mapping[str, str], room: Path, tick: Tick) -> frozenset[str]:
    """
    Have everything compiled in `room`. Returns the digests of those that need an adapter.
    """
    task = room / "job.json"
    asked = {"guest": job.guest, "python": str(job.python), "modules": digests}
    write_new(task, json.dumps(asked).encode())
    try:
        run_module(
            "executor.images.native_compile",
            [str(task)],
            room,
            tick,
            reads=(job.python,),
        )
        answer = json.loads(taken(task.with_suffix(".answer"), _LARGEST_ANSWER))
    except ToolFailedError as error:
        raise WheelRefusedError(str(error).splitlines()[-1]) from error
    except ValueError as error:
        raise WheelRefusedError(f"the compiler's answer cannot be read: {error}") from error
    if not isinstance(answer, list) or not all(isinstance(one, str) for one in answer):
        raise WheelRefusedError(f"the compiler answered {answer!r:.100}; digests were asked for")
    return frozenset(answer) & frozenset(digests.values())


def _code(digest: str, *, adapter: bool) -> tuple[str, ...]:
    """
    The names of the files with a module's code.
    """
    own = f"{digest}.cwasm"
    return (own, f"{digest}.late.cwasm") if adapter else (own,)


def _described(job: NativeJob, path: str, digest: str, adapted: frozenset[str]) -> NativeModule:
    try:
        dylink = read_dylink(job.files[path])
    except DylinkError as error:
        raise WheelRefusedError(f"{path} is refused: {error}") from error
    code, *adapter = _code(digest, adapter=digest in adapted)
    return NativeModule(
        path=path,
        sha256=digest,
        code=f"{FOLDER}/{code}",
        adapter=f"{FOLDER}/{adapter[0]}" if adapter else "",
        memory_size=dylink.memory_size,
        memory_align=dylink.memory_align,
        table_size=dylink.table_size,
        needed=dylink.needed,
        weak=dylink.weak,
    )
