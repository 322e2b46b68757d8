"""
Pyodide's CPython: linked, started, and called through its C API.

The order is Pyodide's without its JavaScript: data relocations where the module has any,
constructors, then the module by which CPython calls C functions of any signature through a
table, then `Py_InitializeEx`.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import wasmtime

from executor.kernel.errors import InternalError
from executor.wasm import engine
from executor.wasm.abi import Errno
from executor.wasm.booted import ANSWER_MAX, Guest, GuestOutOfMemoryError, decoded
from executor.wasm.calls import Exports
from executor.wasm.emscripten_abi import ABIS, EmscriptenAbi
from executor.wasm.ffi import ForeignCalls
from executor.wasm.imports import Row
from executor.wasm.linker import Core, SideLinker
from executor.wasm.memory import GuestMemory
from executor.wasm.parts import Parts
from executor.wasm.program import Program, runtime_program
from executor.wasm.snapshot import Snapshot, left_nothing, world_of

# compile() of the runtime: file input, not an expression.
_FILE_INPUT: Final = 257
_SET_PROTECTION: Final = "PyUnstable_ThreadState_SetStackProtection"
# Measured: a sixth of it does not compile sympy's own code, and with the engine's stack at 64 MiB
# nothing that was tried ends that one first.
_STACK_BYTES: Final = 3 * 2**19
_I32: Final = wasmtime.ValType.i32()


class EmscriptenGuest(Guest):
    """
    A guest of Pyodide's, of one of the ABIs in `emscripten_abi`.
    """

    # ---- linking --------------------------------------------------------------------------------

    @property
    def abi(self) -> EmscriptenAbi:
        """
        The description of this guest's binary interface.
        """
        return ABIS[self.layout.guest]

    def _rows(self) -> tuple[Row, ...]:
        return self.abi.rows

    def _environment(self) -> dict[str, str]:
        return {"PYTHONHOME": "/"}

    def _instantiate(self, module: wasmtime.Module) -> wasmtime.Instance:
        self._shared = _Shared(self._store, self.abi)
        externs = [self._extern(wanted) for wanted in module.imports]
        return wasmtime.Instance(self._store, module, externs)

    def _extern(self, wanted: Any) -> Any:
        if isinstance(wanted.type, wasmtime.FuncType):
            return self.linkage.function(wanted)
        found = self._shared.extern(wanted)
        if found is None:
            raise InternalError(f"an import of a kind that is not linked: {wanted.name}")
        return found

    def _find_memory(self) -> wasmtime.Memory:
        return self._shared.memory or super()._find_memory()

    # ---- starting -------------------------------------------------------------------------------

    def _start(self, parts: Parts) -> None:
        shared = self._shared
        if self.abi.imported is not None:
            self.exports.move_data(self.abi.imported.memory_base)
            self.exports.function("__wasm_apply_data_relocs")()
        self.exports.function("__wasm_call_ctors")()
        self._table = shared.table or self.exports.table("__indirect_function_table")
        trampoline = self._install_trampoline(parts.trampoline)
        self.process.libc = _Libc(self.exports, self.memory)
        self._linker = SideLinker(self._core(), self.process, parts, trampoline)
        self.process.native = self._linker
        self._foreign = self._foreign_calls(parts.closures) if parts.closures else None
        if self._foreign is not None:
            self.process.foreign = self._foreign
        self._signal_flag = self.exports.address("Py_EMSCRIPTEN_SIGNAL_HANDLING")
        self._malloc = self.exports.function("malloc")
        self._free = self.exports.function("free")
        self._make_bytes = self.exports.function("PyBytes_FromStringAndSize")
        self._call_one = self.exports.function("PyObject_CallOneArg")
        self._bytes_size = self.exports.function("PyBytes_Size")
        self._bytes_data = self.exports.function("PyBytes_AsString")
        self._release = self.exports.function("Py_DecRef")
        program = runtime_program(parts)
        self._world = world_of(parts, program, self.environment)
        if parts.snapshot is not None and parts.snapshot.world == self._world:
            self._entry = self._resume(parts.snapshot)
        else:
            self.exports.function("Py_InitializeEx")(1)
            self._guard_stack()
            self._entry = self._install_runtime(program)

    def _resume(self, snapshot: Snapshot) -> int:
        """
        Take the guest up where the image's build left it. The entry's address.
        """
        if not self._grow(snapshot.size):
            raise InternalError("the guest's memory cannot have the size that its snapshot says")
        snapshot.fill(self.memory)
        self.process.entropy.go_on(snapshot.drawn)
        self.resumed_digest = snapshot.digest
        return snapshot.entry

    def snapshot(self, parts: Parts) -> Snapshot | None:
        """
        As `Guest` has it.
        """
        calls = (self._linker, self._foreign)
        untouched = all(one is None or one.is_untouched for one in calls)
        fresh = self._process(parts)
        if not (self.abi.snapshots and untouched and left_nothing(self.process, fresh)):
            return None
        return Snapshot.of(self._world, self.memory, self._entry, self.process.entropy.drawn)

    def _guard_stack(self) -> None:
        """
        Have CPython raise RecursionError well before the engine's stack ends.

        It measures its stack in linear memory, of which C code uses less than of the engine's:
        json and repr of something nested 100,000 deep would end the session. Pythons before
        3.14 count calls instead, and have no such function.
        """
        if self.exports.symbol(_SET_PROTECTION) is None:
            return
        top = self._shared.stack_pointer or self.exports.global_("__stack_pointer")
        bottom = int(top.value(self._store)) - _STACK_BYTES
        state = self.exports.function("PyThreadState_Get")()
        if self.exports.function(_SET_PROTECTION)(state, bottom, _STACK_BYTES):
            raise InternalError("the guest's stack could not be bounded")

    def _core(self) -> Core:
        shared = self._shared
        return Core(
            store=self._store,
            engine=self._engine,
            exports=self.exports,
            faults=self.faults,
            memory=self.memory,
            linear=self._linear,
            table=self._table,
            stack_pointer=shared.stack_pointer or self.exports.global_("__stack_pointer"),
            tags={name: shared.tags.get(name) or self.exports.tag(name) for name in _TAGS},
            globals=shared.got,
            host=self.linkage.named(),
        )

    def _foreign_calls(self, path: str) -> ForeignCalls:
        """
        What ctypes calls through, with the image's closures, which are made now: later nothing
        executable can be.
        """
        stack = self._shared.stack_pointer or self.exports.global_("__stack_pointer")
        module = engine.load(self._engine, path)
        instance = wasmtime.Instance(self._store, module, [self._linear, self._table, stack])
        adapter = Exports(self._store, instance, self.faults)
        return ForeignCalls(
            self._store,
            self.exports,
            self.memory,
            self._table,
            adapter,
            self.faults,
            self._raise_recursion_error,
        )

    def _raise_recursion_error(self) -> None:
        """
        Have the interpreter raise RecursionError once the C code that it is in has returned, as
        an exception from outside (PyThreadState_SetAsyncExc): C code that is told of an error
        by a result of its own does not look for one that was set under it. ctypes has let go of
        the interpreter's lock around the call.
        """
        function = self.exports.function
        kind = self.memory.u32(self.exports.address("PyExc_RecursionError"))
        state = function("PyGILState_Ensure")()
        function("PyThreadState_SetAsyncExc")(function("PyThread_get_thread_ident")(), kind)
        function("PyGILState_Release")(state)

    def _install_trampoline(self, path: str) -> int:
        """
        Put the trampoline's function into the table, and its index where CPython looks for it.
        """
        trampoline = self.abi.trampoline
        module = engine.load(self._engine, path)
        wanted = {
            "memory": self._linear,
            "__indirect_function_table": self._table,
            "t": self._table,
        }
        externs: list[Any] = [wanted[item.name or ""] for item in module.imports]
        instance = wasmtime.Instance(self._store, module, externs)
        function = Exports(self._store, instance, self.faults).raw_function(trampoline.export)
        index = self._table.grow(self._store, 1, wasmtime.Func._from_raw(function))  # noqa: SLF001
        offset = self.memory.u32(self.exports.address(trampoline.offset))
        self.memory.put_u32(self.exports.address("_PyRuntime") + offset, index)
        return index

    def _install_runtime(self, program: Program) -> int:
        """
        Run the guest's half, warm up what the image says, and keep a reference to its entry.
        """
        scope = self.exports.function("PyDict_New")()
        self._put(scope, "made", self._bytes(program.made))
        text = self._string(program.text)
        run = self.exports.function("PyRun_StringFlags")
        result = run(text, _FILE_INPUT, scope, scope, 0)
        self._free(text)
        name = self._string("entry")
        entry = self.exports.function("PyDict_GetItemString")(scope, name)
        self._free(name)
        if not result or not entry:
            raise InternalError(f"the guest did not start: {self._printed_error()}")
        return entry

    def _printed_error(self) -> str:
        """
        The last line of what Python prints about the exception that is pending.
        """
        told = bytearray()
        self.hooks.on_output = lambda _stream, data: told.extend(data)
        self.exports.function("PyErr_Print")()
        lines = told.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _string(self, text: str) -> int:
        data = text.encode() + b"\0"
        pointer = self._allocate(len(data))
        self.memory.write(pointer, data)
        return pointer

    def _bytes(self, data: bytes) -> int:
        pointer = self._allocate(len(data))
        self.memory.write(pointer, data)
        made = self._make_bytes(pointer, len(data))
        self._free(pointer)
        if not made:
            raise GuestOutOfMemoryError("the guest has no memory left for the call")
        return made

    def _put(self, scope: int, name: str, value: int) -> None:
        key = self._string(name)
        self.exports.function("PyDict_SetItemString")(scope, key, value)
        self._free(key)
        self._release(value)

    def _allocate(self, size: int) -> int:
        pointer = self._malloc(max(1, size))
        if not pointer:
            raise GuestOutOfMemoryError("the guest has no memory left for the call")
        return pointer

    # ---- running --------------------------------------------------------------------------------

    def call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """
        Call the guest's entry with JSON in a bytes object; the answer is one as well.
        """
        argument = self._bytes(json.dumps(request).encode())
        result = self._call_one(self._entry, argument)
        self._release(argument)
        if not result:
            self.exports.function("PyErr_Clear")()
            raise GuestOutOfMemoryError("the cell's answer could not be made")
        # A guest that replaced its runtime may answer with anything, of any size or type.
        size = self._bytes_size(result)
        answer = self.memory.read(self._bytes_data(result), size) if size <= ANSWER_MAX else b""
        self.exports.function("PyErr_Clear")()
        self._release(result)
        return decoded(answer)

    def signal_pending(self) -> bool:
        """
        The host lowers the flag when the interpreter asks for the signal.
        """
        return self.memory.u32(self._signal_flag) != 0

    def set_signal(self, *, pending: bool) -> None:
        """
        CPython looks at one word of its memory now and then, and asks for the signal if it is set.
        """
        self.memory.put_u32(self._signal_flag, int(pending))


class _Libc:
    """
    The guest's own libc, as getaddrinfo needs it.
    """

    def __init__(self, exports: Exports, memory: GuestMemory) -> None:
        self._memory = memory
        self._malloc = exports.function("malloc")
        self._errno_location = exports.function("__errno_location")

    def allocate(self, size: int) -> int:
        """
        malloc(3).
        """
        return int(self._malloc(size))

    def set_errno(self, errno: Errno) -> None:
        """
        Store an error number where the guest's errno is.
        """
        self._memory.put_u32(self._errno_location(), errno)


_TAGS: Final = ("__cpp_exception", "__c_longjmp")


class _Shared:
    """
    What the main module shares with the modules that are linked later, where it imports it.
    """

    def __init__(self, store: wasmtime.Store, abi: EmscriptenAbi) -> None:
        self._store = store
        self.got: dict[str, wasmtime.Global] = {}
        self.memory: wasmtime.Memory | None = None
        self.table: wasmtime.Table | None = None
        self.stack_pointer: wasmtime.Global | None = None
        self.tags: dict[str, wasmtime.Tag] = {}
        self._bases: dict[str, wasmtime.Global] = {}
        self._data: Mapping[str, int] = {}
        given = abi.imported
        if given is None:
            return
        self._data = given.data
        pages = wasmtime.Limits(given.memory_pages, 65_536)
        self.memory = wasmtime.Memory(store, wasmtime.MemoryType(pages))
        elements = wasmtime.TableType(
            wasmtime.ValType.funcref(), wasmtime.Limits(given.table, None)
        )
        self.table = wasmtime.Table(store, elements, None)
        self.stack_pointer = _global(store, given.stack_pointer, mutable=True)
        self._bases = {
            "__memory_base": _global(store, given.memory_base, mutable=False),
            "__table_base": _global(store, given.table_base, mutable=False),
        }
        thrown = wasmtime.TagType(wasmtime.FuncType([_I32], []))
        self.tags = {name: wasmtime.Tag(store, thrown) for name in _TAGS}

    def extern(self, wanted: Any) -> Any:
        """
        What satisfies an import that is no function, or None.
        """
        name = wanted.name or ""
        if wanted.module in {"GOT.func", "GOT.mem"}:
            value = self._data.get(name, 0)
            return self.got.setdefault(name, _global(self._store, value, mutable=True))
        named = {
            "memory": self.memory,
            "__indirect_function_table": self.table,
            "__stack_pointer": self.stack_pointer,
            **self._bases,
            **self.tags,
        }
        return named.get(name)


def _global(store: wasmtime.Store, value: int, *, mutable: bool) -> wasmtime.Global:
    return wasmtime.Global(store, wasmtime.GlobalType(_I32, mutable), wasmtime.Val.i32(value))
