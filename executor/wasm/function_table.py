"""
The guest's table of functions, and the one index that each function has in it.

CPython compares addresses of functions, and an address is an index of the table: so a function
must have the same index whoever asks. What identifies a function is the C API's own value of
it, which wasmtime keeps stable for the life of a store. So a function's type is remembered by it as
well, never by an index: a function keeps its type, while entries of the table change.
"""

import ctypes
from ctypes import c_bool, c_uint64, c_void_p
from typing import Any, Final

import wasmtime
from wasmtime import _bindings as capi

from executor.wasm.linkage import signature_of

_LIBRARY: Final[ctypes.CDLL] = vars(capi)["dll"]
_get: Any = _LIBRARY["wasmtime_table_get"]
_get.restype = c_bool
_get.argtypes = (c_void_p, c_void_p, c_uint64, c_void_p)
# WASMTIME_FUNCREF of `wasmtime/val.h`.
_FUNCREF: Final = 5


class FunctionTable:
    """
    One table. Indices are learnt when they are first needed, because most images have no
    native part and the main module's 8,733 elements take 20 ms.
    """

    def __init__(self, store: wasmtime.Store, table: wasmtime.Table) -> None:
        self.table: Final = table
        self.context: Final = ctypes.cast(store._context(), c_void_p)  # noqa: SLF001
        self._store: Final = store
        self._raw: Final = ctypes.byref(table._table)  # noqa: SLF001
        self._indices: dict[bytes, int] = {}
        self._learnt = 0
        self._signatures: dict[bytes, str] = {}

    def __len__(self) -> int:
        return self.table.size(self._store)

    def grow(self, count: int) -> int:
        """
        Add `count` empty elements and return the index of the first.

        Raises wasmtime.WasmtimeError at the store's limit.
        """
        return self.table.grow(self._store, count, None)

    def append(self, function: wasmtime.Func) -> int:
        """
        Add one element.
        """
        return self.table.grow(self._store, 1, function)

    def put(self, index: int, function: capi.wasmtime_func_t | None) -> None:
        """
        Change an element, to a function or null.
        """
        self.table.set(self._store, index, None if function is None else _func(function))

    def at(self, index: int) -> capi.wasmtime_func_t | None:
        """
        The function at `index`; None where the element is null. Raises IndexError past the end.
        """
        value: Any = capi.wasmtime_val_t()
        if not _get(self.context, self._raw, index, ctypes.byref(value)):
            raise IndexError(index)
        return _function(value)

    def signature(self, function: capi.wasmtime_func_t) -> str:
        """
        The function's type ("iId>i"), as the engine has it.
        """
        identity = _identity(function)
        known = self._signatures.get(identity)
        if known is None:
            kind = _func(function).type(self._store)
            known = self._signatures[identity] = signature_of(kind)
        return known

    def index_of(self, function: wasmtime.Func) -> int:
        """
        The function's index; it is appended where it has none.
        """
        self._learn()
        identity = _identity(function._func)  # noqa: SLF001 - the C API's value
        found = self._indices.get(identity)
        if found is None:
            found = self._indices[identity] = self.append(function)
        return found

    def _learn(self) -> None:
        """
        Take in the elements that came since the last time.
        """
        size = len(self)
        value: Any = capi.wasmtime_val_t()
        for index in range(self._learnt, size):
            found = _get(self.context, self._raw, index, ctypes.byref(value))
            if found and (function := _function(value)) is not None:
                self._indices.setdefault(_identity(function), index)
        self._learnt = size


def _function(value: Any) -> capi.wasmtime_func_t | None:
    function: capi.wasmtime_func_t = value.of.funcref
    return function if value.kind == _FUNCREF and function.store_id else None


def _func(function: capi.wasmtime_func_t) -> wasmtime.Func:
    return wasmtime.Func._from_raw(function)  # noqa: SLF001


def _identity(function: Any) -> bytes:
    return bytes(function)
