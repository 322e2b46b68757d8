"""
GuestMemory against a model: a bytearray, and integers that are taken modulo 2**32.

A machine makes any sequence of reads, writes, strings, vectors and growth, with addresses and
lengths around 0, around the size that memory has then, around 2**31 and 2**32, and negative ones.
Each answer is the model's, each refusal is the model's error, and the whole of linear memory, as
the engine reads it, is the model after every step. What green does not prove: that nobody keeps a
window beyond its call.
"""

import struct
from collections.abc import Callable

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from executor.wasm.abi import Errno, GuestFault
from executor.wasm.memory import STRING_MAX, TRANSFER_MAX, VECTOR_MAX, GuestMemory
from tests.executor.wasm.tiny_kernel import PAGE, TinyMemory

PAGES_MAX = 3
AROUND = (0, 2**31, 2**32, -(2**31), -(2**32), 2**33, 2**63, 2**64)

# An offset from an edge: which edge is the memory's own size is known when the step is made.
NEAR = st.integers(-9, 9)
PLACES = st.tuples(st.sampled_from(("size", *AROUND)), NEAR) | st.tuples(
    st.just("any"), st.integers(0, PAGES_MAX * PAGE)
)
DATA = st.binary(max_size=40) | st.builds(
    lambda byte, count: bytes([byte]) * count,
    st.integers(0, 255),
    st.sampled_from((STRING_MAX, STRING_MAX + 1, PAGE)),
)
VALUES = st.sampled_from((0, 1, -1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, -(2**63)))

Outcome = tuple[str, object]


def outcome(act: Callable[[], object]) -> Outcome:
    """
    What an act gave, or the error of its refusal.
    """
    try:
        return "gave", act()
    except GuestFault as fault:
        return "refused", fault.errno


class Model:
    """
    What linear memory is to be: no address, no wrap-around, no view.
    """

    def __init__(self) -> None:
        self.data = bytearray(PAGE)

    def check(self, pointer: int, length: int) -> tuple[int, int]:
        start, count = pointer % 2**32, length % 2**32
        if count > len(self.data) - start:
            raise GuestFault(Errno.EFAULT)
        return start, start + count

    def read(self, pointer: int, length: int) -> bytes:
        start, stop = self.check(pointer, length)
        return bytes(self.data[start:stop])

    def write(self, pointer: int, data: bytes) -> None:
        start, stop = self.check(pointer, len(data))
        self.data[start:stop] = data

    def string(self, pointer: int, limit: int) -> bytes:
        rest = bytes(self.data[pointer % 2**32 :])
        text, end, _ = rest.partition(b"\0")
        if end and len(text) <= limit:
            return text
        raise GuestFault(Errno.ENAMETOOLONG if len(rest) > limit else Errno.EFAULT)

    def vectors(self, pointer: int, count: int) -> list[tuple[int, int]]:
        if count > VECTOR_MAX:
            raise GuestFault(Errno.EINVAL)
        found, room = [], TRANSFER_MAX
        for start, length in struct.iter_unpack("<II", self.read(pointer, 8 * count)):
            self.check(start, length)
            found.append((start, min(length, room)))
            room -= min(length, room)
        return found


class MemoryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tiny = TinyMemory(pages=1, limit=PAGES_MAX)
        self.model = Model()

    @property
    def guest(self) -> GuestMemory:
        return self.tiny.guest

    def at(self, place: tuple[str | int, int]) -> int:
        edge, offset = place
        if isinstance(edge, int):
            return edge + offset
        return offset + (len(self.model.data) if edge == "size" else 0)

    @rule(place=PLACES, length=PLACES)
    def read_a_range(self, place, length) -> None:
        pointer, count = self.at(place), self.at(length)
        wanted = outcome(lambda: self.model.read(pointer, count))
        assert outcome(lambda: self.guest.read(pointer, count)) == wanted
        assert outcome(lambda: bytes(self.guest.window(pointer, count))) == wanted
        span = outcome(lambda: self.guest.span(pointer, count))
        checked = outcome(lambda: slice(*self.model.check(pointer, count)))
        assert span == checked

    @rule(place=PLACES, data=DATA, kind=st.sampled_from((bytes, bytearray, memoryview)))
    def write_a_range(self, place, data, kind) -> None:
        pointer = self.at(place)
        wanted = outcome(lambda: self.model.write(pointer, data))
        assert outcome(lambda: self.guest.write(pointer, kind(data))) == wanted

    @rule(place=PLACES, data=DATA)
    def fill_a_window(self, place, data) -> None:
        pointer = self.at(place)

        def filled() -> None:
            self.guest.window(pointer, len(data))[:] = data

        wanted = outcome(lambda: self.model.write(pointer, data))
        assert outcome(filled) == wanted

    @rule(place=PLACES, value=VALUES)
    def store_and_load_integers(self, place, value) -> None:
        pointer = self.at(place)
        for put, width in ((self.guest.put_u32, 4), (self.guest.put_u64, 8)):
            data = (value % 2 ** (8 * width)).to_bytes(width, "little")
            wanted = outcome(lambda data=data: self.model.write(pointer, data))
            assert outcome(lambda put=put: put(pointer, value)) == wanted
        loaded = outcome(lambda: int.from_bytes(self.model.read(pointer, 4), "little"))
        assert outcome(lambda: self.guest.u32(pointer)) == loaded

    @rule(place=PLACES, limit=st.sampled_from((0, 1, 7, 255, STRING_MAX)))
    def read_a_string(self, place, limit) -> None:
        pointer = self.at(place)
        wanted = outcome(lambda: self.model.string(pointer, limit))
        assert outcome(lambda: self.guest.string(pointer, limit)) == wanted

    @rule(
        place=PLACES,
        pairs=st.lists(st.tuples(PLACES, PLACES), max_size=4),
        count=st.none() | st.sampled_from((0, 1, 5, 1023, 1024, 1025, 2**29, 2**31, 2**32 - 1)),
    )
    def read_vectors(self, place, pairs, count) -> None:
        pointer = self.at(place)
        array = b"".join(
            struct.pack("<II", self.at(start) % 2**32, self.at(length) % 2**32)
            for start, length in pairs
        )
        with_array = outcome(lambda: self.model.write(pointer, array))
        assert outcome(lambda: self.guest.write(pointer, array)) == with_array
        many = len(pairs) if count is None else count
        wanted = outcome(lambda: self.model.vectors(pointer, many))
        assert outcome(lambda: self.guest.vectors(pointer, many)) == wanted

    @precondition(lambda self: len(self.model.data) < PAGES_MAX * PAGE)
    @rule()
    def grow(self) -> None:
        self.tiny.grow(1)
        self.model.data.extend(bytes(PAGE))

    @invariant()
    def all_of_memory_is_the_model_and_has_not_moved(self) -> None:
        assert self.tiny.bytes() == self.model.data
        assert self.guest.size == len(self.model.data)
        self.guest.check_base()


MemoryMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=20, deadline=None, derandomize=True
)


class TestMemoryAgreesWithTheModel(MemoryMachine.TestCase):
    """
    Hypothesis runs the machine; its class has to be one of unittest.
    """


def without_the_last_byte(memory: GuestMemory, pointer: int, length: int) -> slice:
    start, count = pointer % 2**32, length % 2**32
    if start + count >= memory.size:
        raise GuestFault(Errno.EFAULT)
    return slice(start, start + count)


def a_byte_short(memory: GuestMemory, pointer: int, length: int) -> bytes:
    return bytes(memory.window(pointer, length))[1:]


def a_wrong_error(_memory: GuestMemory, _pointer: int, _limit: int = STRING_MAX) -> bytes:
    raise GuestFault(Errno.EINVAL)


def some_steps(machine: MemoryMachine) -> None:
    machine.write_a_range(("any", 0), b"text", bytes)
    machine.read_a_range(("size", -8), ("any", 8))
    machine.read_a_string(("any", 0), 255)
    machine.read_a_string(("size", 0), 255)


@pytest.mark.parametrize(
    ("name", "worse"),
    [("span", without_the_last_byte), ("read", a_byte_short), ("string", a_wrong_error)],
)
def test_the_machine_finds_a_memory_that_is_otherwise(name, worse, monkeypatch):
    """
    Its steps can fail. (A memory without its check would not fail them but end this process.)
    """
    some_steps(MemoryMachine())
    monkeypatch.setattr(GuestMemory, name, worse)
    with pytest.raises(AssertionError):
        some_steps(MemoryMachine())
