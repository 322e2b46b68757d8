"""
Guest memory: every pointer and length is checked before a byte moves, on a real linear memory.
"""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.kernel.errors import InternalError
from executor.wasm.abi import Errno, GuestFault
from executor.wasm.memory import STRING_MAX, TRANSFER_MAX, VECTOR_MAX
from tests.executor.wasm.tiny_kernel import PAGE, TinyMemory

EDGES = (0, 1, PAGE - 1, PAGE, PAGE + 1, 2**31 - 1, 2**31, 2**32 - 1, -1, -PAGE, 2**32)
NUMBERS = st.sampled_from(EDGES) | st.integers(-(2**33), 2**33) | st.integers(0, PAGE)

# One memory for all examples: what is outside must not move, so it never needs to be remade.
TINY = TinyMemory()
MEMORY = TINY.guest


def inside(pointer: int, length: int) -> bool:
    """
    The rule, said in another way than the code does: the last byte has an address in memory.
    """
    start, count = pointer % 2**32, length % 2**32
    return start <= PAGE and count <= PAGE - start


@given(NUMBERS, NUMBERS)
@settings(max_examples=400, deadline=None)
def test_a_range_is_given_exactly_if_it_lies_in_memory(pointer, length):
    if inside(pointer, length):
        span = MEMORY.span(pointer, length)
        assert (span.start, span.stop - span.start) == (pointer % 2**32, length % 2**32)
        assert len(MEMORY.read(pointer, length)) == length % 2**32
        assert len(MEMORY.window(pointer, length)) == length % 2**32
    else:
        for act in (MEMORY.span, MEMORY.read, MEMORY.window):
            with pytest.raises(GuestFault) as caught:
                act(pointer, length)
            assert caught.value.errno is Errno.EFAULT


@given(NUMBERS, st.binary(max_size=64))
@settings(max_examples=300, deadline=None)
def test_a_write_changes_its_range_and_nothing_else(pointer, data):
    before = TINY.bytes()
    start = pointer % 2**32
    if not inside(pointer, len(data)):
        with pytest.raises(GuestFault):
            MEMORY.write(pointer, data)
        assert TINY.bytes() == before
        return
    MEMORY.write(pointer, data)
    assert TINY.bytes() == before[:start] + data + before[start + len(data) :]


@given(NUMBERS, st.integers(-(2**65), 2**65))
@settings(max_examples=200, deadline=None)
def test_integers_are_stored_in_their_width_or_not_at_all(pointer, value):
    before = TINY.bytes()
    start = pointer % 2**32
    for put, form, bits in ((MEMORY.put_u32, "<I", 32), (MEMORY.put_u64, "<Q", 64)):
        if inside(pointer, bits // 8):
            put(pointer, value)
            assert TINY.bytes()[start : start + bits // 8] == struct.pack(form, value % 2**bits)
            MEMORY.write(pointer, before[start : start + bits // 8])
        else:
            with pytest.raises(GuestFault):
                put(pointer, value)
        assert TINY.bytes() == before


@pytest.mark.parametrize("pointer", [PAGE - 3, PAGE, 2**32 - 1, -4])
def test_an_integer_over_the_end_is_not_read(pointer):
    with pytest.raises(GuestFault):
        MEMORY.u32(pointer)


def test_a_string_ends_at_its_terminator_and_never_past_memory():
    tiny = TinyMemory()
    memory = tiny.guest
    memory.write(PAGE - 4, b"abc\0")
    assert memory.string(PAGE - 4) == b"abc"
    memory.write(PAGE - 4, b"abcd")
    for pointer in (PAGE - 4, PAGE - 1, PAGE, PAGE + 1, 2**32 - 1):
        with pytest.raises(GuestFault) as caught:
            memory.string(pointer)
        assert caught.value.errno is Errno.EFAULT


def test_a_string_has_at_most_4096_bytes():
    memory = TinyMemory().guest
    memory.write(0, b"x" * STRING_MAX + b"\0")
    assert memory.string(0) == b"x" * STRING_MAX
    memory.write(0, b"x" * (STRING_MAX + 1) + b"\0")
    with pytest.raises(GuestFault) as caught:
        memory.string(0)
    assert caught.value.errno is Errno.ENAMETOOLONG


def test_memory_that_has_grown_is_reached_and_what_is_beyond_it_is_not():
    tiny = TinyMemory()
    with pytest.raises(GuestFault):
        tiny.guest.read(PAGE, 1)
    tiny.grow(1)
    assert tiny.guest.read(PAGE, PAGE) == bytes(PAGE)
    tiny.guest.check_base()
    with pytest.raises(GuestFault):
        tiny.guest.read(PAGE, PAGE + 1)


def test_a_memory_that_moved_is_an_internal_error():
    tiny = TinyMemory()
    tiny.guest._read_base = lambda: tiny.guest._base + 1
    with pytest.raises(InternalError):
        tiny.guest.check_base()


def test_iovecs_are_checked_whole_before_they_are_used():
    memory = TinyMemory().guest
    memory.write(0, struct.pack("<4I", 100, 10, PAGE - 5, 6))
    with pytest.raises(GuestFault) as caught:
        memory.vectors(0, 2)
    assert caught.value.errno is Errno.EFAULT
    memory.write(0, struct.pack("<4I", 100, 10, PAGE - 5, 5))
    assert memory.vectors(0, 2) == [(100, 10), (PAGE - 5, 5)]


@pytest.mark.parametrize("count", [VECTOR_MAX + 1, 2**31, 2**32 - 1])
def test_too_many_iovecs_are_refused_without_reading_one(count):
    with pytest.raises(GuestFault) as caught:
        MEMORY.vectors(2**32 - 1, count)
    assert caught.value.errno is Errno.EINVAL


def test_a_transfer_is_cut_at_one_mebibyte_in_all():
    tiny = TinyMemory(pages=33, limit=33)
    tiny.guest.write(0, struct.pack("<6I", 100, 2**20 - 1, 100, 2**20, 0, 7))
    assert tiny.guest.vectors(0, 3) == [(100, TRANSFER_MAX - 1), (100, 1), (0, 0)]
