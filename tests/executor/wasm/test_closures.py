"""
Closures: the fixed set of functions that ctypes hands out, each with libffi's contract.
"""

import hashlib
import struct

import pytest
import wasmtime

from executor.wasm import closures, engine
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.calls import GuestTrapped
from executor.wasm.cif import Kind
from executor.wasm.closures import TEMPLATES
from executor.wasm.ffi import CLOSURES_MAX
from tests.executor.wasm.foreign import ADD, HANDLER, MEMORY, STACK, TinyForeign

# What the image's builder compiles: a change here makes every image another one.
SHA256 = "a1c7c15b0b0f95af47cf79e3519f3c8e4fce00dac2ed91c5eebd1f5f31660ee4"
KINDS = {"i": Kind.SINT32, "I": Kind.SINT64, "f": Kind.FLOAT, "d": Kind.DOUBLE, "": Kind.VOID}
FORMATS = {"i": "<i", "I": "<q", "f": "<f", "d": "<d"}
SIGNATURES = [template.signature for template in TEMPLATES]


@pytest.fixture
def tiny():
    return TinyForeign()


@pytest.fixture(scope="module")
def shared():
    return TinyForeign()


def test_the_module_is_always_the_same_and_the_engine_takes_it():
    first, second = closures.adapter_module(), closures.adapter_module()
    assert first == second
    assert hashlib.sha256(first).hexdigest() == SHA256
    module = wasmtime.Module(engine.new_engine(), first)
    assert [found.name for found in module.imports] == [
        "memory",
        "__indirect_function_table",
        "__stack_pointer",
    ]
    slots = sum(template.slots for template in TEMPLATES)
    assert (len(TEMPLATES), slots, len(module.exports)) == (283, 3048, 6096)


def test_the_set_has_what_callbacks_look_like():
    assert len(set(SIGNATURES)) == len(SIGNATURES)
    wanted = (">", "ii>i", "iiiiiiiiiiii>", "d>d", "di>d", "iii>d", "dd>d", "iI>I", "ff>f", "iiId>")
    assert [one in SIGNATURES for one in wanted] == [True] * (len(wanted) - 1) + [False]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_every_signature_passes_each_argument_by_a_pointer_and_returns_the_result(
    shared, signature
):
    parameters, _, result = signature.partition(">")
    cif = shared.cif(KINDS[result], *(KINDS[letter] for letter in parameters))
    closure, index = shared.closure(cif, user_data=99)
    values = [10 + number for number in range(len(parameters))]
    given = [float(v) if k in "fd" else v for v, k in zip(values, parameters, strict=True)]
    returned = shared.function(index)(shared.store, *given)
    seen_cif, place, pointers, user_data = shared.seen(4)
    assert (seen_cif, user_data) == (cif, 99)
    found = [
        struct.unpack(FORMATS[letter], shared.memory.read(shared.memory.u32(pointers + 4 * k), 8)[
            : struct.calcsize(FORMATS[letter])
        ])[0]
        for k, letter in enumerate(parameters)
    ]  # fmt: skip
    assert found == given
    assert place % 8 == 0
    expected = struct.unpack(FORMATS[result or "i"], (42).to_bytes(8, "little")[
        : struct.calcsize(FORMATS[result or "i"])
    ])[0]  # fmt: skip
    assert returned == (expected if result else None)
    assert shared.stack.value(shared.store) == STACK
    shared.calls.closure_free(closure)


def test_all_slots_of_a_signature_are_apart(tiny):
    cif = tiny.cif(Kind.SINT32, Kind.SINT32)
    made = [tiny.closure(cif, user_data=number) for number in range(64)]
    assert len(set(made)) == 64
    for number, (_, index) in enumerate(made):
        tiny.function(index)(tiny.store, 5)
        assert tiny.seen(4)[3] == number


