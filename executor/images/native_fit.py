"""
Whether the native parts of an image fit each other and their guest.

The linker of a session (`executor/wasm/linker.py`) resolves a function to the main module, to a
library that was needed, to the host, and last to the module itself or a library that was loaded
as global. What can be known beforehand is decided here, name and type: a module that could never
be linked, or only by chance, refuses the build instead of failing in front of an agent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, Final

import wasmtime

from executor.wasm.dylink import Dylink
from executor.wasm.late import Signature, signature
from executor.wasm.linkage import signature_of

_TABLES: Final = frozenset(["GOT.mem", "GOT.func"])
# What the linker calls without arguments, where a module exports it.
_CALLED: Final = ("__wasm_apply_data_relocs", "__wasm_call_ctors")
# The linker loads what is needed by recursion; real libraries need two or three in a row.
_DEPTH_MAX: Final = 16


class RefusedError(Exception):
    """
    A native part does not fit; the text says which and why.
    """


@dataclass(frozen=True, slots=True)
class Part:
    """
    A native part: its path below site-packages, its dylink.0 section, its translated module
    and that one's exports by name.
    """

    path: str
    dylink: Dylink
    module: wasmtime.Module
    exports: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class World:
    """
    All that can be linked with: the main module's exports, the signatures of the host's
    functions in the letters of `linkage.signature_of`, and the native parts by path.
    """

    main: Mapping[str, Any]
    host: Mapping[str, str]
    parts: Mapping[str, Part]


def require_fit(world: World) -> None:
    """
    Raise RefusedError for the first part that cannot be linked.
    """
    for path in world.parts:
        _require_order(world, path, ())
    for part in world.parts.values():
        _require_known(world, part)
        _require_types(world, part)


def _require_order(world: World, path: str, above: tuple[str, ...]) -> None:
    """
    Every library that a part needs is there, and none needs itself.
    """
    if path in above:
        raise RefusedError(f"{path} is refused: it needs itself, by way of {above[-1]}")
    if len(above) >= _DEPTH_MAX:
        raise RefusedError(
            f"{above[0]} is refused: more than {_DEPTH_MAX} libraries that need each other"
        )
    for one in needed(world, world.parts[path]):
        _require_order(world, one, (*above, path))


def needed(world: World, part: Part) -> tuple[str, ...]:
    """
    The paths of the libraries that a part needs. Raises RefusedError where one is not there.
    """
    return tuple(dict.fromkeys(_library(world, part, name) for name in part.dylink.needed))


def _library(world: World, part: Part, name: str) -> str:
    # As the linker finds it: beside the one that needs it, or anywhere in the image.
    found = [path for path in world.parts if _last(path) == _last(name)]
    parent = PurePosixPath(part.path).parent
    chosen = [path for path in found if PurePosixPath(path).parent == parent] or found
    if len(chosen) != 1:
        raise RefusedError(
            f"{part.path} is refused: it needs the library {name}, of which the image has "
            f"{len(chosen)}. Add the package that has it."
        )
    return chosen[0]


def _last(path: str) -> str:
    return PurePosixPath(path).name


def _is_global(wanted: Any, *, mutable: bool) -> bool:
    kind = wanted.type
    is_word = isinstance(kind, wasmtime.GlobalType) and str(kind.content) == "i32"
    return is_word and kind.mutable is mutable


# What the linker gives besides functions and the global offset table, and of which kind.
_GIVEN: Final[Mapping[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "memory": lambda wanted: isinstance(wanted.type, wasmtime.MemoryType),
        "__indirect_function_table": lambda wanted: isinstance(wanted.type, wasmtime.TableType),
        "__stack_pointer": lambda wanted: _is_global(wanted, mutable=True),
        "__memory_base": lambda wanted: _is_global(wanted, mutable=False),
        "__table_base": lambda wanted: _is_global(wanted, mutable=False),
        "__cpp_exception": lambda wanted: isinstance(wanted.type, wasmtime.TagType),
        "__c_longjmp": lambda wanted: isinstance(wanted.type, wasmtime.TagType),
    }
)


def _require_known(world: World, part: Part) -> None:
    """
    Every import is of a name and a kind that something will satisfy.
    """
    there = world.main.keys() | world.host.keys() | set(part.dylink.weak)
    known = there.union(*(one.exports for one in world.parts.values()))
    missing = [item for item in part.module.imports if not _is_known(item, known)]
    if missing:
        named = ", ".join(f"{item.module}.{item.name}" for item in missing[:5])
        raise RefusedError(
            f"{part.path} is refused: it imports {named}{' and more' if missing[5:] else ''}, "
            "which neither the guest nor another package of the image has. Add the package that "
            "has it, or use a wheel built for this guest."
        )


def _is_known(wanted: Any, known: set[str]) -> bool:
    name = wanted.name or ""
    if wanted.module in _TABLES:
        return name in known and _is_global(wanted, mutable=True)
    if isinstance(wanted.type, wasmtime.FuncType):
        return name in known
    return wanted.module == "env" and name in _GIVEN and _GIVEN[name](wanted)


def _require_types(world: World, part: Part) -> None:
    """
    Every function that is imported, or called by the linker, has the type that is expected.
    """
    scope = (world.main, *(world.parts[path].exports for path in needed(world, part)))
    for wanted in _functions(part):
        name, type_ = wanted.name or "", signature_of(wanted.type)
        allowed = _offered(world, scope, name)
        if type_ not in allowed and (allowed or name not in part.dylink.weak):
            raise _mismatch(part, name, type_, allowed)
    for name in _CALLED:
        found = _function(part.exports, name)
        if name in part.exports and found != ">":
            raise _mismatch(part, name, found or "no function", {">"})


def _mismatch(part: Part, name: str, found: str, allowed: set[str]) -> RefusedError:
    expected = " or ".join(sorted(allowed)) or "no function"
    return RefusedError(
        f"{part.path} is refused: its function {name} has the type {found}, and {expected} is "
        "expected (parameters > results; i and I are integers, f and d floats, of 32 and 64 "
        "bits). Use a wheel built for this guest."
    )


def _functions(part: Part) -> Iterator[Any]:
    for wanted in part.module.imports:
        if wanted.module not in _TABLES and isinstance(wanted.type, wasmtime.FuncType):
            yield wanted


def _offered(world: World, scope: Sequence[Mapping[str, Any]], name: str) -> set[str]:
    """
    The types that a function of this name may have: one where it is known what it will be bound
    to, those of all native parts where it depends on what else is loaded.

    `scope` are the exports that come before the host's.
    """
    bound = (_function(exports, name) for exports in scope)
    first = next((one for one in bound if one is not None), world.host.get(name))
    if first is not None:
        return {first}
    found = (_function(one.exports, name) for one in world.parts.values())
    return {one for one in found if one is not None}


def _function(exports: Mapping[str, Any], name: str) -> str | None:
    found = exports.get(name)
    if found is None or not isinstance(found.type, wasmtime.FuncType):
        return None
    return signature_of(found.type)


def late(world: World, part: Part) -> dict[str, Signature]:
    """
    The functions that the linker can bind only once the module, or another one, is there.

    Raises RefusedError where one takes or returns a reference.
    """
    found = {}
    for wanted in _functions(part):
        name = wanted.name or ""
        if _function(world.main, name) is None and name not in world.host:
            try:
                found[name] = signature(wanted.type)
            except ValueError as error:
                raise RefusedError(f"{part.path} is refused: it imports {name}, {error}") from error
    return found
