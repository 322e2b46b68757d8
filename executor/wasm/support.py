"""
What every kind of guest can ask of the host, as the tables of imports have it: a page, and data.

The tables are what linking goes by, so this cannot say anything else than what happens.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from executor.kernel.errors import InternalError
from executor.wasm import imports
from executor.wasm.abi import Errno
from executor.wasm.emscripten_abi import ABIS
from executor.wasm.imports import Failure, Row, Support
from executor.wasm.layout import LAYOUTS, PYODIDE_313, PYODIDE_314, WASI_315, Layout
from executor.wasm.marks import word_of
from executor.wasm.wasi_door import Door
from executor.wasm.wasi_imports import rows as wasi_rows

_TITLE: Final = """\
# What a guest can ask of the host
Printed by `codecage image imports` from the tables that linking goes by; a test compares the two.

A guest is WebAssembly: it has its own memory and these imports, and no other way out. Linking is \
total: a module that wants an import which is not here, or the same with another signature, is \
not started. Where a file, a program or the network is concerned, an import asks the policy first.

| word | means |
| --- | --- |
| supported | does what its manual page says, within the session's policy and limits |
| partial | the same, but for what the note says |
| constant | always answers the same, and does nothing |
| refused | always fails, with the error or value that is named, and does nothing |

In a replay (replay.md) an answer is computed again where it is a function of the guest's *state*, \
or a *constant*; the inputs come by the *frames* of the server, from the *tape* of what the worker \
was told by clocks and connections, or from the session's *seed*.
"""
_JAVASCRIPT: Final = "no JavaScript"
_INTERFACES: Final[Mapping[str, str]] = MappingProxyType(
    {
        PYODIDE_314.guest: "Emscripten; the images core, math, web and pyodide-data",
        PYODIDE_313.guest: "Emscripten; the image python313",
        WASI_315.guest: "WASI preview 1; the image data",
    }
)


@dataclass(frozen=True, slots=True)
class Import:
    """
    One import of a guest: how far it is supported, what it answers where that is fixed (an
    error's name or a number), how its answer comes into a replay (`marks.py`), and the note that
    says why not more.
    """

    guest: str
    module: str
    name: str
    support: Support
    answer: str
    comes_by: str
    note: str


def guests() -> tuple[str, ...]:
    """
    The kinds of guest that have a table.
    """
    return tuple(layout.guest for layout in LAYOUTS)


@cache
def imports_of(guest: str) -> tuple[Import, ...]:
    """
    The imports of a kind of guest, as its table has them. Raises InternalError for another kind.
    """
    return tuple(_import(guest, row) for row in _rows(guest))


def _rows(guest: str) -> Iterable[Row]:
    if guest in ABIS:
        return ABIS[guest].rows
    if guest == WASI_315.guest:
        # Nothing is answered here: the rows alone are looked at.
        return wasi_rows(Door(0).knock)
    raise InternalError(f"no table of imports is that of a guest {guest!r}")


def _import(guest: str, row: Row) -> Import:
    return Import(guest, row.module, row.name, row.support, _answer(row), word_of(row), row.note)


def _answer(row: Row) -> str:
    """
    What a row without a handler answers; nothing where a handler decides, or no result is given.
    """
    if row.act is not None or row.signature.endswith(">"):
        return ""
    if row.failure is Failure.NEGATED:
        return Errno(-row.value).name
    return str(row.value)


# ---- the page ---------------------------------------------------------------------------------


def page(guest: str | None = None) -> str:
    """
    The page as Markdown, of one kind of guest or of all.
    """
    wanted = [layout for layout in LAYOUTS if guest in {None, layout.guest}]
    parts = [_TITLE, *(_section(layout, whole=guest is not None) for layout in wanted)]
    return "\n".join(parts)


def _section(layout: Layout, *, whole: bool) -> str:
    found = imports_of(layout.guest)
    heading = (
        f"## {layout.guest}\nPython {layout.python}. {_INTERFACES[layout.guest]}. {_counted(found)}"
    )
    if layout == PYODIDE_313 and not whole:
        return f"{heading}\n\n{_differences(found, imports_of(PYODIDE_314.guest))}"
    more = f" {_GLOBALS}" if layout == PYODIDE_314 else ""
    return f"{heading}{more}\n\n{_tables(found)}"


_GLOBALS: Final = (
    f"Besides, {imports.GOT_GLOBALS} globals of `{imports.GOT}` are numbers: places of OpenGL "
    "functions that are never called."
)


def _counted(found: tuple[Import, ...]) -> str:
    counts = Counter(one.support for one in found)
    told = ", ".join(f"{counts[support]} {support.value}" for support in Support)
    return f"{len(found)} functions: {told}."


def _differences(found: tuple[Import, ...], base: tuple[Import, ...]) -> str:
    """
    What the later guest has and this one has not, and the other way round.
    """
    later = {(one.module, one.name) for one in base}
    own = {(one.module, one.name) for one in found}
    lacking = ", ".join(f"`{name}`" for module, name in sorted(later - own))
    added = tuple(one for one in found if (one.module, one.name) not in later)
    return (
        f"As {PYODIDE_314.guest} above, without {lacking}, which it does not import; and with "
        f"these:\n\n{_tables(added)}"
    )


def _tables(found: tuple[Import, ...]) -> str:
    """
    A table for each module of the imports, in their order.
    """
    modules = dict.fromkeys(one.module for one in found)
    return "\n".join(
        f"### Module `{module}`\n{_table([one for one in found if one.module == module])}"
        for module in modules
    )


def _table(found: list[Import]) -> str:
    lines = ["| import | support | answer | replay | note |", "| --- | --- | --- | --- | --- |"]
    scripted = [one for one in found if one.note == _JAVASCRIPT]
    lines += [_line(f"`{one.name}`", one) for one in found if one.note != _JAVASCRIPT]
    for answer in dict.fromkeys(one.answer for one in scripted):
        alike = [one for one in scripted if one.answer == answer]
        lines.append(_line(", ".join(f"`{one.name}`" for one in alike), alike[0]))
    return "\n".join(lines) + "\n"


def _line(names: str, one: Import) -> str:
    return f"| {names} | {one.support.value} | {one.answer} | {one.comes_by} | {one.note} |"
