from dataclasses import replace

import pytest

from policy.builtin import CALCULATOR
from policy.errors import PolicyError, Problem
from policy.types import Limits
from tests.fuzz import fuzz_policy


def test_broken_files_break_no_promise():
    """
    A short run of the fuzzer; it has to meet policies and errors to mean anything.
    """
    ran, policies = fuzz_policy.run(1, count=400)
    assert ran == 400
    assert 40 < policies < 360


def test_the_fuzzer_sees_a_problem_outside_of_the_file():
    with pytest.raises(fuzz_policy.Wrong, match="outside"):
        fuzz_policy.check_problems(PolicyError((Problem("a", 3, 1, "x"),)), "one\ntwo")
    fuzz_policy.check_problems(PolicyError((Problem("a", 2, 1, "x"),)), "one\ntwo")


def test_the_fuzzer_sees_a_message_that_a_terminal_obeys():
    with pytest.raises(fuzz_policy.Wrong, match="terminal"):
        fuzz_policy.check_problems(PolicyError((Problem("a", 1, 1, "\x1b[2J"),)), "one")


def test_the_fuzzer_sees_a_limit_without_bounds():
    loose = replace(CALCULATOR, limits=Limits(memory=2**60))
    with pytest.raises(fuzz_policy.Wrong, match="out of bounds"):
        fuzz_policy.check_policy(loose, "")
