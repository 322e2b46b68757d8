"""
What the gate does for the kernel of a box: lookups, files that stay open, sentences kept.
"""

import asyncio
import errno
import os

import pytest
from gate_world import on_gate

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.denials import Denials
from executor.kernel.errors import InternalError
from policy.types import CageKind


def test_a_lookup_is_counted_apart_and_a_denied_one_is_recorded(tmp_path):
    async def scenario(scene):
        found = await scene.gate.serve(wire.Ask(lookup="/data/readme.txt"))
        assert found.answer.status.kind == wire.KIND_LINK
        denied = await scene.gate.serve(wire.Ask(lookup="/data/private"))
        assert denied.answer.errno == errno.ENOENT
        assert (scene.gate.counts.lookups, scene.gate.counts.requests) == (2, 0)
        assert ("decision", "stat /data/private", "deny", None) in scene.rows()

    on_gate(tmp_path, scenario)


def test_a_file_that_is_kept_is_read_in_the_server_too_and_its_outcome_is_that_of_the_open(
    tmp_path,
):
    async def scenario(scene):
        reply = await scene.gate.serve(wire.Ask(open=wire.OpenAsk(path="/data/a.csv", keep=True)))
        opened = reply.answer.opened
        assert opened.passed
        assert opened.handle
        reading = wire.ReadAsk(handle=opened.handle, offset=2, length=9)
        assert (await scene.gate.serve(wire.Ask(read=reading))).answer.data == b"2\n"
        writing = wire.WriteAsk(handle=opened.handle, data=b"x")
        assert (await scene.gate.serve(wire.Ask(write=writing))).answer.errno == errno.EBADF
        assert (await scene.gate.serve(wire.Ask(close=opened.handle))).answer.errno == 0
        reply.close()
        await scene.log.end("over")
        assert [row[0] for row in scene.rows()] == [
            *("session.create", "decision", "outcome", "session.end"),
        ]

    on_gate(tmp_path, scenario)


def test_a_sentence_is_kept_for_the_supervisors_refusals_and_not_for_the_workers(tmp_path):
    async def scenario(scene):
        await scene.ask(open=wire.OpenAsk(path="/data/private/x.key"))
        assert (await scene.ask(denial="")).errno == 0
        await scene.gate.serve(wire.Ask(open=wire.OpenAsk(path="/data/private/x.key")))
        told = await scene.ask(denial="/data/private/x.key")
        assert told.errno == errno.ENOENT
        assert "[policy test, rule filesystem[0].deny[0]]" in told.reason
        assert (await scene.ask(denial="/data/private/x.key")).errno == 0

    on_gate(tmp_path, scenario)


def test_a_supervisor_asks_for_files_and_nothing_else(tmp_path):
    async def scenario(scene):
        for ask in (
            wire.Ask(run="id"),
            wire.Ask(resolve="example.com"),
            wire.Ask(denial=""),
            wire.Ask(),
        ):
            with pytest.raises(InternalError):
                await scene.gate.serve(ask)

    on_gate(tmp_path, scenario)


@pytest.mark.parametrize(
    "ask",
    [
        wire.Ask(open=wire.OpenAsk(path="/data/a.csv")),
        wire.Ask(open=wire.OpenAsk(path="/out/new", write=True, create=True)),
        wire.Ask(stat=wire.PathAsk(path="/data/a.csv")),
        wire.Ask(remove_file="/out/kept"),
        wire.Ask(read=wire.ReadAsk(handle=1, length=1)),
        wire.Ask(close=1),
        wire.Ask(connect=wire.ConnectAsk(host="a.test", port=443)),
        wire.Ask(resolve="a.test"),
    ],
)
def test_a_worker_in_a_box_has_no_file_or_connection_by_frames(tmp_path, ask):
    """
    A descriptor of the host's is held by none of the box's mounts: chmod, locks, new code.
    """

    async def scenario(scene):
        with pytest.raises(InternalError):
            await scene.gate.answer(ask)
        assert len(scene.rows()) == 1
        assert [path.name for path in scene.out.iterdir()] == []

    on_gate(tmp_path, scenario, cage=CageKind.PROCESS)


def test_a_worker_in_a_box_may_ask_why_and_its_supervisor_for_files(tmp_path):
    async def scenario(scene):
        assert (await scene.ask(denial="")).errno == 0
        assert (await scene.ask(run="/usr/bin/id")).errno == errno.EACCES
        reply = await scene.gate.serve(wire.Ask(open=wire.OpenAsk(path="/data/a.csv")))
        assert reply.answer.opened.passed
        reply.close()

    on_gate(tmp_path, scenario, cage=CageKind.PROCESS)


@pytest.mark.parametrize(
    "ask",
    [
        wire.Ask(lookup="/data/a.csv"),
        wire.Ask(open=wire.OpenAsk(path="/data/a.csv", keep=True)),
    ],
)
def test_what_the_kernel_alone_asks_no_worker_asks(tmp_path, ask):
    """
    Lookups are counted apart, sixteen for each request: no worker gets those for itself.
    """

    async def scenario(scene):
        with pytest.raises(InternalError):
            await scene.gate.answer(ask)
        assert (scene.gate.counts.lookups, scene.gate.counts.requests) == (0, 0)

    on_gate(tmp_path, scenario)


def test_closing_while_an_ask_is_under_way_waits_for_it_and_later_asks_are_refused(tmp_path):
    async def scenario(scene):
        asking = asyncio.ensure_future(
            scene.gate.serve(wire.Ask(open=wire.OpenAsk(path="/out/f", write=True, create=True)))
        )
        await asyncio.sleep(0)
        scene.gate.close()
        assert (await asking).answer.errno == 0
        with pytest.raises(InternalError):
            await scene.gate.serve(wire.Ask(lookup="/data/a.csv"))
        await scene.log.end("over")
        assert ("outcome", None, None, "ok") in scene.rows()
        assert "f" in os.listdir(scene.out)

    on_gate(tmp_path, scenario)


def test_sentences_are_found_by_the_path_or_one_above_it_and_are_bounded():
    kept = Denials()
    for number in range(40):
        kept.keep(f"/data/{number}", wire.Answer(errno=errno.EACCES, reason=f"why {number}"))
    kept.keep("/data", wire.Answer(errno=errno.EACCES))
    assert kept.take("/data/39/below").reason == "why 39"
    assert kept.take("/data/390").errno == 0
    assert kept.take("/data/7").errno == 0
    assert kept.take("").reason == "why 38"
