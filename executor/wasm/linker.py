"""
Linking side modules: the native parts of the image's packages, and nothing else.

What a guest may load was translated, compiled and hashed when the image was built. A path that
does not lead to one of those files is refused before anything is read, so no bytes of the guest
ever reach a compiler (there is none in a session). The steps are those of the tool-conventions
repository's DynamicLinking.md: memory and table are made room for, every import is resolved,
the module is instantiated, its exports complete the global offset table, its data relocations
and constructors run.

Functions resolve to the main module, to libraries that were needed or loaded as global, then to
the host's own, and last to the module itself by its adapter (`late`).
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

import wasmtime

from executor.wasm import engine
from executor.wasm.abi import GuestFault
from executor.wasm.calls import Exports, Faults
from executor.wasm.function_table import FunctionTable
from executor.wasm.late import LATE
from executor.wasm.layout import layout
from executor.wasm.memory import GuestMemory
from executor.wasm.nodes import Local, Node
from executor.wasm.parts import Parts, SideModule
from executor.wasm.process import Process

# struct dso of Emscripten's libc: flags, then what the loader tells it, then the file's name.
_FLAGS, _MEMORY_ALLOCATED, _MEMORY, _MEMORY_SIZE = 4, 8, 12, 16
_TABLE, _TABLE_SIZE, _NAME = 20, 24, 36
_RTLD_GLOBAL: Final = 256
_MAIN: Final = "__main__"
_DATA: Final = "GOT.mem"
_FUNCTION: Final = "GOT.func"
_RELOCATE: Final = "__wasm_apply_data_relocs"
_CONSTRUCT: Final = "__wasm_call_ctors"
_I32: Final = wasmtime.ValType.i32()

Symbol = wasmtime.Func | int | None


class NotLinkedError(Exception):
    """
    A library cannot be linked; the text is what dlerror(3) says.
    """


@dataclass(frozen=True, slots=True)
class Core:
    """
    The main instance as side modules see it: its memory, table, stack and tags, the entries of
    its global offset table, and the host's functions by name.
    """

    store: wasmtime.Store
    engine: wasmtime.Engine
    exports: Exports
    faults: Faults
    memory: GuestMemory
    linear: wasmtime.Memory
    table: wasmtime.Table
    stack_pointer: wasmtime.Global
    tags: Mapping[str, wasmtime.Tag]
    globals: Mapping[str, wasmtime.Global]
    host: Mapping[str, wasmtime.Func]


@dataclass(frozen=True, slots=True, eq=False)
class Library:
    """
    A linked side module, and where its memory and its part of the table begin.
    """

    path: str
    exports: Exports
    memory: int
    table: int


@dataclass(slots=True)
class _Entry:
    """
    One word of the global offset table: shared by all that name the symbol.
    """

    word: wasmtime.Global
    resolved: bool


@dataclass(slots=True)
class _Load:
    """
    A module on its way in.
    """

    path: str
    part: SideModule
    memory: int
    table: int
    needed: list[Library]
    entries: dict[str, _Entry] = field(default_factory=dict)
    late: dict[str, wasmtime.Global] = field(default_factory=dict)


class SideLinker:
    """
    The libraries of one guest: what may be loaded, and what is.
    """

    def __init__(self, core: Core, process: Process, parts: Parts, trampoline: int) -> None:
        self.trampoline = trampoline
        self._core = core
        self._process = process
        self._functions = FunctionTable(core.store, core.table)
        self._parts: Final = _by_guest_path(parts)
        # Compiled modules are mapped now: in a locked worker nothing executable can be made.
        self._modules = {path: self._deserialise(part.code) for path, part in self._parts.items()}
        self._adapters = {
            path: self._deserialise(part.adapter)
            for path, part in self._parts.items()
            if part.adapter
        }
        self._pinned: Final = {self._node(path): path for path in self._parts}
        self._entries = {name: _Entry(word, resolved=True) for name, word in core.globals.items()}
        self._loaded: dict[str, Library] = {}
        # Libraries on their way in, and those that failed when it was too late to undo it.
        self._linking: list[str] = []
        self._broken: dict[str, str] = {}
        self._handles: dict[int, Library | None] = {}
        self._global: list[Library] = []

    def _deserialise(self, path: str) -> wasmtime.Module:
        return engine.load(self._core.engine, path)

    def _node(self, path: str) -> Node | None:
        found = self._process.files.resolve(path, "/", follow=True)
        return found.node if isinstance(found, Local) else None

    @property
    def is_untouched(self) -> bool:
        """
        Whether no library was ever asked for.
        """
        return not (self._loaded or self._broken or self._handles)

    # ---- what libc asks -------------------------------------------------------------------------

    def open(self, handle: int) -> int:
        """
        Load the library of a libc handle: 1, or 0 with the reason left for dlerror(3).
        """
        try:
            return self._open(handle)
        except NotLinkedError as error:
            self._tell(str(error))
        except GuestFault as fault:
            self._tell(f"the library cannot be reached: {fault.errno.name}")
        return 0

    def _open(self, handle: int) -> int:
        memory = self._core.memory
        name = memory.string(handle + _NAME).decode("utf-8", "surrogateescape")
        if name == _MAIN:
            self._handles[handle] = None
            return 1
        path = self._pinned_path(name)
        library = self._library(path)
        if memory.u32(handle + _FLAGS) & _RTLD_GLOBAL and library not in self._global:
            self._global.append(library)
        self._describe(handle, library, self._parts[path])
        self._handles[handle] = library
        return 1

    def _pinned_path(self, name: str) -> str:
        """
        The image's own path of a library, by the file that a name leads to.
        """
        found = self._process.files.resolve(name, self._process.directory, follow=True)
        path = self._pinned.get(found.node) if isinstance(found, Local) else None
        if path is None:
            raise NotLinkedError(
                f"unpinned_module: {name} is not part of the image, and native code is loaded "
                "from nowhere else; use a package of the image"
            )
        return path

    def _describe(self, handle: int, library: Library, part: SideModule) -> None:
        """
        Tell libc where the module lies; it keeps this and frees nothing.
        """
        memory = self._core.memory
        memory.write(handle + _MEMORY_ALLOCATED, b"\1")
        memory.put_u32(handle + _MEMORY, library.memory)
        memory.put_u32(handle + _MEMORY_SIZE, part.memory_size)
        memory.put_u32(handle + _TABLE, library.table)
        memory.put_u32(handle + _TABLE_SIZE, part.table_size)

    def symbol(self, handle: int, name: int) -> int:
        """
        The address of a symbol of the library with that handle; 0 where it has none.
        """
        text = self._core.memory.string(name).decode("utf-8", "surrogateescape")
        # Of 0, which is what libc makes of CDLL(None), the scope is the main module's.
        if handle and handle not in self._handles:
            self._tell("the library is not open")
            return 0
        library = self._handles.get(handle)
        everywhere = [self._core.exports, *(one.exports for one in self._global)]
        scope = everywhere if library is None else [library.exports]
        found = (exports.symbol(text) for exports in scope)
        address = self._address(next((one for one in found if one is not None), None))
        if not address:
            self._tell(f"no symbol {text}")
        return address

    def _tell(self, reason: str) -> None:
        """
        Leave a reason for dlerror(3); libc reads it as a format, so percent signs are doubled.
        """
        data = reason.replace("%", "%%").encode("utf-8", "replace") + b"\0"
        exports = self._core.exports
        pointer = exports.function("malloc")(len(data))
        if pointer:
            self._core.memory.write(pointer, data)
            exports.function("__dl_seterr")(pointer, 0)
            exports.function("free")(pointer)

    # ---- linking --------------------------------------------------------------------------------

    def _library(self, path: str) -> Library:
        if path in self._loaded:
            return self._loaded[path]
        if path in self._broken:
            raise NotLinkedError(self._broken[path])
        if path in self._linking:
            raise NotLinkedError(f"{path} needs itself, through {self._linking[-1]}")
        self._linking.append(path)
        try:
            return self._link(path)
        finally:
            self._linking.pop()

    def _link(self, path: str) -> Library:
        part = self._parts[path]
        needed = [self._library(self._needed_path(path, name)) for name in part.needed]
        self._require_symbols(path, needed)
        load = self._begin(path, needed)
        try:
            library = self._instantiated(load)
        except (NotLinkedError, wasmtime.WasmtimeError) as error:
            # Its memory and its part of the table are gone for good: it is not tried again.
            reason = f"{path} does not fit its image: {str(error).splitlines()[0]}"
            self._broken[path] = reason
            self._loaded.pop(path, None)
            raise NotLinkedError(reason) from error
        for name in (_RELOCATE, _CONSTRUCT):
            if library.exports.symbol(name) is not None:
                library.exports.function(name)()
        return library

    def _require_symbols(self, path: str, needed: list[Library]) -> None:
        """
        Raise NotLinkedError, before anything is taken, where a symbol is nowhere.

        It may be there later, when another library was opened as global.
        """
        module, weak = self._modules[path], self._parts[path].weak
        own = {item.name for item in module.exports}
        for wanted in module.imports:
            name = wanted.name or ""
            function = isinstance(wanted.type, wasmtime.FuncType)
            if not function and wanted.module not in {_DATA, _FUNCTION}:
                continue
            there = name in own or name in weak or (function and name in self._core.host)
            if not there and self._elsewhere(needed, name) is None:
                raise NotLinkedError(f"{path} needs the symbol {name}, which nothing has")

    def _instantiated(self, load: _Load) -> Library:
        module = self._modules[load.path]
        adapter = self._adapter(load)
        externs = [self._extern(load, adapter, wanted) for wanted in module.imports]
        instance = wasmtime.Instance(self._core.store, module, externs)
        exports = Exports(self._core.store, instance, self._core.faults)
        exports.move_data(load.memory)
        library = Library(load.path, exports, load.memory, load.table)
        self._complete(load, library)
        # Known before its code runs: what it loads in turn may need it.
        self._loaded[load.path] = library
        return library

    def _begin(self, path: str, needed: list[Library]) -> _Load:
        part = self._parts[path]
        memory = self._allocate(part)
        try:
            table = self._functions.grow(part.table_size)
        except wasmtime.WasmtimeError as error:
            raise NotLinkedError(
                f"{path} needs more of the function table than there is"
            ) from error
        return _Load(path, part, memory, table, needed)

    def _needed_path(self, path: str, name: str) -> str:
        """
        A library by its file name: beside the one that needs it, or anywhere in the image.
        """
        found = [one for one in self._parts if PurePosixPath(one).name == PurePosixPath(name).name]
        beside = [one for one in found if PurePosixPath(one).parent == PurePosixPath(path).parent]
        chosen = beside or found
        if len(chosen) != 1:
            raise NotLinkedError(f"{path} needs {name}, of which the image has {len(chosen)}")
        return chosen[0]

    def _allocate(self, part: SideModule) -> int:
        if not part.memory_size:
            return 0
        room = self._core.exports.function("calloc")(part.memory_size + part.align, 1)
        if not room:
            raise NotLinkedError("no memory left for the library")
        return -(-room // part.align) * part.align

    def _adapter(self, load: _Load) -> Exports | None:
        """
        The instance of the module's adapter, with a global of its own for each late function.
        """
        module = self._adapters.get(load.path)
        if module is None:
            return None
        externs: list[Any] = []
        for wanted in module.imports:
            if wanted.module == LATE:
                load.late[wanted.name or ""] = made = self._word(0, mutable=True)
                externs.append(made)
            else:
                externs.append(self._core.table)
        instance = wasmtime.Instance(self._core.store, module, externs)
        return Exports(self._core.store, instance, self._core.faults)

    def _extern(self, load: _Load, adapter: Exports | None, wanted: Any) -> Any:
        """
        What satisfies one import of a side module.
        """
        name = wanted.name or ""
        if wanted.module in {_DATA, _FUNCTION}:
            return self._entry(load, name).word
        if isinstance(wanted.type, wasmtime.FuncType):
            return self._function(load, adapter, name)
        core = self._core
        given: dict[str, Any] = {
            "memory": core.linear,
            "__indirect_function_table": core.table,
            "__stack_pointer": core.stack_pointer,
            "__memory_base": self._word(load.memory, mutable=False),
            "__table_base": self._word(load.table, mutable=False),
            **core.tags,
        }
        if name not in given:
            raise NotLinkedError(f"{load.path} imports {wanted.module}.{name}, which is not given")
        return given[name]

    def _function(self, load: _Load, adapter: Exports | None, name: str) -> wasmtime.Func:
        found = self._elsewhere(load.needed, name)
        if isinstance(found, wasmtime.Func):
            load.late.pop(name, None)
            return found
        if name in self._core.host:
            return self._core.host[name]
        late = adapter.symbol(name) if adapter is not None else None
        if not isinstance(late, wasmtime.Func):
            raise NotLinkedError(f"{load.path} imports the function {name}, which nothing has")
        return late

    def _elsewhere(self, needed: list[Library], name: str) -> Symbol:
        """
        A symbol of the main module, of the libraries that were needed, or of the global ones.
        """
        found = self._core.exports.symbol(name)
        for library in (*needed, *self._global):
            if found is not None:
                break
            found = library.exports.symbol(name)
        return found

    def _entry(self, load: _Load, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is None:
            entry = self._entries[name] = _Entry(self._word(0, mutable=True), resolved=False)
        if not entry.resolved:
            load.entries[name] = entry
        return entry

    def _complete(self, load: _Load, library: Library) -> None:
        """
        Fill the words and globals that waited for the module's own exports.
        """
        for name, entry in load.entries.items():
            found = self._core.exports.symbol(name)
            if found is None:
                found = library.exports.symbol(name)
            if found is None:
                found = self._elsewhere(load.needed, name)
            if found is None and name not in load.part.weak:
                raise NotLinkedError(f"{load.path} needs the symbol {name}, which nothing has")
            entry.word.set_value(self._core.store, wasmtime.Val.i32(_word(self._address(found))))
            entry.resolved = found is not None
        for name, word in load.late.items():
            own = self._address(library.exports.symbol(name))
            word.set_value(self._core.store, wasmtime.Val.i32(_word(own)))

    def _address(self, symbol: Symbol) -> int:
        """
        An address: of data as it is, of a function its index in the table, of nothing 0.
        """
        if isinstance(symbol, wasmtime.Func):
            return self._functions.index_of(symbol)
        return symbol or 0

    def _word(self, value: int, *, mutable: bool) -> wasmtime.Global:
        kind = wasmtime.GlobalType(_I32, mutable)
        return wasmtime.Global(self._core.store, kind, wasmtime.Val.i32(_word(value)))


def _word(value: int) -> int:
    """
    An address as wasmtime's Python wants a 32-bit integer: signed.
    """
    return ctypes.c_int32(value).value


def _by_guest_path(parts: Parts) -> dict[str, SideModule]:
    root = layout(parts.guest).site_packages
    return {f"{root}/{name}": part for name, part in parts.native.items()}
