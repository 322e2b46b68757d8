"""
What a run leaves can be read again, by us and by others.
"""

import json
import math

import pytest
from hdrh.histogram import HdrHistogram

from agent_client.errors import InvalidRequest
from executor.bench import compare, histogram, machine, plots, results, running, table
from executor.bench.compare import Verdict
from executor.bench.contest import AimOf, Better, Contestant, Missing, Role
from executor.bench.figures import figure
from executor.bench.results import CurveResult, Result, RowResult, Samples, Series
from tests.executor.bench.contestants import SETTING, always, floor, ours, row


@pytest.fixture
def result():
    def missing(_stack):
        raise Missing("not | installed: <pip>")

    made = Result(machine.facts(), "tiny")
    rows = [
        row(ours(3.0, aim=5.0), floor(2.0), Contestant("peer", Role.PEER, missing)),
        row(
            Contestant("ours", Role.OURS, always(4.0), "floor", 1.5, "", AimOf.RATIO),
            floor(2.0),
            name="cases",
            cases=("a", "b"),
        ),
    ]
    running.run(rows, [], SETTING, made, lambda _text: None)
    made.curves["c"] = CurveResult(
        "c", "what", "things", "ms", [1, 10, 100], [[2.0], [20.0], [200.0]]
    )
    return made


def test_what_was_written_is_read(result, tmp_path):
    results.write(result, tmp_path / "deep" / "one.json")
    again = results.read(tmp_path / "deep" / "one.json")
    data = json.loads((tmp_path / "deep" / "one.json").read_text())
    for one in data["rows"]["row"]["series"].values():
        for case in one["cases"].values():
            if case["values"]:
                theirs = HdrHistogram.decode(case["histogram"].encode())
                assert theirs.get_total_count() == len(case["values"]) == 12
    assert again.complete
    assert again.machine["revision"] == result.machine["revision"] != ""
    assert again.rows["row"].series["ours"].cases[""].values == [3.0] * 12
    assert again.rows["row"].series["peer"].missing == "not | installed: <pip>"
    assert again.curves == result.curves


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"format": 99}',
        '{"format": 1}',
        '{"format": 1, "rows": 3, "machine": {}, "effort": ""}',
    ],
)
def test_what_is_no_result_is_refused_by_name(tmp_path, text):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(InvalidRequest, match="other.json"):
        results.read(tmp_path / "other.json")
    with pytest.raises(InvalidRequest, match="absent.json"):
        results.read(tmp_path / "absent.json")


def test_percentiles_are_right_to_three_digits():
    values = [number / 7 for number in range(1, 1001)]
    for share in (50, 99, 99.9):
        exact = values[math.ceil(share * 10) - 1]
        assert histogram.percentile(values, share) == pytest.approx(exact, rel=1e-3)


def test_the_table_has_ratios_aims_and_those_who_are_missing(result):
    text = table.markdown(result)
    assert "| **ours** | 3 | 3 | 1.5 | floor | 5 met | 12 |  |" in text
    assert "| **ours** |  |  | 2 (mean of 2) | floor | 1.5 missed | 24 |  |" in text
    assert "- Missing: peer: not \\| installed: &lt;pip>." in text
    assert "| a | 2.00 | 2 ms |" in text
    assert "as their power of 1.00" in text
    assert "ended early" not in text
    result.complete = False
    assert "ended early" in table.markdown(result)


def test_an_aim_of_rates_is_met_from_below(result):
    def met(value):
        one = RowResult("r", "w", "/s", Better.HIGHER)
        series = Series("ours", Role.OURS, aim=300.0, cases={"": Samples([0], [value])})
        return figure(one, series).met

    assert met(301.0)
    assert not met(299.0)


def test_plots_are_drawn_in_both_kinds(result, tmp_path):
    written = plots.draw(result, tmp_path / "one")
    assert [path.name for path in written] == [
        "one-row.png", "one-row.svg", "one-cases.png", "one-cases.svg",
        "one-growth-c.png", "one-growth-c.svg",
    ]  # fmt: skip
    assert written[0].read_bytes().startswith(b"\x89PNG")
    assert b"</svg>" in written[1].read_bytes()


def run_of(figures, floors, better=Better.LOWER):
    result = Result({}, "tiny")
    one = result.rows["row"] = RowResult("row", "what", "ms", better)
    rounds = list(range(len(figures)))
    one.series["ours"] = Series("ours", Role.OURS, "floor", cases={"": Samples(rounds, figures)})
    one.series["floor"] = Series("floor", Role.FLOOR, cases={"": Samples(rounds, floors)})
    return result


NOISE = [1.0 + 0.1 * math.sin(number) for number in range(60)]


def scaled(factor):
    return [one * factor for one in NOISE]


@pytest.mark.parametrize(
    ("figures", "floors", "better", "verdict"),
    [
        (scaled(3.0), NOISE, Better.LOWER, Verdict.SAME),
        (scaled(4.5), NOISE, Better.LOWER, Verdict.WORSE),
        (scaled(2.0), NOISE, Better.LOWER, Verdict.BETTER),
        (scaled(2.0), NOISE, Better.HIGHER, Verdict.WORSE),
        (scaled(3.01), NOISE, Better.LOWER, Verdict.SAME),
        # The machine is twice as slow, and so is the floor.
        (scaled(6.0), scaled(2.0), Better.LOWER, Verdict.SAME),
        (scaled(9.0)[:4], NOISE[:4], Better.LOWER, Verdict.TOO_FEW),
    ],
)
def test_a_change_is_told_where_it_is_outside_the_noise(figures, floors, better, verdict):
    before = run_of(scaled(3.0), NOISE, better)
    (change,) = compare.compare(before, run_of(figures, floors, better))
    assert change.verdict is verdict
    assert verdict.value in compare.table([change])


def test_a_row_of_one_run_alone_is_not_compared():
    before = run_of(NOISE, NOISE)
    after = Result({}, "tiny")
    (change,) = compare.compare(before, after)
    assert change.verdict is Verdict.ONE_SIDED
    assert compare.compare(after, after) == []
