"""
Replays a captured session again and again, each time without one of its events: which of them are
not missed. `python -m tests.e2e.omitting AUDIT SESSION` prints their numbers as JSON.

A process of its own, because root becomes somebody else in it, as `codecage audit replay` does.
"""

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from executor.capture.events import Kind
from executor.capture.vault import Vault
from executor.identity import account, become
from executor.replay.cage import launched, workers
from executor.replay.errors import CaptureInvalid
from executor.replay.player import Player
from executor.replay.reading import open_session
from executor.replay.verdict import Answer, plan, replayed

FRAMES = (Kind.TO_WORKER, Kind.FROM_WORKER)


async def outcomes(recorded, started, images):
    unmissed, tried = [], 0
    async with workers(started, images) as source:
        for number, event in recorded.events:
            if event.kind not in FRAMES:
                continue
            tried += 1
            without = tuple(one for one in recorded.events if one[0] != number)
            if await verdict(replace(recorded, events=without), source) is Answer.IDENTICAL:
                unmissed.append(number)
        whole = await verdict(recorded, source)
    return {"tried": tried, "unmissed": unmissed, "whole": whole.value}


async def verdict(recorded, source):
    try:
        steps = plan(recorded, None)
    except CaptureInvalid:
        return Answer.DIFFERS
    async with source.take(recorded.header["image_key"]) as worker:
        # What is missing may be what a step waits for.
        player = Player(worker, patience=20)
        return (await replayed(recorded, steps, player)).answer


def main(audit, session):
    recorded = open_session(Path(audit), Vault(Path(audit)), session)
    images = {recorded.header["image_key"]: recorded.header["image"]}
    with launched(images) as started:
        if os.geteuid() == 0:
            become(account("nobody"))
        print(json.dumps(asyncio.run(outcomes(recorded, started, images))))


if __name__ == "__main__":
    main(*sys.argv[1:])