def test_a_struct_is_the_pointer_that_the_caller_gave(tiny):
    pair = tiny.struct(Kind.DOUBLE, Kind.DOUBLE)
    _, index = tiny.closure(tiny.cif(Kind.SINT32, Kind.SINT32, pair, Kind.SINT32))
    tiny.function(index)(tiny.store, 5, 4096, 6)
    pointers = tiny.seen(4)[2]
    assert tiny.memory.u32(tiny.memory.u32(pointers)) == 5
    assert tiny.memory.u32(pointers + 4) == 4096
    assert tiny.memory.u32(tiny.memory.u32(pointers + 8)) == 6


def test_a_struct_of_one_double_is_a_double(tiny):
    one = tiny.struct(tiny.struct(Kind.DOUBLE))
    _, index = tiny.closure(tiny.cif(Kind.VOID, one))
    tiny.function(index)(tiny.store, 2.5)
    assert struct.unpack("<d", tiny.memory.read(tiny.memory.u32(tiny.seen(4)[2]), 8)) == (2.5,)


def test_a_struct_result_goes_where_the_caller_says(tiny):
    pair = tiny.struct(Kind.DOUBLE, Kind.DOUBLE)
    _, index = tiny.closure(tiny.cif(pair, Kind.SINT32))
    tiny.function(index)(tiny.store, 4096, 5)
    _, place, pointers, _ = tiny.seen(4)
    assert (place, tiny.memory.u32(4096)) == (4096, 42)
    assert tiny.memory.u32(tiny.memory.u32(pointers)) == 5


# ---- what is refused --------------------------------------------------------------------------


def refused(tiny, cif, errno):
    """
    A closure that cannot be prepared; its entry of the table stays null.
    """
    code = tiny.place(bytes(4))
    closure = tiny.calls.closure_alloc(16, code)
    index = tiny.memory.u32(code)
    with pytest.raises(GuestFault) as caught:
        tiny.calls.closure_prepare(closure, cif, HANDLER, 0, index)
    assert caught.value.errno is errno
    assert tiny.function(index) is None


def test_w12_a_signature_outside_the_set_is_refused(tiny):
    refused(tiny, tiny.cif(Kind.SINT32, *[Kind.SINT32] * 13), Errno.ENOSYS)
    refused(tiny, tiny.cif(Kind.FLOAT, Kind.DOUBLE), Errno.ENOSYS)
    tiny.closure(tiny.cif(Kind.SINT32, *[Kind.SINT32] * 12))


def test_variadic_and_long_double_callbacks_are_refused(tiny):
    refused(tiny, tiny.cif(Kind.SINT32, Kind.SINT32, Kind.SINT32, fixed=1), Errno.ENOSYS)
    refused(tiny, tiny.cif(Kind.VOID, Kind.LONGDOUBLE), Errno.ENOSYS)
    refused(tiny, tiny.cif(Kind.VOID, Kind.VOID), Errno.ENOSYS)
    tiny.closure(tiny.cif(Kind.VOID, Kind.UINT64, Kind.UINT64))


def test_w12_a_signature_has_so_many_closures_and_no_more_until_one_is_freed(tiny):
    cif = tiny.cif(Kind.DOUBLE, Kind.DOUBLE)
    made = [tiny.closure(cif) for _ in range(8)]
    refused(tiny, cif, Errno.ENOMEM)
    closure, index = made[3]
    tiny.calls.closure_free(closure)
    assert tiny.function(index) is None
    _, again = tiny.closure(cif)
    assert again != index
    refused(tiny, cif, Errno.ENOMEM)


def test_w12_closures_in_all_are_limited_and_the_table_never_grows(tiny):
    size = tiny.table.size(tiny.store)
    code = tiny.place(bytes(4))
    made = [tiny.calls.closure_alloc(16, code) for _ in range(CLOSURES_MAX)]
    for _ in range(3):
        with pytest.raises(GuestFault) as caught:
            tiny.calls.closure_alloc(16, code)
        assert caught.value.errno is Errno.ENOMEM
    tiny.calls.closure_free(made[0])
    assert tiny.calls.closure_alloc(16, code)
    assert tiny.table.size(tiny.store) == size


