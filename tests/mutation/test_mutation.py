"""
The tool that asks whether the policy's tests would notice a change: its mutants, and that it tells
a test that notices from one that does not.
"""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import mutate
from equivalent import Equivalent, equivalents
from operators import mutants

SOURCE = """
def allowed(path, names, most):
    if not path:
        raise ValueError(path)
    names.sort()
    return path in names and len(names) <= most + 1
"""


def changed():
    return {one.what: ast.unparse(one.tree) for one in mutants(SOURCE)}


def test_each_operator_makes_its_mutant():
    found = changed()
    assert "path not in names" in found["In -> NotIn"]
    assert "len(names) < most" in found["LtE -> Lt"]
    assert "names or len" in found["And -> Or"]
    assert "most - 1" in found["Add -> Sub"]
    assert "most + 2" in found["1 -> 2"]
    assert "return None" in found["returns None"]
    assert "names.sort()" not in found["the call is left out"]
    assert "if path:" in found["not is left out"].replace("not not path", "path")
    assert "raise" not in found["line 4 raises nothing"]


def test_a_mutant_is_one_change():
    plain = ast.unparse(ast.parse(SOURCE)).splitlines()
    for what, text in changed().items():
        lines = text.splitlines()
        assert sum(a != b for a, b in zip(plain, lines, strict=True)) == 1, what


def test_none_in_the_place_of_a_no_is_no_change():
    source = "def f():\n    return False\ndef g():\n    return True\n"
    assert [(one.name, one.what) for one in mutants(source)] == [
        ("f", "False -> True"),
        ("g", "returns None"),
        ("g", "True -> False"),
    ]


def test_assertions_annotations_and_texts_are_no_mutants():
    source = "def f(x: Literal[1] = 2) -> Literal[3]:\n    assert x > 4\n    return f'{x}' + 'a'\n"
    assert [one.what for one in mutants(source)] == ["returns None"]


@pytest.mark.parametrize(
    ("tests", "least", "status"),
    [("spelling", "50", 0), ("spelling", "101", 1), ("transactions", "1", 1)],
)
def test_changes_are_caught_by_tests_of_what_changed_and_by_no_others(tests, least, status):
    command = [sys.executable, mutate.__file__, "--module", "spelling", "--at-least", least]
    command += ["--tests", f"tests/policy/test_policy_{tests}.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "mutants were caught" in done.stdout) == (status, True), done.stderr


def test_what_a_function_made_is_exchanged_with_it():
    # The checks of values are functions that others made when the schema was imported.
    command = [
        sys.executable,
        mutate.__file__,
        "--module",
        "values",
        "--at-least",
        "80",
        "--sample",
        "12",
    ]
    command += ["--tests", "tests/policy/test_policy_values.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "called by no test" in done.stdout) == (0, False), done.stdout


def test_a_function_keeps_the_names_that_it_has_from_outside():
    source = "def f(a, b):\n    def g(c):\n        return a + b + c\n    return g\n"
    for one in mutants(source):
        code = compile(one.tree, "f.py", "exec").co_consts[0]
        (inner,) = [part for part in code.co_consts if hasattr(part, "co_freevars")]
        assert inner.co_freevars == ("a", "b"), one.what


def test_a_change_is_shown_as_it_was_and_is():
    (one,) = [one for one in mutants(SOURCE) if one.what == "LtE -> Lt"]
    assert one.before == "return path in names and len(names) <= most + 1"
    assert one.after == "return path in names and len(names) < most + 1"


@pytest.mark.parametrize(
    ("caught", "counted", "low", "high"),
    [(0, 0, 0.0, 100.0), (95, 100, 88.8, 97.8), (0, 10, 0.0, 27.8), (950, 1000, 93.5, 96.2)],
)
def test_a_sample_says_how_far_the_whole_may_be_from_it(caught, counted, low, high):
    found = mutate.interval(caught, counted)
    assert [round(one, 1) for one in found] == [low, high]


def test_each_equivalent_mutant_is_one_and_has_its_reason():
    rows = equivalents()
    assert mutate.unnamed(rows) == []
    gone = Equivalent("spelling", "did_you_mean", "return 1", "return 2", "It is an example.")
    assert mutate.unnamed({gone}) == [gone]


MEANT = [
    one
    for one in mutants((mutate.SOURCE / "spelling.py").read_text())
    if one.name == "did_you_mean"
]


@pytest.mark.parametrize("why", ["They are the same.", " "])
def test_a_mutant_that_a_test_catches_is_not_equivalent_whatever_is_written(tmp_path, why):
    row = {"module": "spelling", "function": "did_you_mean", "why": why}
    row |= {"before": MEANT[0].before, "after": MEANT[0].after}
    table = tmp_path / "table.toml"
    table.write_text(
        "[[mutant]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items())
    )
    if not why.strip():
        with pytest.raises(ValueError, match="did_you_mean"):
            equivalents(table)
        return
    command = [sys.executable, mutate.__file__, "--module", "spelling", "--at-least", "50"]
    command += ["--tests", "tests/policy/test_policy_spelling.py", "--equivalents", str(table)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "no equivalent, as a test catches it" in done.stdout) == (1, True)
