"""
The frames of a captured session: all are kept, and what the capture cannot have ends it.
"""

import asyncio
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codecage.worker.v1 import worker_pb2 as wire
from executor.capture.events import Kind, decode
from executor.capture.recording import COMPLETE, Capture
from executor.capture.vault import Vault
from executor.children.channel import Channel
from executor.errors import WorkerGone
from executor.kernel.frames import FAILED, TRAPPED, encode
from executor.sessions.captured import MACHINE, CapturedFrames, _source
from executor.wasm import wasip1

SESSION = "ab" * 16
RUN = wire.ToWorker(run=wire.RunCell(cell=1, code="1"))
CALL = wire.FromWorker(ask=wire.Ask(call=wire.CallAsk(name="price", arguments=b"token")))
STAT = wire.FromWorker(ask=wire.Ask(stat=wire.PathAsk(path="/data")))
ANSWER = wire.ToWorker(answer=wire.Answer())
INPUTS = wire.FromWorker(inputs=wire.Inputs(segment=1, data=b"clock"))
LOST = wire.FromWorker(inputs=wire.Inputs(lost="no memory"))
DONE = wire.FromWorker(done=wire.CellDone(status=wire.CellDone.OK))
TRAP = wire.FromWorker(done=wire.CellDone(reason=f"{TRAPPED}unreachable"))
FAILURE = wire.FromWorker(done=wire.CellDone(reason=f"{FAILED}MemoryError"))
OUTPUT = wire.FromWorker(output=wire.Output(stream=1, data=b"text"))
COMMAND = wire.ToWorker(file=wire.FileCommand(list="/"))
REPLY = wire.FromWorker(file=wire.FileReply())
FAR = wire.FromWorker(inputs=wire.Inputs(segment=2, data=b"clock"))
INTERRUPT, HANG_UP, DECIDED = object(), object(), object()


def captured(tmp_path, *acts, redacts=False):
    """
    What a session sees of the worker, the capture's status, and what was kept.
    """
    vault = Vault(tmp_path / "audit.sqlite3")

    async def run():
        ours, theirs = socket.socketpair()
        capture = Capture(vault.create(SESSION), threads)
        frames = CapturedFrames(Channel(ours), capture, redacts=redacts)
        seen = []
        with theirs:
            for act in acts:
                await step(act, frames, theirs, capture, seen)
            frames.close()
        await capture.finish()
        return seen, capture.status

    with ThreadPoolExecutor(1) as threads:
        seen, status = asyncio.run(run())
    cipher = vault.cipher(SESSION)
    batches = (cipher.decrypt(*one) for one in enumerate(vault.batches(SESSION)))
    return seen, status, [event for batch in batches for event in decode(batch)]


async def step(act, frames, theirs, capture, seen):
    if act is INTERRUPT:
        frames.interrupted()
    elif act is DECIDED:
        capture.record(b"a decision", decides=True)
    elif act is HANG_UP:
        theirs.shutdown(socket.SHUT_RDWR)
        with pytest.raises(WorkerGone):
            await frames.receive()
    elif isinstance(act, wire.ToWorker):
        await frames.send(act)
    else:
        theirs.sendall(encode(act.SerializeToString()))
        if not act.HasField("inputs"):
            seen.append(await frames.receive())


def test_all_frames_are_kept_in_order_and_inputs_are_not_the_sessions(tmp_path):
    acts = (RUN, STAT, ANSWER, INPUTS, DONE)
    seen, status, kept = captured(tmp_path, *acts)
    assert seen == [STAT, DONE]
    assert status == COMPLETE
    assert [event.data for event in kept] == [one.SerializeToString() for one in acts]


@pytest.mark.parametrize(
    ("acts", "why"),
    [
        ((RUN, INTERRUPT, DONE), "cell 1 was interrupted, and where is not known"),
        ((RUN, HANG_UP), "cell 1 did not end by itself"),
        ((RUN, STAT), "cell 1 did not end by itself"),
        ((RUN, TRAP), "cell 1 ended by a trap of the guest"),
        ((RUN, FAILURE), "cell 1 ended by a failure of the cage"),
        ((RUN, LOST, DONE), "no memory"),
        ((COMMAND, HANG_UP), "a file command did not end by itself"),
    ],
)  # fmt: skip
def test_what_cannot_be_given_again_ends_the_capture(tmp_path, acts, why):
    _, status, kept = captured(tmp_path, *acts)
    assert status == f"incomplete ({why})"
    assert kept[-1].kind is Kind.LOST


@pytest.mark.parametrize(
    "acts",
    [
        (RUN, REPLY),
        (COMMAND, DONE),
        (RUN, DONE, OUTPUT),
        (RUN, DONE, DONE),
        (STAT, ANSWER, RUN, DONE),
        (RUN, FAR, DONE),
    ],
)
def test_a_worker_that_speaks_out_of_turn_ends_its_capture(tmp_path, acts):
    _, status, kept = captured(tmp_path, *acts)
    assert status == "incomplete (its worker spoke out of turn)"
    assert kept[-1].kind is Kind.LOST


def test_cells_and_file_commands_in_turn_are_complete(tmp_path):
    acts = (RUN, STAT, ANSWER, OUTPUT, DONE, COMMAND, STAT, ANSWER, FAR, REPLY, RUN, DONE)
    assert captured(tmp_path, *acts)[1] == COMPLETE


@pytest.mark.parametrize("acts", [(INTERRUPT, RUN, DONE), (RUN, DONE, INTERRUPT), (HANG_UP,)])
def test_between_cells_nothing_is_lost(tmp_path, acts):
    assert captured(tmp_path, *acts)[1] == COMPLETE


def test_a_call_that_the_record_does_not_tell_is_not_kept_where_names_are_withheld(tmp_path):
    _, status, kept = captured(tmp_path, RUN, CALL, ANSWER, DONE, redacts=True)
    assert status == "incomplete (redacted)"
    assert all(b"token" not in event.data for event in kept)


@pytest.mark.parametrize(
    ("acts", "redacts"), [((RUN, CALL, DECIDED, ANSWER, DONE), True), ((RUN, CALL, ANSWER, DONE), False)]
)  # fmt: skip
def test_a_call_that_is_told_is_kept(tmp_path, acts, redacts):
    _, status, kept = captured(tmp_path, *acts, redacts=redacts)
    assert status == COMPLETE
    assert any(b"token" in event.data for event in kept)


def test_a_capture_names_the_very_source_of_our_half_of_the_guests_calls(tmp_path):
    ours = Path(shutil.copytree(Path(wasip1.__file__).parent, tmp_path / "wasm"))
    assert MACHINE["abi"] == _source(ours)
    with (ours / "wasip1.py").open("a") as file:
        file.write("# another\n")
    assert MACHINE["abi"] != _source(ours)
