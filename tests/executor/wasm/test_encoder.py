"""
The writer of small modules: what it writes, the engine takes and runs as meant.
"""

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from executor.wasm import encoder, engine
from executor.wasm.encoder import (
    ACCESS,
    Kind,
    ModuleWriter,
    ValueType,
    call_indirect,
    global_get,
    global_set,
    i32_const,
    local_get,
)

I32, I64, F32, F64 = ValueType.I32, ValueType.I64, ValueType.F32, ValueType.F64


class Run:
    """
    A module instantiated with a memory, a table of four functions and a mutable global.
    """

    def __init__(self, encoded, *imports):
        self.engine = engine.new_engine()
        self.store = engine.new_store(self.engine, 2**20)
        module = wasmtime.Module(self.engine, encoded)
        self.instance = wasmtime.Instance(
            self.store, module, [make(self.store) for make in imports]
        )

    def __call__(self, name, *arguments):
        return self.instance.exports(self.store)[name](self.store, *arguments)


def memory(store):
    return wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, 1)))


def table(store):
    kind = wasmtime.TableType(wasmtime.ValType.funcref(), wasmtime.Limits(4, 4))
    made = wasmtime.Table(store, kind, None)
    signature = wasmtime.FuncType([wasmtime.ValType.i32()] * 2, [wasmtime.ValType.i32()])
    made.set(store, 2, wasmtime.Func(store, signature, lambda left, right: left * 10 + right))
    return made


def counter(store):
    kind = wasmtime.GlobalType(wasmtime.ValType.i32(), mutable=True)
    return wasmtime.Global(store, kind, wasmtime.Val.i32(100))


def constant(store):
    kind = wasmtime.GlobalType(wasmtime.ValType.i32(), mutable=False)
    return wasmtime.Global(store, kind, wasmtime.Val.i32(7))


def ten_times(store):
    kind = wasmtime.FuncType([wasmtime.ValType.i32()], [wasmtime.ValType.i32()])
    return wasmtime.Func(store, kind, lambda value: value * 10)


def one(params, results, code, local_types=()):
    writer = ModuleWriter()
    index = writer.function(writer.type(params, results), code, local_types)
    writer.export("go", Kind.FUNCTION, index)
    return Run(writer.encode())


def test_a_module_without_anything_is_its_header_alone():
    encoded = ModuleWriter().encode()
    assert encoded == b"\0asm\x01\0\0\0"
    wasmtime.Module(engine.new_engine(), encoded)


def test_the_bytes_of_a_small_module_are_those_of_the_specification():
    writer = ModuleWriter()
    adds = writer.type((I32, I32), (I32,))
    index = writer.function(adds, [local_get(0), local_get(1), encoder.I32_ADD])
    writer.export("add", Kind.FUNCTION, index)
    text = """(module (func (export "add") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1))))"""
    assert writer.encode() == bytes(wasmtime.wat2wasm(text))
    assert Run(writer.encode())("add", 40, 2) == 42


def test_a_table_a_memory_and_blocks_are_those_of_the_specification():
    writer = ModuleWriter()
    writer.export("table", Kind.TABLE, writer.table(1))
    writer.export("memory", Kind.MEMORY, writer.memory(2))
    counts = writer.type((I32,), (I32,))
    code = [
        *(encoder.LOOP, local_get(0), i32_const(9), encoder.I32_LT_U, encoder.IF),
        *(local_get(0), i32_const(1), encoder.I32_ADD, encoder.local_set(0), encoder.branch(1)),
        *(encoder.END, encoder.END, local_get(0)),
    ]
    writer.export("count", Kind.FUNCTION, writer.function(counts, code))
    text = """(module (type (func (param i32) (result i32))) (table 1 1 funcref) (memory 2 2)
        (export "table" (table 0)) (export "memory" (memory 0)) (export "count" (func 0))
        (func (type 0) (loop (if (i32.lt_u (local.get 0) (i32.const 9)) (then
            (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br 1)))) (local.get 0)))"""
    assert writer.encode() == bytes(wasmtime.wat2wasm(text))
    assert Run(writer.encode())("count", 4) == 9


def test_the_same_calls_give_the_same_bytes_and_the_same_type_has_one_index():
    def build():
        writer = ModuleWriter()
        assert writer.type((I32,), (F64,)) == writer.type((I32,), (F64,)) == 0
        assert writer.type((I32,)) == 1
        writer.import_memory("env", "memory", 3)
        writer.global_i32(5, mutable=False)
        return writer.encode()

    assert build() == build()


def test_an_adapter_calls_through_the_table_with_its_own_parameters():
    writer = ModuleWriter()
    kind = writer.type((I32, I32), (I32,))
    writer.import_table("env", "table", 1)
    where = writer.import_global("GOT.func", "there", mutable=True)
    code = [local_get(0), local_get(1), global_get(where), call_indirect(kind)]
    writer.export("there", Kind.FUNCTION, writer.function(kind, code))
    elsewhere = writer.type((I32,), (I32,))
    wrong = writer.function(elsewhere, [local_get(0), i32_const(2), call_indirect(elsewhere)])
    writer.export("wrong", Kind.FUNCTION, wrong)

    def at_two(store):
        kind = wasmtime.GlobalType(wasmtime.ValType.i32(), mutable=True)
        return wasmtime.Global(store, kind, wasmtime.Val.i32(2))

    run = Run(writer.encode(), table, at_two)
    assert run("there", 4, 2) == 42
    with pytest.raises(wasmtime.Trap, match="indirect call type mismatch"):
        run("wrong", 4)


