"""
Row W34: a program that lifts Python's recursion limit gets its error, and the session lives on.
"""

import pytest

from tests.executor.wasm.world import MIB

ENDLESS = {
    "a function": "def f(n): return f(n + 1)\nf(0)",
    "a constructor": "class A:\n    def __init__(self): A()\nA()",
    "a property": "class A:\n    @property\n    def x(self): return self.x\nA().x",
}
LIFTED = "import sys\nsys.setrecursionlimit(10**6)\n"


@pytest.mark.parametrize("kind", ENDLESS)
def test_w34_endless_recursion_under_a_lifted_limit_is_an_error_of_the_cell(zygote, kind):
    with zygote.session(memory_bytes=128 * MIB) as worker:
        cell = worker.run(LIFTED + ENDLESS[kind]).raised("RecursionError")
        assert "Previous line repeated" in cell.done.traceback
        assert worker.run("'alive'").ok().text == "'alive'"


def test_w34_so_it_is_in_the_data_stack(data_zygote):
    with data_zygote.session() as worker:
        worker.run(LIFTED + ENDLESS["a function"]).raised("RecursionError")
        assert worker.run("'alive'").ok().text == "'alive'"


def test_a_limit_that_is_lifted_is_as_deep_as_programs_need(session):
    code = "def depth(n): return n and 1 + depth(n - 1)\ndepth(100_000)"
    session.run(code).raised("RecursionError")
    assert session.run(LIFTED + code).ok().text == "100000"
    assert session.run("sys.getrecursionlimit()").ok().text == "120000"


@pytest.mark.parametrize(
    ("given", "error"), [("'many'", "TypeError"), ("0", "ValueError"), ("-5", "ValueError")]
)
def test_a_limit_that_is_none_is_refused_as_python_does(session, given, error):
    session.run(f"import sys\nsys.setrecursionlimit({given})").raised(error)
    assert session.run("sys.getrecursionlimit()").ok().text == "1000"
