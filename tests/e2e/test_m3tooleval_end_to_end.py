"""
The tool benchmark through a real server, in both cages: right answers are told from wrong ones.

With the benchmark's kit, which is no part of the repository, each of its 82 tasks is run in one of
the six pairs of style and cage; `codecage bench m3tooleval` runs all of them in each.
"""

import json
import os
from pathlib import Path

import pytest

from agent_client.errors import InvalidRequest
from executor import cli
from executor.children.probing import NotHeld, probe
from executor.commands.m3tooleval import kit, running
from executor.commands.m3tooleval.turns import Style
from executor.images.catalog import find
from executor.process import images as native_images
from tests.e2e.serving import needs_image, private_directory
from tests.executor import small_kit

DATA = os.environ.get("CODECAGE_TEST_DATA")
KIT = Path(str(DATA)).parent / "bench" / "m3tooleval"

pytestmark = [pytest.mark.image, needs_image]


def available():
    native = native_images.find("native-core") is not None and not isinstance(probe(), NotHeld)
    there = {"core": find("core") is not None, "native-core": native}
    return [where for where in running.CAGES if there[where.image]]


@pytest.fixture
def directory():
    with private_directory() as made:
        yield made


def bench(directory, capsys):
    code = cli.main(["bench", "m3tooleval", "--kit", str(directory), "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out), told.err


def test_scripted_actions_are_right_in_every_style_and_cage(directory, capsys):
    code, told, said = bench(small_kit.write(directory), capsys)
    assert code == 0, said
    rows = {(one["cage"], one["style"]): (one["right"], one["turns"]) for one in told["styles"]}
    assert rows == {
        (where.cage, style.value): (4, turns)
        for where in available()
        for style, turns in zip(Style, (2.0, 2.75, 2.5), strict=True)
    }
    assert [one["cage"] for one in told["calls"]] == [where.cage for where in available()]
    assert all(one["ratio"] > 0 < one["floor_ms"] for one in told["calls"])
    calls = {one["task"]: one["tool_calls"] for one in told["outcomes"] if one["style"] == Style.JSON}  # fmt: skip
    assert calls == {"words/shout": 1, "words/longest": 2, "words/largest": 1, "web/key": 2}


def test_a_wrong_answer_and_a_failing_cell_are_told_and_make_the_answer_no(directory, capsys):
    tasks = small_kit.told()
    tasks["tasks"][0]["expected"] = "ab"
    actions = small_kit.actions()
    actions["web/key"] = {"one_block": "click_url(", "many_blocks": ["click_url()"]}
    actions["words/largest"] = {"one_block": "", "many_blocks": ["pass"]}
    code, told, said = bench(
        small_kit.write(directory, m3tooleval=tasks, actions=actions), capsys
    )  # fmt: skip
    assert code == 1
    assert {(one["cage"], one["right"]) for one in told["styles"]} == {
        (where.cage, 1) for where in available()
    }
    assert f"wrong: wasm, {Style.ONE_BLOCK}, words/shout: the answer was 'AB'" in said
    assert f"wrong: wasm, {Style.ONE_BLOCK}, words/largest: the answer was ''" in said
    assert "SyntaxError" in said


def test_a_cage_that_cannot_run_here_is_left_out_with_the_reason(directory, capsys):
    absent = running.Where("process", "absent")
    with running.serving(kit.read(small_kit.write(directory))) as cage:
        assert running.offered(cage, [absent, *available()]) == available()
        assert capsys.readouterr().err.startswith("process is left out: ")
        with pytest.raises(InvalidRequest, match="no cage that is wanted can run here"):
            running.offered(cage, [absent])


@pytest.mark.data
@pytest.mark.skipif(not KIT.is_dir(), reason="the benchmark's kit is not beside CODECAGE_TEST_DATA")
def test_every_task_of_the_kit_is_solved():
    found = kit.read(KIT)
    pairs = [(where, style) for where in available() for style in Style]
    outcomes = []
    with running.serving(found) as cage:
        for number, task in enumerate(found.tasks):
            where, style = pairs[number % len(pairs)]
            outcomes.append(running.outcome(cage, where, found, task, style))
    assert [one for one in outcomes if not one.right] == []
    assert len(outcomes) == 82
