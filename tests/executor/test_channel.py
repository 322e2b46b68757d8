import asyncio
import contextlib
import os
import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codecage.worker.v1 import worker_pb2 as wire
from executor.children.channel import Bucket, Channel, Pace
from executor.errors import ProtocolBroken, WorkerGone
from executor.kernel.frames import MAX_FROM_WORKER, FrameBuffer, encode
from executor.linux.descriptors import receive_regular_file
from executor.linux.errors import DescriptorRefused


def connected(scenario, pace=None):
    async def main():
        ours, theirs = socket.socketpair()
        channel = Channel(ours, pace)
        try:
            with theirs:
                await scenario(channel, theirs)
        finally:
            channel.close()

    asyncio.run(main())


def note(what: str) -> bytes:
    return encode(wire.FromWorker(note=wire.Note(what=what)).SerializeToString())


def test_frames_come_in_order_however_they_are_cut():
    async def scenario(channel, theirs):
        data = note("a") + note("b") + note("c")
        for start in range(0, len(data), 3):
            theirs.send(data[start : start + 3])
            await asyncio.sleep(0)
        found = [(await channel.receive()).note.what for _ in range(3)]
        assert found == ["a", "b", "c"]

    connected(scenario)


def test_the_end_of_the_stream_is_the_end_of_the_worker():
    async def scenario(channel, theirs):
        theirs.send(note("a") + b"\x05\0")
        theirs.close()
        assert (await channel.receive()).note.what == "a"
        with pytest.raises(WorkerGone):
            await channel.receive()
        with pytest.raises(WorkerGone):
            await channel.send(wire.ToWorker(answer=wire.Answer(data=bytes(2**20))))

    connected(scenario)


def test_a_channel_that_is_closed_wakes_who_receives():
    async def scenario(channel, _):
        receiving = asyncio.ensure_future(channel.receive())
        await asyncio.sleep(0)
        channel.close()
        with pytest.raises(WorkerGone):
            await receiving
        channel.close()

    connected(scenario)


def test_what_came_for_somebody_who_has_gone_is_kept():
    async def scenario(channel, theirs):
        gone = asyncio.ensure_future(channel.receive())
        await asyncio.sleep(0)
        theirs.send(note("a"))
        asyncio.get_running_loop().call_soon(channel._on_readable)
        asyncio.get_running_loop().call_soon(gone.cancel)
        with pytest.raises(asyncio.CancelledError):
            await gone
        theirs.send(note("b"))
        assert [(await channel.receive()).note.what for _ in range(2)] == ["a", "b"]

    connected(scenario)


def test_the_loop_reads_a_socket_once_for_each_frame_that_is_waited_for(monkeypatch):
    async def scenario(channel, theirs):
        registered = []
        loop = asyncio.get_running_loop()
        add = loop.add_reader
        monkeypatch.setattr(loop, "add_reader", lambda *a: (registered.append(a), add(*a)))
        for _ in range(10):
            receiving = asyncio.ensure_future(channel.receive())
            await asyncio.sleep(0)
            theirs.send(note("a"))
            await receiving
        assert len(registered) == 1

    connected(scenario)


def test_a_long_frame_is_refused_before_it_is_waited_for():
    async def scenario(channel, theirs):
        theirs.send((MAX_FROM_WORKER + 1).to_bytes(4, "little"))
        with pytest.raises(ProtocolBroken):
            await channel.receive()

    connected(scenario)


async def everything(channel: Channel) -> None:
    while True:
        await channel.receive()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_an_error_of_ours(data):
    async def scenario(channel, theirs):
        theirs.send(data or b"\0")
        theirs.close()
        with pytest.raises((WorkerGone, ProtocolBroken)):
            await everything(channel)

    connected(scenario)


def test_only_a_read_only_regular_file_is_sent(tmp_path):
    (tmp_path / "f").write_bytes(b"data")
    frame = wire.ToWorker(answer=wire.Answer(opened=wire.Opened(passed=True)))

    async def scenario(channel, theirs):
        for path, flags in ((tmp_path, os.O_RDONLY), (tmp_path / "f", os.O_RDWR)):
            number = os.open(path, flags)
            with pytest.raises(DescriptorRefused):
                await channel.send(frame, number)
            os.close(number)
        number = os.open(tmp_path / "f", os.O_RDONLY)
        await channel.send(frame, number)
        os.close(number)
        data, found = receive_regular_file(theirs, 1000)
        assert (data, found.size) == (encode(frame.SerializeToString()), 4)
        os.close(found.descriptor)

    connected(scenario)


def test_many_senders_at_once_do_not_mix_their_frames():
    async def scenario(channel, theirs):
        theirs.setblocking(False)
        frames = [
            wire.ToWorker(answer=wire.Answer(data=bytes([number]) * 200_000)) for number in range(9)
        ]
        sending = asyncio.gather(*(channel.send(frame) for frame in frames))
        wanted = sum(len(encode(frame.SerializeToString())) for frame in frames)
        data, loop = b"", asyncio.get_running_loop()
        while len(data) < wanted:
            data += await loop.sock_recv(theirs, 2**20)
        await sending
        assert data == b"".join(encode(frame.SerializeToString()) for frame in frames)

    connected(scenario)


