"""
A diff leads from the one text to the other, and is bounded in time and in size.
"""

import re

from hypothesis import given
from hypothesis import strategies as st

from executor.transactions.diffs import MOST_TEXT, DiffBudget, Undiffed, head, unified

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = "\n\\ No newline at end of file\n"
TEXTS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=30).flatmap(
    lambda lines: st.sampled_from(["\n".join(lines), "\n".join([*lines, ""])])
)


def lines_of(text):
    return text.splitlines(keepends=True)


def patched(old, diff):
    """
    What patch(1) makes of `old`; it has to fit to the line.
    """
    left, made, done = lines_of(old), [], 0
    for line in diff.replace(_NO_NEWLINE, "\0\n").split("\n")[2:-1]:
        if found := _HUNK.fullmatch(line):
            start = int(found[1]) - (found[2] != "0")
            made += left[done:start]
            done = start
            assert len(made) == int(found[3]) - (found[4] != "0")
            continue
        text = line[1:-1] if line.endswith("\0") else f"{line[1:]}\n"
        if line[0] in " -":
            assert left[done] == text
            done += 1
        if line[0] in " +":
            made.append(text)
    return "".join([*made, *left[done:]])


@given(old=TEXTS, new=TEXTS)
def test_a_diff_makes_the_new_text_of_the_old_one(old, new):
    diff = unified("f", old.encode(), new.encode(), DiffBudget())
    assert diff.startswith("--- a/f\n+++ b/f\n")
    assert patched(old, diff) == new


@given(old=TEXTS, new=TEXTS)
def test_where_comparing_costs_too_much_it_still_does(old, new):
    diff = unified("f", old.encode(), new.encode(), DiffBudget(cells=0))
    assert patched(old, diff) == new


def test_texts_that_are_made_to_be_slow_are_not_compared():
    old = "\n".join(f"old {number}" for number in range(10_000)).encode()
    new = "\n".join(f"new {number}" for number in range(10_000)).encode()
    budget = DiffBudget(size=10**9)
    before = budget.cells
    diff = unified("f", old, new, budget)
    assert budget.cells == before
    assert (diff.count("\n-"), diff.count("\n+")) == (10_000, 10_001)


def test_all_diffs_together_are_of_bounded_size():
    budget = DiffBudget(size=90)
    first = unified("f", b"", b"line\n" * 4, budget)
    second = unified("g", b"", b"line\n" * 400, budget)
    assert not first.endswith("[cut]\n")
    assert second.endswith("\n[cut]\n")
    assert len(first) + len(second) <= 90 + len("\n[cut]\n")
    assert unified("h", b"", b"line\n", budget) is Undiffed.BEYOND


def test_what_is_no_text_or_a_long_one_has_none():
    assert unified("f", b"\0", b"a\n", DiffBudget()) is Undiffed.BINARY
    assert unified("f", b"\xff", b"a\n", DiffBudget()) is Undiffed.BINARY
    assert unified("f", b"", b"a" * (MOST_TEXT + 1), DiffBudget()) is Undiffed.LONG
    assert unified("f", b"", b"a" * 100, DiffBudget()).endswith("No newline at end of file\n")


def test_a_hostile_name_makes_no_line_of_a_diff():
    path = "x\n+++ b/other\n@@ -1 +1 @@\n-gone"
    assert head(path).count("\n") == 2
    assert unified(path, b"a\n", b"b\n", DiffBudget()).count("\n") == 5
