"""
What is told of a long list of changes fits an answer, and says how much more there is.
"""

import json

from executor.kernel.reports import shortened, shown_conflicts, told
from executor.transactions.changes import Change, ChangeKind
from executor.transactions.commits import Outcome, Report

A_FRAME = 2**20


def report(count, diff="", conflicts=()):
    changes = tuple(
        Change(f"{number:05}", ChangeKind.ADDED, directory=False, after="f" * 64, diff=diff)
        for number in range(count)
    )
    return Report("/ledger", Outcome.PREVIEW, changes, "f" * 64, conflicts)


def test_a_short_list_is_told_whole():
    made = report(3, conflicts=("main",))
    assert shortened(made) == made.changes
    said = json.loads(told(made))
    assert [row["path"] for row in said["changes"]] == ["00000", "00001", "00002"]
    assert (said["more"], said["conflicts"]) == (0, ["main"])


def test_of_many_changes_the_first_ones_are_told_and_the_number_of_the_others():
    made = report(2_000)
    said = json.loads(told(made))
    assert len(said["changes"]) == len(shortened(made))
    assert 0 < len(said["changes"]) <= 1_000
    assert said["more"] == 2_000 - len(said["changes"])


def test_diffs_that_json_makes_six_times_as_long_fit_a_frame():
    assert len(told(report(1_000, diff="\1" * 1_000))) < A_FRAME


def test_of_the_conflicts_the_first_is_always_told():
    long = "p" * 4_000
    made = report(0, conflicts=(long,) * 100)
    assert shown_conflicts(made) == [long] * 4
    assert shown_conflicts(report(0, conflicts=("q" * 20_000,))) == ["q" * 20_000]
