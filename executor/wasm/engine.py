"""
The wasmtime engine of the configuration in `engine_config`, and the limits of every store.
"""

import ctypes
import mmap
import re
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import _bindings as capi

from executor.kernel.errors import InternalError
from executor.wasm.engine_config import (
    FEATURES_OFF,
    FEATURES_ON,
    SETTINGS,
    TABLE_ELEMENTS,
)
from executor.wasm.target import TRIPLE, this_target


def new_engine(*, threads: bool = True) -> wasmtime.Engine:
    """
    Make an engine with the one configuration that images are compiled for.

    Without `threads` it compiles on the calling thread, for a process that is going to be forked.
    Raises AttributeError where the installed wasmtime lacks a setting named here: a setting
    that cannot be made is never skipped.
    """
    config = wasmtime.Config()
    pointer = config.ptr()
    for name in FEATURES_ON:
        getattr(capi, f"wasmtime_config_{name}_set")(pointer, True)
    for name in FEATURES_OFF:
        getattr(capi, f"wasmtime_config_{name}_set")(pointer, False)
    for name, value in SETTINGS:
        getattr(capi, f"wasmtime_config_{name}_set")(pointer, value)
    # Not among the settings: it changes nothing of what comes out.
    capi.wasmtime_config_parallel_compilation_set(pointer, threads)
    _aim(pointer)
    return wasmtime.Engine(config)


def _aim(pointer: Any) -> None:
    """
    Compile for the processor's level: naming a target turns the detection of features off.
    """
    error = capi.wasmtime_config_target_set(pointer, ctypes.c_char_p(TRIPLE.encode()))
    if error:
        raise InternalError(f"wasmtime does not compile for {TRIPLE}; use the pinned release")
    for flag in this_target().flags:
        capi.wasmtime_config_cranelift_flag_enable(pointer, ctypes.c_char_p(f"has_{flag}".encode()))


def load(engine: wasmtime.Engine, path: str) -> wasmtime.Module:
    """
    Map a compiled module, which is native code that is believed: the one place that does it.

    `path` is of a file that the caller has verified and that nobody can change any more.
    Raises wasmtime.WasmtimeError for a module of another engine, configuration or processor.
    """
    return wasmtime.Module.deserialize_file(engine, path)


def new_store(engine: wasmtime.Engine, memory_bytes: int) -> wasmtime.Store:
    """
    Make a store that can never hold more than `memory_bytes` of linear memory and GC heap.

    Wasmtime applies the figure to each of the two; the finer count of a session is
    `Space`'s. Without limits a guest could grow a table until the host has no memory.
    """
    store = wasmtime.Store(engine)
    limit(store, memory_bytes)
    return store


def limit(store: wasmtime.Store, memory_bytes: int, side_modules: int = 0) -> None:
    """
    Change a store's limits to `memory_bytes`, and to as many instances as an image needs.

    The main module, the trampoline, the closures and the two of `gathering` are five instances,
    with two memories and five tables (functions, three of references, and the gathering's) in
    all; each of the image's `side_modules` is one more, and may have an adapter.
    """
    store.set_limits(
        memory_size=memory_bytes,
        table_elements=TABLE_ELEMENTS,
        instances=5 + 2 * side_modules,
        tables=5,
        memories=2,
    )


def core_version() -> str:
    """
    The release of the engine inside the wheel, read from the library: the wheel's own may lie.

    The wheel 50.0.1, for one, holds core 50.0.0. Returns "unknown" where the library does not
    carry the text.
    """
    path = Path(wasmtime.__file__).parent / "linux-x86_64" / "_libwasmtime.so"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = re.search(rb"version: (\d{2,3}\.\d{1,2}\.\d{1,2})", data)
        return found.group(1).decode() if found else "unknown"
