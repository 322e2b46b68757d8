"""
What is said beside a verdict: on what machine it was found, where that is another one.
"""

import asyncio
import socket

import pytest
from replay_world import BOOTED, Worker

from codecage.worker.v1 import worker_pb2 as wire
from executor.children.channel import Channel
from executor.replay.player import Player
from executor.replay.reading import Recorded
from executor.replay.steps import Step
from executor.replay.verdict import Answer, replayed
from executor.sessions.captured import MACHINE

BEGIN = Step(2, wire.ToWorker(begin=wire.Begin(policy_name="p")))


def verdict_on(**header):
    told = {"boot_digest": BOOTED.hex(), **MACHINE, **header}
    recorded = Recorded("ab" * 16, told, (), lost="", disagreement="", records=())

    async def run():
        ours, theirs = socket.socketpair()
        with theirs:
            channel = Channel(ours)
            verdict = await replayed(recorded, [BEGIN], Player(Worker(channel)))
            channel.close()
        return verdict

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("header", "remarks"),
    [
        ({}, ()),
        ({"cpu": "another"}, ("unverified across CPUs",)),
        ({"engine": "wasmtime 1"}, ("by another engine than it ran on",)),
        ({"abi": "0" * 64}, ("by another abi than it ran on",)),
        ({"abi": "0" * 64, "level": "x"}, ("by another abi, level than it ran on",)),
    ],
)
def test_what_is_another_than_where_the_session_ran_is_said_beside_the_verdict(header, remarks):
    verdict = verdict_on(**header)
    assert (verdict.answer, verdict.remarks) == (Answer.IDENTICAL, remarks)
    assert verdict.line().endswith("".join(f"; {one}" for one in remarks))


def test_an_image_that_boots_to_other_memory_is_not_compared():
    verdict = verdict_on(boot_digest="ff" * 32)
    assert (verdict.answer, verdict.played.steps) == (Answer.DIFFERS, 0)
    assert "it is not the same image" in verdict.line()
