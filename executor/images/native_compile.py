"""
Run as a module: compile the native parts of an image's packages.

    python -m executor.images.native_compile JOB

JOB is a JSON file: the guest, the compiled main module, and the SHA-256 of each native part by
its path in the guest. Beside JOB lie, by SHA-256, the wheel's file (`.source`) and the translated
one (`.wasm`); the code (`.cwasm`), the adapter (`.late.cwasm`) and the answer, the SHA-256 of
those that need one, are written there too. Every import is looked up now, so that a wheel that
does not fit its guest is refused when the image is built and not when an agent imports it.

In a process of its own because both files come from a wheel: `process.py` limits it.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wasmtime

from executor.images.native_fit import Part, RefusedError, World, late, require_fit
from executor.images.native_start import StartError, require_plain_start
from executor.wasm.dylink import DylinkError, read_dylink
from executor.wasm.emscripten_abi import ABIS
from executor.wasm.engine import load, new_engine
from executor.wasm.late import adapter


def main(arguments: list[str]) -> int:
    """
    Compile what the job names. Returns 0, or 1 with the reason on stderr.
    """
    job = Path(arguments[0])
    try:
        answer = _compile(json.loads(job.read_bytes()), job.parent)
    except RefusedError as error:
        print(error, file=sys.stderr)
        return 1
    job.with_suffix(".answer").write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _compile(job: Mapping[str, Any], room: Path) -> list[str]:
    engine = new_engine()
    main_module = load(engine, job["python"])
    digests: dict[str, str] = job["modules"]
    world = World(
        main={item.name: item for item in main_module.exports},
        host={row.name: row.signature for row in ABIS[job["guest"]].rows},
        parts={path: _read(engine, path, room / digest) for path, digest in digests.items()},
    )
    require_fit(world)
    return [digest for path, digest in digests.items() if _write(engine, world, path, room, digest)]


def _read(engine: wasmtime.Engine, path: str, stem: Path) -> Part:
    try:
        dylink = read_dylink(stem.with_suffix(".source").read_bytes())
        code = stem.with_suffix(".wasm").read_bytes()
        module = wasmtime.Module(engine, code)
        imported = [one for one in module.imports if isinstance(one.type, wasmtime.FuncType)]
        require_plain_start(code, len(imported))
    except (DylinkError, StartError, wasmtime.WasmtimeError) as error:
        raise RefusedError(f"{path} is refused: {error}") from error
    return Part(path, dylink, module, {item.name: item for item in module.exports})


def _write(engine: wasmtime.Engine, world: World, path: str, room: Path, digest: str) -> bool:
    """
    Write the code of one part, and its adapter. Returns whether it needs one.
    """
    part = world.parts[path]
    (room / f"{digest}.cwasm").write_bytes(part.module.serialize())
    functions = late(world, part)
    if functions:
        code = wasmtime.Module(engine, adapter(functions)).serialize()
        (room / f"{digest}.late.cwasm").write_bytes(code)
    return bool(functions)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