def test_a_global_that_points_nowhere_is_a_trap_of_the_guest():
    writer = ModuleWriter()
    kind = writer.type(())
    writer.import_table("env", "table")
    writer.export("null", Kind.FUNCTION, writer.function(kind, [i32_const(1), call_indirect(kind)]))
    writer.export("far", Kind.FUNCTION, writer.function(kind, [i32_const(9), call_indirect(kind)]))
    run = Run(writer.encode(), table)
    with pytest.raises(wasmtime.Trap, match="uninitialized element"):
        run("null")
    with pytest.raises(wasmtime.Trap, match="out of bounds"):
        run("far")


def test_imports_come_in_the_order_in_which_they_were_added_and_count_apart():
    writer = ModuleWriter()
    kind = writer.type((I32,), (I32,))
    writer.import_memory("env", "memory", 1)
    base = writer.import_global("env", "base", mutable=False)
    times = writer.import_function("env", "times", kind)
    stack = writer.import_global("env", "stack", mutable=True)
    own = writer.global_i32(3, mutable=False)
    assert (base, stack, own, times) == (0, 1, 2, 0)
    code = [local_get(0), encoder.call(times), global_get(base), encoder.I32_ADD]
    code += [global_get(stack), encoder.I32_ADD, global_get(own), encoder.I32_SUB]
    code += [encoder.local_tee(1), global_set(stack), global_get(stack)]
    writer.export("go", Kind.FUNCTION, writer.function(kind, code, (I32,)))
    run = Run(writer.encode(), memory, constant, ten_times, counter)
    assert (run("go", 1), run("go", 1)) == (114, 128)
    module = wasmtime.Module(engine.new_engine(), writer.encode())
    assert [found.name for found in module.imports] == ["memory", "base", "times", "stack"]


@pytest.mark.parametrize("late", ["function", "global"])
def test_an_import_after_the_modules_own_would_move_every_index_and_is_refused(late):
    writer = ModuleWriter()
    kind = writer.type(())
    writer.global_i32()
    writer.function(kind, [])
    late_imports = {
        "function": lambda: writer.import_function("env", "x", kind),
        "global": lambda: writer.import_global("env", "x", mutable=True),
    }
    with pytest.raises(ValueError, match=f"^{late} x is imported after the module's own"):
        late_imports[late]()


def test_a_name_is_exported_once():
    writer = ModuleWriter()
    index = writer.function(writer.type(()), [])
    writer.export("go", Kind.FUNCTION, index)
    with pytest.raises(ValueError, match="^go is exported twice$"):
        writer.export("go", Kind.FUNCTION, index)


@pytest.mark.parametrize("kind", list(ACCESS))
def test_every_kind_of_value_goes_to_memory_and_comes_back(kind):
    def run(*code):
        writer = ModuleWriter()
        writer.import_memory("env", "memory", 1)
        signature = writer.type((kind,), (kind,))
        writer.export("go", Kind.FUNCTION, writer.function(signature, code))
        return Run(writer.encode(), memory)

    access, value = ACCESS[kind], 3.0 if kind in {F32, F64} else 3
    there = [i32_const(8), local_get(0), access.store(300), i32_const(108), access.load(200)]
    assert run(*there)("go", value) == value
    outside = run(i32_const(-1), access.load(1))
    with pytest.raises(wasmtime.Trap, match="out of bounds memory access"):
        outside("go", value)


@given(value=st.integers(-(2**31), 2**32 - 1))
def test_an_i32_constant_is_itself_in_both_readings(value):
    assert one((), (I32,), [i32_const(value)])("go") % 2**32 == value % 2**32


@given(value=st.integers(-(2**63), 2**64 - 1))
def test_an_i64_constant_is_itself_in_both_readings(value):
    assert one((), (I64,), [encoder.i64_const(value)])("go") % 2**64 == value % 2**64


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (i32_const, 2**32),
        (i32_const, -(2**31) - 1),
        (encoder.i64_const, 2**64),
        (encoder.i64_const, -(2**63) - 1),
        (encoder.unsigned, -1),
        (encoder.unsigned, 2**32),
    ],
)
def test_a_number_that_does_not_fit_is_refused_not_cut(make, value):
    with pytest.raises(ValueError, match=str(value)):
        make(value)


def test_the_small_instructions_do_what_they_are_called():
    def result(*code):
        return one((), (I32,), code)("go")

    assert result(i32_const(12), i32_const(10), encoder.I32_AND) == 8
    assert result(i32_const(-1), i32_const(31), encoder.I32_SHR_U) == 1
    assert result(i32_const(5), i32_const(6), i32_const(0), encoder.SELECT) == 6
    assert result(i32_const(5), i32_const(6), encoder.DROP, encoder.RETURN) == 5
    stored = [i32_const(5), encoder.local_set(0), local_get(0)]
    assert one((), (I32,), stored, (I32,))("go") == 5
    with pytest.raises(wasmtime.Trap, match="unreachable"):
        result(encoder.UNREACHABLE)


def test_locals_of_every_type_follow_the_parameters():
    run = one((I64,), (F64,), [local_get(4)], (I32, I64, F32, F64))
    assert run("go", 1) == 0.0
