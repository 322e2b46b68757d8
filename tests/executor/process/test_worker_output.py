"""
Output of a native worker, without a worker: order, limits, and what happens between cells.
"""

import contextlib
import os
import select
import socket
from collections.abc import Iterator

import pytest

from executor.kernel.frames import MAX_OUTPUT
from executor.kernel.worker_output import FLUSH_BYTES, RUNS_MAX
from executor.process import worker_output
from executor.process.worker_output import BoxOutput

LIMIT = 2**30


class Sent:
    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.frames: list[tuple[int, bytes]] = []
        self.buffer = BoxOutput(self.ours.fileno(), self._send)

    def _send(self, stream: int, data: bytes) -> None:
        self.frames.append((stream, data))


@pytest.fixture
def sent() -> Iterator[Sent]:
    made = Sent()
    yield made
    made.ours.close()
    made.theirs.close()
    os.close(made.buffer._wake)


def test_writes_are_gathered_until_the_cell_ends(sent: Sent) -> None:
    sent.buffer.start(LIMIT)
    for text in (b"a", b"b"):
        sent.buffer.write(1, text)
    assert sent.frames == []
    sent.buffer.stop()
    assert sent.frames == [(1, b"ab")]


def test_streams_stay_in_the_order_in_which_they_were_written(sent: Sent) -> None:
    sent.buffer.start(LIMIT)
    for stream, text in ((1, b"a"), (2, b"b"), (1, b"c")):
        sent.buffer.write(stream, text)
    sent.buffer.stop()
    assert sent.frames == [(1, b"a"), (2, b"b"), (1, b"c")]


def test_much_is_sent_at_once_while_there_is_room(sent: Sent) -> None:
    sent.buffer.start(LIMIT)
    sent.buffer.write(1, b"x" * FLUSH_BYTES)
    assert sent.frames == [(1, b"x" * FLUSH_BYTES)]


class Enough(Exception):
    pass


def test_what_drips_into_a_pipe_is_sent_while_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The pump waits for no pause: there may be none for as long as the cell runs.
    """
    frames: list[int] = []

    def send(_stream: int, data: bytes) -> None:
        frames.append(len(data))
        raise Enough

    def look(descriptors: tuple[int, ...], milliseconds: float | None) -> bool:
        # Whenever the pump looks there is one byte more.
        os.write(writing, b"x")
        return poll(descriptors, milliseconds)

    poll = worker_output._poll
    monkeypatch.setattr(worker_output, "_poll", look)
    with contextlib.ExitStack() as stack:
        ends = socket.socketpair()
        for end in ends:
            stack.callback(end.close)
        buffer = BoxOutput(ends[0].fileno(), send)
        stack.callback(os.close, buffer._wake)
        reading, writing = os.pipe2(os.O_NONBLOCK)
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        buffer._pipes[reading] = 1
        buffer._written.register(reading, select.POLLIN)
        buffer.start(LIMIT)
        with pytest.raises(Enough):
            buffer.pump()
        assert 0 < frames[0] < FLUSH_BYTES


def test_while_the_server_is_behind_more_is_gathered_and_no_end_of_it(sent: Sent) -> None:
    sent.ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            sent.ours.send(b"x" * 65536)
    sent.buffer.start(LIMIT)
    sent.buffer.write(1, b"x" * FLUSH_BYTES)
    assert sent.frames == []
    sent.buffer.write(1, b"x" * MAX_OUTPUT)
    assert [len(data) for _, data in sent.frames] == [MAX_OUTPUT, FLUSH_BYTES]


def test_many_turns_between_the_streams_are_sent_before_they_cost(sent: Sent) -> None:
    sent.buffer.start(LIMIT)
    for number in range(RUNS_MAX):
        sent.buffer.write(1 + number % 2, b"x")
    assert len(sent.frames) == RUNS_MAX


def test_what_is_written_between_cells_counts_in_the_next(sent: Sent) -> None:
    sent.buffer.start(10)
    sent.buffer.stop()
    sent.buffer.write(1, b"123456")
    sent.buffer.write(1, b"789012")
    assert sent.frames == []
    sent.buffer.start(8)
    sent.buffer.stop()
    assert sent.frames == [(1, b"12345678")]
    assert (sent.buffer.totals[1], sent.buffer.truncated) == (10, True)


def test_something_whole_is_sent_after_what_was_before_it_or_not_at_all(sent: Sent) -> None:
    sent.buffer.start(10)
    sent.buffer.write(1, b"abc")
    assert sent.buffer.send_whole(8, lambda: sent.frames.append((0, b"no")))
    assert sent.buffer.truncated
    assert sent.buffer.send_whole(7, lambda: sent.frames.append((0, b"yes")))
    assert sent.frames == [(1, b"abc"), (0, b"yes")]
    sent.buffer.stop()
    assert not sent.buffer.send_whole(0, lambda: sent.frames.append((0, b"late")))
    assert sent.frames[-1] == (0, b"yes")
