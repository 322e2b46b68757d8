"""
Foreign calls: libffi's descriptions come from the guest, and the engine checks nothing of them.

The twin of each call that works is one with a thing wrong: it must end in a trap before anything
of the guest's runs, and never in anything else.
"""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.kernel.errors import InternalError
from executor.wasm.abi import GuestFault
from executor.wasm.arguments import STACK_MAX
from executor.wasm.calls import GuestTrapped
from executor.wasm.cif import ARGUMENTS_MAX, DEPTH_MAX, Kind
from executor.wasm.ffi import fits
from tests.executor.wasm.foreign import (
    ADD,
    HANDLER,
    HOLE,
    MEMORY,
    NOTHING,
    REAL,
    REFERENCE,
    SEEN,
    SINGLE,
    STACK,
    TRAPS,
    TWO,
    WIDE,
    TinyForeign,
)

EDGES = (0, 1, 4, SEEN, STACK, MEMORY - 4, MEMORY, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1)


@pytest.fixture
def tiny():
    return TinyForeign()


def i32(value):
    return struct.pack("<i", value)


def trapped(tiny, text, function, cif, *values):
    """
    The call traps, saying `text`, and no function of the guest has run.
    """
    tiny.memory.write(SEEN, bytes(16))
    with pytest.raises(GuestTrapped, match=text):
        tiny.call(function, cif, *values)
    assert tiny.seen(4) == (0, 0, 0, 0)
    assert tiny.stack.value(tiny.store) == STACK


# ---- what is passed ---------------------------------------------------------------------------


def test_integers_go_in_and_come_out(tiny):
    cif = tiny.cif(Kind.SINT32, Kind.SINT32, Kind.UINT32)
    assert tiny.call(ADD, cif, i32(-5), i32(47)) == i32(42) + bytes(4)


@pytest.mark.parametrize(
    ("kind", "data", "seen"),
    [
        (Kind.UINT8, b"\xff", 0xFF),
        (Kind.SINT8, b"\xff", 0xFFFFFFFF),
        (Kind.UINT16, b"\xfe\xff", 0xFFFE),
        (Kind.SINT16, b"\xfe\xff", 0xFFFFFFFE),
        (Kind.INT, b"\xff\xff\xff\x7f", 0x7FFFFFFF),
        (Kind.POINTER, b"\x01\x00\x00\xff", 0xFF000001),
    ],
)
def test_narrow_integers_are_extended_by_their_sign(tiny, kind, data, seen):
    tiny.call(ADD, tiny.cif(Kind.SINT32, kind, Kind.SINT32), data, i32(0))
    assert tiny.seen(1) == (seen,)


@pytest.mark.parametrize(
    ("kind", "size"), [(Kind.UINT8, 1), (Kind.SINT16, 2), (Kind.SINT32, 4), (Kind.POINTER, 4)]
)
def test_a_result_takes_the_room_of_its_type_and_no_more(tiny, kind, size):
    cif = tiny.cif(kind, Kind.SINT32, Kind.SINT32)
    assert tiny.call(ADD, cif, i32(-2), i32(0)) == i32(-2)[:size] + bytes(8 - size)


def test_wide_and_floating_values_keep_every_bit(tiny):
    wide = tiny.cif(Kind.SINT64, Kind.UINT64)
    assert tiny.call(WIDE, wide, struct.pack("<q", 2**40 - 1)) == struct.pack("<q", 2**40)
    real = tiny.cif(Kind.DOUBLE, Kind.DOUBLE, Kind.DOUBLE)
    halves = struct.pack("<d", 1.0), struct.pack("<d", 4.0)
    assert tiny.call(REAL, real, *halves) == struct.pack("<d", 0.25)
    single = tiny.cif(Kind.FLOAT, Kind.FLOAT)
    assert tiny.call(SINGLE, single, struct.pack("<f", 1.25))[:4] == struct.pack("<f", 2.5)


def test_a_function_without_arguments_and_result(tiny):
    assert tiny.call(NOTHING, tiny.cif(Kind.VOID)) == bytes(8)
    assert tiny.seen(1) == (1,)


def test_a_struct_of_one_member_is_the_member_and_an_empty_one_is_nothing(tiny):
    inner = tiny.struct(tiny.struct(Kind.SINT16))
    cif = tiny.cif(Kind.SINT32, inner, tiny.struct(), Kind.SINT32)
    assert tiny.call(ADD, cif, b"\xff\xff", b"", i32(43))[:4] == i32(42)


