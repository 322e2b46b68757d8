"""
What the kernel of a box has refused by itself: the gate judges the names, and looks at no file.
"""

import errno

import pytest
from gate_world import on_gate

from codecage.worker.v1 import worker_pb2 as wire
from executor.kernel.errors import WorkerFault
from policy.requests import FileAction
from policy.types import CageKind

BOX = CageKind.PROCESS


def refused(path, action="read"):
    return wire.RefusedAsk(path=path, action=action)


@pytest.mark.parametrize("action", list(FileAction))
def test_a_name_that_no_grant_covers_is_denied_and_recorded_as_any_other(tmp_path, action):
    async def scenario(scene):
        answer = await scene.ask(refused=refused("/etc/shadow", action.value))
        assert answer.errno == errno.ENOENT
        assert answer.reason.startswith("[policy test, rule filesystem] ")
        assert answer.reason.endswith("/etc/shadow is not granted: no grant covers the path")
        assert scene.rows()[1:] == [("decision", f"{action.value} /etc/shadow", "deny", None)]
        counts = scene.gate.counts
        assert (counts.requests, counts.denied, counts.lookups) == (1, 1, 0)

    on_gate(tmp_path, scenario, cage=BOX)


def test_a_change_of_what_is_granted_for_reading_has_its_sentence(tmp_path):
    async def scenario(scene):
        answer = await scene.ask(refused=refused("/data/new", "write"))
        assert answer.errno == errno.EROFS
        assert answer.reason.endswith("/data is granted for reading only")
        assert scene.rows()[1:] == [("decision", "write /data/new", "deny", None)]

    on_gate(tmp_path, scenario, cage=BOX)


def test_what_the_policy_allows_is_counted_and_neither_done_nor_recorded(tmp_path):
    async def scenario(scene):
        for path, action in (("/data/a.csv", "read"), ("/out/new", "write"), ("/out/d", "mkdir")):
            assert await scene.ask(refused=refused(path, action)) == wire.Answer()
        assert scene.gate.counts.requests == 3
        assert len(scene.rows()) == 1
        assert list(scene.out.iterdir()) == []

    on_gate(tmp_path, scenario, cage=BOX)


def test_names_are_judged_alike_whether_or_not_there_is_such_a_file(tmp_path):
    async def scenario(scene):
        there, missing = scene.data / "a.csv", scene.data / "b.csv"
        assert (there.exists(), missing.exists()) == (True, False)
        pairs = [(there, missing), ("/data/a.csv", "/data/b.csv")]
        pairs += [("/data/private/x.key", "/data/private/y.key")]
        for action in FileAction:
            for pair in pairs:
                one, other = [
                    await scene.ask(refused=refused(str(path), action.value)) for path in pair
                ]
                told = one.reason.replace(str(pair[0]), str(pair[1]))
                assert (one.errno, told) == (other.errno, other.reason)

    on_gate(tmp_path, scenario, cage=BOX)


@pytest.mark.parametrize("path", ["", "etc", "/etc/../data/a.csv", "//etc", "/data/", "/" * 10_000])
def test_a_path_that_is_not_normal_is_denied(tmp_path, path):
    async def scenario(scene):
        answer = await scene.ask(refused=refused(path))
        assert answer.errno == errno.ENOENT
        assert answer.reason.endswith("the path is not absolute and normalised")

    on_gate(tmp_path, scenario, cage=BOX)


def test_a_loop_is_counted_beyond_the_limit_and_recorded_up_to_it(tmp_path):
    async def scenario(scene):
        answers = [await scene.ask(refused=refused(f"/srv/{number}")) for number in range(50)]
        numbers = [answer.errno for answer in answers]
        assert numbers == [errno.ENOENT] * 4 + [errno.EDQUOT] * 46
        assert len(scene.rows()) == 5
        assert scene.gate.counts.denied == 5

    on_gate(tmp_path, scenario, limits="limits: {requests: 4}\n", cage=BOX)


@pytest.mark.parametrize("action", ["", "READ", "chmod", "read /x"])
def test_an_act_that_has_no_word_in_policies_is_asked_by_no_correct_worker(tmp_path, action):
    async def scenario(scene):
        with pytest.raises(WorkerFault, match="which is no act"):
            await scene.gate.answer(wire.Ask(refused=refused("/etc/shadow", action)))
        assert len(scene.rows()) == 1

    on_gate(tmp_path, scenario, cage=BOX)


def test_neither_a_worker_in_wasm_nor_a_supervisor_asks_this(tmp_path):
    async def scenario(scene):
        ask = wire.Ask(refused=refused("/etc/shadow"))
        for answering in (scene.gate.answer, scene.gate.serve):
            with pytest.raises(WorkerFault):
                await answering(ask)
        assert len(scene.rows()) == 1

    on_gate(tmp_path, scenario)
