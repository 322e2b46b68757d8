import pytest

from agent_client import BareText, InvalidRequest, Reply
from agent_client.extraction import Answer, Code, Problem, checked_reply, extract


def code(reply, **options):
    action = extract(Reply(reply, **options))
    assert isinstance(action, Code), action
    return action.text


def problem(reply, **options):
    action = extract(Reply(reply, **options))
    assert isinstance(action, Problem), action
    return action.text


FENCE = "```"
CALL = '{"name": "python", "arguments": {"code": "print(1)"}}'


@pytest.mark.parametrize(
    "reply",
    [
        "<execute>print(1)</execute>",
        "I count.\n<execute>\nprint(1)\n</execute>\nDone so.",
        "<execute_ipython>\nprint(1)\n</execute_ipython>",
        "Thought: count\n<code>\nprint(1)\n</code>",
        "```python\nprint(1)\n```",
        "```py\nprint(1)\n```",
        "```Python title\nprint(1)\n```",
        "~~~python\nprint(1)\n~~~",
        "  ```python\n  print(1)\n  ```",
        "<execute>\n```python\nprint(1)\n```\n</execute>",
        f"<tool_call>\n{CALL}\n</tool_call>",
        CALL,
        '<tool_call>{"name": "execute_code", "parameters": {"source": "print(1)"}}</tool_call>',
        '<tool_call>{"name": "run", "arguments": "{\\"code\\": \\"print(1)\\"}"}</tool_call>',
        "<function=execute_ipython_cell>\n<parameter=code>\nprint(1)\n</parameter>\n</function>",
        "<think>so\n```python\nprint(2)\n```\n</think>\n<execute>print(1)</execute>",
        "the prompt has the mark's beginning\n</think>\n```python\nprint(1)\n```",
        "<thought> no end <execute>print(1)</execute>",
        "```text\n<execute>no</execute>\n```\n<execute>print(1)</execute>",
    ],
)
def test_code_is_found_in_every_form_in_which_models_write_it(reply):
    assert code(reply) == "print(1)"


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("<execute>a = 1</execute> then <execute>a</execute>", "a = 1\n\na"),
        ("```python\na = 1\n```\nthen\n```py\na\n```", "a = 1\n\na"),
        (f"<execute>a</execute>\n<tool_call>{CALL}</tool_call>", "a\n\nprint(1)"),
        ("<execute></execute><execute>a</execute>", "a"),
    ],
)
def test_several_blocks_are_one_cell_in_their_order(reply, text):
    assert code(reply) == text


def test_where_code_is_marked_fenced_blocks_beside_it_are_text():
    assert code("Like\n```python\nbad()\n```\nbut <execute>good()</execute>") == "good()"


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (
            "<execute>\ns = '''\n```python\nx\n```\n'''\n</execute>",
            "s = '''\n```python\nx\n```\n'''",
        ),
        ("```python\ns = '<execute>no</execute>'\n```", "s = '<execute>no</execute>'"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''"),
        ("```python\ns = '<solution>4</solution>'\n```", "s = '<solution>4</solution>'"),
        ("```python\nprint('</think>')\n```", "print('</think>')"),
    ],
)
def test_what_a_mark_encloses_is_not_searched_for_marks(reply, text):
    assert code(reply) == text


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("<execute>\nprint(1)\n", "print(1)"),
        ("```python\nprint(1)", "print(1)"),
        ("<execute>a = 1</execute>\n<execute>a", "a = 1\n\na"),
        ("<tool_call>" + CALL, "print(1)"),
        ("<function=python><parameter=code>print(1)", "print(1)"),
    ],
)
def test_a_last_block_without_its_end_is_run_since_stop_sequences_take_it_away(reply, text):
    assert code(reply) == text


@pytest.mark.parametrize(
    "reply", ["<execute>\nprint(1)\n", "```python\nprint(1)", "I think that", "", "<solution>4"]
)
def test_nothing_of_a_reply_that_was_cut_within_a_block_is_run_or_taken(reply):
    assert "was cut at its limit of length" in problem(reply, cut=True)