def test_a_struct_is_copied_to_the_stack_and_the_stack_is_put_back(tiny):
    pair = tiny.struct(Kind.SINT32, Kind.SINT32, size=8, align=4)
    data = struct.pack("<ii", 1, 2)
    tiny.call(ADD, tiny.cif(Kind.SINT32, pair, Kind.SINT32), data, i32(0))
    copy, _, stack = tiny.seen(3)
    assert tiny.memory.read(copy, 8) == data
    assert stack <= copy <= STACK - 8
    assert stack % 16 == 0
    assert tiny.stack.value(tiny.store) == STACK


@pytest.mark.parametrize("align", [1, 4, 16, 64, 4096])
def test_a_struct_stands_where_its_alignment_says(tiny, align):
    pair = tiny.struct(Kind.SINT32, Kind.SINT32, size=24, align=align)
    tiny.call(ADD, tiny.cif(Kind.SINT32, pair, pair), bytes(24), b"x" * 24)
    first, second, _ = tiny.seen(3)
    assert (first % align, second % align) == (0, 0)
    assert tiny.memory.read(second, 24) == b"x" * 24
    assert tiny.memory.read(first, 24) == bytes(24)


@pytest.mark.parametrize("kind", ["struct", Kind.LONGDOUBLE])
def test_a_big_result_is_written_by_the_function_itself(tiny, kind):
    place = tiny.struct(Kind.SINT32, Kind.SINT32) if kind == "struct" else kind
    trapped(tiny, MISMATCH, REAL, tiny.cif(place, Kind.DOUBLE), bytes(8))
    tiny.call(HANDLER, tiny.cif(place, *[Kind.SINT32] * 3), i32(tiny.result + 8), i32(0), i32(0))
    assert tiny.seen(2) == (tiny.result, tiny.result + 8)
    assert tiny.memory.u32(tiny.result + 8) == 42


def test_variadic_arguments_lie_as_va_arg_walks_them(tiny):
    pair = tiny.struct(Kind.SINT32, Kind.SINT32, size=8)
    kinds = (Kind.DOUBLE, Kind.SINT32, Kind.SINT64, Kind.SINT8, pair, Kind.LONGDOUBLE)
    data = struct.pack("<d", 1.5), i32(7), struct.pack("<q", -1), b"\xff", b"12345678", b"L" * 16
    cif = tiny.cif(Kind.SINT32, Kind.SINT32, *kinds, fixed=1)
    tiny.call(ADD, cif, i32(1), *data)
    _, array, stack = tiny.seen(3)
    found = struct.unpack("<dixxxxqiI16s", tiny.memory.read(array, 48))
    assert found[:4] == (1.5, 7, -1, -1)
    assert tiny.memory.read(found[4], 8) == b"12345678"
    assert found[5] == b"L" * 16
    assert stack <= array < found[4] <= STACK - 8
    assert (array % 16, tiny.stack.value(tiny.store)) == (0, STACK)


def test_no_variadic_argument_is_still_an_array(tiny):
    cif = tiny.cif(Kind.SINT32, Kind.SINT32, tiny.struct(), fixed=1)
    tiny.call(ADD, cif, i32(1), b"")
    assert tiny.seen(2) == (1, STACK)


# ---- what is refused --------------------------------------------------------------------------

MISMATCH = "^indirect call type mismatch"


@pytest.mark.parametrize("function", [WIDE, REAL, SINGLE, TWO, REFERENCE])
def test_w11_a_function_of_another_type_is_a_trap_and_is_not_called(tiny, function):
    cif = tiny.cif(Kind.SINT32, Kind.SINT32, Kind.SINT32)
    trapped(tiny, MISMATCH, function, cif, i32(1), i32(2))
    assert tiny.call(ADD, cif, i32(1), i32(2))[:4] == i32(3)


def test_w11_a_result_of_another_type_is_a_trap(tiny):
    trapped(tiny, MISMATCH, ADD, tiny.cif(Kind.SINT64, Kind.SINT32, Kind.SINT32), i32(1), i32(2))
    trapped(tiny, MISMATCH, ADD, tiny.cif(Kind.FLOAT, Kind.SINT32, Kind.SINT32), i32(1), i32(2))
    trapped(tiny, MISMATCH, WIDE, tiny.cif(Kind.DOUBLE, Kind.SINT64), bytes(8))
    trapped(tiny, MISMATCH, TWO, tiny.cif(Kind.VOID))
    trapped(tiny, MISMATCH, REFERENCE, tiny.cif(Kind.VOID, Kind.SINT32), i32(1))


