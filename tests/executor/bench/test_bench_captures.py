"""
The rows of captures: whole sessions with one and without, and every one of them replayed.
"""

import dataclasses
import json
from contextlib import ExitStack

import pytest

from agent_client.errors import InvalidRequest
from executor.bench import running
from executor.bench.contest import SHORT, Failed, Setting
from executor.bench.results import RowResult
from executor.bench.rows import captures
from tests.e2e.serving import needs_image

ONCE = dataclasses.replace(SHORT, rounds=1, seconds=0.01, warm=1)
CAPTURE, REPLAY = captures.ROWS
OWN = "six cells"


def measured(row, setting):
    into = RowResult(row.name, row.what, row.unit, row.better)
    running.run_row(row, setting, 0, into, set())
    assert into.problem == ""
    return into.series


@pytest.mark.image
@needs_image
def test_sessions_are_measured_with_a_capture_and_without(tmp_path):
    runs = tmp_path / "runs.jsonl"
    steps = [{"code": "print(1)"}, {"code": ""}, {"code": "1 / 0"}]
    runs.write_text((json.dumps({"steps": steps}) + "\n") * 4)
    series = measured(CAPTURE, Setting(ONCE, None, None, runs))
    there = {name for name, one in series.items() if one.measured}
    what = ("processor time", "time")
    assert there == {f"{name}, {one}" for name in (OWN, "recorded runs") for one in what}
    assert "--kit DIR" in series["M3ToolEval, time"].missing
    for name in there:
        (samples,) = series[name].cases.values()
        assert samples.problem == ""
        assert all(value > 0 for value in samples.values)


@pytest.mark.image
@needs_image
def test_every_captured_session_is_replayed(tmp_path, monkeypatch):
    found = []

    def replay(audit, count):
        captured = list(audit.parent.glob("*.captures/*"))
        found.append((len(captured), count))
        replayed(audit, count)
        data = captured[0].read_bytes()
        captured[0].write_bytes(data[:-1])
        with pytest.raises(Failed, match=r"7 of 8 replay identically: .*its end is cut off"):
            replayed(audit, count)
        captured[0].write_bytes(data)

    replayed = captures._replay
    monkeypatch.setattr(captures, "_replay", replay)
    series = measured(REPLAY, Setting(ONCE, None, None))
    assert series[OWN].measured
    assert {one.problem for one in series[OWN].cases.values()} == {""}
    assert found[0] == (8, 8)
    assert "--recorded FILE" in series["recorded runs"].missing


def test_a_file_that_holds_no_recorded_runs_is_refused(tmp_path):
    runs = tmp_path / "runs.jsonl"
    runs.write_text("[]\n")
    with ExitStack() as stack, pytest.raises(InvalidRequest, match="cannot be read as recorded"):
        CAPTURE.contestants(Setting(ONCE, None, None, runs), stack)
