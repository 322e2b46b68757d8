"""
The wasmtime engine: one configuration, stated in full, and the limits of every store.

Each feature is on because the guest needs it, or off: a proposal that is off cannot have the
next bug. Exceptions need the GC heap (exnref lives there); `function_references` and `gc` are
for the trampoline module, whose `ref.test` is what makes CPython's calls through function
pointers cheap. No epoch interruption and no fuel: they cost 20 to 30 % of the guest's speed, and
a cell is stopped by the interpreter's own signal flag or by killing its process.

NaNs are canonical: WebAssembly leaves the bits of a computed NaN open, and a replayed session
must find the same ones. It costs 1 to 2 %, and 5 to 11 % in loops of floating point.

A compiled module is bound to this configuration, to the processor's level (`target`) and to the
release of wasmtime, so `CONFIG_ID` is part of the key under which compiled images are cached.
"""

import ctypes
import hashlib
import mmap
import re
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import _bindings as capi

from executor.kernel.errors import InternalError
from executor.wasm.target import TRIPLE, this_target

# The guest recurses on this stack; CPython's own limit then raises RecursionError before it
# ends. Where CPython counts on memory's stack and C code uses none of it, in freeing what is
# nested, this is what lets 100,000 levels pass. It is part of the main thread's stack, for which
# the zygote makes room, and costs memory only while it is used. (Wasmtime wants it below the size
# of an async stack, of which there is none.)
MAX_WASM_STACK = 64 * 2**20
# One linear memory of 32-bit addresses, reserved whole, so that its base never moves; the guard
# behind it makes every 33-bit address that compiled code can form fault instead of hit.
MEMORY_RESERVATION = 4 * 2**30
MEMORY_GUARD = 32 * 2**20
# The main module's table has 8,733 elements, and the native parts of the largest packages have
# tens of thousands more.
TABLE_ELEMENTS = 2**18

_FEATURES_ON = (
    "wasm_bulk_memory",
    "wasm_exceptions",
    "wasm_function_references",
    "wasm_gc",
    "wasm_multi_value",
    "wasm_reference_types",
    "wasm_simd",
)
_FEATURES_OFF = (
    "wasm_branch_hinting",
    "wasm_compact_imports",
    "wasm_component_model",
    "wasm_component_model_accessors",
    "wasm_component_model_async",
    "wasm_component_model_async_stackful",
    "wasm_component_model_canonical_names",
    "wasm_component_model_implements",
    "wasm_component_model_map",
    "wasm_component_model_more_async_builtins",
    "wasm_custom_page_sizes",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_relaxed_simd",
    "wasm_relaxed_simd_deterministic",
    "wasm_stack_switching",
    "wasm_tail_call",
    "wasm_threads",
    "wasm_wide_arithmetic",
)
# Values of the C API's enums, from `wasmtime/config.h`.
_STRATEGY_CRANELIFT = 1
_OPTIMISE_SPEED = 1
_SETTINGS: tuple[tuple[str, int], ...] = (
    ("async_stack_size", MAX_WASM_STACK + 2**16),
    ("consume_fuel", 0),
    ("cranelift_nan_canonicalization", 1),
    ("cranelift_opt_level", _OPTIMISE_SPEED),
    ("epoch_interruption", 0),
    ("max_wasm_stack", MAX_WASM_STACK),
    ("memory_guard_size", MEMORY_GUARD),
    ("memory_may_move", 0),
    ("memory_reservation", MEMORY_RESERVATION),
    ("memory_reservation_for_growth", 0),
    ("signals_based_traps", 1),
    ("strategy", _STRATEGY_CRANELIFT),
)

CONFIG_ID = hashlib.sha256(repr((_FEATURES_ON, _FEATURES_OFF, _SETTINGS)).encode()).hexdigest()[:16]


def new_engine() -> wasmtime.Engine:
    """
    Make an engine with the one configuration that images are compiled for.

    Raises AttributeError where the installed wasmtime lacks a setting named here: a setting
    that cannot be made is never skipped.
    """
    config = wasmtime.Config()
    pointer = config.ptr()
    for name in _FEATURES_ON:
        getattr(capi, f"wasmtime_config_{name}_set")(pointer, True)
    for name in _FEATURES_OFF:
        getattr(capi, f"wasmtime_config_{name}_set")(pointer, False)
    for name, value in _SETTINGS:
        getattr(capi, f"wasmtime_config_{name}_set")(pointer, value)
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

    The main module, the trampoline and the closures are three instances, with one memory and
    four tables (functions, and three of references) in all; each of the image's `side_modules`
    is one more, and may have an adapter.
    """
    store.set_limits(
        memory_size=memory_bytes,
        table_elements=TABLE_ELEMENTS,
        instances=3 + 2 * side_modules,
        tables=4,
        memories=1,
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