def test_what_c_forgives_is_forgiven(tiny):
    less, more = [Kind.SINT32], [Kind.SINT32] * 4
    assert tiny.call(ADD, tiny.cif(Kind.SINT32, *less), i32(5))[:4] == i32(5)
    assert tiny.call(ADD, tiny.cif(Kind.SINT32, *more), *map(i32, range(4)))[:4] == i32(1)
    assert tiny.call(NOTHING, tiny.cif(Kind.SINT32, *less), i32(5)) == bytes(8)
    assert tiny.call(ADD, tiny.cif(Kind.VOID, *less), i32(5)) == bytes(8)
    wide = struct.pack("<q", 2**32 + 41)
    assert tiny.call(WIDE, tiny.cif(Kind.SINT32, Kind.SINT64), wide) == i32(42) + bytes(4)
    assert tiny.call(REAL, tiny.cif(Kind.DOUBLE)) != bytes(8), "0 / 0"


@pytest.mark.parametrize(
    ("asked", "real", "is_fit"),
    [
        ("ii>i", "ii>i", True),
        ("i>i", "ii>i", True),
        ("iid>i", "ii>i", True),
        (">", "ii>i", True),
        ("ii>i", "ii>", True),
        ("ii>", "ii>I", True),
        ("ii>i", "ii>I", True),
        ("ii>I", "ii>i", False),
        ("ii>d", "ii>i", False),
        ("ii>f", "ii>d", False),
        ("iI>i", "ii>i", False),
        ("d>i", "ii>i", False),
        (">", "r>", False),
        (">", ">r", False),
        (">", ">ii", False),
        ("ii>", "iir>", False),
    ],
)
def test_the_list_of_what_is_forgiven(asked, real, is_fit):
    assert fits(asked, real) is is_fit


@pytest.mark.parametrize("function", [0, HOLE])
def test_w11_a_null_entry_is_a_trap(tiny, function):
    trapped(tiny, "^uninitialized element$", function, tiny.cif(Kind.VOID))


@pytest.mark.parametrize("function", [12 + 1024, 2**31, 2**32 - 1])
def test_w11_an_index_outside_the_table_is_a_trap(tiny, function):
    trapped(tiny, "^undefined element", function, tiny.cif(Kind.VOID))


def test_an_entry_that_changes_its_function_changes_its_type(tiny):
    cif = tiny.cif(Kind.SINT32, Kind.SINT32)
    closure, index = tiny.closure(cif)
    assert tiny.call(index, cif, i32(1))[:4] == i32(42)
    other = tiny.cif(Kind.DOUBLE, Kind.DOUBLE)
    tiny.calls.closure_prepare(closure, other, HANDLER, 0, index)
    trapped(tiny, MISMATCH, index, cif, i32(1))
    tiny.call(index, other, bytes(8))


@pytest.mark.parametrize("count", [ARGUMENTS_MAX + 1, 2**31, 2**32 - 1])
def test_a_description_with_absurd_counts_reads_nothing(tiny, count):
    cif = tiny.cif(Kind.VOID)
    tiny.memory.put_u32(cif + 4, count)
    trapped(tiny, f"{count} arguments", NOTHING, cif)
    tiny.memory.put_u32(cif + 4, 0)
    tiny.memory.put_u32(cif + 24, count)
    trapped(tiny, f"of which {count} are fixed", NOTHING, cif)


def test_the_most_arguments_are_passed(tiny):
    cif = tiny.cif(Kind.SINT32, *[Kind.SINT32] * ARGUMENTS_MAX)
    assert tiny.call(ADD, cif, *[i32(21)] * ARGUMENTS_MAX)[:4] == i32(42)


def test_a_struct_that_contains_itself_ends_somewhere(tiny):
    turns = tiny.struct(Kind.SINT32)
    elements = tiny.memory.u32(turns.address + 8)
    tiny.memory.put_u32(elements, turns.address)
    trapped(tiny, f"nested deeper than {DEPTH_MAX}", ADD, tiny.cif(turns))
    deep = Kind.SINT32
    for _ in range(DEPTH_MAX - 1):
        deep = tiny.struct(deep)
    cif = tiny.cif(Kind.SINT32, deep, Kind.SINT32)
    assert tiny.call(ADD, cif, i32(1), i32(2))[:4] == i32(3)
    trapped(tiny, "nested deeper", ADD, tiny.cif(Kind.SINT32, tiny.struct(deep), Kind.SINT32))


