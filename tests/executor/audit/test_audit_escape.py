"""
A10: a guest's text is shown without effect, and can still be told from every other text.
"""

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.audit.escape import columns, visible
from executor.audit.record import Cut, Event, Record, bounded
from executor.audit.report import record_json, table
from executor.audit.review.rows import COLUMNS, row
from executor.audit.review.search import Step

any_text = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("read /work/a b.txt", "read /work/a b.txt"),
        ("größe 名", "größe 名"),
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("nul\0", "nul\\x00"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("e\u0301", "e\\u0301"),
        ("\\n", "\\\\n"),
        ("\\cut{9 bytes, sha256 00}", "\\\\cut{9 bytes, sha256 00}"),
        (Cut("a", 9, bytes(32)), "a\\cut{9 bytes, sha256 " + "00" * 32 + "}"),
    ],
)
def test_texts_are_shown_escaped(text, shown):
    assert visible(text) == shown


@given(any_text)
def test_a_shown_text_has_no_control_characters_and_can_be_read_back(text):
    shown = visible(text)
    assert shown.isprintable()
    escaped = shown.replace('"', '\\"')
    assert ast.literal_eval(f'"{escaped}"') == text


def record(**fields):
    place = {"sequence": 7, "wall_ns": 1_766_000_000_123_000_000, "monotonic_ns": 3, "ordinal": 1}
    return Record(
        event=Event.DECISION, previous=bytes(32), hash=bytes(32), root=bytes(32), **place, **fields
    )


@given(any_text, any_text)
def test_a10_no_text_makes_a_second_row_or_leaves_its_column(request_text, outcome):
    one = record(request=request_text, outcome=outcome)
    lines = table(COLUMNS, [row(Step(one)), row(Step(one))], 100)
    assert len(lines) == 3
    assert lines[1] == lines[2]
    assert all(line.isprintable() and columns(line) <= 100 for line in lines)


@given(any_text)
def test_json_is_one_ascii_line_without_controls_that_gives_the_text_back(text):
    line = record_json(record(request=text, detail=((text[:200], text),)))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["request"] == text


@pytest.mark.parametrize(
    "hostile",
    [
        '","event":"server.stop","x":"',
        '{"cut": "a", "bytes": 5000, "sha256": "00"}',
        "=cmd()|' /C calc'!A0",
        "2026-01-01T00:00:00Z decision allow",
    ],
)
def test_a_text_that_imitates_our_json_stays_a_text(hostile):
    parsed = json.loads(record_json(record(request=hostile)))
    assert parsed["request"] == hostile
    assert parsed["event"] == "decision"


def test_a_cut_text_is_an_object_in_json_and_a_whole_one_is_not():
    cut = bounded("x" * 10_000_000)
    parsed = json.loads(record_json(record(request=cut, outcome="x")))
    assert parsed["request"] == {
        "cut": "x" * 4096,
        "bytes": 10_000_000,
        "sha256": cut.sha256.hex(),
    }
    assert parsed["outcome"] == "x"
