"""
The binary interfaces of Pyodide's releases, each as a small description.

Pyodide 314 (ABI 2026_0) exports its memory, its table and its stack pointer. Pyodide 0.29 (ABI
2025_0) imports them, is itself relocatable, and has a few other imports; the figures are those
that its own loader uses, and the census test compares the rows with the module's imports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from executor.wasm import imports
from executor.wasm.imports import ENV, Failure, Row, Support
from executor.wasm.layout import PYODIDE_313, PYODIDE_314
from executor.wasm.syscalls import native, select


@dataclass(frozen=True, slots=True)
class Trampoline:
    """
    The module through which CPython calls functions of any signature: the export that goes into
    the table, and the symbol that holds the offset in `_PyRuntime` at which its index is kept.
    """

    export: str
    offset: str


@dataclass(frozen=True, slots=True)
class ImportedState:
    """
    What a main module imports instead of exporting it: pages of memory (64 KiB), elements of
    the table, where the stack begins, where its own data and functions go, and addresses by
    name.
    """

    memory_pages: int
    table: int
    stack_pointer: int
    memory_base: int
    table_base: int
    data: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class EmscriptenAbi:
    """
    One ABI: the rows of its imports, its trampoline, and what it imports where it does.

    `snapshots` says that a boot changes nothing of the modules' but memory, once constructors have
    run: no mutable global (the stack's pointer and its two ends, and the upper half of a result),
    no size or element of a table.
    """

    rows: tuple[Row, ...]
    trampoline: Trampoline
    imported: ImportedState | None
    snapshots: bool


# Imports of 2026_0 that 2025_0 does not have.
_LATER: Final = frozenset(
    [
        "__syscall_umask_js",
        "_try_fcntl64",
        "__syscall_getuid32_js",
        "_try_shutdown",
        "_maybe_connect_async",
        "_maybe_recvfrom_async",
        "_maybe_sendto_async",
        "_maybe_poll_async",
        "JsvError_Check",
        "emscripten_set_up_async_input_device_js",
        "emscripten_debugger",
        "emscripten_log_impl_js",
        "_emscripten_log_formatted",
        "JsProxy_exit_js",
        "JsProxy_aexit_js",
        "Jsv_GetError_import",
        "JsvBigInt_fromInt",
        "JsvNum_toInt",
        "JsvBigInt_fromDigits",
        "Jsv_BigIntToNum",
        "_python2js_ascii",
    ]
)


def _javascript(module: str, name: str, signature: str) -> Row:
    note = "no JavaScript"
    return Row(module, name, signature, Support.REFUSED, None, Failure.VALUE, 0, note)


_EARLIER: Final = (
    _javascript("sentinel", "is_sentinel", "r>i"),
    _javascript("sentinel", "create_sentinel", ">r"),
    _javascript(ENV, "JsvNum_fromDigits", "ii>r"),
    Row(
        ENV, "_PyEM_InitTrampoline_js", ">", Support.CONSTANT, None, Failure.VALUE, 0,
        "the trampoline is installed when the guest boots",
    ),
    Row(
        ENV, "_PyEM_GetCountArgsPtr", ">i", Support.FULL, native.trampoline, Failure.VALUE, 0, "",
    ),
    Row(
        ENV, "__syscall__newselect", "iiiii>i", Support.PARTIAL, select.newselect,
        Failure.NEGATED, 0, "as poll",
    ),
)  # fmt: skip

ABIS: Final[Mapping[str, EmscriptenAbi]] = MappingProxyType(
    {
        PYODIDE_314.guest: EmscriptenAbi(
            rows=imports.ROWS,
            trampoline=Trampoline("trampoline_call", "_PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET"),
            imported=None,
            snapshots=True,
        ),
        PYODIDE_313.guest: EmscriptenAbi(
            rows=(*(row for row in imports.ROWS if row.name not in _LATER), *_EARLIER),
            trampoline=Trampoline("f", "_PyEM_EMSCRIPTEN_COUNT_ARGS_OFFSET"),
            imported=ImportedState(
                memory_pages=320,
                table=6076,
                stack_pointer=8_810_528,
                memory_base=1024,
                table_base=1,
                data=MappingProxyType(
                    {
                        "__heap_base": 8_810_528,
                        "__stack_low": 3_567_648,
                        "__stack_high": 8_810_528,
                    }
                ),
            ),
            # It has some 300 mutable globals, which no one has looked at.
            snapshots=False,
        ),
    }
)
