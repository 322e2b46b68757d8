"""
The supervisor's end of a session's stream, when its server does not read, or sends what none does.
"""

import asyncio
import socket

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.frames import FrameBuffer, encode
from executor.process.fuse_nodes import Room
from executor.process.supervisor_session import Ends, Session
from tests.executor.waiting import PATIENCE


def on_a_stream(scenario):
    """
    Run a scenario with a session without mounts, the server's end, and who has ended by itself.
    """

    async def main():
        over: list[Session] = []
        ours, theirs = socket.socketpair()
        with ours:
            ours.setblocking(False)
            made = Session(Ends(theirs.detach(), (), -1), (), Room(None, 10), over.append)
            async with asyncio.timeout(PATIENCE):
                await scenario(made, ours, over)
            made.close()

    asyncio.run(main())


def test_notes_that_nobody_reads_become_one_for_each_name_and_none_is_lost():
    async def scenario(made, ours, _over):
        for _ in range(20_000):
            made._note(wire.Note(what="mount", errno="EPERM", count=1))
        frames, counts = FrameBuffer(2**20), []
        while sum(counts) < 20_000:
            frames.feed(await asyncio.get_running_loop().sock_recv(ours, 2**20))
            while (message := frames.take()) is not None:
                counts.append(wire.FromWorker.FromString(message).note.count)
        assert sum(counts) == 20_000
        assert len(counts) < 10_000

    on_a_stream(scenario)


@pytest.mark.parametrize(
    "sent",
    [
        encode(wire.ToWorker(answer=wire.Answer()).SerializeToString()),
        encode(wire.ToWorker(begin=wire.Begin()).SerializeToString()),
        encode(b"\xff\xff"),
        b"\xff\xff\xff\xff",
        b"",
    ],
    ids=["an answer to nothing", "no answer", "no frame", "a frame without end", "its end"],
)
def test_a_stream_on_which_no_server_speaks_ends_its_session(sent):
    async def scenario(made, ours, over):
        ours.send(sent) if sent else ours.shutdown(socket.SHUT_WR)
        assert await asyncio.get_running_loop().sock_recv(ours, 1) == b""
        assert over == [made]

    on_a_stream(scenario)


class Waits:
    """
    Who asks, in the place of a request of the kernel's: it keeps what it is told.
    """

    def __init__(self) -> None:
        self.dropped = self.asked = False
        self.told: list[object] = []

    def go_on(self, told: object) -> None:
        self.told.append(told)


async def kinds(ours, frames):
    frames.feed(await asyncio.get_running_loop().sock_recv(ours, 2**16))
    found = []
    while (message := frames.take()) is not None:
        found.append(wire.FromWorker.FromString(message).ask.WhichOneof("ask"))
    return found


def answer(**fields) -> bytes:
    return encode(wire.ToWorker(answer=wire.Answer(**fields)).SerializeToString())


def test_behind_a_close_the_next_question_goes_at_once_and_answers_find_who_asked():
    async def scenario(made, ours, _over):
        jobs = [Waits() for _ in range(5)]
        asks = [wire.Ask(close=1), wire.Ask(close=2), wire.Ask(lookup="/a"), wire.Ask(close=3)]
        for job, ask in zip(jobs, [*asks, wire.Ask(lookup="/b")], strict=True):
            made._ask(job, ask)
        frames = FrameBuffer(2**16)
        assert await kinds(ours, frames) == ["close", "close", "lookup"]
        ours.send(answer() + answer(errno=9, reason="no"))
        ours.send(answer(status=wire.FileStatus(size=7)))
        assert await kinds(ours, frames) == ["close", "lookup"]
        assert jobs[0].told[0].answer == wire.Answer()
        assert jobs[1].told[0].number == 9
        assert jobs[2].told[0].answer.status.size == 7
        assert jobs[3].told == jobs[4].told == []
        assert all(job.asked for job in jobs)

    on_a_stream(scenario)


def test_so_many_closes_and_no_more_are_open():
    async def scenario(made, ours, _over):
        for number in range(1, 41):
            made._ask(Waits(), wire.Ask(close=number))
        frames = FrameBuffer(2**16)
        assert await kinds(ours, frames) == ["close"] * 16
        ours.send(answer() * 16)
        assert await kinds(ours, frames) == ["close"] * 16

    on_a_stream(scenario)
