"""
The functions of `policy/` that live in this process, and how one of them is exchanged.

A function may have others inside that outlive its call (a validator that a factory made when a
module was imported): they are exchanged with it.
"""

import functools
import gc
import types
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from operators import Mutant

SOURCE = Path(__file__).resolve().parents[2] / "policy"

Exchange = list[tuple[types.FunctionType, types.CodeType]]


class NotExchangeable(Exception):
    """
    A function that lives has no place for its changed code: a fault of this tool, no test's merit.
    """


def code_of(path: Path, mutant: Mutant) -> types.CodeType:
    """
    The code of the function that a mutant changes, as it would be.
    """
    return _find(compile(mutant.tree, str(path), "exec"), mutant.name)


def lines_of(code: types.CodeType) -> set[int]:
    """
    The lines at which a function and those inside it begin.
    """
    return {one.co_firstlineno for one in _all_of(code)}


def exchange(path: Path, changed: types.CodeType) -> Exchange:
    """
    The functions that live, each with the changed code that is for it; none where the module has
    not been imported.
    """
    living = functions().get(str(path), {})
    return [
        (function, code)
        for code in _all_of(changed)
        for function in living.get((code.co_qualname, code.co_firstlineno), ())
    ]


def make(exchange: Exchange) -> None:
    """
    Exchange the codes, and forget what was worked out before.
    """
    for function, code in exchange:
        if len(code.co_freevars) != len(function.__code__.co_freevars):
            raise NotExchangeable(code.co_qualname)
        function.__code__ = code
    for cached in caches():
        cached.cache_clear()


@functools.cache
def functions() -> dict[str, dict[tuple[str, int], list[types.FunctionType]]]:
    """
    By file, and by qualified name and first line: the functions that live now.
    """
    found: dict[str, dict[tuple[str, int], list[types.FunctionType]]] = {}
    for one in gc.get_objects():
        if isinstance(one, types.FunctionType) and one.__code__.co_filename.startswith(str(SOURCE)):
            code = one.__code__
            file = found.setdefault(code.co_filename, defaultdict(list))
            file[code.co_qualname, code.co_firstlineno].append(one)
    return found


@functools.cache
def caches() -> list[functools._lru_cache_wrapper]:
    """
    What remembers results, but for this module's own.
    """
    ours = {functions, caches}
    return [
        one
        for one in gc.get_objects()
        if isinstance(one, functools._lru_cache_wrapper) and one not in ours
    ]


def forget() -> None:
    """
    Empty what remembers results of `policy/`.
    """
    for cached in caches():
        if getattr(cached.__wrapped__, "__module__", "").startswith(f"{SOURCE.name}."):
            cached.cache_clear()


def _all_of(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _all_of(constant)


def _find(code: types.CodeType, name: str) -> types.CodeType:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            if constant.co_qualname == name:
                return constant
            if name.startswith(f"{constant.co_qualname}."):
                return _find(constant, name)
    raise LookupError(name)
