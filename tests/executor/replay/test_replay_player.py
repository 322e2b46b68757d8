"""
A worker held against its capture, frame by frame: the first that differs ends it and is named.
"""

import asyncio
import socket

import pytest
from replay_world import ANSWER, ASK, BEGIN, CALL, DONE, RUN, Worker, inputs, numbered, output

from codecage.worker.v1 import worker_pb2 as wire
from executor.children.channel import Channel
from executor.kernel.frames import encode
from executor.replay.player import Differs, Played, Player
from executor.replay.steps import steps

NOTE = wire.FromWorker(note=wire.Note(what="x", count=1))
CAPTURED = (BEGIN, RUN, inputs(1, b"xyz"), NOTE, ASK, ANSWER, output(b"1"), DONE)
CAME = (inputs(1, b"xyz"), NOTE, ASK, output(b"1"), DONE)


def played(*came, captured=CAPTURED, ends=False, patience=20.0):
    """
    What is played where the worker says `came`, and then nothing, or ends.
    """

    async def run():
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(b"".join(encode(one.SerializeToString()) for one in came))
            if ends:
                theirs.shutdown(socket.SHUT_WR)
            channel = Channel(ours)
            try:
                return await Player(Worker(channel), patience=patience).play(
                    steps(numbered(*captured))
                )
            finally:
                channel.close()

    return asyncio.run(run())


def test_what_is_the_same_is_counted():
    assert played(*CAME) == Played(steps=2, cells=1, asks=1, output=1)


@pytest.mark.parametrize(
    ("came", "expected", "found"),
    [
        ((CALL,), "the ask stat", "the ask call"),
        ((ASK, ASK), "the end", "the ask stat"),
        ((inputs(1, b"xyz"), NOTE, DONE), "the ask stat", "the end"),
        ((inputs(1, b"xy"), *CAME[1:]), "all inputs asked for", "1 bytes not asked for"),
        ((CAME[0], *CAME[2:]), "[b'", "[]"),
        ((*CAME[:3], output(b"2"), DONE), "stdout with b'1'", "stdout with b'2'"),
    ],
)
def test_the_first_that_differs_is_named_with_what_came_instead(came, expected, found):
    with pytest.raises(Differs) as told:
        played(*came)
    assert told.value.expected.startswith(expected)
    assert told.value.came.startswith(found)
    assert told.value.cell == 1


def test_an_ask_that_the_capture_has_no_answer_to_differs():
    with pytest.raises(Differs, match="no more: the capture ends here"):
        played(ASK, captured=(BEGIN, RUN, ASK, DONE))


def test_a_worker_that_says_nothing_or_ends_differs():
    with pytest.raises(Differs, match="nothing in time"):
        played(*CAME[:-1], patience=0.05)
    with pytest.raises(Differs, match="the worker's end"):
        played(*CAME[:-1], ends=True)
