"""
How a cell's errors are told: the guest's own frames alone, whatever the error does to stop it.
"""

import pytest

pytestmark = pytest.mark.image


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "def f():\n    return 1 / 0\nf()",
            "Traceback (most recent call last):\n"
            '  File "<cell 1>", line 3, in <module>\n'
            "    f()\n    ~^^\n"
            '  File "<cell 1>", line 2, in f\n'
            "    return 1 / 0\n           ~~^~~\n"
            "ZeroDivisionError: division by zero\n",
        ),
        (
            "x = (1 +\n",
            '  File "<cell 1>", line 1\n    x = (1 +\n        ^\n'
            "SyntaxError: '(' was never closed\n",
        ),
        (
            "try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('later') from error",
            "Traceback (most recent call last):\n"
            '  File "<cell 1>", line 2, in <module>\n'
            "    {}['a']\n    ~~^^^^^\n"
            "KeyError: 'a'\n"
            "\nThe above exception was the direct cause of the following exception:\n\n"
            "Traceback (most recent call last):\n"
            '  File "<cell 1>", line 4, in <module>\n'
            "    raise ValueError('later') from error\n"
            "ValueError: later\n",
        ),
        (
            "raise ExceptionGroup('many', [ValueError(1), TypeError(2)])",
            "  + Exception Group Traceback (most recent call last):\n"
            '  |   File "<cell 1>", line 1, in <module>\n'
            "  |     raise ExceptionGroup('many', [ValueError(1), TypeError(2)])\n"
            "  | ExceptionGroup: many (2 sub-exceptions)\n"
            "  +-+---------------- 1 ----------------\n"
            "    | ValueError: 1\n"
            "    +---------------- 2 ----------------\n"
            "    | TypeError: 2\n"
            "    +------------------------------------\n",
        ),
    ],
    ids=["plain", "syntax", "chained", "group"],
)
def test_a_traceback_shows_the_cells_frames_and_nothing_of_the_cage(session, code, told):
    cell = session.run(code)
    assert (cell.done.status, cell.done.traceback) == (cell.done.ERROR, told)


def test_each_cells_lines_are_its_own_even_later(session):
    session.run("def f():\n    raise KeyError('from the first')").ok()
    told = session.run("f()").raised("KeyError").done.traceback
    assert 'File "<cell 2>", line 1, in <module>\n    f()' in told
    assert "File \"<cell 1>\", line 2, in f\n    raise KeyError('from the first')" in told


def test_an_error_while_handling_another_tells_both(session):
    told = session.run("try:\n    1 / 0\nexcept Exception:\n    1 + ''").raised("TypeError")
    assert "During handling of the above exception" in told.done.traceback
    assert "<codecage>" not in told.done.traceback


def test_nothing_runs_when_the_cell_does_not_compile(session):
    cell = session.run("print('ran')\n1 +* 2").raised("SyntaxError")
    assert cell.stdout == b""


HOSTILE = "class Hostile(Exception):\n    def __str__(self): {}\nraise Hostile()"


@pytest.mark.parametrize(
    "body",
    ["raise ValueError('no')", "return 5", "raise SystemExit(3)", "return repr(self.__str__())"],
)
def test_w40_an_error_that_refuses_to_be_told_is_an_error_with_its_name(session, body):
    cell = session.run(HOSTILE.format(body)).raised("Hostile")
    assert cell.done.error_message == "<str() of the exception failed>"
    assert session.run("1 + 1").ok().text == "2"


def test_w40_a_metaclass_cannot_answer_for_the_name_of_an_error(session):
    cell = session.run(
        "class Meta(type):\n"
        "    __name__ = property(lambda cls: 1 / 0)\n"
        "class Error(Exception, metaclass=Meta): pass\n"
        "raise Error('text')"
    )
    assert (cell.done.status, cell.error) == (cell.done.ERROR, "Error: text")


STR = "class S(str):\n    __len__ = __getitem__ = lambda *_: 5\n"


