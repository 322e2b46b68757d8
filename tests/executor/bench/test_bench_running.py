"""
Contestants have their turns in each round, and what one does wrong is in its own line.
"""

import pytest

from executor.bench import running
from executor.bench.contest import ONLY, Contestant, Curve, Effort, Failed, Missing, Role, Setting
from executor.bench.results import CurveResult, Result
from tests.executor.bench.contestants import SETTING, TINY, always, floor, ours, row


def result_of(*rows, curves=(), setting=SETTING):
    result = Result({}, "tiny")
    running.run(rows, curves, setting, result, lambda _text: None)
    return result


def test_each_round_has_a_turn_of_everybody_and_orders_differ():
    heard = []
    names = "abcd"
    contestants = [Contestant(n, Role.OURS, always(1.0, heard, n)) for n in names]
    result = result_of(row(*contestants))
    turns = [name for name, _ in heard]
    for _ in range(TINY.passes):
        warm, turns = turns[: len(names)], turns[len(names) :]
        assert sorted(warm) == list(names)
        rounds = [turns[at : at + len(names)] for at in range(0, TINY.rounds * len(names), 4)]
        turns = turns[TINY.rounds * len(names) :]
        assert all(sorted(one) == list(names) for one in rounds)
        assert len({tuple(one) for one in rounds}) > 1
    assert turns == []
    assert result.complete


def test_samples_of_all_passes_are_kept_with_their_rounds():
    samples = result_of(row(ours(3.0), floor(2.0))).rows["row"].series["ours"].cases[ONLY]
    assert samples.rounds == list(range(12))
    assert samples.values == [3.0] * 12


def test_a_contestant_that_is_slow_takes_part_in_few_rounds_spread_over_all(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(running.time, "perf_counter", lambda: clock[0])

    def slow(_case):
        clock[0] += 2.0
        return 2.0

    long = Setting(Effort("long", 1, 100, 8.0, 2, 1, 1, 1.0, peers=False), None, None)
    slow_one = Contestant("slow", Role.PEER, lambda _stack: slow)
    found = result_of(row(slow_one, floor(1.0)), setting=long).rows["row"].series
    assert found["slow"].cases[ONLY].rounds == [24, 49, 74, 99]
    assert len(found["floor"].cases[ONLY].values) == 100


def test_who_fails_is_told_of_and_the_others_go_on():
    def fails(_stack):
        raise Missing("the thing is not installed")

    def breaks(_stack):
        count = iter(range(4))

        def act(_case):
            if next(count) == 3:
                raise Failed("it broke")
            return 1.0

        return act

    series = result_of(
        row(
            Contestant("absent", Role.PEER, fails),
            Contestant("broken", Role.PEER, breaks),
            floor(1.0),
        )
    ).rows["row"].series  # fmt: skip
    assert series["absent"].missing == "the thing is not installed"
    assert not series["absent"].measured
    assert series["broken"].cases[ONLY].problem == "it broke"
    assert series["broken"].cases[ONLY].values[:2] == [1.0, 1.0]
    assert len(series["floor"].cases[ONLY].values) == 12


def test_a_row_that_fails_as_a_whole_does_not_end_the_run():
    def broken(_setting, _stack):
        raise OSError("no server")

    bad = row(name="bad")
    bad = type(bad)(bad.name, bad.what, bad.unit, bad.better, broken)
    result = result_of(bad, row(floor(1.0)))
    assert result.rows["bad"].problem == "OSError: no server"
    assert result.rows["row"].series["floor"].measured
    assert result.complete


def test_who_is_missing_in_one_pass_keeps_the_figures_of_the_other():
    for missing_in in (0, 1):
        passes = iter(range(TINY.passes))

        def begin(_stack, passes=passes, missing_in=missing_in):
            if next(passes) == missing_in:
                raise Missing("gone")
            return lambda _case: 1.0

        found = result_of(row(Contestant("one", Role.OURS, begin))).rows["row"].series["one"]
        assert found.missing == ""
        assert len(found.cases[ONLY].values) == TINY.rounds
        assert found.cases[ONLY].problem == ("gone" if missing_in else "")


def test_a_mistake_of_ours_ends_the_run():
    def wrong(_stack):
        raise TypeError("a mistake")

    with pytest.raises(TypeError):
        result_of(row(Contestant("wrong", Role.OURS, wrong)))


def test_what_is_opened_for_a_row_is_closed_with_it_also_where_it_fails():
    closed = []

    def opens(stack):
        stack.callback(closed.append, "opened")
        raise Failed("after it was opened")

    result_of(row(Contestant("one", Role.OURS, opens)))
    assert closed == ["opened"] * TINY.passes


def test_an_interrupted_run_has_what_there_was_and_is_not_complete():
    count = iter(range(100))

    def interrupted(_case):
        if next(count) == 5:
            raise KeyboardInterrupt
        return 1.0

    one = Contestant("one", Role.OURS, lambda _stack: interrupted)
    result = Result({}, "tiny")
    with pytest.raises(KeyboardInterrupt):
        running.run([row(one)], [], SETTING, result, lambda _text: None)
    assert not result.complete
    assert len(result.rows["row"].series["one"].cases[ONLY].values) == 4


def test_a_case_that_a_contestant_cannot_do_leaves_its_others():
    def act(case):
        if case == "b":
            raise Failed("no yield here")
        return 1.0

    cases = result_of(row(Contestant("one", Role.PEER, lambda _stack: act), cases=("a", "b", "c")))
    found = cases.rows["row"].series["one"].cases
    assert {name: (len(one.values), one.problem) for name, one in found.items()} == {
        "a": (12, ""),
        "b": (0, "no yield here"),
        "c": (12, ""),
    }


def test_what_takes_very_long_is_measured_once_and_not_warmed_up(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(running.time, "perf_counter", lambda: clock[0])

    def slow(_case):
        clock[0] += 100.0
        return clock[0]

    once = Setting(Effort("once", 1, 10, 1.0, 1, 3, 1, 1.0, peers=False), None, None)
    one = Contestant("slow", Role.PEER, lambda _stack: slow)
    samples = result_of(row(one, floor(1.0)), setting=once).rows["row"].series["slow"].cases[ONLY]
    assert (samples.rounds, samples.values, clock) == ([0], [100.0], [100.0])
    clock[0] = 0.0
    twice = Setting(Effort("twice", 2, 10, 1.0, 1, 3, 1, 1.0, peers=False), None, None)
    series = result_of(row(one, floor(1.0)), setting=twice).rows["row"].series
    assert series["slow"].cases[ONLY].rounds == [0]
    assert len(series["floor"].cases[ONLY].values) == 20


def test_a_curve_ends_at_what_is_wanted_or_possible():
    def measure(_setting, _stack):
        def at(point):
            if point > 10:
                raise Failed("the memory ends")
            return [float(point)]

        return at

    into = CurveResult("c", "what", "things", "ms")
    curve = Curve("c", "what", "things", "ms", (1, 10, 100, 1000), measure)
    running.run_curve(curve, SETTING, into)
    assert (into.points, into.problem) == ([1, 10], "the memory ends")
    few = CurveResult("c", "what", "things", "ms")
    fewer = Setting(Effort("few", 1, 1, 1.0, 1, 1, 1, 1.0, peers=False), None, None)
    running.run_curve(curve, fewer, few)
    assert (few.points, few.problem) == ([1], "")
