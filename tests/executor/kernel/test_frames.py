"""
Frames, however they are cut, and those whose large part is sent from where it lies.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel import frames
from executor.kernel.frames import FrameBuffer, FrameTooLongError, encode

SIZES = st.sampled_from([0, 1, 3, 100, 2**14 - 5, 2**14, 50_000])
CUTS = st.lists(st.sampled_from([1, 2, 3, 4, 5, 1000, 2**14 - 1, 2**14, 70_000]), min_size=1)


@given(st.lists(SIZES, max_size=5), CUTS, st.booleans())
def test_messages_come_out_whole_and_in_order(sizes, cuts, at_once):
    messages = [bytes([number]) * size for number, size in enumerate(sizes)]
    data, buffer, found, at = b"".join(map(encode, messages)), FrameBuffer(2**17), [], 0
    for cut in [*cuts, len(data)]:
        buffer.feed(data[at : at + cut])
        at += cut
        if at_once:
            found += iter(buffer.take, None)
    found += iter(buffer.take, None)
    assert found == messages


def test_a_sender_of_single_bytes_makes_no_object_of_each():
    buffer = FrameBuffer(2**17)
    data = encode(bytes(2**16))
    for start in range(len(data) - 1):
        buffer.feed(data[start : start + 1])
        assert buffer.take() is None
    assert len(buffer._pieces) <= 5
    buffer.feed(data[-1:])
    assert buffer.take() == bytes(2**16)
    assert buffer._pieces == []


def test_a_length_behind_a_whole_frame_is_compared_with_the_limit():
    buffer = FrameBuffer(10)
    buffer.feed(encode(b"x" * 10) + (11).to_bytes(4, "little"))
    assert buffer.take() == b"x" * 10
    with pytest.raises(FrameTooLongError):
        buffer.take()


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 2**20])
@pytest.mark.parametrize("stream", [0, 1, 2, 300])
def test_a_frame_of_a_head_and_data_is_the_message(size, stream):
    data = bytes(size)
    kind, field = wire.FromWorker.OUTPUT_FIELD_NUMBER, wire.Output.DATA_FIELD_NUMBER
    head = frames.head((kind,), wire.Output(stream=stream), field, size)
    buffer = FrameBuffer(2**21)
    buffer.feed(head + data)
    message = wire.FromWorker(output=wire.Output(stream=stream, data=data))
    assert wire.FromWorker.FromString(buffer.take()) == message


def test_how_much_a_frame_still_wants_is_known_once_its_length_was_read():
    buffer = FrameBuffer(1000)
    wanted = []
    for part in (b"\x64\0", b"\0\0", b"x" * 60, b"x" * 40 + b"\x05\0\0\0y"):
        buffer.feed(part)
        buffer.take()
        wanted.append(buffer.missing)
    assert wanted == [0, 100, 40, 0]
    assert buffer.take() is None
    assert buffer.missing == 4


@pytest.mark.parametrize("size", [0, 1, 127, 128, 2**20])
def test_a_head_leads_through_messages_that_stand_in_each_other(size):
    data = bytes(size)
    put = wire.PutChunk(path="/work/x", offset=3)
    numbers = (wire.ToWorker.FILE_FIELD_NUMBER, wire.FileCommand.PUT_FIELD_NUMBER)
    buffer = FrameBuffer(2**21)
    buffer.feed(frames.head(numbers, put, wire.PutChunk.DATA_FIELD_NUMBER, size) + data)
    put.data = data
    message = wire.ToWorker(file=wire.FileCommand(put=put))
    assert wire.ToWorker.FromString(buffer.take()) == message