def test_w40_a_string_of_another_class_is_taken_for_its_characters(session):
    error = session.run(STR + "class E(Exception):\n    __str__ = lambda _: S('abc')\nraise E()")
    assert error.raised("E").done.error_message == "abc"
    value = session.run("class R:\n    __repr__ = lambda _: S('abc')\nR()").ok().value
    assert value is not None
    assert (value.text, value.full_length) == ("abc", 3)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ValueError('no repr')", "ValueError: no repr"),
        ("return 5", "TypeError: __repr__ returned non-string (type int)"),
        ("return 'x' * 2**30", "MemoryError"),
        # Which of its two limits Python meets first is its own affair.
        ("return repr(self)", "RecursionError: "),
    ],
    ids=["raises", "no string", "a gibibyte", "itself"],
)
def test_w40_a_value_that_cannot_be_shown_is_an_error_of_the_cell(session, body, error):
    cell = session.run(f"class Hostile:\n    def __repr__(self): {body}\nx = Hostile()\nx")
    assert (cell.done.status, cell.value) == (cell.done.ERROR, None)
    assert cell.error.startswith(error)
    assert session.run("type(x).__name__").ok().text == "'Hostile'"


def test_a_long_traceback_and_message_are_cut(session):
    cell = session.run("raise ValueError('x' * 10**6)").raised("ValueError")
    assert cell.done.error_message == "x" * 2**16
    assert 2**16 < len(cell.done.traceback) < 2**16 + 200
    assert "characters left out" in cell.done.traceback


def test_w46_surrogates_and_nul_arrive_escaped_or_whole_and_break_nothing(session):
    assert session.run("print('a\\0b \\ud800')").ok().stdout == b"a\0b \\ud800\n"
    assert session.run("'\\udcff'").ok().text == "'\\udcff'"
    cell = session.run("raise ValueError('\\ud800 \\0 \\x1b[31m')").raised("ValueError")
    assert cell.done.error_message == "\\ud800 \0 \x1b[31m"
    session.run("open('\\udcff\\udcfe', 'w').close()").ok()
    assert session.run("import os; os.listdir('.')").ok().text == "['\\udcff\\udcfe']"
    assert session.run("os.listdir(b'.')").ok().text == "[b'\\xff\\xfe']"


def test_w46_a_cell_with_a_nul_is_a_syntax_error(session):
    session.run("x = 1\0").raised("SyntaxError")


def test_a_missing_file_is_not_found_and_a_refused_one_says_why(session):
    cell = session.run("open('/work/nothing')").raised("FileNotFoundError")
    assert (cell.asks, "policy" in cell.error) == ([], False)
    cell = session.run("open('/etc/passwd')").raised("PermissionError")
    assert cell.error.endswith("[policy test, rule none] not granted: '/etc/passwd'")
    # The reason belongs to that refusal and to no later error.
    assert "policy" not in session.run("open('/work/nothing')").error


BROKEN = {
    "no JSON": "b'{'",
    "no object": "b'[1, 2]'",
    "deep": "b'[' * 10**6",
    "a huge number": "b'{\"code\": ' + b'9' * 10**5 + b'}'",
    "no bytes": "5",
    "more than any answer": "b'\"' + b'x' * 2**26 + b'\"'",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_a_cell_that_forges_its_answer_harms_itself_alone(session, zygote, answer):
    before = session.process.memory_info().rss
    session.run(
        "import json\n"
        f"forged = {answer}\n"
        "json.dumps = lambda *_: type('B', (), {'encode': lambda _: forged})()"
    )
    for _ in range(2):
        cell = session.run("1")
        assert (cell.done.status, cell.done.error_name) == (cell.done.ERROR, "RuntimeError")
        assert cell.done.error_message == "the cell broke its runtime"
    assert session.process.memory_info().rss - before < 160 * 2**20
    with zygote.session() as other:
        assert other.run("1").ok().text == "1"


def test_a_forged_answer_has_the_shapes_of_a_real_one(session):
    forged = {
        "status": ["ok"], "name": "N" * 1000, "message": 5, "traceback": None, "code": "x",
        "value": {"text": "\ud800", "length": -1},
    }  # fmt: skip
    session.run(f"import json\nd = json.dumps\njson.dumps = lambda *_: d({forged!r})")
    cell = session.run("1")
    assert (cell.done.status, cell.done.error_name) == (cell.done.ERROR, "N" * 256)
    assert (cell.done.error_message, cell.done.exit_code, cell.text) == ("", 0, "\\ud800")
