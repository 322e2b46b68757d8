"""
Short writes that are gathered without asking the host: which ones, in what order, and up to when.
"""

import struct

import pytest
import wasmtime

from executor.wasm import engine, gathering_modules
from executor.wasm.gathering import Gathering
from executor.wasm.gathering_modules import CHANGES_MAX, DATA, LONGEST, SIZE
from tests.executor.wasm.tiny_kernel import PAGE, TinyMemory

# Where a test's guest has its vectors, the place of the result, and its text.
VECTORS, RESULT, TEXT = 0x100, 0x200, 0x1000
I32 = wasmtime.ValType.i32()


class Guest:
    """
    A memory whose owner writes, and the host behind the shelf, which writes nothing.
    """

    def __init__(self) -> None:
        self.tiny = TinyMemory()
        self.asked: list[tuple[int, ...]] = []
        store = self.tiny.store
        engine.limit(store, 64 * PAGE)
        kind = wasmtime.FuncType([I32] * 4, [I32])
        self.gathering = Gathering(self.tiny.engine, store)
        self.host = wasmtime.Func(store, kind, self._host)
        self.front = self.gathering.before(self.host)
        self.gathering.join(self.tiny.linear)
        self.gathering.set_stream(1, 1)
        self.gathering.set_stream(2, 2)

    def _host(self, *arguments: int) -> int:
        self.asked.append(tuple(one & 0xFFFFFFFF for one in arguments))
        return 77

    def call(self, *arguments: int) -> int:
        return self.front(self.tiny.store, *(struct.unpack("<4i", struct.pack("<4I", *arguments))))

    def write(self, descriptor: int, data: bytes) -> int:
        """
        A write of one vector.
        """
        guest = self.tiny.guest
        guest.write(TEXT, data)
        guest.write(VECTORS, struct.pack("<2I", TEXT, len(data)))
        guest.put_u32(RESULT, 0xFFFFFFFF)
        return self.call(descriptor, VECTORS, 1, RESULT)


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_the_host_is_asked_until_something_is_gathered_and_afterwards(guest):
    assert guest.write(1, b"a") == 77
    guest.gathering.start()
    assert guest.write(1, b"b") == 0
    guest.gathering.stop()
    assert guest.write(1, b"c") == 77
    assert guest.asked == [(1, VECTORS, 1, RESULT)] * 2
    assert guest.gathering.take() == [(1, b"b")]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 100, LONGEST])
def test_what_is_gathered_is_whole_and_the_result_is_its_length(guest, size):
    guest.gathering.start()
    data = bytes(number % 251 for number in range(size))
    assert guest.write(2, data) == 0
    assert guest.tiny.guest.u32(RESULT) == size
    assert (guest.gathering.take(), guest.asked) == ([(2, data)], [])


def test_pieces_have_their_streams_in_the_order_in_which_they_were_written(guest):
    guest.gathering.start()
    for stream, text in ((1, b"a"), (1, b"bc"), (2, b"d"), (1, b"e")):
        guest.write(stream, text)
    assert guest.gathering.take() == [(1, b"abc"), (2, b"d"), (1, b"e")]
    assert guest.gathering.take() == []
    for stream, text in ((1, b"f"), (2, b"g")):
        guest.write(stream, text)
    assert guest.gathering.take() == [(1, b"f"), (2, b"g")]


def test_a_change_of_the_stream_whose_bytes_are_still_to_come_waits_for_them(guest):
    guest.gathering.start()
    guest.write(1, b"a")
    room = guest.gathering._exports["room"]
    assert room(guest.tiny.store, 2, 1) == DATA + 1
    assert guest.gathering.take() == [(1, b"a")]
    guest.write(2, b"b")
    assert guest.gathering.take() == [(2, b"b")]


def test_a_descriptor_is_the_stream_that_it_stands_for(guest):
    guest.gathering.start()
    guest.gathering.set_stream(1, 2)
    guest.gathering.set_stream(2, 0)
    guest.gathering.set_stream(7, 1)
    assert [guest.write(number, b"x") for number in (1, 2, 7)] == [0, 77, 77]
    assert guest.gathering.take() == [(2, b"x")]


@pytest.mark.parametrize("descriptor", [0, 3, 2**30 + 1, 2**31, 2**32 - 1])
def test_other_descriptors_are_the_hosts(guest, descriptor):
    guest.gathering.start()
    assert guest.write(descriptor, b"x") == 77
    assert guest.asked == [(descriptor, VECTORS, 1, RESULT)]


