"""
Linking a guest's imports: one row of the table for each, total in both directions.

The host's functions are made before the instance, and bound to the process after it, because
the process works on the instance's memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import wasmtime

from executor.kernel.errors import InternalError
from executor.wasm.calls import Faults, HostFunction, host_function
from executor.wasm.imports import Row
from executor.wasm.marks import ways_of
from executor.wasm.process import Process

_LETTERS: Final = {"i32": "i", "i64": "I", "f32": "f", "f64": "d"}


# An import's module and name; and what the guest is given instead of the host's function for it.
Name = tuple[str, str]
Before = Callable[[wasmtime.Func], Any]


class Linkage:
    """
    The host's half of an instance: a function for each import, and later a handler for each.

    For imports that are named in `before` the guest has what that makes of the host's function.
    """

    def __init__(
        self,
        store: wasmtime.Store,
        rows: Sequence[Row],
        faults: Faults,
        before: Mapping[Name, Before] | None = None,
    ) -> None:
        self._store = store
        self._faults = faults
        self._before = before or {}
        self._rows: Final = {(row.module, row.name): row for row in rows}
        for row in rows:
            ways_of(row)
        self._slots: dict[tuple[str, str], _Slot] = {}
        # Callbacks that the engine holds by address only.
        self._functions: list[HostFunction] = []

    def function(self, wanted: Any) -> wasmtime.Func:
        """
        The host's function for one import of the module.

        Raises InternalError where no row names it, or with another signature.
        """
        key = (wanted.module, wanted.name or "")
        row, kind = self._rows.get(key), wanted.type
        if row is None or row.signature != signature_of(kind):
            raise InternalError(f"no row for import {key[0]}.{key[1]}")
        slot = self._slots[key] = _Slot()
        made = host_function(self._store, kind, row.signature, slot, self._faults)
        if key in self._before:
            made = HostFunction(self._before[key](made.extern), made)
        self._functions.append(made)
        return made.extern

    def require_all_used(self) -> None:
        """
        Raise InternalError where the table has a row that the module does not import.
        """
        unused = sorted(self._rows.keys() - self._slots.keys())
        if unused:
            raise InternalError(f"the module does not import {unused[0]}, which the table names")

    def bind(self, process: Process) -> None:
        """
        Give every function its handler.
        """
        for key, slot in self._slots.items():
            slot.handler = self._rows[key].bind(process)

    def named(self) -> dict[str, wasmtime.Func]:
        """
        The functions by name, for modules that are linked later.
        """
        return {key[1]: made.extern for key, made in zip(self._slots, self._functions, strict=True)}

    def handler(self, name: str) -> Any:
        """
        The bound handler of the import `name`, for tests.
        """
        return next(slot.handler for key, slot in self._slots.items() if key[1] == name)


class _Slot:
    """
    A handler that is called through one more reference, because it is made after its function.
    """

    __slots__ = ("handler",)

    def __init__(self) -> None:
        self.handler: Any = _unbound

    def __call__(self, *arguments: int) -> int | float | None:
        answer: int | float | None = self.handler(*arguments)
        return answer


def _unbound(*_arguments: int) -> int:
    raise InternalError("the guest called the host before it was bound")


def signature_of(kind: wasmtime.FuncType) -> str:
    """
    The signature in the table's letters: i, I, f, d, and r for every reference.
    """

    def text(types: list[wasmtime.ValType]) -> str:
        return "".join(_LETTERS.get(str(one), "r") for one in types)

    return f"{text(kind.params)}>{text(kind.results)}"