@pytest.mark.parametrize("number", [16, 255, 65_535])
def test_a_type_that_libffi_does_not_have_is_refused(tiny, number):
    unknown = tiny.struct(Kind.SINT32)
    tiny.memory.write(unknown.address + 6, struct.pack("<H", number))
    trapped(tiny, f"a type of number {number}", ADD, tiny.cif(unknown))


@pytest.mark.parametrize("align", [0, 3, 24, 8192, 65_535])
def test_an_alignment_that_is_none_is_refused(tiny, align):
    pair = tiny.struct(Kind.SINT32, Kind.SINT32, align=align)
    trapped(tiny, f"aligned to {align};", ADD, tiny.cif(Kind.SINT32, pair, Kind.SINT32), b"", b"")


def test_arguments_that_do_not_fit_the_stack_are_refused(tiny):
    fits = tiny.struct(Kind.SINT32, Kind.SINT32, size=30_000)
    cif = tiny.cif(Kind.SINT32, fits, Kind.SINT32)
    tiny.call(ADD, cif, bytes(30_000), i32(0))
    both = tiny.cif(Kind.SINT32, fits, tiny.struct(Kind.SINT32, Kind.SINT32, size=30_001))
    trapped(tiny, "of the stack", ADD, both, bytes(30_000), bytes(30_001))


def test_a_struct_that_lies_about_its_size_is_refused(tiny):
    for size, told in ((MEMORY + 1, "out of bounds"), (2**32 - 1, "out of bounds")):
        huge = tiny.struct(Kind.SINT32, Kind.SINT32, size=size)
        trapped(tiny, told, ADD, tiny.cif(Kind.SINT32, huge, Kind.SINT32), b"", i32(0))
    tiny.exports.memory("memory").grow(tiny.store, 40)
    big = tiny.struct(Kind.SINT32, Kind.SINT32, size=STACK_MAX + 1)
    cif = tiny.cif(Kind.SINT32, big, Kind.SINT32)
    trapped(tiny, f"a struct of {STACK_MAX + 1} bytes", ADD, cif, b"", i32(0))


@pytest.mark.parametrize("place", [MEMORY - 3, MEMORY, 2**31, 2**32 - 1])
def test_a_pointer_outside_memory_is_a_trap_before_anything_runs(tiny, place):
    tiny.memory.write(SEEN, bytes(16))
    cif = tiny.cif(Kind.SINT32, Kind.SINT32, Kind.SINT32)
    good = tiny.words(tiny.place(i32(1)), tiny.place(i32(2)))
    bad = tiny.words(place, place)
    types = tiny.cif(Kind.SINT32, Kind.SINT32)
    tiny.memory.put_u32(types + 8, place)
    result = tiny.cif(Kind.SINT32)
    tiny.memory.put_u32(result + 12, place)
    for arguments in (
        (place, ADD, tiny.result, good),
        (cif, ADD, place, good),
        (cif, ADD, tiny.result, place),
        (cif, ADD, tiny.result, bad),
        (types, ADD, tiny.result, good),
        (result, ADD, tiny.result, good),
    ):
        with pytest.raises(GuestTrapped, match="^out of bounds memory access in a foreign call$"):
            tiny.calls.call(*arguments)
    assert tiny.seen(4) == (0, 0, 0, 0)
    tiny.calls.call(cif, ADD, tiny.result, good)
    assert tiny.seen(2) == (1, 2)


def test_a_trap_inside_the_call_ends_the_guest(tiny):
    with pytest.raises(GuestTrapped, match="unreachable"):
        tiny.call(TRAPS, tiny.cif(Kind.VOID, Kind.SINT32), i32(0))
    assert isinstance(tiny.faults.reason, GuestTrapped)


# ---- anything at all --------------------------------------------------------------------------

NUMBERS = st.sampled_from(EDGES) | st.integers(0, 2**32 - 1) | st.integers(0, MEMORY)
KINDS = st.integers(0, 17)


class Fuzzed:
    """
    A tiny guest for many examples, remade when one has ended it.
    """

    def __init__(self):
        self.tiny = TinyForeign()

    def fresh(self):
        if self.tiny.faults.reason is not None:
            self.tiny = TinyForeign()
        self.tiny.forget()
        return self.tiny