def test_a_sender_that_comes_again_while_another_is_woken_does_not_mix_its_frame():
    async def scenario(channel, theirs):
        theirs.setblocking(False)
        frames = [wire.ToWorker(answer=wire.Answer(data=bytes([n]) * 200_000)) for n in range(9)]

        async def several(part):
            for frame in part:
                await channel.send(frame)

        sending = asyncio.gather(*(several(frames[first::3]) for first in range(3)))
        wanted = sum(len(encode(frame.SerializeToString())) for frame in frames)
        buffer, found, loop = FrameBuffer(2**20), [], asyncio.get_running_loop()
        while wanted:
            data = await loop.sock_recv(theirs, 2**20)
            wanted -= len(data)
            buffer.feed(data)
            while (message := buffer.take()) is not None:
                found.append(wire.ToWorker.FromString(message).answer.data)
        await sending
        assert sorted(found) == [frame.answer.data for frame in frames]

    connected(scenario)


@pytest.mark.parametrize("size", [1, 2**14, 2**14 + 1, 2**20])
def test_what_is_put_follows_the_frame_that_says_where(size):
    async def scenario(channel, theirs):
        theirs.setblocking(False)
        frame = wire.ToWorker(file=wire.FileCommand(put=wire.PutChunk(path="/work/x", offset=7)))
        whole = wire.ToWorker.FromString(frame.SerializeToString())
        whole.file.put.data = bytes(size)
        sending = asyncio.ensure_future(channel.send_put(frame, bytes(size)))
        expected = encode(whole.SerializeToString())
        came = b""
        while len(came) < len(expected):
            came += await asyncio.get_running_loop().sock_recv(theirs, 2**20)
        await sending
        assert len(came) == len(expected)
        assert wire.ToWorker.FromString(came[4:]) == whole

    connected(scenario)


def test_a_bucket_gives_its_burst_and_then_its_rate():
    bucket = Bucket(rate=0.01, burst=50.0)  # so slow that no test lasts for a second token
    assert bucket.take(50) == 0.0
    assert 4900.0 < bucket.take(50) <= 5000.0
    assert 14_900.0 < bucket.take(100) <= 15_000.0


@contextlib.asynccontextmanager
async def neighbour():
    """
    Somebody else on the loop, and the turns that he has had.
    """
    turns: list[None] = []

    async def go_on():
        while True:
            turns.append(None)
            await asyncio.sleep(0)

    task = asyncio.ensure_future(go_on())
    try:
        yield turns
    finally:
        task.cancel()


def test_reading_gives_way_to_others_while_frames_are_there():
    async def scenario(channel, theirs):
        theirs.send(b"".join(note("x") for _ in range(200)))
        async with neighbour() as turns:
            for _ in range(200):
                await channel.receive()
        assert len(turns) >= 200 // 16

    connected(scenario, Pace(rate=1e9, burst=1e9))


def an_ask() -> bytes:
    ask = wire.Ask(stat=wire.PathAsk(path="/data/a"))
    return encode(wire.FromWorker(ask=ask).SerializeToString())


# A million seconds pass before one token comes back.
_STILL = Pace(rate=1e-6, burst=100.0, share=1e-7)


def spent(channel: Channel) -> float:
    return 100.0 - channel._bucket._tokens


class Dripping(socket.socket):
    """
    One byte at a time, and the next is there already.
    """

    def recv(self, *_):
        return super().recv(1)


def test_a_frame_that_comes_byte_by_byte_keeps_nobody_waiting():
    async def main():
        ours, theirs = socket.socketpair()
        channel = Channel(Dripping(fileno=ours.detach()))
        data = note("x" * 1000)
        with theirs:
            theirs.send(an_ask() + data)
            await channel.receive()
            async with neighbour() as turns:
                await channel.receive()
        channel.close()
        # Behind an ask the next byte is looked for at once, and no further one.
        assert len(turns) >= len(data) - 2

    asyncio.run(main())


def test_an_ask_costs_what_it_kept_the_loop_busy():
    async def scenario(channel, theirs):
        theirs.send(an_ask() + note("x"))
        await channel.receive()
        until = time.thread_time() + 0.1  # a token is a tenth of a second of the loop
        while time.thread_time() < until:
            pass
        await channel.receive()
        assert 2.9 < spent(channel) <= 6.0

    connected(scenario, _STILL)


def test_an_ask_costs_nothing_while_the_loop_rests_and_little_when_it_is_quick():
    async def scenario(channel, theirs):
        theirs.send(an_ask() + note("x"))
        await channel.receive()
        await asyncio.sleep(0)
        await channel.receive()
        assert 2.0 <= spent(channel) < 2.9

    connected(scenario, _STILL)


def test_an_ask_during_which_others_ran_has_a_highest_price():
    async def scenario(channel, theirs):
        theirs.send(an_ask() + note("x"))
        await channel.receive()
        until = time.thread_time() + 0.6
        while time.thread_time() < until:
            pass
        await channel.receive()
        assert 5.9 < spent(channel) <= 6.0

    connected(scenario, _STILL)
