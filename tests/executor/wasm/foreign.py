"""
What the tests of foreign calls drive: a guest of a few lines that has libffi's surroundings.

`TinyForeign` is a real instance with memory, table, stack and an allocator, a real instance of the
closures, and `ForeignCalls` between them. Types and call descriptions are written into its memory
as libffi's C code would. `boot_with_closures` is the real guest.
"""

import struct
from dataclasses import dataclass, replace
from functools import cache

import wasmtime

from executor.images.bootable import parts
from executor.wasm import closures, engine
from executor.wasm.boot import boot
from executor.wasm.booted import Guest
from executor.wasm.calls import Exports, Faults
from executor.wasm.cif import Kind
from executor.wasm.engine_config import MEMORY_RESERVATION
from executor.wasm.ffi import ForeignCalls
from executor.wasm.memory import GuestMemory

STACK: int = 60_000
MEMORY: int = 4 * 65_536
# Where a function or a callback of the tiny guest leaves what it was given.
SEEN: int = 64
# Sizes and alignments of ffi.h's own types, by kind.
PLAIN = {
    Kind.VOID: (1, 1),
    Kind.INT: (4, 4),
    Kind.FLOAT: (4, 4),
    Kind.DOUBLE: (8, 8),
    Kind.LONGDOUBLE: (16, 8),
    Kind.UINT8: (1, 1),
    Kind.SINT8: (1, 1),
    Kind.UINT16: (2, 2),
    Kind.SINT16: (2, 2),
    Kind.UINT32: (4, 4),
    Kind.SINT32: (4, 4),
    Kind.UINT64: (8, 8),
    Kind.SINT64: (8, 8),
    Kind.POINTER: (4, 4),
}
# Indices of the table. HANDLER keeps its four arguments at SEEN and answers 42 in every type's
# low bytes; the others keep their arguments there.
HANDLER, ADD, WIDE, REAL, SINGLE, NOTHING, TRAPS, TWO, REFERENCE, HOLE = range(1, 11)

_TEXT = """(module
  (memory (export "memory") 4 64)
  (table (export "table") 12 funcref)
  (global $stack (export "stack") (mut i32) (i32.const 60000))
  (global $heap (export "heap") (mut i32) (i32.const 66000))
  (elem (i32.const 1) $handler $add $wide $real $single $nothing $traps $two $reference)
  (func (export "malloc") (param i32) (result i32) (local i32)
    (local.set 1 (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get 1) (local.get 0)))
    (local.get 1))
  (func (export "free") (param i32))
  (func (export "emscripten_stack_get_current") (result i32) (global.get $stack))
  (func (export "_emscripten_stack_restore") (param i32) (global.set $stack (local.get 0)))
  (func $handler (param i32 i32 i32 i32)
    (i32.store (i32.const 64) (local.get 0)) (i32.store (i32.const 68) (local.get 1))
    (i32.store (i32.const 72) (local.get 2)) (i32.store (i32.const 76) (local.get 3))
    (i32.store (local.get 1) (i32.const 42)))
  (func $add (param i32 i32) (result i32)
    (i32.store (i32.const 64) (local.get 0)) (i32.store (i32.const 68) (local.get 1))
    (i32.store (i32.const 72) (global.get $stack))
    (i32.add (local.get 0) (local.get 1)))
  (func $wide (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
  (func $real (param f64 f64) (result f64) (f64.div (local.get 0) (local.get 1)))
  (func $single (param f32) (result f32) (f32.mul (local.get 0) (f32.const 2)))
  (func $nothing (i32.store (i32.const 64) (i32.const 1)))
  (func $traps (param i32) (unreachable))
  (func $two (result i32 i32) (i32.const 1) (i32.const 2))
  (func $reference (param i32 externref) (i32.store (i32.const 64) (local.get 0))))"""


@cache
def compiled():
    """
    The closures as a compiled image has them.
    """
    return wasmtime.Module(engine.new_engine(), closures.adapter_module()).serialize()


@dataclass(frozen=True)
class Described:
    """
    A type in the tiny guest's memory.
    """

    address: int


