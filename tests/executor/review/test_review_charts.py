"""
Charts are numbers of ours, whatever the record says.
"""

import re

import pytest
from pages_world import HOSTILE

from executor.audit.record import Event, Record
from executor.review.charts import Measure, chart, charts, svg

PLACED = {
    "sequence": 1,
    "wall_ns": 0,
    "monotonic_ns": 0,
    "ordinal": None,
    **dict.fromkeys(("previous", "hash", "root"), bytes(32)),
}


def end(cell, **used):
    return Record(event=Event.CELL_END, cell=cell, detail=tuple(used.items()), **PLACED)


def test_a_chart_says_in_words_what_it_draws():
    drawn = chart(Measure.WALL, [end(1, wall_us=1500), end(2, wall_us=4000)])
    assert drawn.bars == (1.5, 4.0)
    assert drawn.words == "Time of 2 cells: 5.5 ms in all, most in cell 2, 4 ms"
    heights = re.findall(r'height="([0-9.]+)"/>', svg(drawn))
    assert float(heights[0]) / float(heights[1]) == pytest.approx(1.5 / 4, abs=0.01)


def test_what_was_not_used_is_not_drawn():
    assert [one.measure for one in charts([end(1, denied=2, requests=0)])] == [Measure.DENIED]
    assert charts([]) == []


def test_many_cells_are_few_bars_and_the_highest_is_among_them():
    ends = [end(number, wall_us=9000 if number == 777 else 1000) for number in range(1, 2001)]
    drawn = chart(Measure.WALL, ends)
    assert len(drawn.bars) <= 80
    assert max(drawn.bars) == 9.0


@pytest.mark.parametrize("value", [*HOSTILE[:4], -5, 2**63 - 1, -(2**63)], ids=ascii)
def test_a10_a_hostile_figure_draws_nothing_that_acts(value):
    drawn = chart(Measure.WALL, [end(1, wall_us=value), end(2, wall_us=10)])
    text = svg(drawn)
    assert re.fullmatch(r"[ -~]+", text)
    assert set(re.findall(r"<(\w+)", text)) == {"svg", "style", "line", "rect", "text"}
    assert "nan" not in text
    assert "inf" not in text
    assert not re.search(r'="-', text)