def test_of_a_reply_that_was_cut_after_a_whole_block_the_block_is_run():
    assert code("<execute>print(1)</execute>", cut=True) == "print(1)"


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("<execute>\n\n  if a:\n      b\n\n</execute>", "if a:\n    b"),
        ("<execute>if a:\n    b\n\n    c</execute>", "if a:\n    b\n\n    c"),
        ("<execute>s = '''\n  kept\n'''</execute>", "s = '''\n  kept\n'''"),
        ("<execute> print(1) </execute>", "print(1)"),
    ],
)
def test_code_is_moved_to_the_margin_only_where_it_could_not_run_otherwise(reply, text):
    assert code(reply) == text


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The answer is <solution> 42 </solution>.", "42"),
        ("<solution>1</solution> no: <solution>2</solution>", "2"),
        ("<solution>4", "4"),
        ("It is 42.", "It is 42."),
        ("<think>6 * 7\n</think>\n It is 42. ", "It is 42."),
        ("See:\n```\na  b\n```", "See:\n```\na  b\n```"),
        ("Use `<code>x</code>` and:\n```bash\nls\n```", "Use `<code>x</code>` and:\n```bash\nls\n```"),
        ('{"name": "Ann"}', '{"name": "Ann"}'),
        ("{not json}", "{not json}"),
    ],
)  # fmt: skip
def test_a_reply_without_code_is_an_answer(reply, answer):
    assert extract(Reply(reply)) == Answer(answer)


def test_text_alone_is_no_answer_where_that_was_asked_for():
    assert extract(Reply("<solution>4</solution>"), BareText.PROBLEM) == Answer("4")
    told = extract(Reply("Let me think."), BareText.PROBLEM)
    assert isinstance(told, Problem)
    assert "no code and no solution" in told.text


def test_a_solution_beside_code_waits_for_its_result():
    action = extract(Reply("<execute>print(1)</execute><solution>1</solution>"))
    assert action.text == "print(1)"
    assert "was not taken" in action.note
    assert extract(Reply("<execute>print(1)</execute>")).note == ""


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("", "Your reply was empty."),
        (" \n", "Your reply was empty."),
        ("<think>hm</think>", "Your reply was empty."),
        ("<execute>\n\n</execute>", "The code block was empty"),
        ("<solution> </solution>", "The <solution> was empty."),
        ("<execute_bash>ls</execute_bash>", "Only Python is run here, and no shell"),
        ("<tool_call>{'name': 'python'}</tool_call>", "not valid JSON (Expecting property name"),
        ("<tool_call>[1]</tool_call>", "not a JSON object"),
        ("<tool_call>" + "[" * 200_000 + "</tool_call>", "nested too deeply"),
        ('<tool_call>{"a": ' + "9" * 5000 + "}</tool_call>", "a number that cannot be read"),
        ('<tool_call>{"name": "python"}</tool_call>', "has no arguments"),
        ('<tool_call>{"name": "python", "arguments": {}}</tool_call>', "of python has no 'code'"),
        ('<tool_call>{"name": "mail", "arguments": {"to": 1}}</tool_call>', "write mail(...)"),
        ('<tool_call>{"name": "mail", "arguments": {"code": "x"}}</tool_call>', "write mail(...)"),
        ("<function=mail><parameter=to>Ann</parameter></function>", "write mail(...)"),
        ("<execute>s = '\ud800'</execute>", "lone surrogates"),
    ],
)
def test_what_cannot_be_run_is_told_so_that_the_model_can_mend_it(reply, told):
    assert told in problem(reply)


def test_an_endless_name_is_not_repeated_to_the_model():
    reply = '<tool_call>{"name": "%s", "arguments": {}}</tool_call>' % ("x" * 100_000)
    assert len(problem(reply)) < 500


@pytest.mark.parametrize(
    "reply",
    [
        "<thought> " * 500_000,
        "<function=" * 100_000,
        "```" + "a" * 1_000_000 + "`",
        "`" * 1_000_000 + "x`",
        "```\n" * 100_001,
        "<execute>```\n" + " " * 1_000_000 + "x</execute>",
        (" " * 1000 + "\n") * 1000,
        "<function=python>" + "<parameter=code>" * 100_000,
        "</think>" * 100_000,
    ],
    ids=lambda reply: reply[:12],
)
def test_a_reply_of_a_million_marks_is_read_in_time_that_grows_with_its_length(reply):
    """
    That it ends is the test: what grows with the square of it would take minutes.
    """
    assert extract(Reply(reply)) is not None


@pytest.mark.parametrize("given", [None, 4, b"text", ["text"]])
def test_a_model_that_returns_something_else_is_a_mistake_of_the_caller(given):
    with pytest.raises(InvalidRequest, match="it has to return its reply's text, or a Reply"):
        checked_reply(given)