class TinyForeign:
    def __init__(self):
        self.engine = engine.new_engine()
        self.store = engine.new_store(self.engine, 2**22)
        module = wasmtime.Module(self.engine, _TEXT)
        self.faults = Faults()
        self.exports = Exports(self.store, wasmtime.Instance(self.store, module, []), self.faults)
        linear = self.exports.memory("memory")
        self.memory = GuestMemory(self.store, linear, MEMORY_RESERVATION)
        self.table = self.exports.table("table")
        self.stack = self.exports.global_("stack")
        adapter = wasmtime.Module.deserialize(self.engine, compiled())
        instance = wasmtime.Instance(self.store, adapter, [linear, self.table, self.stack])
        slots = Exports(self.store, instance, self.faults)
        self.calls = ForeignCalls(
            self.store, self.exports, self.memory, self.table, slots, self.faults
        )
        self._plain = {kind: self._write_type(kind, *size) for kind, size in PLAIN.items()}
        self.result = self.place(bytes(16))
        self._heap = self.exports.global_("heap")
        self._begin = self._heap.value(self.store)

    def forget(self):
        """
        Give back what was placed since the guest was made.
        """
        self._heap.set_value(self.store, wasmtime.Val.i32(self._begin))

    def place(self, data):
        """
        Put bytes somewhere, and return the address.
        """
        address = self.exports.function("malloc")(max(1, len(data)))
        self.memory.write(address, data)
        return address

    def words(self, *values):
        return self.place(struct.pack(f"<{len(values)}I", *(value % 2**32 for value in values)))

    def seen(self, count):
        return struct.unpack(f"<{count}I", self.memory.read(SEEN, 4 * count))

    # ---- ffi.h --------------------------------------------------------------------------------

    def _write_type(self, kind, size, align, elements=0):
        return self.place(struct.pack("<IHHI", size, align, kind, elements))

    def struct(self, *elements, size=None, align=8):
        addresses = [self.type(one) for one in elements]
        total = 16 * len(elements) if size is None else size
        return Described(self._write_type(Kind.STRUCT, total, align, self.words(*addresses, 0)))

    def type(self, kind):
        return kind.address if isinstance(kind, Described) else self._plain[kind]

    def cif(self, result, *arguments, fixed=None):
        types = self.words(*(self.type(one) for one in arguments))
        count = len(arguments)
        return self.words(
            1, count, types, self.type(result), 0, 0, count if fixed is None else fixed
        )

    def call(self, function, cif, *values):
        """
        Call with each value's bytes; gives back the first eight bytes of the result's place.
        """
        self.memory.write(self.result, bytes(16))
        pointers = self.words(*(self.place(value) for value in values))
        self.calls.call(cif, function, self.result, pointers)
        return self.memory.read(self.result, 8)

    def closure(self, cif, *, function=HANDLER, user_data=7):
        """
        Allocate and prepare: the address and the index.
        """
        code = self.place(bytes(4))
        closure = self.calls.closure_alloc(16, code)
        index = self.memory.u32(code)
        assert self.calls.closure_prepare(closure, cif, function, user_data, index) == 0
        return closure, index

    def function(self, index):
        """
        What the table holds: a function, or None.
        """
        found = self.table.get(self.store, index)
        return found if isinstance(found, wasmtime.Func) else None


def boot_with_closures(image, folder) -> Guest:
    """
    The real guest, with closures even if its image was built without them.
    """
    given = parts(image)
    if not given.closures:
        path = folder / "closures.cwasm"
        path.write_bytes(compiled())
        given = replace(given, closures=str(path))
    return boot(given)


def run(guest, source) -> str:
    """
    What a program prints in the real guest.
    """
    written = []
    guest.hooks.on_output = lambda _stream, data: written.append(bytes(data))
    # A namespace of its own, and what it leaves behind collected: programs share a guest.
    program = f"import gc\nexec({source!r}, {{}})\ngc.collect()\n"
    text = guest._string(program)
    status = guest.exports.function("PyRun_SimpleStringFlags")(text, 0)
    guest._free(text)
    output = b"".join(written).decode()
    assert status == 0, output
    return output
