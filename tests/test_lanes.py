"""
`make test` runs every file of tests, each once, and a failure anywhere makes its answer no.
"""

import re

import pytest

from tests import lanes
from tests.lanes import ALONE, GROUPS, ROOT, Group

# Importing hypothesis is most of what a pytest of one short test does.
QUICK = ("-p", "no:hypothesispytest")


def test_every_file_is_in_one_group():
    in_lanes, alone = lanes.groups()
    held = [file for group in (*in_lanes, alone) for file in group.files]
    assert sorted(held) == lanes.files()
    assert len(held) > 250
    assert all(list(group.files) == sorted(group.files) for group in in_lanes)


def test_every_name_of_the_table_leads_to_tests():
    names = [name for names in GROUPS for name in names]
    assert len({*names}) == len(names)
    for name in (*names, *ALONE):
        assert (ROOT / name).exists(), name
    assert len(lanes.groups()[0]) == len(GROUPS)


@pytest.fixture
def made(monkeypatch, tmp_path):
    def make(**codes):
        groups = []
        for name, code in codes.items():
            file = tmp_path / f"test_{name}.py"
            file.write_text(f"import pathlib\n\ndef test_{name}():\n    {code}\n")
            groups.append(Group(name, (str(file),)))
        monkeypatch.setattr(lanes, "groups", lambda: (groups[:-1], groups[-1]))
        monkeypatch.setattr(lanes, "IMAGES", ("true",))

    return make


def told(said):
    # A line of ours names a group; pytest's own lines that begin with FAILED name a test of a file.
    ends = [line for line in said.splitlines() if re.match(r"(ok|FAILED|flaky) +\w+: ", line)]
    return [re.sub(r" in [0-9.]+s", "", line) for line in ends]


@pytest.mark.parametrize("bad", [0, 1])
def test_one_failed_group_makes_the_answer_no(made, capfd, bad):
    codes = ["pass", "pass"]
    codes[bad] = "assert 0"
    made(good="pass", first=codes[0], alone=codes[1])
    assert lanes.main(QUICK) == 1
    said = capfd.readouterr().out
    assert ">       assert 0" in said
    assert told(said)[-2 + bad].startswith("FAILED")
    made(good="pass", alone="pass")
    assert lanes.main(QUICK) == 0


def test_what_fails_in_a_lane_and_not_alone_is_told_and_is_no_failure(made, capfd, tmp_path):
    mark = tmp_path / "mark"
    once = f"mark = pathlib.Path({str(mark)!r}); there = mark.exists(); mark.touch(); assert there"
    made(good="pass", lucky=once, alone="pass")
    assert lanes.main(QUICK) == 0
    assert told(capfd.readouterr().out) == [
        "ok     good: 1 passed",
        "flaky  lucky: 1 failed; alone: 1 passed",
        "ok     alone: 1 passed",
    ]


def test_what_passes_alone_and_then_not_is_a_failure(made, capfd, tmp_path):
    mark = tmp_path / "mark"
    mark.touch()
    luck = (
        f"mark = pathlib.Path({str(mark)!r}); mark.write_text(mark.read_text() + 'x'); "
        "assert len(mark.read_text()) in {2, 3}"
    )
    made(lucky=luck, alone="pass")
    assert lanes.main(QUICK) == 1
    assert told(capfd.readouterr().out)[0] == "FAILED lucky: 1 failed; alone: 1 failed"
    assert mark.read_text() == "xxxx"


def test_a_test_that_hangs_is_a_failure_and_where_it_hangs_is_told(made, capfd):
    made(hung="import time; time.sleep(10**6)", alone="pass")
    hangs = ["faulthandler_timeout=1", "faulthandler_exit_on_timeout=true"]
    assert lanes.main([*QUICK, *(part for one in hangs for part in ("-o", one))]) == 1
    said = capfd.readouterr().out
    assert told(said)[0].startswith("FAILED hung: ")
    assert said.count("Timeout (0:00:01)!") == 2
    assert "in test_hung" in said


def test_where_the_images_cannot_be_built_only_the_first_group_runs(made, capfd, monkeypatch):
    made(first="pass", second="pass", third="pass", alone="pass")
    monkeypatch.setattr(lanes, "IMAGES", ("sh", "-c", "echo no wheel of that name; exit 2"))
    assert lanes.main(QUICK) == 1
    said = capfd.readouterr().out
    assert "\nno wheel of that name\n" in said
    assert told(said) == [
        "FAILED images: no wheel of that name",
        "ok     first: 1 passed",
        "FAILED second: not run: the images could not be built",
        "FAILED third: not run: the images could not be built",
    ]


def test_a_group_that_cannot_be_collected_is_a_failure(made, capfd):
    made(broken="pass\n  x = (", alone="pass")
    assert lanes.main(QUICK) == 1
    assert told(capfd.readouterr().out)[0].startswith("FAILED broken: 1 error")
