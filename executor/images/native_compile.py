"""
Run as a module: compile the native parts of an image's packages, and say what each needs.

    python -m executor.images.native_compile JOB

JOB is a JSON file: the guest, the compiled main module, and for each native part its path in
the guest, the wheel's file, the translated one, and where to write the code and the adapter.
The answer is written beside it. Every import is looked up now, so that a wheel that does not
fit its guest is refused when the image is built and not when an agent imports it.

In a process of its own because both files come from a wheel: `process.py` limits it.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import wasmtime

from executor.wasm.dylink import Dylink, DylinkError, read_dylink
from executor.wasm.emscripten_abi import ABIS
from executor.wasm.engine import load, new_engine
from executor.wasm.late import Signature, adapter, signature

# What the linker gives besides functions and the global offset table.
GIVEN: Final = frozenset(
    [
        "memory",
        "__indirect_function_table",
        "__stack_pointer",
        "__memory_base",
        "__table_base",
        "__cpp_exception",
        "__c_longjmp",
    ]
)
_TABLES: Final = ("GOT.mem", "GOT.func")


@dataclass(frozen=True, slots=True)
class _Part:
    path: str
    source: Path
    translated: Path
    code: Path
    adapter: Path
    dylink: Dylink
    module: wasmtime.Module
    exports: frozenset[str]


class _RefusedError(Exception):
    """
    A native part does not fit; the text says which and why.
    """


def main(arguments: list[str]) -> int:
    """
    Compile what the job names. Returns 0, or 1 with the reason on stderr.
    """
    job = Path(arguments[0])
    try:
        answer = _compile(json.loads(job.read_bytes()))
    except _RefusedError as error:
        print(error, file=sys.stderr)
        return 1
    job.with_suffix(".answer").write_text(json.dumps(answer), encoding="utf-8")
    return 0


def _compile(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    engine = new_engine()
    main_module = load(engine, job["python"])
    there = frozenset(item.name for item in main_module.exports)
    host = frozenset(row.name for row in ABIS[job["guest"]].rows)
    parts = [_read(engine, item) for item in job["modules"]]
    everywhere = frozenset[str]().union(*(part.exports for part in parts))
    return [_finish(engine, part, there, host, everywhere) for part in parts]


def _read(engine: wasmtime.Engine, item: Mapping[str, str]) -> _Part:
    files = {name: Path(item[name]) for name in ("source", "translated", "code", "adapter")}
    try:
        dylink = read_dylink(files["source"].read_bytes())
        module = wasmtime.Module(engine, files["translated"].read_bytes())
    except (DylinkError, wasmtime.WasmtimeError) as error:
        raise _RefusedError(f"{item['path']} is refused: {error}") from error
    names = frozenset(export.name for export in module.exports)
    return _Part(path=item["path"], dylink=dylink, module=module, exports=names, **files)


def _finish(
    engine: wasmtime.Engine,
    part: _Part,
    there: frozenset[str],
    host: frozenset[str],
    everywhere: frozenset[str],
) -> dict[str, Any]:
    _require_known(part, there | host | everywhere)
    part.code.write_bytes(part.module.serialize())
    late = dict(_late(part, there | host))
    if late:
        part.adapter.write_bytes(wasmtime.Module(engine, adapter(late)).serialize())
    return {
        "path": part.path,
        "adapter": bool(late),
        "memory_size": part.dylink.memory_size,
        "memory_align": part.dylink.memory_align,
        "table_size": part.dylink.table_size,
        "needed": part.dylink.needed,
        "weak": part.dylink.weak,
    }


def _require_known(part: _Part, known: frozenset[str]) -> None:
    """
    Raise _RefusedError where an import is of a kind or a name that nothing will satisfy.
    """
    weak = frozenset(part.dylink.weak)
    missing = []
    for wanted in part.module.imports:
        name = wanted.name or ""
        if wanted.module in _TABLES or isinstance(wanted.type, wasmtime.FuncType):
            satisfied = name in known or name in weak
        else:
            satisfied = wanted.module == "env" and name in GIVEN
        if not satisfied:
            missing.append(f"{wanted.module}.{name}")
    if missing:
        named = ", ".join(missing[:5])
        raise _RefusedError(
            f"{part.path} is refused: it imports {named}{' and more' if missing[5:] else ''}, "
            "which neither the guest nor another package of the image has. Add the package that "
            "has it, or use a wheel built for this guest."
        )


def _late(part: _Part, known: frozenset[str]) -> Iterator[tuple[str, Signature]]:
    """
    The functions that the linker can bind only once the module, or another one, is there.
    """
    for wanted in part.module.imports:
        name = wanted.name or ""
        if isinstance(wanted.type, wasmtime.FuncType) and name not in known:
            try:
                yield name, signature(wanted.type)
            except ValueError as error:
                raise _RefusedError(
                    f"{part.path} is refused: it imports {name}, {error}"
                ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