FUZZED = Fuzzed()


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
@settings(max_examples=400, deadline=None)
def test_random_integers_never_reach_further_than_a_trap(cif, function, result, values):
    with contextlib.suppress(GuestTrapped):
        FUZZED.fresh().calls.call(cif, function, result, values)


@given(
    result=KINDS,
    arguments=st.lists(KINDS, max_size=4),
    fixed=st.integers(0, 5),
    function=st.integers(0, 13),
    sizes=st.lists(NUMBERS, min_size=6, max_size=6),
    elements=st.lists(st.integers(0, 7), min_size=6, max_size=6),
)
@settings(max_examples=600, deadline=None)
def test_random_descriptions_never_reach_further_than_a_trap(
    result, arguments, fixed, function, sizes, elements
):
    tiny = FUZZED.fresh()
    # Types whose elements are one another, at random: trees, cycles, and holes.
    types = [tiny.place(bytes(20)) for _ in range(6)]
    kinds = [result, *arguments, *[Kind.STRUCT] * 5]
    for place, size, element, kind in zip(types, sizes, elements, kinds, strict=False):
        members = tiny.words(*([types[element]] if element < 6 else [0]), 0)
        tiny.memory.write(place, struct.pack("<IHHI", size, 1 << size % 14, kind, members))
    pointers = tiny.words(*types[1 : 1 + len(arguments)])
    cif = tiny.words(1, len(arguments), pointers, types[0], 0, 0, fixed)
    with contextlib.suppress(GuestTrapped):
        tiny.call(function, cif, *(struct.pack("<q", 3) for _ in arguments))


@given(
    kinds=st.lists(
        st.sampled_from([Kind.SINT32, Kind.SINT64, Kind.FLOAT, Kind.DOUBLE]), max_size=3
    ),
    result=st.sampled_from([Kind.VOID, Kind.SINT32, Kind.SINT64, Kind.FLOAT, Kind.DOUBLE]),
    function=st.integers(1, 9),
)
@settings(max_examples=300, deadline=None)
def test_exactly_the_functions_that_fit_are_called(kinds, result, function):
    letters = {Kind.SINT32: "i", Kind.SINT64: "I", Kind.FLOAT: "f", Kind.DOUBLE: "d"}
    asked = "".join(letters[kind] for kind in kinds) + ">" + letters.get(result, "")
    real = {HANDLER: "iiii>", ADD: "ii>i", WIDE: "I>I", REAL: "dd>d", SINGLE: "f>f", NOTHING: ">"}
    real |= {TRAPS: "i>", TWO: ">ii", REFERENCE: "ir>"}
    tiny = FUZZED.fresh()
    cif = tiny.cif(result, *kinds)
    if fits(asked, real[function]) and function == TRAPS:
        with pytest.raises(GuestTrapped, match="unreachable"):
            tiny.call(function, cif, *(bytes(8) for _ in kinds))
    elif fits(asked, real[function]):
        tiny.call(function, cif, *(bytes(8) for _ in kinds))
    else:
        with pytest.raises(GuestTrapped, match=MISMATCH):
            tiny.call(function, cif, *(bytes(8) for _ in kinds))


@given(st.lists(st.tuples(st.integers(0, 2), NUMBERS, NUMBERS, NUMBERS), max_size=8))
@settings(max_examples=200, deadline=None)
def test_random_use_of_closures_fails_as_a_fault_and_leaves_the_rest_working(steps):
    tiny = TinyForeign()
    keep, index = tiny.closure(tiny.cif(Kind.SINT32, Kind.SINT32))
    for what, first, second, third in steps:
        with contextlib.suppress(GuestFault):
            if what == 0:
                tiny.calls.closure_alloc(first % 5000, second)
            elif what == 1 and first != keep:
                tiny.calls.closure_free(first)
            elif what == 2:
                tiny.calls.closure_prepare(first, second, third, 0, index)
    assert tiny.faults.reason is None
    cif = tiny.cif(Kind.SINT32, Kind.SINT32)
    tiny.memory.put_u32(keep + 8, HANDLER)
    assert tiny.call(index, cif, i32(1))[:4] == i32(42)


def test_the_guest_of_a_host_function_that_did_not_finish_is_not_entered(tiny):
    tiny.faults.unfinished = True
    with pytest.raises(InternalError):
        tiny.call(NOTHING, tiny.words(1, 0, 0, 0, 0, 0, 0))
