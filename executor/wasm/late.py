"""
Adapters for functions that a side module imports and that exist only after it was instantiated.

C++ code imports inline functions that it defines itself, because another library may define
them first. JavaScript binds those late, by a closure for each. Here each is a function in an
adapter module, made when the image is built: it takes the same parameters and calls, through
the table, the index that the linker puts into its global. A null index traps.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import wasmtime

from executor.wasm import encoder
from executor.wasm.encoder import Kind, ModuleWriter, ValueType

# The module name under which the adapter imports its globals, one for each function.
LATE: Final = "late"
_TYPES: Final = {
    "i32": ValueType.I32,
    "i64": ValueType.I64,
    "f32": ValueType.F32,
    "f64": ValueType.F64,
}

Signature = tuple[tuple[ValueType, ...], tuple[ValueType, ...]]


def signature(kind: wasmtime.FuncType) -> Signature:
    """
    The type of a function. Raises ValueError where it takes or returns a reference.
    """
    return _values(kind.params), _values(kind.results)


def _values(types: list[wasmtime.ValType]) -> tuple[ValueType, ...]:
    found = [_TYPES.get(str(one)) for one in types]
    known = tuple(one for one in found if one is not None)
    if len(known) != len(found):
        raise ValueError("a function with a reference among its parameters or results")
    return known


def adapter(functions: Mapping[str, Signature]) -> bytes:
    """
    The module with one forwarding function for each name; the same input gives the same bytes.
    """
    writer = ModuleWriter()
    names: Sequence[str] = sorted(functions)
    table = writer.import_table("env", "__indirect_function_table")
    indices = {name: writer.import_global(LATE, name, mutable=True) for name in names}
    for name in names:
        params, results = functions[name]
        kind = writer.type(params, results)
        code = [encoder.local_get(number) for number in range(len(params))]
        code += [encoder.global_get(indices[name]), encoder.call_indirect(kind, table)]
        writer.export(name, Kind.FUNCTION, writer.function(kind, code))
    return writer.encode()
