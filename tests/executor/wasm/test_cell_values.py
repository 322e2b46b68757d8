"""
What a cell gives back: its value, its names, its output, its end.
"""

import pytest

pytestmark = pytest.mark.image


def test_the_last_expression_is_the_value(session):
    assert session.run("1 + 1").ok().text == "2"


def test_none_and_a_semicolon_and_a_statement_give_no_value(session):
    for code in ("None", "1 + 1;", "x = 1", "", "# nothing", "   \n"):
        assert session.run(code).ok().value is None, code


def test_a_namespace_lasts_from_cell_to_cell(session):
    session.run("x = 5\ndef double(n): return 2 * n\nimport math").ok()
    assert session.run("double(x), math.floor(2.5)").ok().text == "(10, 2)"


def test_the_underscore_is_the_last_value(session):
    session.run("41").ok()
    session.run("None").ok()
    assert session.run("_ + 1").ok().text == "42"


def test_two_sessions_share_no_names(zygote, session):
    session.run("secret = 1").ok()
    with zygote.session() as other:
        other.run("secret").raised("NameError")


def test_stdout_and_stderr_arrive_in_the_order_of_writing(session):
    cell = session.run(
        "import sys\nfor n in range(3):\n    print('out', n)\n    print('err', n, file=sys.stderr)"
    ).ok()
    assert cell.order == [
        (1, b"out 0\n"), (2, b"err 0\n"), (1, b"out 1\n"),
        (2, b"err 1\n"), (1, b"out 2\n"), (2, b"err 2\n"),
    ]  # fmt: skip
    assert (cell.done.stdout_bytes, cell.done.stderr_bytes) == (18, 18)


def test_a_line_without_its_end_is_flushed_with_the_cell(session):
    assert session.run("print('no newline', end='')").ok().stdout == b"no newline"


def test_a_future_statement_holds_for_later_cells(session):
    assert session.run("def f(x: 1 + 1): pass\nf.__annotations__").text == "{'x': 2}"
    session.run("from __future__ import annotations").ok()
    assert session.run("def f(x: 1 + 1): pass\nf.__annotations__").text == "{'x': '1 + 1'}"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("exit()", 0),
        ("exit(3)", 3),
        ("quit(None)", 0),
        ("import sys; sys.exit(256 + 7)", 7),
        ("raise SystemExit(-1)", 255),
        ("raise SystemExit(True)", 1),
    ],
)
def test_leaving_a_cell_gives_its_code_and_keeps_the_session(session, code, status):
    cell = session.run(f"x = 1\n{code}\nx = 2")
    assert (cell.done.status, cell.done.exit_code) == (cell.done.EXITED, status)
    assert session.run("x").ok().text == "1"


def test_system_exit_with_a_text_tells_it_on_stderr(session):
    cell = session.run("raise SystemExit('enough')")
    assert (cell.done.status, cell.done.exit_code, cell.stderr) == (
        cell.done.EXITED, 1, b"enough\n",
    )  # fmt: skip


def test_input_is_at_its_end_after_showing_the_prompt(session):
    cell = session.run("input('name? ')").raised("EOFError")
    assert cell.stdout == b"name? "
    assert session.run("import sys; sys.stdin.read()").ok().text == "''"


def test_the_value_is_cut_and_its_length_told(session):
    cell = session.run("'x' * 100_000").ok()
    assert cell.value is not None
    assert cell.value.text == "'" + "x" * 65535
    assert cell.value.full_length == 100_002


def test_the_working_directory_and_home_are_the_sessions_own(session):
    code = "import os, pathlib; os.getcwd(), str(pathlib.Path.home()), os.environ['HOME']"
    assert session.run(code).ok().text == "('/work', '/home/agent', '/home/agent')"
    assert session.run("open('a', 'w').write('hi'); open('/work/a').read()").ok().text == "'hi'"


def test_the_sessions_environment_reaches_the_guest(zygote):
    with zygote.session(environment={"TOPIC": "whales"}) as worker:
        assert worker.run("import os; os.environ['TOPIC']").ok().text == "'whales'"
        assert worker.run("os.environ['LANG']").ok().text == "'C.UTF-8'"
