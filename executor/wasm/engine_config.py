"""
The one configuration of the wasmtime engine, as data: who asks for it alone loads no engine.

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

import hashlib

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

FEATURES_ON = (
    "wasm_bulk_memory",
    "wasm_exceptions",
    "wasm_function_references",
    "wasm_gc",
    "wasm_multi_value",
    "wasm_reference_types",
    "wasm_simd",
)
FEATURES_OFF = (
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
SETTINGS: tuple[tuple[str, int], ...] = (
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

CONFIG_ID = hashlib.sha256(repr((FEATURES_ON, FEATURES_OFF, SETTINGS)).encode()).hexdigest()[:16]