@pytest.mark.parametrize("code", [2**32 - 1, 2**31, MEMORY - 3])
def test_a_place_for_the_index_outside_memory_reserves_nothing(tiny, code):
    for _ in range(CLOSURES_MAX + 1):
        with pytest.raises(GuestFault) as caught:
            tiny.calls.closure_alloc(16, code)
        assert caught.value.errno is Errno.EFAULT
    assert tiny.calls.closure_alloc(16, MEMORY - 4)


@pytest.mark.parametrize("size", [4097, 2**31, 2**32 - 16])
def test_a_closure_of_an_absurd_size_is_refused(tiny, size):
    with pytest.raises(GuestFault) as caught:
        tiny.calls.closure_alloc(size, tiny.place(bytes(4)))
    assert caught.value.errno is Errno.EINVAL


def test_only_a_closure_can_be_prepared_and_only_at_its_own_index(tiny):
    cif = tiny.cif(Kind.SINT32, Kind.SINT32)
    closure, index = tiny.closure(cif)
    for wrong in ((closure + 4, index), (0, index), (closure, index + 1), (closure, ADD)):
        with pytest.raises(GuestFault) as caught:
            tiny.calls.closure_prepare(wrong[0], cif, HANDLER, 0, wrong[1])
        assert caught.value.errno is Errno.EINVAL
    assert tiny.function(ADD)(tiny.store, 40, 2) == 42


def test_freeing_what_is_no_closure_or_twice_changes_nothing(tiny):
    cif = tiny.cif(Kind.SINT32, Kind.SINT32)
    closure, _ = tiny.closure(cif)
    _, other = tiny.closure(cif)
    for address in (0, closure + 4, 2**32 - 1, closure, closure):
        tiny.calls.closure_free(address)
    assert tiny.function(other)(tiny.store, 1) == 42
    # One slot and one index came back, not two.
    made = {tiny.closure(cif) for _ in range(63)}
    assert len({index for _, index in made} | {other}) == 64
    refused(tiny, cif, Errno.ENOMEM)


def test_preparing_again_changes_the_signature_and_gives_the_slot_back(tiny):
    wide, plain = tiny.cif(Kind.DOUBLE, Kind.DOUBLE), tiny.cif(Kind.SINT32)
    closure, index = tiny.closure(wide)
    for _ in range(20):
        tiny.calls.closure_prepare(closure, plain, HANDLER, 0, index)
        tiny.calls.closure_prepare(closure, wide, HANDLER, 0, index)
    tiny.calls.closure_prepare(closure, plain, HANDLER, 0, index)
    assert tiny.function(index)(tiny.store) == 42
    assert len([tiny.closure(wide) for _ in range(8)]) == 8


def test_what_the_guest_writes_into_a_closure_harms_only_the_guest(tiny):
    cif = tiny.cif(Kind.SINT32, Kind.SINT32)
    closure, index = tiny.closure(cif)
    for place, value, told in (
        (closures.FUN, ADD, "indirect call type mismatch"),
        (closures.FUN, 10**6, "out of bounds"),
        (closures.FUN, 0, "uninitialized element"),
    ):
        tiny.memory.put_u32(closure + place, value)
        with pytest.raises(wasmtime.Trap, match=told):
            tiny.function(index)(tiny.store, 1)
    # Every pointer is "the argument itself" now: numbers, which the handler does not follow.
    tiny.memory.put_u32(closure + closures.FUN, HANDLER)
    tiny.memory.put_u32(closure + closures.FLAGS, 0x7FFFFFFF)
    assert tiny.function(index)(tiny.store, 77) == 42
    assert tiny.memory.u32(tiny.seen(4)[2]) == 77


def test_a_closure_that_was_freed_is_a_trap_when_it_is_called(tiny):
    cif = tiny.cif(Kind.SINT32, Kind.SINT32)
    closure, index = tiny.closure(cif)
    value = (5).to_bytes(4, "little")
    assert tiny.call(index, cif, value)[:4] == (42).to_bytes(4, "little")
    tiny.calls.closure_free(closure)
    with pytest.raises(GuestTrapped, match="^uninitialized element$"):
        tiny.call(index, cif, value)
