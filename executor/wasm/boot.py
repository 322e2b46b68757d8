"""
Booting a guest: link every import, start CPython, install the guest's half of the cells.

The order is Pyodide's without its JavaScript: constructors, then the trampoline by which CPython
calls C functions of any signature through a table, then `Py_InitializeEx`. Until a session
begins, everything the guest could see of the world is a constant, so two boots of one image
leave the same bytes in memory (security: what a zygote hands on is known).
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import wasmtime

from executor.kernel.errors import InternalError
from executor.wasm import engine, imports
from executor.wasm.abi import Errno
from executor.wasm.calls import Exports, Faults, GuestFunction, HostFunction, host_function
from executor.wasm.memory import GuestMemory
from executor.wasm.nodes import File, Local
from executor.wasm.process import HOME, WORK, Process, Sleeper, unlimited
from executor.wasm.space import Space
from executor.wasm.vfs import FileSystem

_PAGE: Final = 65_536
_LINEAR_MAX: Final = 2**32 - _PAGE
_RUNTIME: Final = "runtime.py"
# compile() of the runtime: file input, not an expression.
_FILE_INPUT: Final = 257
# The runtime cuts each of its three texts at 64 Ki characters, which JSON may write as 12 bytes.
_ANSWER_MAX: Final = 4 * 2**20
STDLIB: Final = "/lib/python314.zip"
SITE_PACKAGES: Final = "/lib/python3.14/site-packages"
ENVIRONMENT: Final[Mapping[str, str]] = {
    "PYTHONHOME": "/",
    # A constant of the image: a forked guest cannot have another one.
    "PYTHONHASHSEED": "0",
    "PYTHON_COLORS": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": HOME,
    "USER": "agent",
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "TERM": "dumb",
    "TMPDIR": "/tmp",  # noqa: S108 - the guest's own
    "TZ": "UTC",
}
_DEVICES: Final = ("null", "zero", "urandom", "random", "stdin", "stdout", "stderr", "denial")
# What a guest without a session may write: the image's builder has it compile the library.
_BOOT_SCRATCH: Final = Space(2**28, 1024)


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What an image gives: paths of the two compiled modules, verified and sealed by the caller,
    the standard library's zip, the files of site-packages, and what to import before forking.
    """

    python: str
    trampoline: str
    stdlib: bytes
    site_packages: Mapping[str, bytes]
    warm: tuple[str, ...] = ()


class Hooks:
    """
    What a booted guest asks of the worker around it. The worker sets the four functions; until
    then, in the zygote, output vanishes, sleep ends at once, and no signal is pending.
    """

    def __init__(self) -> None:
        self.on_output: Callable[[int, bytes], None] | None = None
        self.on_wait: Callable[[float], bool] | None = None
        self.on_signal: Callable[[], int] | None = None
        self.on_note: Callable[[str, Errno], None] | None = None

    def output(self, stream: int, data: bytes) -> None:
        """
        The guest wrote on stream 1 or 2.
        """
        if self.on_output is not None:
            self.on_output(stream, data)

    def wait(self, seconds: float) -> bool:
        """
        The guest sleeps; true when it was interrupted.
        """
        return self.on_wait(seconds) if self.on_wait is not None else False

    def take_signal(self) -> int:
        """
        The pending signal, once.
        """
        return self.on_signal() if self.on_signal is not None else 0

    def note(self, name: str, errno: Errno) -> None:
        """
        Something was refused in the worker.
        """
        if self.on_note is not None:
            self.on_note(name, errno)


