"""
A run in a few lines, and the one that the README shows.
"""

from pathlib import Path

import pytest

from executor import cli
from executor.bench import plan, results, running, summary, table
from executor.bench.contest import AimOf, Better, Contestant, Role
from executor.bench.results import Result
from tests.executor.bench.contestants import SETTING, always, row

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = ROOT / "benchmarks" / "results" / "latest.json"


def measured(*rows):
    made = Result({}, "tiny")
    running.run(list(rows), [], SETTING, made, lambda _text: None)
    return made


def lines_of(made):
    return summary.markdown(made).splitlines()[2:]


def test_a_line_has_figures_ratios_aims_and_peers():
    cells = [
        Contestant("empty gRPC call", Role.FLOOR, always(2.0)),
        Contestant("core", Role.OURS, always(4.0), "empty gRPC call", 1.5, aim_of=AimOf.RATIO),
        Contestant(
            "native-core", Role.OURS, always(3.0), "empty gRPC call", 1.5, aim_of=AimOf.RATIO
        ),
        Contestant("ipykernel", Role.PEER, always(1234.0)),
    ]
    found = lines_of(measured(row(*cells, name="cell")))
    assert (
        "| a one-line cell: `core`, `native-core` | 4, 3 ms | 2, 1.5 (empty gRPC call) "
        "| 1.5 missed, 1.5 met |  | 1,234 |  |"
    ) in found


def test_a_row_of_cases_has_ratios_alone():
    programs = [
        Contestant("CPython", Role.FLOOR, always(2.0)),
        Contestant("native-core", Role.OURS, always(3.0), "CPython", 1.0, aim_of=AimOf.RATIO),
    ]
    found = lines_of(measured(row(*programs, name="cpu", cases=("a", "b"))))
    assert "| the same: `native-core` |  | 1.5 (CPython) | 1 missed |  |  |  |" in found


def test_what_was_not_measured_is_told():
    half = [Contestant("core, in", Role.OURS, always(4.0))]
    found = lines_of(measured(row(*half, name="file", better=Better.HIGHER)))
    assert all("| not measured |" in one for one in found)
    assert len(found) == len(summary.LINES)


def test_each_line_is_of_a_row_that_the_plan_has():
    assert {one.row for one in summary.LINES} <= {one.name for one in plan.ROWS}


@pytest.mark.parametrize(
    ("value", "text"), [(0.63067, "0.631"), (22.75, "22.8"), (999.4, "999"), (2186.3, "2,186")]
)
def test_figures_have_three_digits(value, text):
    assert table.three_digits(value) == text


def test_the_readme_shows_the_run_that_lies_beside_it(capsys):
    assert cli.main(["bench", "summary", str(COMMITTED)]) == 0
    said = capsys.readouterr().out
    assert "not measured" not in said
    assert said in (ROOT / "README.md").read_text(), (
        "put what `codecage bench summary` prints into README.md, under Figures"
    )


def test_the_table_that_lies_there_is_that_of_the_run():
    said = table.markdown(results.read(COMMITTED))
    assert said == COMMITTED.with_suffix(".md").read_text()
