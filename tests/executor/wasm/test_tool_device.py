"""
`/dev/tools` by its acts: one whole frame is one call, and everything else is refused.
"""

import errno
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.toolframes import LONGEST_FRAME, answered, refused
from executor.kernel.tooling import MOST_RESULT
from executor.wasm.abi import Errno, GuestFault, Open
from executor.wasm.space import Space
from executor.wasm.toolfile import ToolFile

MIB = 2**20
RDWR = int(Open.RDWR)
FRAME = b"C" + (4).to_bytes(4, "little") + b"echo" + b"\x01N\0"


def framed(frame):
    return len(frame).to_bytes(4, "little") + frame


class Device:
    """
    One open device by itself, with the memory of a session behind it.
    """

    def __init__(self, reply=b"Vreply", memory=64 * MIB):
        self.frames = []
        self.reply = reply
        self.space = Space(memory, 1)
        self.file = ToolFile(Open.RDWR, self.space, self.call)

    def call(self, frame):
        self.frames.append(frame)
        return self.reply

    def read(self, count=100):
        view = memoryview(bytearray(count))
        return bytes(view[: self.file.read(view)])


@given(st.lists(st.integers(0, 30), max_size=5), st.integers(1, 9))
def test_a_frame_in_any_pieces_is_one_call_and_its_reply_is_read_in_any(cuts, size):
    device, data = Device(), framed(FRAME)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in pairwise(places):
        if begin < end:
            device.file.write(data[begin:end])
    assert device.frames == []
    found = b""
    while piece := device.read(size):
        found += piece
    assert (found, device.frames) == (b"Vreply", [FRAME])


@pytest.mark.parametrize("data", [b"", b"\x01\0", framed(FRAME)[:-1], framed(FRAME) + b"x"])
def test_what_has_another_length_than_it_says_calls_nothing(data):
    device = Device()
    if data:
        device.file.write(data)
    with pytest.raises(GuestFault) as caught:
        device.read()
    assert (caught.value.errno, device.frames) == (Errno.EINVAL, [])


def test_a_second_frame_needs_the_device_opened_again():
    device = Device()
    device.file.write(framed(FRAME))
    device.read()
    with pytest.raises(GuestFault) as caught:
        device.file.write(framed(FRAME))
    assert caught.value.errno is Errno.EINVAL


def test_a_frame_is_as_long_as_a_call_may_be_and_no_longer():
    device = Device()
    device.file.write(bytes(LONGEST_FRAME))
    with pytest.raises(GuestFault) as caught:
        device.file.write(bytes(5))
    assert caught.value.errno is Errno.EMSGSIZE


def test_what_is_held_counts_as_the_sessions_memory_until_it_is_closed():
    device = Device(reply=b"V" + bytes(1000))
    device.file.write(framed(FRAME))
    device.read()
    assert device.space.used == len(framed(FRAME)) + 1001
    device.file.close()
    assert device.space.used == 0


def test_a_call_is_made_where_memory_has_room_for_its_result_alone():
    device = Device(memory=MOST_RESULT)
    device.file.write(framed(FRAME))
    with pytest.raises(GuestFault) as caught:
        device.read()
    assert (caught.value.errno, device.frames) == (Errno.ENOSPC, [])


def test_one_call_is_open_at_a_time(kernel):
    first = kernel.open("/dev/tools", RDWR)
    assert kernel.open("/dev/tools", RDWR) == -Errno.EBUSY
    assert kernel.call("fd_close", first) == 0
    assert kernel.open("/dev/tools", RDWR) >= 0


def nobody(_):
    raise AssertionError("the gate was asked")


@given(st.binary(max_size=40))
def test_any_frame_has_a_reply(frame):
    reply = answered(frame, lambda _: wire.Answer(errno=errno.EACCES, reason="no"))
    assert reply in {
        refused(errno.EACCES, "no"),
        refused(errno.EINVAL, "this is no frame about a tool"),
    }


@pytest.mark.parametrize("frame", [b"", b"C", b"X\0\0\0\0", b"C\xff\0\0\0name", b"W\0"])
def test_what_is_no_frame_reaches_no_gate(frame):
    assert answered(frame, nobody).startswith(b"REINVAL\0")


def test_a_large_result_is_asked_for_in_parts_and_one_that_breaks_off_is_refused():
    whole = bytes(range(256)) * 10
    asked = []

    def gate(ask):
        if ask.WhichOneof("ask") == "call":
            return wire.Answer(called=wire.Called(call=1, done=True, data=whole[:1000], size=2560))
        asked.append(ask.rest)
        return wire.Answer(called=wire.Called(data=whole[ask.rest : ask.rest + 1000]))

    assert answered(FRAME, gate) == b"V" + whole
    assert asked == [1000, 2000]
    broken = wire.Answer(called=wire.Called(call=1, done=True, data=b"x", size=100))
    replies = iter([broken, wire.Answer()])
    assert answered(FRAME, lambda _: next(replies)).startswith(b"REIO\0")