class Guest:
    """
    A booted guest: one instance, its memory, its process, and one function to call.
    """

    def __init__(self, parts: Parts) -> None:
        self.hooks: Final = Hooks()
        self.faults: Final = Faults()
        self._engine: Final = engine.new_engine()
        self._store: Final = engine.new_store(self._engine, _LINEAR_MAX)
        module = wasmtime.Module.deserialize_file(self._engine, parts.python)
        self._handlers: dict[tuple[str, str], Any] = {}
        self._functions: list[HostFunction] = []
        instance = wasmtime.Instance(self._store, module, self._link(module))
        self.exports: Final = Exports(self._store, instance, self.faults)
        self._linear: Final = self.exports.memory("memory")
        self.memory: Final = GuestMemory(self._store, self._linear, engine.MEMORY_RESERVATION)
        self.process: Final = self._process(parts)
        self._bind()
        self.exports.function("__wasm_call_ctors")()
        self._install_trampoline(parts.trampoline)
        self.exports.function("Py_InitializeEx")(1)
        self.signal_flag: Final = self.exports.address("Py_EMSCRIPTEN_SIGNAL_HANDLING")
        self._malloc: Final = self.exports.function("malloc")
        self._free: Final = self.exports.function("free")
        self._make_bytes: Final = self.exports.function("PyBytes_FromStringAndSize")
        self._call_one: Final = self.exports.function("PyObject_CallOneArg")
        self._bytes_size: Final = self.exports.function("PyBytes_Size")
        self._bytes_data: Final = self.exports.function("PyBytes_AsString")
        self._release: Final = self.exports.function("Py_DecRef")
        self._entry: Final = self._install_runtime(parts.warm)

    # ---- linking ------------------------------------------------------------------------------

    def _link(self, module: wasmtime.Module) -> list[Any]:
        """
        One extern for each import, in the module's order; total in both directions.
        """
        rows = {(row.module, row.name): row for row in imports.ROWS}
        externs: list[Any] = []
        used = set()
        for wanted in module.imports:
            kind = wanted.type
            name = wanted.name or ""
            if isinstance(kind, wasmtime.FuncType):
                row = rows.get((wanted.module, name))
                if row is None or row.signature != signature_of(kind):
                    raise InternalError(f"no row for import {wanted.module}.{name}")
                used.add((wanted.module, name))
                externs.append(self._function(row, kind))
            elif isinstance(kind, wasmtime.GlobalType) and wanted.module == imports.GOT:
                externs.append(wasmtime.Global(self._store, kind, wasmtime.Val.i32(0)))
            else:
                raise InternalError(f"an import of a kind that is not linked: {name}")
        if len(used) != len(rows) or len(externs) != imports.FUNCTIONS + imports.GOT_GLOBALS:
            raise InternalError("the table of imports and the module's imports differ")
        return externs

    def _function(self, row: imports.Row, kind: wasmtime.FuncType) -> wasmtime.Func:
        """
        A host function whose handler is bound once the process exists.
        """
        slot = self._handlers[row.module, row.name] = _Slot()
        made = host_function(self._store, kind, row.signature, slot, self.faults)
        self._functions.append(made)
        return made.extern

    def _bind(self) -> None:
        for row in imports.ROWS:
            self._handlers[row.module, row.name].handler = row.bind(self.process)

    # ---- the world as the zygote's guest sees it ------------------------------------------------

    def _process(self, parts: Parts) -> Process:
        hooks = self.hooks
        files = FileSystem(lambda: process.clock.wall_ns())  # noqa: PLW0108 - the clock changes
        process = Process(
            memory=self.memory,
            files=files,
            total=unlimited(),
            output=hooks.output,
            sleeper=Sleeper(hooks.wait),
            take_signal=hooks.take_signal,
            grow_memory=self._grow,
            note=hooks.note,
            environment=dict(ENVIRONMENT),
        )
        _build_tree(files, parts)
        process.open_standard_streams()
        return process

    def _grow(self, size: int) -> bool:
        """
        Grow linear memory to `size` bytes if the session's memory has room for it.
        """
        missing = size - self.memory.size
        if size > _LINEAR_MAX:
            return False
        if missing <= 0:
            return True
        pages = -(-missing // _PAGE)
        if not self.process.total.fits(pages * _PAGE):
            return False
        try:
            self._linear.grow(self._store, pages)
        except wasmtime.WasmtimeError:
            return False
        self.process.total.take(pages * _PAGE)
        self.memory.check_base()
        return True

    # ---- starting -----------------------------------------------------------------------------

    def _install_trampoline(self, path: str) -> None:
        """
        Put `trampoline_call` into the table, and its index where CPython looks for it.
        """
        table = self.exports.table("__indirect_function_table")
        module = wasmtime.Module.deserialize_file(self._engine, path)
        instance = wasmtime.Instance(self._store, module, [self._linear, table])
        function = Exports(self._store, instance, self.faults).raw_function("trampoline_call")
        index = table.grow(self._store, 1, wasmtime.Func._from_raw(function))  # noqa: SLF001
        offset = self.memory.u32(self.exports.address("_PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET"))
        self.memory.put_u32(self.exports.address("_PyRuntime") + offset, index)

    def _install_runtime(self, warm: tuple[str, ...]) -> int:
        """
        Run the guest's half, warm up what the image says, and keep a reference to its entry.
        """
        source = resources.files("executor.wasm").joinpath("guest", _RUNTIME).read_bytes()
        imported = "".join(f"import {name}\n" for name in warm)
        program = (
            "import sys, types, gc\n"
            f"code = compile({source.decode()!r}, '<codecage>', 'exec')\n"
            "module = types.ModuleType('_codecage')\n"
            "exec(code, module.__dict__)\n"
            f"exec({imported!r}, {{}})\n"
            "entry = module.entry\n"
            "gc.collect()\n"
            "gc.freeze()\n"
        )
        scope = self.exports.function("PyDict_New")()
        text = self._string(program)
        run = self.exports.function("PyRun_StringFlags")
        result = run(text, _FILE_INPUT, scope, scope, 0)
        self._free(text)
        name = self._string("entry")
        entry = self.exports.function("PyDict_GetItemString")(scope, name)
        self._free(name)
        if not result or not entry:
            self.exports.function("PyErr_Print")()
            raise InternalError("the guest's runtime could not be installed")
        return entry

    def _string(self, text: str) -> int:
        data = text.encode() + b"\0"
        pointer = self._allocate(len(data))
        self.memory.write(pointer, data)
        return pointer

    def _allocate(self, size: int) -> int:
        pointer = self._malloc(max(1, size))
        if not pointer:
            raise GuestOutOfMemoryError("the guest has no memory left for the call")
        return pointer

    # ---- running ------------------------------------------------------------------------------

    def call(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """
        Call the guest's entry with a request, and return its answer.

        Raises Exited, GuestTrapped or what a host function left in `faults`: the guest is then
        over. Raises GuestOutOfMemoryError when the answer did not fit, after which it lives on.
        """
        data = json.dumps(request).encode()
        pointer = self._allocate(len(data))
        self.memory.write(pointer, data)
        argument = self._make_bytes(pointer, len(data))
        self._free(pointer)
        if not argument:
            raise GuestOutOfMemoryError("the guest has no memory left for the call")
        result = self._call_one(self._entry, argument)
        self._release(argument)
        if not result:
            self.exports.function("PyErr_Clear")()
            raise GuestOutOfMemoryError("the cell's answer could not be made")
        # A guest that replaced its runtime may answer with anything, of any size or type.
        size = self._bytes_size(result)
        answer = self.memory.read(self._bytes_data(result), size) if size <= _ANSWER_MAX else b""
        self.exports.function("PyErr_Clear")()
        self._release(result)
        return _decoded(answer)

    def limit_memory(self, size: int) -> None:
        """
        Let linear memory and the GC heap hold no more than `size` bytes each.
        """
        engine.limit(self._store, size)

    def read_file(self, path: str) -> bytes:
        """
        The bytes of a file in the guest's memory.
        """
        found = self.process.files.resolve(path, "/", follow=True)
        if not isinstance(found, Local) or not isinstance(found.node, File):
            raise InternalError(f"the guest has no file {path}")
        return bytes(found.node.data)

    def digest(self) -> bytes:
        """
        The SHA-256 of linear memory.
        """
        return hashlib.sha256(self.memory.window(0, self.memory.size)).digest()

    def function(self, name: str) -> GuestFunction:
        """
        An exported function, for tests.
        """
        return self.exports.function(name)


class GuestOutOfMemoryError(Exception):
    """
    The guest could not allocate what a call from the host needs.
    """


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
    The signature in the table's letters: i, I, d, and r for every reference.
    """
    letters = {"i32": "i", "i64": "I", "f64": "d"}

    def text(types: list[wasmtime.ValType]) -> str:
        return "".join(letters.get(str(one), "r") for one in types)

    return f"{text(kind.params)}>{text(kind.results)}"


def _decoded(answer: bytes) -> dict[str, Any]:
    """
    The guest's JSON: its word for what happened, checked for shape where it is used.
    """
    try:
        decoded = json.loads(answer)
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        return {"status": "error", "name": "RuntimeError", "message": "the cell broke its runtime"}
    return decoded


def _build_tree(files: FileSystem, parts: Parts) -> None:
    files.add_directory("/dev", None)
    for name in _DEVICES:
        files.add_device(f"/dev/{name}", "urandom" if name == "random" else name)
    files.add_directory(SITE_PACKAGES, None)
    files.add_image_file(STDLIB, parts.stdlib)
    for path, data in parts.site_packages.items():
        files.add_image_file(f"{SITE_PACKAGES}/{path}", data)
    for path in ("/tmp", HOME, WORK):  # noqa: S108 - the guest's own
        files.add_directory(path, _BOOT_SCRATCH)
