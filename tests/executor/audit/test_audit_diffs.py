"""
Diffs of commits, as they are shown: every character harmless, and what is missing said.
"""

import pytest

from executor.audit.differences import LOST, PLACE, SEAL, Differences, FileDiff
from executor.audit.escape import visible
from executor.audit.record import Answer, Event, Record
from executor.audit.review import diffs
from executor.audit.review.commits import commits, with_diffs
from executor.audit.review.rows import Look
from executor.audit.review.search import Step
from tests.executor.audit.markup import Markup

PLACED = {
    "sequence": 7,
    "wall_ns": 0,
    "monotonic_ns": 0,
    "ordinal": None,
    **dict.fromkeys(("previous", "hash", "root"), bytes(32)),
}
KEPT = ((PLACE, 0), (SEAL, "ab" * 32))
HOSTILE = (
    "</pre><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[2J\x1b[31mred",
    "\u202egpj.exe",
    "a\r+forged",
    "a\u2028-forged",
    "nul\x00\x9b",
    "{{7*7}}",
)


def decided(detail=KEPT, request="commit /ledger"):
    return Record(
        event=Event.DECISION, request=request, answer=Answer.ALLOW, detail=detail, **PLACED
    )


def page(found, detail=KEPT):
    return Markup("".join(diffs.by_file(decided(detail), found, "--diffs")))


def words(found, detail=KEPT):
    return list(diffs.diff_lines(decided(detail), found, "--diffs"))


def of(diff, path="main.bean"):
    return Differences((FileDiff(path, diff),))


def test_lines_are_told_apart_by_their_marks_and_by_nothing_in_them():
    read = page(of("@@ -1 +1 @@\n one\n-two\n+three\n\\ No newline at end of file\n[cut]\n"))
    assert [one for one in read.classed if one[0] != "diff"] == [
        ("place", "@@ -1 +1 @@\n"),
        ("deleted", "-two\n"),
        ("added", "+three\n"),
        ("quiet", "\\ No newline at end of file\n[cut]\n"),
    ]
    assert words(of("@@ -1 +1 @@\n one\n-two\n+three\n"))[1:] == [
        ("@@ -1 +1 @@", Look.QUIET),
        (" one", Look.PLAIN),
        ("-two", Look.REMOVED),
        ("+three", Look.ADDED),
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=[ascii(text[:8]) for text in HOSTILE])
def test_a10_hostile_names_and_lines_are_text(text):
    found = of(f"@@ -0,0 +1 @@\n+{text}\n", path=text)
    read = page(found)
    assert set(read.tags) == {"h4", "code", "pre", "span", "i"} - (
        set() if "<i>" in read.source else {"i"}
    )
    assert [(name, value) for name, value in read.attributes if name not in {"class", "dir"}] == [
        ("tabindex", "0")
    ]
    assert all(line.isprintable() for line in read.source.split("\n"))
    assert [kind for kind, _ in read.classed if kind != "diff"] == ["place", "added"]
    assert visible(text) in read.text
    shown = [line for line, _ in words(found)]
    assert all(line.isprintable() for line in shown)
    assert shown[-1] == f"+{visible(text)}"


def test_what_has_no_diff_says_why():
    told = Differences((FileDiff("x", "", "it is no text in UTF-8"), FileDiff("y", "")), more=3)
    assert "No diff: it is no text in UTF-8." in page(told).text
    assert "3 files more have no diff." in page(told).text
    assert ("no diff: it is no text in UTF-8", Look.QUIET) in words(told)


@pytest.mark.parametrize(
    ("found", "detail", "said"),
    [
        (None, (), "Contents are kept under audit: {level: replay} alone"),
        (None, KEPT, "Its diff was kept; --diffs shows it."),
        (None, ((LOST, "no room"),), "Its diff was not kept: no room."),
        (Differences(why="it was erased"), KEPT, "It was erased."),
    ],
)
def test_why_there_is_no_diff_is_said(found, detail, said):
    assert said in page(found, detail).text
    assert said in words(found, detail)[0][0]


def test_only_decisions_on_commits_have_diffs():
    steps = [Step(decided()), Step(decided(request="read /ledger/main"))]
    made = commits(steps)
    assert [one.request for one in made] == ["commit /ledger"]

    def reader(audit, session, decisions):
        assert (audit, session) == ("audit", "5e55")
        return {one.sequence: of("+x\n") for one in decisions}

    (shown,) = with_diffs(made, "audit", "5e55", reader)
    assert diffs.to_json(shown)["diffs"] == [{"path": "main.bean", "diff": "+x\n", "why": ""}]
    assert diffs.to_json(made[0])["diffs"] is None
