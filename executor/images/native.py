"""
The native parts of an image's packages: translated, compiled, and described for the linker.

Each file of a wheel that holds WebAssembly becomes a compiled module of the image, and the wheel's
own file is not installed: the guest sees an empty one in its place. What the linker must know of
it stands in the manifest, so nothing of a wheel is parsed in a session.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from executor.images.cache import write_new
from executor.images.errors import ToolFailedError, WheelRefusedError
from executor.images.manifest import NativeModule
from executor.images.node import run_module
from executor.images.pins import sha256
from executor.images.process import Tick

FOLDER = "native"
_SUFFIX = ".so"


@dataclass(frozen=True, slots=True)
class NativeJob:
    """
    What is to be built: for which guest, against which compiled main module, from which files
    (by path below site-packages), with which translator (source, target), and where.

    `work` is an empty directory; compiled code is written below `draft`, the image to be.
    """

    guest: str
    python: Path
    files: Mapping[str, bytes]
    translate: Callable[[Path, Path], None]
    work: Path
    draft: Path


def is_native(name: str) -> bool:
    """
    Whether a wheel's file is native code by its name: `.so`, or `.so.` and a version.
    """
    last = name.rpartition("/")[2]
    return last.endswith(_SUFFIX) or f"{_SUFFIX}." in last


def build(job: NativeJob, tick: Tick) -> tuple[NativeModule, ...]:
    """
    Build all native parts of an image. Raises WheelRefusedError for one that does not fit.
    """
    if not job.files:
        return ()
    folder = job.draft / FOLDER
    folder.mkdir(mode=0o755)
    entries = [_translated(job, folder, path) for path in sorted(job.files)]
    task = job.work / "job.json"
    task.write_text(
        json.dumps({"guest": job.guest, "python": str(job.python), "modules": entries}),
        encoding="utf-8",
    )
    try:
        run_module(
            "executor.images.native_compile",
            [str(task)],
            job.work,
            tick,
            changes=(job.draft,),
            reads=(job.python,),
        )
    except ToolFailedError as error:
        raise WheelRefusedError(str(error).splitlines()[-1]) from error
    answers = json.loads(task.with_suffix(".answer").read_bytes())
    return tuple(_described(job, answer) for answer in answers)


def _translated(job: NativeJob, folder: Path, path: str) -> dict[str, str]:
    """
    Translate one file, and say where everything of it is.
    """
    data = job.files[path]
    stem = sha256(data)[:16]
    source, target = job.work / f"{stem}.source.wasm", job.work / f"{stem}.wasm"
    if not target.exists():
        write_new(source, data)
        try:
            job.translate(source, target)
        except ToolFailedError as error:
            raise WheelRefusedError(
                f"{path} is refused: it is not WebAssembly that can be translated. {error}"
            ) from error
    return {
        "path": path,
        "source": str(source),
        "translated": str(target),
        "code": str(folder / f"{stem}.cwasm"),
        "adapter": str(folder / f"{stem}.late.cwasm"),
    }


def _described(job: NativeJob, answer: Mapping[str, object]) -> NativeModule:
    path = str(answer["path"])
    digest = sha256(job.files[path])
    return NativeModule(
        path=path,
        sha256=digest,
        code=f"{FOLDER}/{digest[:16]}.cwasm",
        adapter=f"{FOLDER}/{digest[:16]}.late.cwasm" if answer["adapter"] else "",
        memory_size=_number(answer["memory_size"]),
        memory_align=_number(answer["memory_align"]),
        table_size=_number(answer["table_size"]),
        needed=_texts(answer["needed"]),
        weak=_texts(answer["weak"]),
    )


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise WheelRefusedError(f"the compiler answered {value!r} where a number was due")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise WheelRefusedError(f"the compiler answered {value!r} where a list was due")
    return tuple(str(item) for item in value)