@pytest.mark.parametrize(
    ("vectors", "count", "result", "text", "size"),
    [
        (VECTORS, 0, RESULT, TEXT, 5),
        (VECTORS, 2, RESULT, TEXT, 5),
        (VECTORS, 2**32 - 1, RESULT, TEXT, 5),
        (VECTORS, 1, RESULT, TEXT, 0),
        (VECTORS, 1, RESULT, TEXT, LONGEST + 1),
        (VECTORS, 1, RESULT, TEXT, 2**32 - 1),
        (VECTORS, 1, RESULT, PAGE - 4, 5),
        (VECTORS, 1, RESULT, 2**32 - 1, 5),
        (VECTORS, 1, PAGE - 3, TEXT, 5),
        (VECTORS, 1, 2**32 - 4, TEXT, 5),
        (PAGE - 7, 1, RESULT, TEXT, 5),
        (2**32 - 8, 1, RESULT, TEXT, 5),
    ],
)
def test_what_is_not_short_and_whole_in_memory_is_the_hosts_to_judge(
    guest, vectors, count, result, text, size
):
    guest.gathering.start()
    if vectors == VECTORS:
        guest.tiny.guest.write(vectors, struct.pack("<2I", text, size))
    assert guest.call(1, vectors, count, result) == 77
    assert guest.asked == [(1, vectors, count, result)]
    assert guest.gathering.take() == []


def test_the_last_bytes_of_memory_are_memory(guest):
    guest.gathering.start()
    memory = guest.tiny.guest
    memory.write(PAGE - 17, b"hello")
    memory.write(PAGE - 8, struct.pack("<2I", PAGE - 17, 5))
    assert guest.call(1, PAGE - 8, 1, PAGE - 12) == 0
    assert memory.u32(PAGE - 12) == 5
    memory.write(PAGE - 5, b"world")
    memory.write(VECTORS, struct.pack("<2I", PAGE - 5, 5))
    assert guest.call(1, VECTORS, 1, PAGE - 4) == 0
    assert guest.gathering.take() == [(1, b"helloworld")]


def test_a_memory_that_has_grown_is_seen_whole(guest):
    guest.gathering.start()
    guest.tiny.grow(1)
    guest.tiny.guest.write(PAGE + 5, b"hello")
    guest.tiny.guest.write(VECTORS, struct.pack("<2I", PAGE + 5, 5))
    assert guest.call(1, VECTORS, 1, RESULT) == 0
    assert guest.gathering.take() == [(1, b"hello")]


def test_a_full_shelf_is_the_hosts_and_is_empty_when_it_begins_anew(guest):
    guest.gathering.start()
    whole, rest = divmod(SIZE - DATA, LONGEST)
    for _ in range(whole):
        assert guest.write(1, b"x" * LONGEST) == 0
    assert guest.write(1, b"y" * (rest + 1)) == 77
    assert guest.write(1, b"z" * rest) == 0
    assert guest.gathering.take() == [(1, b"x" * LONGEST * whole + b"z" * rest)]
    assert guest.write(1, b"x") == 77
    guest.gathering.start()
    assert guest.write(1, b"x") == 0
    assert guest.gathering.take() == [(1, b"x")]


def test_streams_in_turn_are_the_hosts_from_a_thousand_changes_on(guest):
    guest.gathering.start()
    answers = [guest.write(1 + number % 2, b"x") for number in range(CHANGES_MAX + 1)]
    assert answers == [0] * CHANGES_MAX + [77]
    assert guest.write(1 + (CHANGES_MAX - 1) % 2, b"y") == 0
    pieces = guest.gathering.take()
    assert len(pieces) == CHANGES_MAX
    assert (pieces[0], pieces[-1][1]) == ((1, b"x"), b"xy")


def test_where_gathering_is_over_meanwhile_the_host_is_told_of_what_is_there():
    """
    Another thread may stop it after the writer has asked for room; here the shelf says so.
    """
    tiny = TinyMemory()
    told = []

    def function(parameters, results, act):
        return wasmtime.Func(tiny.store, wasmtime.FuncType(parameters, results), act)

    def host(*arguments):
        told.append(arguments)
        tiny.guest.put_u32(RESULT, 0)
        return 0

    given = [
        tiny.linear,
        function([I32] * 4, [I32], host),
        function([I32] * 2, [I32], lambda _descriptor, _length: DATA),
        function([I32, wasmtime.ValType.i64()], [], lambda _at, _value: None),
        function([I32] * 2, [], lambda _at, _value: None),
        function([I32], [I32], lambda _length: 0),
    ]
    module = wasmtime.Module(tiny.engine, gathering_modules.writer())
    write = wasmtime.Instance(tiny.store, module, given).exports(tiny.store)["fd_write"]
    tiny.guest.write(VECTORS, struct.pack("<2I", TEXT, 9))
    assert write(tiny.store, 1, VECTORS, 1, RESULT) == 0
    assert told == [(1, VECTORS, 0, RESULT)]
    assert tiny.guest.u32(RESULT) == 9


def test_keeping_tells_whether_things_are_still_gathered(guest):
    keep = guest.gathering._exports["keep"]
    guest.gathering.start()
    assert keep(guest.tiny.store, 0) == 1
    guest.gathering.stop()
    assert keep(guest.tiny.store, 0) == 0


def test_both_modules_are_the_same_each_time():
    assert gathering_modules.shelf() == gathering_modules.shelf()
    assert gathering_modules.writer() == gathering_modules.writer()
