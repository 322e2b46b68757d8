"""
The kit of the tool benchmark is read whole or refused with the reason; what it runs in plain Python.
"""

import inspect

import pytest

from agent_client.errors import InvalidRequest
from executor import cli
from executor.commands.m3tooleval import hindsight, kit, plain
from executor.commands.m3tooleval.turns import cell_of
from tests.executor import small_kit


@pytest.fixture
def small(tmp_path):
    return kit.read(small_kit.write(tmp_path))


def test_a_kit_has_tasks_with_their_actions_and_tools_under_their_names(small):
    assert [task.name for task in small.tasks] == list(small_kit.ACTIONS)
    assert small.tool_names() == ["click_url", "longest", "max", "scroll_down", "upper"]
    upper = small.functions("words")["upper"]
    assert str(inspect.signature(upper)) == "(text: 'str')"
    assert (upper("a"), upper.__name__, upper.__doc__) == ("A", "upper", "does upper(text: str) -> str")  # fmt: skip


def test_a_tool_is_called_by_the_parameters_that_its_text_names(small):
    functions = small.functions("words")
    assert functions["upper"](text="a") == "A"
    assert functions["max"]("a", "bb", key=len) == "bb"
    with pytest.raises(TypeError, match="sound"):
        functions["upper"](sound="a")


def test_a_text_that_leaves_a_parameter_out_does_not_take_it_from_the_tool(tmp_path):
    told = small_kit.told()
    told["tools"]["words"][0]["signature"] = "upper() -> str"
    functions = kit.read(small_kit.write(tmp_path, m3tooleval=told)).functions("words")
    assert functions["upper"]("a") == "A"


def test_tools_of_two_tasks_share_no_state(small):
    first, second = small.functions("web"), small.functions("web")
    assert first["scroll_down"]() == "three\nfour"
    assert second["scroll_down"]() == "three\nfour"
    assert second["scroll_down"]().startswith("[Reached the bottom")


def test_reading_a_kit_leaves_nothing_in_its_directory(small, tmp_path):
    assert {path.name for path in tmp_path.iterdir()} == {
        "actions.json",
        "m3tooleval.json",
        "tools.py",
    }


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"m3tooleval": []}, "is not the JSON object that a kit has: [] is no dict"),
        ({"m3tooleval": {"tasks": []}}, "a kit of another shape (KeyError: 'tools')"),
        ({"m3tooleval": {"tasks": [], "tools": {}}}, "there is no task in it"),
        ({"actions": {}}, "another shape (KeyError: 'words/shout')"),
        ({"actions": {key: {"one_block": 3} for key in small_kit.ACTIONS}}, "3 is no str"),
        ({"tools": "FAMILIES = {}\ndef check(a, b): return True"}, "(KeyError: 'web')"),
        ({"tools": "FAMILIES = {}"}, "has no attribute 'check'"),
        ({"tools": "def"}, "tools.py cannot be imported: SyntaxError"),
        ({"tools": "import no_such_package"}, "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_kit_of_another_shape_is_refused_with_what_is_amiss(tmp_path, parts, said):
    with pytest.raises(InvalidRequest) as caught:
        kit.read(small_kit.write(tmp_path, **parts))
    assert said in str(caught.value)


@pytest.mark.parametrize("part", ["m3tooleval.json", "actions.json", "tools.py"])
def test_a_missing_part_of_the_kit_is_named_and_is_a_mistake_of_usage(tmp_path, part, capsys):
    (small_kit.write(tmp_path) / part).unlink()
    assert cli.main(["bench", "m3tooleval", "--kit", str(tmp_path)]) == 2
    assert f"there is no {part}; give the directory that has" in capsys.readouterr().err


def test_blocks_in_plain_python_share_their_names_and_print_into_the_answer(small, capsys):
    ran = plain.run_blocks(["a = upper('x')", "print('first')\nprint(a)\n"], small.functions("words"))  # fmt: skip
    assert (ran.answer, capsys.readouterr().out) == ("X", "")


def test_only_the_steps_that_the_answer_needs_are_kept(small):
    block = small.tasks[-1].one_block
    skipped = hindsight.needless(block, lambda: small.functions("web"))
    browsing = hindsight.Browsing(small.functions("web"), skipped)
    assert plain.run_blocks([block], browsing.functions()).answer == "7"
    assert browsing.made == [("/a", 0), ("/a", 1)]


def test_a_block_that_raises_is_told_by_the_name_of_its_exception(small):
    with pytest.raises(plain.BlockFailed, match="^ZeroDivisionError: division by zero$"):
        hindsight.needless("1 / 0", lambda: small.functions("words"))


def test_a_task_without_pages_has_none_without_need(small):
    assert hindsight.needless("print(upper('a'))", lambda: small.functions("words")) == frozenset()


def test_a_call_becomes_a_cell_whose_arguments_are_data():
    assert cell_of('{"tool": "f", "arguments": [], "named": {"a": "b"}}') == (
        "print(repr(f(*[], **{'a': 'b'})))"
    )
    assert cell_of('{"tool": "f", "arguments": ["\'); evil(", 1.5, null]}') == (
        'print(repr(f(*["\'); evil(", 1.5, None])))'
    )
